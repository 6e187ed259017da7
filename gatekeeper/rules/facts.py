"""Numbers that rules may ask about: how many links, parts, addresses; what is odd about the header. Pure.

A fact that does not hold is 0 and is not told. Names are those that conditions use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gatekeeper.message.content import Content
from gatekeeper.message.domains import registered_domain
from gatekeeper.message.header import Author, author_of, header_of
from gatekeeper.message.links import Place, Trait
from gatekeeper.model import Mail, Message
from gatekeeper.rules.text import normalise
from gatekeeper.rules.trace import trace_facts
from gatekeeper.wire.headers import Header, decode_words
from gatekeeper.wire.mailboxes import parse_address_list

FACTS: Final[Mapping[str, str]] = {
    "links": "Links that people see, each place once.",
    "link_domains": "Registered domains of links that people see.",
    "links_elsewhere": "Links that people see to other domains than the author's.",
    "links_home": "Links that people see to the author's own domain.",
    "links_deceptive": "Links whose text shows another domain.",
    "links_address": "Links to an IP address.",
    "links_shortened": "Links over a service that hides where they lead.",
    "links_look_alike": "Links to names that are made to look like others.",
    "links_hidden": "Links that nobody sees.",
    "link_recipient": "Links that people see with the recipient's address in them.",
    "addresses": "Mail addresses in the text.",
    "addresses_free": "Mail addresses in the text at providers that give them to anybody.",
    "words": "Words that people see.",
    "hidden_words": "Words of HTML that nobody sees.",
    "html": "Parts of HTML.",
    "html_only": "There is HTML and no plain text.",
    "plain": "Parts of plain text.",
    "parts": "Parts, containers left out, in all readings.",
    "images": "Pictures that a page shows.",
    "images_attached": "Parts that are pictures.",
    "pictures_only": "There are pictures, and fewer than 15 words.",
    "forms": "Forms in a page.",
    "scripts": "Scripts in a page.",
    "attachments": "Parts with a file name, pictures left out.",
    "html_attached": "Attached files that are web pages.",
    "pdf_attached": "Attached files that are PDF.",
    "ambiguities": "Ways in which two programs may see two messages, harmless ones left out.",
    "recipients": "Envelope recipients.",
    "addressees": "Addresses in To and Cc.",
    "to_missing": "There is no To, or nobody in it.",
    "to_author": "The one addressee is the author.",
    "sender_null": "The envelope sender is the null sender.",
    "sender_elsewhere": "The envelope sender's domain is another than the author's.",
    "author_ours": "The author is at one of our own domains.",
    "author_free": "The author is at a provider that gives addresses to anybody.",
    "author_digits": "The author's address has four digits in a row or more.",
    "author_name_address": "The author's name shows an address at another domain.",
    "author_name_ours": "The author's name shows one of our own domains, and the address is elsewhere.",
    "brand_name": "The author's name is a brand's, and the domain is not.",
    "brand_subject": "The subject names a brand, and the author's domain is not its.",
    "brand_links": "The text names a brand whose domain no link leads to, and the author's is not.",
    "reply_elsewhere": "Reply-To is at another domain than the author.",
    "reply_free": "Reply-To is at a provider that gives addresses to anybody, and the author is not there.",
    "subject_missing": "There is no subject, or nothing in it.",
    "subject_answers": "The subject begins with Re: or its like.",
    "subject_forwards": "The subject begins with Fwd: or its like.",
    "subject_capitals": "The subject has six letters or more, all capitals.",
    "subject_exclaims": "Exclamation marks and question marks at the end of the subject or in a row.",
    "answers": "There is an In-Reply-To or References field.",
    "list": "It comes over a mailing list or from a program that says so (List-Id, List-Post, List-Unsubscribe).",
    "list_id": "There is a List-Id or List-Post field: a mailing list.",
    "list_unsubscribe": "There is a List-Unsubscribe field (RFC 2369).",
    "one_click": "There is a List-Unsubscribe-Post field (RFC 8058).",
    "opt_out_link": "A link that people see says that it ends the subscription.",
    "automatic": "An Auto-Submitted field says that no human wrote it (RFC 3834).",
    "bulk": "Precedence is bulk, list or junk.",
    "message_id_malformed": "The Message-ID is not `<left@right>` (RFC 5322 section 3.6.4).",
    "message_id_local": "The Message-ID's right side is no name of the Internet's.",
    "message_id_ours": "The Message-ID is of one of our own domains, and the author is not.",
    "message_id_free": "The Message-ID is of a large provider over whose servers the message did not come.",
    "received": "Received fields.",
    "received_forged": "Received fields that no mail server writes: impossible addresses, or a date without a year.",
    "received_backwards": "Times at which a Received field is more than a day later than the one above it.",
    "received_ours": "Received fields in which a server of ours by name has had the message before.",
}
"""Every fact, with its sentence."""

FREE: Final = frozenset(
    (  # noqa: SIM905  # a table reads better so
        "gmail.com googlemail.com outlook.com hotmail.com hotmail.co.uk hotmail.fr hotmail.de live.com live.co.uk "
        "live.fr msn.com outlook.fr outlook.de outlook.es yahoo.com yahoo.co.uk yahoo.fr yahoo.de yahoo.es yahoo.co.jp "
        "yahoo.co.in yahoo.com.br yahoo.com.hk yahoo.com.tw ymail.com rocketmail.com aol.com aim.com icloud.com me.com "
        "mac.com gmx.com gmx.de gmx.net gmx.at web.de mail.com mail.ru inbox.ru list.ru bk.ru yandex.com yandex.ru "
        "ya.ru rambler.ru proton.me protonmail.com pm.me tutanota.com tuta.io zoho.com zohomail.com qq.com 163.com "
        "126.com yeah.net sina.com sohu.com foxmail.com 21cn.com naver.com daum.net hanmail.net orange.fr wanadoo.fr "
        "free.fr laposte.net sfr.fr libero.it virgilio.it tiscali.it alice.it t-online.de freenet.de seznam.cz wp.pl "
        "o2.pl onet.pl interia.pl ukr.net abv.bg rediffmail.com uol.com.br bol.com.br terra.com.br onmail.com "
        "tutamail.com fastmail.com hushmail.com lycos.com excite.com consultant.com usa.com europe.com asia.com"
    ).split()
)
"""Where anybody can have an address."""

_SEEN_PLACES = frozenset({Place.ANCHOR, Place.FORM, Place.TEXT, Place.SUBJECT})
_BY_TRAIT = {
    Trait.DECEPTIVE: "links_deceptive",
    Trait.ADDRESS: "links_address",
    Trait.NUMERIC: "links_address",
    Trait.SHORTENER: "links_shortened",
    Trait.LOOK_ALIKE: "links_look_alike",
}
_ANSWER = re.compile(r"(?:re|aw|sv|antw|antwort|rv|res|odp|回复|答复|回覆)(?:\[\d{1,3}\])? ?[:：]", re.IGNORECASE)
_FORWARD = re.compile(r"(?:fwd?|wg|tr|rv|enc|转发|轉寄)(?:\[\d{1,3}\])? ?[:：]", re.IGNORECASE)
_EXCLAIMS = re.compile(r"[!?]{2,}|[!?]+$")
_OPT_OUT = re.compile(
    r"unsubscri|opt[ -]?out|abmeld|abbestell|austragen|desabonn|desinscri|darse de baja|cancelar (?:la )?suscripc|"
    r"disiscri|cancella l|uitschrijv|afmelden|wypisz|avregistrer|退订|取消订阅|拒收|配信停止|remove me|"
    r"(?:email|mail|notification|communication|subscription) (?:settings|preferences)|manage (?:your )?subscription"
)
_NAME_ADDRESS = re.compile(r"[\w.+-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})", re.ASCII)
_DIGITS = re.compile(r"\d{4}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the facts are seen against: our own name and domains."""

    hostname: str = ""
    domains: frozenset[str] = frozenset()


