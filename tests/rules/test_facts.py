"""Numbers that rules may ask about."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.content import content_of
from gatekeeper.model import Address, Envelope, Mail, Recipient, Session
from gatekeeper.rules import brands, facts, trace
from gatekeeper.rules.facts import FACTS, Surroundings, facts_of
from tests.support.mail import message_of

AROUND = Surroundings("mx.example.org", frozenset({"example.org"}))


def told(raw: str | bytes, sender: Address | None = None, recipient: Address | None = None) -> dict[str, int]:
    message = message_of(raw)
    envelope = Envelope("e", sender)
    if recipient is not None:
        envelope.recipients.append(Recipient(recipient))
    mail = Mail(Session("s", "check", 0.0), envelope, message)
    content = content_of(message)
    seen = " ".join(" ".join(content.seen).split())
    hidden = " ".join(text.hidden for text in content.texts).strip()
    return facts_of(mail, message, content, words=len(seen.split()), hidden_words=len(hidden.split()), around=AROUND)


HTML = "Content-Type: text/html\n\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("From: a@shop.net\n\nsee https://www.shop.net/ and https://else.net/",
         {"links": 2, "links_home": 1, "links_elsewhere": 1, "link_domains": 2, "words": 4, "plain": 1}),
        (HTML + '<a href="http://192.0.2.1/">www.bank.com</a>', {"links_address": 1, "links_deceptive": 1}),
        (HTML + '<a href="https://shop.net/u">Unsubscribe</a>', {"opt_out_link": 1, "html": 1, "html_only": 1}),
        (HTML + "<form><input></form><script>x</script><p>text</p>", {"forms": 1, "scripts": 1}),
        (HTML + "<img src=x><img src=y>", {"images": 2, "pictures_only": 1}),
        (HTML + "<p>a</p><p hidden>b c d</p>", {"hidden_words": 3}),
        ("Content-Type: text/html; name=a.html\nContent-Disposition: attachment\n\nx",
         {"html_attached": 1, "attachments": 1}),
        ("Content-Type: image/png\n\nx", {"images_attached": 1}),
        ("Content-Type: application/pdf; name=a.pdf\n\nx", {"pdf_attached": 1, "attachments": 1}),
        ("Content-Type: multipart/mixed\n\nx", {"ambiguities": 1}),
        ("\nwrite to a1@gmail.com or b@shop.net", {"addresses": 2, "addresses_free": 1}),
        ("From: a1234@gmail.com\n\nx", {"author_free": 1, "author_digits": 1}),
        ('From: "x@bank.com" <a@shop.net>\n\nx', {"author_name_address": 1}),
        ("From: example.org desk <a@shop.net>\n\nx", {"author_name_ours": 1}),
        ("From: a@example.org\n\nx", {"author_ours": 1}),
        ("From: a@shop.net\nReply-To: b@gmail.com\n\nx", {"reply_elsewhere": 1, "reply_free": 1}),
        ("From: a@shop.net\nReply-To: b@mail.shop.net\n\nx", {"to_missing": 1}),
        ("From: a@shop.net\nTo: A@Shop.net\n\nx", {"to_author": 1, "addressees": 1}),
        ("To: a@x.net, b@x.net\nCc: c@x.net\n\nx", {"addressees": 3, "subject_missing": 1}),
        ("Subject: Re: x\n\nx", {"subject_answers": 1}),
        ("Subject: 转发: x\nReferences: <a@b>\n\nx", {"subject_forwards": 1, "answers": 1}),
        ("Subject: BUY NOW!!!\n\nx", {"subject_capitals": 1, "subject_exclaims": 3}),
        ("List-Id: <a.b>\nList-Unsubscribe: <https://x.net>\nList-Unsubscribe-Post: x\n\nx",
         {"list": 1, "list_id": 1, "list_unsubscribe": 1, "one_click": 1}),
        ("Auto-Submitted: auto-replied\nPrecedence: bulk\n\nx", {"automatic": 1, "bulk": 1}),
        ("\nhttps://bit.ly/x https://bit.ly/y", {"links_shortened": 2}),
        ("\nhttps://paypa1.com/x", {"links_look_alike": 1}),
        (HTML + '<p hidden><a href="https://x.net/">a</a></p>', {"links_hidden": 1}),
    ],
)  # fmt: skip
def test_facts_are_told(raw, expected):
    assert expected.items() <= told(raw).items()


def test_the_envelope_is_a_fact_too():
    found = told(
        "From: a@shop.net\n\nhttps://x.net/?e=YOU@example.org", Address("b", "else.net"), Address("you", "example.org")
    )
    assert {"sender_elsewhere": 1, "recipients": 1, "link_recipient": 1}.items() <= found.items()
    assert told("\nx", Address("", ""))["sender_null"] == 1


def test_what_does_not_hold_is_not_told():
    assert 0 not in told("Subject: x\n\nx").values()
    assert told("") == {"to_missing": 1, "subject_missing": 1, "parts": 1, "plain": 1}


def test_every_fact_that_is_told_has_its_sentence_and_the_other_way_round():
    code = "".join(Path(module.__file__ or "").read_text() for module in (facts, trace, brands))
    made = set(re.findall(r'found\["(\w+)"\]|"(links_\w+)"', code.partition("FREE: Final")[2]))
    assert {name for pair in made for name in pair if name} == set(FACTS)


@given(st.binary(max_size=300))
def test_whatever_comes_has_only_facts_that_are_known(raw):
    assert set(told(b"From: " + raw)) <= set(FACTS)
    assert set(told(raw)) <= set(FACTS)
