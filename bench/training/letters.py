"""Mail of today made from `bench/training/wordings.py`: wanted and unwanted on the same stationery, so that a model learns
from what it says and not from its being modern. The same each time.

No corpus that may be published has the receipts, statements and newsletters that people get today; a model that never
saw any takes them for what comes nearest: spam of yesterday, which was written in HTML when wanted mail was not.
"""

from __future__ import annotations

import base64
import html
import quopri
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.training.wordings import UNWANTED, WANTED, Kind

_FIRST = "James Mary Robert Linda Maria David Susan Ahmed Anna Paul Karen Luis Emma Thomas Grace Nina Oliver Ruth Ivan Chloe".split()
_LAST = "Miller Smith Garcia Weber Novak Johnson Brown Silva Khan Larsen Murphy Rossi Wilson Clark Young Hall Baker Reed".split()
_CITY = "Springfield Portland Leeds Denver Dublin Austin Toronto Hamburg Lyon Boston Perth Oslo Tucson Richmond".split()
_TOPIC = "gardening;open data;local history;web performance;home cooking;climate;jazz;data engineering;travel;woodworking;small business;astronomy;running;design".split(
    ";"
)
_PRODUCT = "wool blanket;desk lamp;running shoes;coffee grinder;USB cable;rain jacket;cordless drill;water bottle;headphones;phone case;air fryer;backpack;smart watch;garden hose;tool set".split(
    ";"
)
_COMPANY = "Northwind Maple Harbor Bluebird Lakeside Summit Cedar Orchard Beacon Riverstone Willow Granite Meadow Copper".split()
_SECOND = (
    "Market Outfitters Bank Airlines Books Energy Media Health Coffee Studio Labs Insurance Travel Foods Mobile".split()
)
_MONTH = "January February March April May June July August September October November December".split()
_DAY = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_FREE = ("gmail.com", "outlook.com", "yahoo.com", "hotmail.com", "icloud.com")
_ENDINGS = (
    "com",
    "com",
    "com",
    "com",
    "net",
    "org",
    "co",
    "io",
    "co.uk",
    "de",
    "us",
    "info",
    "shop",
    "store",
    "online",
    "live",
)
_WEB_SAFE = (
    "Arial, Helvetica, sans-serif",
    "Helvetica, Arial, sans-serif",
    "Georgia, serif",
    "Verdana, sans-serif",
    "'Open Sans', Arial, sans-serif",
    "Roboto, Arial, sans-serif",
)
_FOOTERS = (
    "Unsubscribe | Manage preferences | View in browser",
    "You are receiving this email because you opted in on our website. Unsubscribe",
    "If you no longer wish to receive these emails, unsubscribe here.",
    "Privacy policy | Terms of use | Contact us",
    "This message was sent to {to}. Update your profile or unsubscribe.",
    "Copyright {year} {company}. All rights reserved.",
    "Please do not reply to this email. This mailbox is not monitored.",
)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that was made, and what of."""

    spam: bool
    kind: str
    octets: bytes


def letters(count: int, seed: int = 7) -> Iterator[Letter]:
    """`count` wanted and as many unwanted ones, kinds in turn."""
    for n in range(count):
        for spam, kinds in ((False, WANTED), (True, UNWANTED)):
            kind = kinds[n % len(kinds)]
            chance = random.Random(f"{seed} {spam} {n}")  # nothing is secret here
            yield Letter(spam, kind.name, _Writer(chance, kind, spam=spam).message())


class _Writer:
    def __init__(self, chance: random.Random, kind: Kind, *, spam: bool) -> None:
        self.r, self.kind, self.spam = chance, kind, spam
        pick = chance.choice
        self.company = f"{pick(_COMPANY)} {pick(_SECOND)}"
        self.first, self.last = pick(_FIRST), pick(_LAST)
        label = pick(
            [
                self.company.replace(" ", "").lower(),
                self.company.split()[0].lower() + pick(["", "mail", "-news", "hq", "24"]),
            ]
            if not spam or chance.random() < 0.4
            else [
                "".join(chance.choices("abcdefghijklmnoprstuvwz", k=chance.randint(5, 12))),
                pick(_COMPANY).lower() + pick(_SECOND).lower() + str(chance.randint(1, 99)),
            ]
        )
        self.domain = f"{label}.{pick(_ENDINGS)}"
        self.personal = kind.personal or (not kind.button and chance.random() < 0.35)
        if self.personal and chance.random() < (0.7 if spam else 0.4):
            self.domain = pick(_FREE)
        self.host = (
            self.domain
            if self.personal or chance.random() < 0.4
            else f"{pick(['mail', 'em', 'e', 'email', 'news', 'info', 'notify'])}.{self.domain}"
        )
        self.to = f"{pick(_FIRST).lower()}.{pick(_LAST).lower()}@example.org"

    def fill(self, text: str) -> str:
        r = self.r
        made = text
        while "{" in made:
            name = made.partition("{")[2].partition("}")[0]
            value = {
                "company": lambda: self.company,
                "first": lambda: r.choice(_FIRST),
                "last": lambda: r.choice(_LAST),
                "city": lambda: r.choice(_CITY),
                "topic": lambda: r.choice(_TOPIC),
                "product": lambda: r.choice(_PRODUCT),
                "amount": lambda: (
                    f"${r.choice([r.randint(3, 99), r.randint(100, 4999)]):,}{r.choice(['', '.00', '.95', '.49'])}"
                ),
                "millions": lambda: (
                    f"{r.choice(['$', 'US$', 'USD ', '€'])}{r.randint(1, 48)},{r.randint(0, 9)}00,000.00"
                ),
                "code": lambda: "".join(r.choices("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", k=r.randint(7, 12))),
                "code6": lambda: str(r.randint(100000, 999999)),
                "last4": lambda: str(r.randint(1000, 9999)),
                "n": lambda: str(r.randint(2, 60)),
                "date": lambda: f"{r.choice(_MONTH)} {r.randint(1, 28)}" + r.choice(["", ", 2024", ", 2025"]),
                "month": lambda: r.choice(_MONTH),
                "weekday": lambda: r.choice(_DAY),
                "year": lambda: str(r.randint(2012, 2025)),
                "street": lambda: (
                    f"{r.randint(1, 900)} {r.choice(_LAST)} {r.choice(['Street', 'Avenue', 'Road', 'Lane'])}"
                ),
                "phone": lambda: (
                    f"{r.choice(['1-800', '(555)', '+1 555', '888'])}-{r.randint(200, 999)}-{r.randint(1000, 9999)}"
                ),
                "to": lambda: self.to,
                "coin": lambda: (
                    "1" + "".join(r.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789", k=32))
                ),
            }[name]()
            made = made.replace("{" + name + "}", value, 1)
        return made

    def message(self) -> bytes:
        r = self.r
        lines = self.kind.text.split("\n")
        kept = sorted(r.sample(range(len(lines)), max(2, round(len(lines) * r.uniform(0.45, 1.0)))))
        lines = [self.fill(lines[n]) for n in kept]
        if not self.personal and r.random() < 0.5:
            lines.insert(
                0,
                r.choice(
                    [
                        f"Hi {r.choice(_FIRST)},",
                        f"Hello {r.choice(_FIRST)},",
                        f"Dear {r.choice(_FIRST)} {r.choice(_LAST)},",
                    ]
                    if not self.spam
                    else ["Hello,", "Hi there,", "Dear valued customer,", f"Hello {self.to}", f"Hi {r.choice(_FIRST)},"]
                ),
            )
        if r.random() < 0.25:
            lines = [line for each in lines for line in ([each] if len(each) < 90 else each.split(". "))]
        subject = self.fill(r.choice(self.kind.subjects.split("\n")))
        plain = "\n\n".join(lines) + "\n"
        style = r.random()
        if self.personal:
            page = self._gmail(lines) if style < 0.5 else self._word(lines) if style < 0.75 else ""
        else:
            page = "" if style < 0.08 else self._simple(lines) if style < 0.28 else self._designed(lines)
        if page and not self.personal and r.random() < 0.7:
            plain += f"\n{self.kind.button}: {self._link()}\n\n" + self.fill(r.choice(_FOOTERS)) + "\n"
        return self._header(subject) + self._body(plain, page)

    # -- the header

    def _header(self, subject: str) -> bytes:
        r = self.r
        name = (
            f"{self.first} {self.last}"
            if self.personal
            else r.choice(
                [self.company, self.company.split()[0], f"{self.company} Support", f"{self.first} at {self.company}"]
            )
        )
        local = (
            f"{self.first}.{self.last}".lower() + r.choice(["", str(r.randint(1, 99))])
            if self.personal
            else r.choice(
                [
                    "noreply",
                    "no-reply",
                    "hello",
                    "news",
                    "info",
                    "support",
                    "notifications",
                    "orders",
                    "team",
                    "do-not-reply",
                    "service",
                ]
            )
        )
        if self.spam and r.random() < 0.3:
            name = r.choice(
                [
                    "Customer Service",
                    "Notification",
                    "Support Team",
                    "Mail Admin",
                    "Approval Department",
                    "Special Offer",
                    "Security",
                    self.first,
                ]
            )
        raw = "".join(r.choices("0123456789abcdef", k=r.choice([16, 32])))
        mid = r.choice(
            [
                f"{raw}@{self.host}",
                f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}@{r.choice(['email.amazonses.com', 'sendgrid.net', self.host, self.domain])}",
                f"{r.randint(10**8, 10**9)}.{r.randint(10**5, 10**6)}.{r.randint(10**12, 10**13)}.JavaMail.{r.choice(['root', 'app', 'tomcat'])}@{self.host}",
                f"CA{raw}+{raw[:4]}-{raw[:6]}@mail.gmail.com",
                f"{raw[:12]}$@{self.host}",
                f"0100{raw}-{raw[:8]}-000000@email.amazonses.com",
            ]
        )
        fields = [
            f"From: {name} <{local}@{self.host}>",
            f"To: {self.to}" if r.random() < 0.6 else f"To: {r.choice(_FIRST)} <{self.to}>",
            f"Subject: {subject if r.random() < 0.8 else '=?' + r.choice(['UTF-8', 'utf-8']) + '?B?' + base64.b64encode(subject.encode()).decode() + '?='}",
            "Date: Mon, 3 Mar 2025 10:12:13 +0000",
            f"Message-ID: <{mid}>",
        ]
        if not self.personal:
            if r.random() < 0.6:
                fields.append(
                    f"List-Unsubscribe: <https://{self.host}/u/{raw}>"
                    + (f", <mailto:unsub-{raw}@{self.host}>" if r.random() < 0.5 else "")
                )
                if r.random() < 0.7:
                    fields.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
            if r.random() < 0.35:
                fields.append(f"Feedback-ID: {raw[:8]}:{raw[8:12]}:{r.choice(['amazonses', 'SG', 'mc', 'campaign'])}")
            if r.random() < 0.3:
                fields.append(
                    f"Reply-To: {r.choice([f'support@{self.domain}', f'{local}@{self.host}', f'reply-{raw}@{self.host}'])}"
                )
            if r.random() < 0.15:
                fields.append(
                    f"X-Mailer: {r.choice(['MailChimp Mailer', 'PHPMailer 6.5', 'ZetaMail', 'nodemailer', 'Customer.io'])}"
                )
            if r.random() < 0.2:
                fields.append("Precedence: bulk")
        elif r.random() < 0.35:
            fields.append(f"In-Reply-To: <{raw[:10]}@example.org>\r\nReferences: <{raw[:10]}@example.org>")
        if self.personal and r.random() < 0.3:
            fields.append(
                r.choice(
                    [
                        "X-Mailer: Apple Mail (2.3731.700.6)",
                        "X-Mailer: iPhone Mail (21F90)",
                        "User-Agent: Mozilla Thunderbird",
                        "Thread-Index: AQHa" + raw + "\r\nContent-Language: en-US",
                        "X-Mailer: Microsoft Outlook 16.0\r\nContent-Language: en-us",
                    ]
                )
            )
        if self.spam and self.personal and r.random() < 0.4:
            fields.append(f"Reply-To: {self.first.lower()}{r.randint(1, 999)}@{r.choice(_FREE)}")
        r.shuffle(fields)
        return ("\r\n".join(fields) + "\r\nMIME-Version: 1.0\r\n").encode()

    # -- the body

    def _body(self, plain: str, page: str) -> bytes:
        r = self.r
        if not page:
            return self._part("text/plain", plain)
        attached = self.kind.name in {"work", "document", "bill", "insurance"} and r.random() < 0.4
        if not self.personal and r.random() < 0.3:
            made = self._part("text/html", page)
        else:
            made = self._multipart("alternative", [self._part("text/plain", plain), self._part("text/html", page)])
        if attached:
            name = f"{r.choice(['invoice', 'document', 'statement', 'scan'])}_{r.randint(100, 9999)}.pdf"
            data = base64.encodebytes(b"%PDF-1.4\n" + r.randbytes(600)).replace(b"\n", b"\r\n")
            pdf = (
                f'Content-Type: application/pdf; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'.encode()
                + data
            )
            made = self._multipart("mixed", [made, pdf])
        return made

    def _part(self, media: str, text: str) -> bytes:
        r = self.r
        charset = r.choice(["utf-8", "UTF-8", "utf-8", "us-ascii", "iso-8859-1"])
        octets = text.encode("ascii", "xmlcharrefreplace")
        written = r.choice(["quoted-printable", "quoted-printable", "7bit", "base64"])
        if written == "base64":
            octets = base64.encodebytes(octets)
        elif written == "quoted-printable":
            octets = quopri.encodestring(octets)
        octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        quote = r.choice(['"', ""])
        return (
            f"Content-Type: {media}; charset={quote}{charset}{quote}\r\nContent-Transfer-Encoding: {written}\r\n\r\n".encode()
            + octets
        )

    def _multipart(self, kind: str, parts: Sequence[bytes]) -> bytes:
        r = self.r
        raw = "".join(r.choices("0123456789abcdef", k=24))
        mark = r.choice(
            [
                f"----=_Part_{r.randint(1000, 99999)}_{r.randint(10**8, 10**9)}.{r.randint(10**12, 10**13)}",
                f"000000000000{raw[:16]}",
                f"--==_mimepart_{raw}",
                f"_----------={raw}",
                f"{raw}",
                f"_000_{raw.upper()}_",
                f"Apple-Mail-{raw[:8].upper()}-{raw[8:12].upper()}",
                "===============" + "".join(r.choices("0123456789", k=19)) + "==",
            ]
        )
        lines = [f'Content-Type: multipart/{kind}; boundary="{mark}"\r\n\r\n'.encode()]
        lines += [f"--{mark}\r\n".encode() + part + b"\r\n" for part in parts]
        return b"".join(lines) + f"--{mark}--\r\n".encode()

    def _link(self) -> str:
        r = self.r
        raw = "".join(
            r.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", k=r.randint(8, 120))
        )
        host = r.choice(
            [
                self.host,
                self.domain,
                f"click.{self.domain}",
                f"links.{self.domain}",
                f"www.{self.domain}",
                f"u{r.randint(10**5, 10**7)}.ct.sendgrid.net",
                f"{self.company.split()[0].lower()}.us{r.randint(1, 20)}.list-manage.com",
                "t.example-track.com",
            ]
        )
        return f"{r.choice(['https', 'https', 'https', 'http'])}://{host}/{r.choice(['ls/click?upn=', 'track/click?u=', 'c/', 'f/a/', 'e/', 'account/orders/', '', 'u/click?_t='])}{raw}"

    def _gmail(self, lines: Sequence[str]) -> str:
        inner = "".join(f"<div>{html.escape(line)}</div><div><br></div>" for line in lines)
        quoted = ""
        if self.r.random() < 0.4 and not self.spam:
            said = html.escape(self.fill("Thanks, that works for me. See you on {weekday}."))
            quoted = f'<br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On Mon, Mar 3, 2025 at 9:12 AM {self.first} &lt;<a href="mailto:{self.to}">{self.to}</a>&gt; wrote:<br></div><blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex"><div dir="ltr">{said}</div></blockquote></div>'
        return f'<div dir="ltr">{inner}</div>{quoted}\n'

    def _word(self, lines: Sequence[str]) -> str:
        inner = "".join(
            f'<p class="MsoNormal"><span style="font-size:11.0pt">{html.escape(line)}<o:p></o:p></span></p>\n'
            for line in lines
        )
        return f'<html xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:schemas-microsoft-com:office:office" xmlns="http://www.w3.org/TR/REC-html40"><head><meta http-equiv="Content-Type" content="text/html; charset=us-ascii"><meta name="Generator" content="Microsoft Word 15 (filtered medium)"><style><!--\n@font-face {{font-family:Calibri; panose-1:2 15 5 2 2 2 4 3 2 4;}}\np.MsoNormal, li.MsoNormal, div.MsoNormal {{margin:0in; font-size:11.0pt; font-family:"Calibri",sans-serif;}}\ndiv.WordSection1 {{page:WordSection1;}}\n--></style></head><body lang="EN-US" link="#0563C1" vlink="#954F72" style="word-wrap:break-word"><div class="WordSection1">{inner}</div></body></html>\n'

    def _simple(self, lines: Sequence[str]) -> str:
        r = self.r
        inner = r.choice(["<br><br>\n", "</p>\n<p>"]).join(html.escape(line) for line in lines)
        button = f'<p><a href="{self._link()}">{html.escape(self.kind.button)}</a></p>' if self.kind.button else ""
        image = (
            f'<a href="{self._link()}"><img src="{self._link()}" width="{r.choice([600, 580, 300])}" border="0" alt=""></a><br>'
            if r.random() < 0.3
            else ""
        )
        footer = html.escape(self.fill(r.choice(_FOOTERS)))
        head = r.choice(
            [
                "",
                "<html><body>",
                '<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"></head><body>',
                "<!DOCTYPE html><html><head><title></title></head><body>",
            ]
        )
        return f'{head}{image}<p>{inner}</p>{button}<p style="font-size:{r.choice([10, 11, 12])}px;color:#{r.choice(["666666", "999", "777777"])}">{footer} <a href="{self._link()}">unsubscribe</a></p>{"</body></html>" if head else ""}\n'

    def _designed(self, lines: Sequence[str]) -> str:
        """Tables in tables, a hidden first line, styles for small screens, a button, a footer, a picture that counts."""
        r = self.r
        font, ink, ground = (
            r.choice(_WEB_SAFE),
            r.choice(["#333333", "#222", "#1a1a1a", "#4a4a4a"]),
            r.choice(["#f4f4f4", "#ffffff", "#eeeeee", "#f6f9fc"]),
        )
        doctype = r.choice(
            [
                "<!DOCTYPE html>",
                '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">',
                "<!doctype html>",
                "",
            ]
        )
        sheet = (
            f'<style type="text/css">body {{margin:0; padding:0; -webkit-text-size-adjust:100%; -ms-text-size-adjust:100%;}} img {{border:0; outline:none; text-decoration:none; display:block;}} table {{border-collapse:collapse; mso-table-lspace:0pt; mso-table-rspace:0pt;}} {"@media only screen and (max-width:600px) {.full {width:100% !important; height:auto !important;} .hide {display:none !important;}}" if r.random() < 0.8 else ""}</style>'
            if r.random() < 0.85
            else ""
        )
        mso = (
            "<!--[if mso]><xml><o:OfficeDocumentSettings><o:AllowPNG/><o:PixelsPerInch>96</o:PixelsPerInch></o:OfficeDocumentSettings></xml><![endif]-->"
            if r.random() < 0.4
            else ""
        )
        title = f"<title>{html.escape(self.company) if r.random() < 0.7 else ''}</title>"
        first = (
            f'<div class="preheader" style="display:none;font-size:1px;line-height:1px;max-height:0px;max-width:0px;opacity:0;overflow:hidden;mso-hide:all">{html.escape(lines[0])}{"&zwnj;&nbsp;" * r.choice([0, 0, 30])}</div>'
            if r.random() < 0.55
            else ""
        )
        role = r.choice(["", ' role="presentation"'])
        logo = (
            f'<tr><td align="center" style="padding:{r.choice([10, 20, 24])}px"><a href="{self._link()}" target="_blank"><img src="{self._link()}.png" alt="{html.escape(self.company)}" width="{r.choice([120, 150, 180, 600])}" style="display:block;border:0"></a></td></tr>'
            if r.random() < 0.85
            else ""
        )
        rows = "".join(
            f'<tr><td style="padding:{r.choice([8, 10, 12])}px 24px;font-family:{font};font-size:{r.choice([14, 15, 16])}px;line-height:1.5;color:{ink}">{html.escape(line)}</td></tr>\n'
            for line in lines
        )
        images = "".join(
            f'<tr><td><a href="{self._link()}"><img src="{self._link()}.jpg" width="{r.choice([260, 300, 600])}" alt="{html.escape(self.fill("{product}"))}" class="full" style="width:100%;max-width:600px"></a></td></tr>'
            for _ in range(r.choice([0, 0, 1, 2, 4, 8]))
        )
        button = (
            f'<tr><td align="center" style="padding:20px"><table border="0" cellpadding="0" cellspacing="0"{role}><tr><td bgcolor="#{r.choice(["0066cc", "2e7d32", "d32f2f", "111111", "ff6600"])}" style="border-radius:4px"><a href="{self._link()}" target="_blank" style="display:inline-block;padding:12px 24px;color:#ffffff;text-decoration:none;font-weight:bold;font-family:{font}">{html.escape(self.kind.button)}</a></td></tr></table></td></tr>'
            if self.kind.button
            else ""
        )
        links = "".join(
            f' | <a href="{self._link()}" style="color:#888888">{word}</a>'
            for word in r.sample(
                [
                    "Unsubscribe",
                    "Privacy policy",
                    "View in browser",
                    "Contact us",
                    "Help",
                    "Manage preferences",
                    "Facebook",
                    "Instagram",
                    "Terms",
                ],
                r.randint(1, 5),
            )
        )
        foot = "<br>".join(html.escape(self.fill(each)) for each in r.sample(_FOOTERS, r.randint(1, 3)))
        address = html.escape(self.fill("{company}, {street}, {city}"))
        pixel = (
            f'<img src="{self._link()}" width="1" height="1" alt="" style="display:none">' if r.random() < 0.6 else ""
        )
        return f'{doctype}<html xmlns="http://www.w3.org/1999/xhtml"{r.choice(["", " lang=" + chr(34) + "en" + chr(34)])}><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"><meta name="viewport" content="width=device-width, initial-scale=1.0">{title}{mso}{sheet}</head><body style="margin:0;padding:0;background-color:{ground}" bgcolor="{ground}">{first}<table width="100%" border="0" cellpadding="0" cellspacing="0"{role} bgcolor="{ground}"><tr><td align="center"><table width="600" border="0" cellpadding="0" cellspacing="0"{role} class="full" style="background-color:#ffffff;max-width:600px">{logo}{rows}{images}{button}<tr><td style="padding:20px;font-family:{font};font-size:{r.choice([10, 11, 12])}px;color:#888888;text-align:center">{foot}<br>{address}<br>{links}</td></tr></table></td></tr></table>{pixel}</body></html>\n'
