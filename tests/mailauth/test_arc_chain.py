from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.mailauth.arc_chain import MOST_SETS, Chain, body_kind_of, chain_of, read_chain, results_of
from gatekeeper.mailauth.dkim_canonical import Canon
from gatekeeper.wire.auth_results import AuthResults, Result
from gatekeeper.wire.headers import parse_header
from tests.support.cost import cost_of
from tests.support.mail import message_of

B = "AAAA"


def one_set(instance: int, *, results: str = "mx.example; none", limit: str = "") -> bytes:
    chain = "none" if instance == 1 else "pass"
    return (
        f"ARC-Seal: i={instance}; a=rsa-sha256; cv={chain}; d=a.example; s=s; b={B}\r\n"
        f"ARC-Message-Signature: i={instance}; a=rsa-sha256; c=relaxed/simple; d=a.example; s=s; h=from; bh={B};"
        f"{limit} b={B}\r\n"
        f"ARC-Authentication-Results: i={instance}; {results}\r\n"
    ).encode()


def read(block: bytes) -> Chain:
    return read_chain(parse_header(block))


def test_sets_are_put_in_their_order_wherever_they_stand():
    fields = [one_set(n) for n in (1, 2, 3)]
    lines = b"".join(fields).splitlines(keepends=True)
    random.Random(7).shuffle(lines)
    chain = read(b"From: a@b.example\r\n" + b"".join(lines))
    assert [one.seal.field.text[:4] for one in chain.sets] == ["i=1;", "i=2;", "i=3;"]
    assert [one.results.text[:4] for one in chain.sets] == ["i=1;", "i=2;", "i=3;"]
    assert (chain.broken, chain.count) == ("", 3)


def test_a_message_without_a_chain_has_none_and_is_read_once():
    message = message_of("From: a@b.example\n\nx\n")
    assert chain_of(message) == Chain()
    assert chain_of(message) is chain_of(message)
    assert body_kind_of(chain_of(message)) is None


def test_the_newest_signature_says_which_body_is_covered():
    assert body_kind_of(read(one_set(1))) == (Canon.SIMPLE, None)
    assert body_kind_of(read(one_set(1) + one_set(2, limit=" l=5;"))) == (Canon.SIMPLE, 5)


def test_what_a_set_found_is_read():
    (one,) = read(one_set(1, results="mx.example 1; dkim=pass header.d=b.example")).sets
    assert results_of(one) == AuthResults("mx.example", (Result("dkim", "pass", (("header.d", "b.example"),)),))
    (one,) = read(one_set(1, results="spf=pass")).sets
    assert results_of(one) is None


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (one_set(2), "gap"),
        (one_set(1) + one_set(3), "gap"),
        (one_set(1) + one_set(1), "two arc-authentication-results in set 1"),
        (one_set(1).replace(b"ARC-Seal", b"X"), "gap"),
        (one_set(1).replace(b"cv=none", b"cv=pass"), "cv=pass"),
        (one_set(1).replace(b"cv=none; ", b""), "without cv="),
        (one_set(1).replace(b"a=rsa-sha256; cv", b"a=rsa-sha1; cv"), "algorithm"),
        (one_set(1).replace(b"s=s; b=AAAA", b"s=-; b=AAAA"), "not a name"),
        (one_set(1).replace(b"s=s; b=AAAA", b"s=s; b=A?"), "base64"),
        (one_set(1).replace(b"h=from", b"h=to"), "From is not signed"),
        (one_set(1).replace(b"h=from", b"h=from:arc-seal"), "covers seals"),
        (one_set(1).replace(b"h=from", b"v=1; h=from"), "v="),
        (one_set(1).replace(b"i=1; mx", b"mx"), "without an instance"),
        (one_set(1).replace(b"i=1; mx", b"i=\xe4; mx"), "without an instance"),
        (one_set(1).replace(b"i=1; mx", b"(i=1; mx"), "without an instance"),
        (one_set(1).replace(b"ARC-Seal: i=1", b"ARC-Seal: i=01"), ""),
        (one_set(1).replace(b"ARC-Seal: i=1", b"ARC-Seal: i=1.0"), "without an instance"),
        (one_set(1).replace(b"ARC-Seal: i=1", b"ARC-Seal: i=" + b"9" * 5000), "without an instance"),
        (one_set(1).replace(b"ARC-Seal:", b"ARC-Seal :"), "proper field"),
        (one_set(1).replace(b"mx.example", b"mx" * 20000), "proper field"),
        (b"".join(one_set(n) for n in range(1, 61)), "more than 50"),
    ],
)
def test_what_is_no_chain_says_why(block: bytes, why: str):
    chain = read(block)
    if not why:
        assert len(chain.sets) == 1
        return
    assert why in chain.broken
    assert (chain.sets, chain.newest) == ((), None)


@given(st.lists(st.sampled_from([one_set(n) for n in (1, 2, 9)]) | st.binary(max_size=40), max_size=6))
def test_any_header_is_a_chain_or_is_not(parts: list[bytes]):
    chain = read(b"".join(parts))
    assert bool(chain.sets) == (chain.newest is not None)
    assert not (chain.sets and chain.broken)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"".join(one_set(1 + k % MOST_SETS) for k in range(n // 400)),
        lambda n: one_set(1).replace(b"h=from", b"h=from" + b":x" * (n // 20)),
        lambda n: one_set(1).replace(b"d=a", b" " * (n // 20) + b"d=a"),
        lambda n: one_set(1).replace(b"i=1; mx", b"(" * n + b"i=1; mx"),
        lambda n: b"ARC-Seal: " + b"a;" * (n // 20),
        lambda n: b"no colon here\r\n" * (n // 20) + one_set(1),
    ],
)
def test_hostile_chains_are_read_in_linear_time(make: Callable[[int], bytes]):
    def cost(size: int) -> float:
        header = parse_header(make(size))
        return cost_of(lambda: [read_chain(header) for _ in range(20)])

    assert cost(200_000) < 3 * cost(100_000) + 0.02