def facts_of(
    mail: Mail, message: Message, content: Content, *, words: int, hidden_words: int, around: Surroundings
) -> dict[str, int]:
    """Every fact that is not 0. Words are what stands between blanks. Takes bounded time."""
    header = header_of(message)
    author = author_of(message)
    found: dict[str, int] = {}
    home = registered_domain(author.domains[0]) if author.domains else ""
    found["words"], found["hidden_words"] = words, hidden_words
    _links(content, mail, home, found)
    _parts(content, found)
    _author(author, home, around, found)
    _envelope(mail, home, found)
    _others(header, author, home, found)
    _subject(header, found)
    _list(header, found)
    trace_facts(header, home, around.hostname, around.domains, found)
    return {name: number for name, number in found.items() if number}


def _links(content: Content, mail: Mail, home: str, found: dict[str, int]) -> None:
    count = elsewhere = own = hidden = recipient = 0
    domains = set()
    addresses = [str(one.address).lower() for one in mail.envelope.recipients[:5]]
    for link in content.links:
        place = link.place
        if place is Place.HIDDEN:
            hidden += 1
        if place not in _SEEN_PLACES:
            continue
        count += 1
        domains.add(link.url.domain or link.url.host)
        if link.url.domain == home:
            own += 1
        else:
            elsewhere += 1
        for trait in link.traits:
            if (name := _BY_TRAIT.get(trait)) is not None:
                found[name] = found.get(name, 0) + 1
        if addresses and "@" in link.url.rest and any(one in link.url.rest.lower() for one in addresses):
            recipient += 1
        if "opt_out_link" not in found and link.text and _OPT_OUT.search(normalise(link.text)):
            found["opt_out_link"] = 1
    found["links"], found["links_elsewhere"], found["links_home"] = count, elsewhere, own
    found["links_hidden"], found["link_domains"], found["link_recipient"] = hidden, len(domains), recipient
    found["addresses"] = len(content.links.addresses)
    found["addresses_free"] = sum(1 for one in content.links.addresses[:100] if one.rpartition("@")[2] in FREE)


