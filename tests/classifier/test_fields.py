import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.classifier import fields
from gatekeeper.classifier.fields import of_header, of_text
from gatekeeper.classifier.words import words_of
from gatekeeper.message.domains import registered_domain
from gatekeeper.message.header import author_of, header_of
from tests.support.mail import message_of


def header_traits(text: str) -> set[str]:
    message = message_of(text + "\n\nx\n")
    author = author_of(message)
    return set(of_header(header_of(message), author, registered_domain(author.domain or "")))


@pytest.mark.parametrize(
    ("header", "trait"),
    [
        ("From: Anna <a@example.com>", "from:own named"),
        ("From: a@gmail.com", "from:free bare"),
        ("From: SUPPORT <a@example.com>", "from name:upper case"),
        ('From: "help@bank.example" <a@example.com>', "from name:another address"),
        ("From: Anna <a@example.com>\nReply-To: b@gmail.com", "reply-to:free"),
        ("From: Anna <a@example.com>\nReply-To: b@mail.example.com", "reply-to:same"),
        ("From: Anna <a@example.com>\nSubject: Re: hello", "answers:True False"),
        ("From: Anna <a@example.com>\nSubject: Re: hello\nIn-Reply-To: <x@y>", "answers:True True"),
        ("From: Anna <a@example.com>\nMessage-ID: <1@mail.example.com>", "id at:author"),
        ("From: Anna <a@example.com>\nMessage-ID: <1@localhost>", "id at:no name"),
        ("To: undisclosed-recipients:;", "to:undisclosed"),
        ("Subject: =?UTF-8?B?aGVsbG8=?=", "subject written:utf-8"),
    ],
)
def test_a_header_has_the_trait(header, trait):
    assert trait in header_traits(header)


def test_who_wrote_to_whom_and_by_which_path_is_no_trait():
    one = header_traits(
        "Received: from a.example (a.example [192.0.2.1]) by mx.example.org\nDelivered-To: x@example.org\n"
        "From: Anna <anna@example.com>\nTo: Bert <bert@example.org>\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n"
        "Message-ID: <abc@mail.example.com>\nX-Spam-Flag: YES\nList-Archive: <https://lists.example.net/a>"
    )
    other = header_traits(
        "Received: from b.example (b.example [192.0.2.2]) by mx.example.net\n"
        "From: Anna <anna@example.edu.com>\nTo: Carl <carl@example.net>\nDate: Tue, 2 Jul 2002 00:00:00 -0700\n"
        "Message-ID: <xyz9@mail.example.edu.com>"
    )
    assert one ^ other <= {"from labels:1", "from labels:2"}


@pytest.mark.parametrize(
    ("text", "trait"),
    [
        ("You won $5,000,000 dollars", "text money:millions"),
        ("LIMITED OFFER CLICK HERE", "text shouted:9"),
        ("send bitcoin to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "text coin:yes"),
        ("Пaypal", "text script:mixed"),
        ("> quoted\n> again", "text quoted:9"),
        ("hi\n-- \nAnna", "text:signature"),
    ],
)
def test_a_text_has_the_trait(text, trait):
    assert trait in set(of_text("text", text, words_of(text)))


SIGNS = [
    *(
        "free",
        "FREE",
        "SHOUTEDé",
        "_AAAA",
        "A",
        "!",
        "?!",
        "$5",
        "€ 5",
        "5 USD",
        "7,5 million",
        "1,000,000",
        "0",
        " ",
        "\n",
    ),
    *("+1 (555) 123-4567", "1 2       3", "\n> ", "\n|", "\n-- \n", "ж", "é", "٣", "\xa0", "bitcoin ", "ſ", "👍"),
    *("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", " illion", "eur"),
]


@given(st.lists(st.sampled_from(SIGNS), max_size=25).map("".join), st.sampled_from(["text", "subject"]))
def test_what_is_looked_for_in_signs_alone_is_found_as_in_the_whole(text, place):
    words = words_of(text)
    fast = list(of_text(place, text, words))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields, "_COMMON", b"")
        patch.setattr(fields, "_has_unit", lambda _octets: True)
        assert list(of_text(place, text, words._replace(long=max(1, words.long)))) == [
            f"{place} long words:{min(max(1, words.long), 5)}" if "long words" in each else each for each in fast
        ]
