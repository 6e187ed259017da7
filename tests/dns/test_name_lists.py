import base64
import hashlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.dns.name_lists import NameList, Subject, digest, folded


def test_a_list_is_asked_for_names_addresses_and_digests():
    names = NameList("dbl.test.", "DBL", 5.0)
    assert names.question_of_name("evil.example") == "evil.example.dbl.test"
    assert names.question_of_address(ip_address("192.0.2.5")) == "5.2.0.192.dbl.test"
    assert names.subjects == {Subject.LINKS}
    assert not names.hashes


def test_a_published_example_has_the_digest_that_it_should():
    """The test point of Spamhaus' hash list: SHA-256 in base32 without padding, asked for in lower case."""
    hbl = NameList("_email.hbl.test", "HBL", 4.0, of=("from",), hash="sha256", encoding="base32")
    wanted = "F3PDGTMWU6LFIGDJC67YNIWRY5ZRM7ERLETNFO36QAEQPMBPW2DA".lower()
    for spelt in ("user@hbltest.com", "User+Tag@HBLtest.com"):
        assert hbl.question_of_mailbox(spelt) == f"{wanted}._email.hbl.test"


def test_a_sha1_in_hexadecimal_is_known_too():
    ebl = NameList("ebl.test", "EBL", 4.0, of=("reply_to",), hash="sha1", fold=False)
    assert ebl.question_of_mailbox("A+b@Example.org") == f"{hashlib.sha1(b'a+b@example.org').hexdigest()}.ebl.test"


@pytest.mark.parametrize(
    ("mailbox", "one"),
    [
        ("Bob@Example.org", "bob@example.org"),
        ("bob+tag+more@example.org", "bob@example.org"),
        ("+tag@example.org", "+tag@example.org"),
        ("f.i.r.st+x@googlemail.com", "first@gmail.com"),
        ("f.i.r.st@example.org", "f.i.r.st@example.org"),
    ],
)
def test_addresses_that_lead_to_one_mailbox_are_one(mailbox, one):
    assert folded(mailbox) == one


@given(st.text(max_size=80), st.sampled_from(["md5", "sha1", "sha256"]), st.sampled_from(["hex", "base32"]))
def test_a_digest_in_base32_fits_into_a_label(text, algorithm, encoding):
    made = digest(text, algorithm, encoding)
    assert len(made) <= 63 or (algorithm, encoding) == ("sha256", "hex")
    if encoding == "base32":
        assert base64.b32decode(made.upper() + "=" * (-len(made) % 8))


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ({"of": ()}, "asked about nothing"),
        ({"of": ("helo",), "hash": "sha1"}, "mail addresses"),
        ({"of": ("links",), "hash": "sha1", "addresses": True}, "addresses"),
        ({"of": ("links",), "hash": "sha256"}, "base32"),
        ({"zone": "nonsense zone"}, "no zone"),
    ],
)
def test_lists_that_cannot_be_are_refused(wrong, mend):
    with pytest.raises(ValueError, match=mend):
        NameList(**({"zone": "l.test", "name": "L", "score": 1.0} | wrong))
