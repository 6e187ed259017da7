import base64
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.dns.lists import Family
from gatekeeper.dns.name_lists import NameList, Subject, digest, folded


@pytest.mark.parametrize(
    ("settings", "families"),
    [
        ({}, (Family.NAMES,)),
        ({"addresses": True}, (Family.NAMES, Family.IPV4, Family.IPV6)),
        ({"addresses": True, "ipv6": False}, (Family.NAMES, Family.IPV4)),
        ({"hash": "md5"}, (Family.HASHES,)),
    ],
)
def test_a_list_is_tested_in_what_it_is_asked_about(settings, families):
    assert NameList("l.test", "L", 1.0, **settings).families == families


def test_the_test_points_are_of_what_is_asked_about():
    names = NameList("l.test", "L", 1.0, addresses=True, test_listed="listed.example")
    assert names.test_points(Family.NAMES) == ("listed.example", "invalid")
    assert names.test_points(Family.IPV4) == ("2.0.0.127", "1.0.0.127")
    hashes = NameList("h.test", "H", 1.0, hash="sha1", test_listed="a@example.org", test_not_listed="x" * 40)
    assert hashes.test_points(Family.HASHES) == (digest("a@example.org", "sha1", "hex"), "x" * 40)
    assert NameList("h.test", "H", 1.0, hash="sha1").test_points(Family.HASHES) == ("", "")


@pytest.mark.parametrize(
    ("algorithm", "encoding", "length"), [("md5", "hex", 32), ("sha1", "base32", 32), ("sha256", "base32", 52)]
)
def test_the_control_of_a_hash_list_is_a_digest_as_it_knows_them_and_always_another(algorithm, encoding, length):
    each = NameList("h.test", "H", 1.0, hash=algorithm, encoding=encoding)
    made = {each.control_labels(Family.HASHES, random.Random(seed)) for seed in range(50)}
    assert ({len(one) for one in made}, len(made)) == ({length}, 50)


def test_the_control_of_a_list_of_names_is_below_invalid():
    assert NameList("l.test", "L", 1.0).control_labels(Family.NAMES, random.Random(1)).endswith(".invalid")


def test_a_list_is_asked_for_names_and_digests():
    names = NameList("dbl.test.", "DBL", 5.0)
    assert names.families == (Family.NAMES,)
    assert names.subjects == {Subject.LINKS}
    assert not names.hashes


def test_a_published_example_has_the_digest_that_it_should():
    """The test point of Spamhaus' hash list: SHA-256 in base32 without padding, asked for in lower case."""
    hbl = NameList("_email.hbl.test", "HBL", 4.0, of=("from",), hash="sha256", encoding="base32")
    wanted = "F3PDGTMWU6LFIGDJC67YNIWRY5ZRM7ERLETNFO36QAEQPMBPW2DA".lower()
    for spelt in ("user@hbltest.com", "User+Tag@HBLtest.com"):
        assert hbl.labels_of_mailbox(spelt) == wanted


def test_a_sha1_in_hexadecimal_is_known_too():
    ebl = NameList("ebl.test", "EBL", 4.0, of=("reply_to",), hash="sha1", fold=False)
    assert ebl.labels_of_mailbox("A+b@Example.org") == hashlib.sha1(b"a+b@example.org").hexdigest()


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