def _parts(content: Content, found: dict[str, int]) -> None:
    parts = html = plain = pictures = attached = pages = pdf = 0
    for part in content.mime.leaves:
        parts += 1
        name = part.name
        if part.media.startswith("image/"):
            pictures += 1
        elif name or part.disposition == "attachment":
            attached += 1
            lower = name.lower()
            pages += part.is_html
            pdf += part.media == "application/pdf" or lower.endswith(".pdf")
        elif part.is_html:
            html += 1
        elif part.media == "text/plain":
            plain += 1
    found["parts"], found["html"], found["plain"] = parts, html, plain
    found["html_only"] = int(html > 0 and plain == 0)
    found["images_attached"], found["attachments"] = pictures, attached
    found["html_attached"], found["pdf_attached"] = pages, pdf
    pages_read = [text.page for text in content.texts if text.page is not None]
    found["images"] = sum(page.images for page in pages_read)
    found["forms"] = sum(page.forms for page in pages_read)
    found["scripts"] = sum(page.scripts for page in pages_read)
    found["pictures_only"] = int(found["words"] < 15 and found["images"] + pictures > 0)
    if content.mime.ambiguous:
        found["ambiguities"] = len(content.ambiguities)


def _author(author: Author, home: str, around: Surroundings, found: dict[str, int]) -> None:
    if not author.mailboxes:
        return
    mailbox = author.mailboxes[0]
    domain = mailbox.address.domain
    found["author_ours"] = int(domain in around.domains or home in around.domains)
    found["author_free"] = int(domain in FREE)
    found["author_digits"] = int(_DIGITS.search(mailbox.address.local) is not None)
    if "@" in mailbox.name or "=?" in mailbox.name:
        shown = _NAME_ADDRESS.search(decode_words(mailbox.name[:500]))
        if shown is not None:
            found["author_name_address"] = int(registered_domain(shown[1].lower()) not in {home, ""})
    if around.domains and not found["author_ours"] and mailbox.name:
        name = decode_words(mailbox.name[:500]).lower()
        found["author_name_ours"] = int(any(one in name for one in around.domains))


def _envelope(mail: Mail, home: str, found: dict[str, int]) -> None:
    sender = mail.envelope.sender
    found["recipients"] = len(mail.envelope.recipients)
    if sender is not None:
        found["sender_null"] = int(sender.null)
        found["sender_elsewhere"] = int(bool(sender.domain and home) and registered_domain(sender.domain) != home)


def _others(header: Header, author: Author, home: str, found: dict[str, int]) -> None:
    addressees = [
        mailbox.address
        for name in ("to", "cc")
        for one in header.all(name)[:2]
        for mailbox in parse_address_list(one.value, 16_384).mailboxes
    ]
    found["addressees"] = len(addressees)
    found["to_missing"] = int(not addressees)
    wrote = author.mailboxes[0].address if author.mailboxes else None
    found["to_author"] = int(wrote is not None and len(addressees) == 1 and _same(addressees[0], wrote))
    reply_to = header.first("reply-to")
    if reply_to is not None and wrote is not None:
        domains = {box.address.domain for box in parse_address_list(reply_to.value, 4096).mailboxes}
        if domains and wrote.domain not in domains and home not in {registered_domain(one) for one in domains}:
            found["reply_elsewhere"] = 1
            found["reply_free"] = int(not FREE.isdisjoint(domains) and wrote.domain not in FREE)


def _same(one: object, other: object) -> bool:
    return str(one).lower() == str(other).lower()


def _subject(header: Header, found: dict[str, int]) -> None:
    one = header.first("subject")
    subject = decode_words(one.text[:2000]).strip() if one is not None else ""
    found["subject_missing"] = int(not subject)
    found["subject_answers"] = int(_ANSWER.match(subject) is not None)
    found["subject_forwards"] = int(_FORWARD.match(subject) is not None)
    found["subject_capitals"] = int(subject.isupper() and sum(map(str.isalpha, subject)) >= 6)
    found["subject_exclaims"] = sum(len(marks) for marks in _EXCLAIMS.findall(subject[:500]))
    found["answers"] = int("in-reply-to" in header.by_name or "references" in header.by_name)


def _list(header: Header, found: dict[str, int]) -> None:
    names = header.by_name
    found["list_id"] = int("list-id" in names or "list-post" in names)
    found["list_unsubscribe"] = int("list-unsubscribe" in names)
    found["list"] = int(bool(found["list_id"] or found["list_unsubscribe"]))
    found["one_click"] = int("list-unsubscribe-post" in names)
    automatic = header.first("auto-submitted")
    found["automatic"] = int(automatic is not None and automatic.text.strip().lower() != "no")
    precedence = header.first("precedence")
    found["bulk"] = int(precedence is not None and precedence.text.strip().lower() in {"bulk", "list", "junk"})
