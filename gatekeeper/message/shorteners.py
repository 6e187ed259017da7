"""Services that give a short name to any address, so that nobody sees where a link leads."""

from __future__ import annotations

SHORTENERS = frozenset(
    (  # noqa: SIM905  # a table reads better so
        "1url.com 2no.co adf.ly app.link b.link bit.do bit.ly bitly.com bitly.ws bl.ink buff.ly cli.re clck.ru cutt.ly "
        "cutt.us did.li dub.sh dub.link fb.me gg.gg goo.gl goo.su hubs.ly hyperurl.co ift.tt is.gd j.mp kutt.it "
        "linktr.ee lnk.to lnkd.in lstu.fr mcaf.ee migre.me n9.cl nyti.ms o.ly ow.ly page.link posty.pe "
        "pxlme.me qr.ae qrco.de rb.gy rebrand.ly reurl.cc s.id sh.st short.gy short.io shorten.ee shorturl.at "
        "shorturl.gg shrtco.de smarturl.it snip.ly soo.gd spoti.fi surl.li t.co t.ly t.me tiny.cc tiny.ee tiny.one "
        "tinyurl.com tr.im trib.al u.to url.ie urlz.fr v.gd v.ht vk.cc wa.link w.wiki x.co x.gd y2u.be zpr.io"
    ).split()
)
