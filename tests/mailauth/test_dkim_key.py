from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.mailauth.dkim_key import KeyType, UnusableKey, key_of

ED25519 = b"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def test_what_a_key_allows() -> None:
    key = key_of({b"v": b"DKIM1", b"k": b"ed25519", b"t": b"y : s", b"h": b"sha256", b"s": b"email", b"p": ED25519})
    assert (key.kind, key.bits, key.testing, key.strict, key.hashes, key.for_mail, key.acceptable) == (
        KeyType.ED25519, 256, True, True, frozenset({b"sha256"}), True, True,
    )  # fmt: skip


def test_a_key_without_restrictions_is_for_everything() -> None:
    key = key_of({b"k": b"ed25519", b"p": ED25519})
    assert (key.testing, key.strict, key.hashes, key.for_mail) == (False, False, None, True)


def test_folds_in_a_key_do_not_matter() -> None:
    assert key_of({b"k": b"ed25519", b"p": ED25519[:10] + b" \t" + ED25519[10:]}).bits == 256


@pytest.mark.parametrize(
    ("p", "why"), [(b"", "key was revoked"), (b" ", "key was revoked"), (b"A", "key is not base64")]
)
def test_why_a_key_is_none(p: bytes, why: str) -> None:
    with pytest.raises(UnusableKey, match=why):
        key_of({b"p": p})


@given(st.dictionaries(st.sampled_from([b"v", b"k", b"p", b"t", b"h", b"s"]), st.binary(max_size=400)))
def test_any_tags_are_a_key_or_none(tags: dict[bytes, bytes]) -> None:
    try:
        key = key_of(tags)
    except UnusableKey:
        return
    assert not key.verifies(b"x", b"y" * 32)
