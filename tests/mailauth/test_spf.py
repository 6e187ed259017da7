"""SPF beyond the suite: identities, unsure DNS, memory, and records written by enemies."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.dns.resolver import Answer, Status
from gatekeeper.mailauth import spf as module
from gatekeeper.mailauth.spf import (
    Claim,
    SpfCode,
    SpfIdentity,
    SpfResult,
    check_host,
    forget,
    helo_of,
    mail_from,
    printable,
)
from gatekeeper.model import Address
from tests.support.cost import cost_of
from tests.support.fake_resolver import FakeResolver, Zone


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    forget()


CLIENT = ip_address("192.0.2.1")
SENDER = Address("joe", "example.com")


def claim(sender: Address = SENDER, *, client: str = "192.0.2.1", helo: str | None = "mx.example.com") -> Claim:
    return mail_from(ip_address(client), sender, helo, "mx.test")


async def check(zone: Zone, asked: Claim | None = None) -> SpfResult:
    return await check_host(FakeResolver(zone), asked or claim())


def spf(record: str | bytes, **others: str) -> dict[tuple[str, str], Any]:
    """A zone in which example.com has that record, and others theirs."""
    texts = {"example.com": record, **{name.replace("_", "."): text for name, text in others.items()}}
    return {(name, "TXT"): [text if isinstance(text, bytes) else text.encode()] for name, text in texts.items()}


async def test_the_sender_s_domain_is_asked() -> None:
    result = await check(spf("v=spf1 ip4:192.0.2.0/24 -all"))
    assert result == SpfResult(SpfCode.PASS, "example.com", SpfIdentity.MAILFROM)


async def test_for_an_empty_sender_the_client_s_own_name_is_asked() -> None:
    zone: dict[tuple[str, str], Any] = {
        ("mx.example.net", "TXT"): [b"v=spf1 exists:%{l}.%{d}.test -all"],
        ("postmaster.mx.example.net.test", "A"): ["127.0.0.2"],
    }
    result = await check(zone, claim(Address("", ""), helo="MX.example.net."))
    assert result == SpfResult(SpfCode.PASS, "mx.example.net", SpfIdentity.HELO)


@pytest.mark.parametrize("helo", [None, "", "localhost", "[192.0.2.1]", "a..b", "x" * 64 + ".test", "é.test", "a b"])
async def test_a_name_that_is_no_domain_has_nothing_to_say(helo: str | None) -> None:
    resolver = FakeResolver()
    result = await check_host(resolver, claim(Address("", ""), helo=helo))
    assert result.code is SpfCode.NONE
    assert not resolver.asked


async def test_the_name_in_helo_can_be_asked_for_by_itself() -> None:
    zone = {("mx.example.net", "TXT"): [b"v=spf1 -all"]}
    result = await check(zone, helo_of(CLIENT, "mx.example.net"))
    assert (result.code, result.identity) == (SpfCode.FAIL, SpfIdentity.HELO)


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.REFUSED, Status.NONSENSE, Status.BUDGET])
@pytest.mark.parametrize("question", [("example.com", "TXT"), ("a.test", "A"), ("b.test", "TXT")])
async def test_an_answer_that_cannot_be_had_is_a_temperror(status: Status, question: tuple[str, str]) -> None:
    zone = spf("v=spf1 a:a.test include:b.test -all") | {
        ("a.test", "A"): ["192.0.2.9"],
        ("b.test", "TXT"): [b"v=spf1 -all"],
    }
    result = await check(zone | {question: status})
    assert result.code is SpfCode.TEMPERROR
    assert question[0] in result.reason


async def test_an_answer_that_does_not_matter_may_be_missing() -> None:
    zone = spf("v=spf1 ip4:192.0.2.1 include:b.test -all") | {("b.test", "TXT"): Status.TIMEOUT}
    assert (await check(zone)).code is SpfCode.PASS


async def test_an_answer_that_never_comes_ends_in_a_temperror() -> None:
    result = await check_host(Silent(), claim(), time_limit=0.001)
    assert (result.code, result.reason) == (SpfCode.TEMPERROR, "evaluation took too long")


class Silent(FakeResolver):
    async def ask(self, name: str, rtype: str):
        import asyncio

        await asyncio.get_running_loop().create_future()


async def test_mx_hosts_are_asked_for_together_and_included_records_ahead() -> None:
    zone = spf("v=spf1 mx include:b.test -all", b_test="v=spf1 include:c.test ?all", c_test="v=spf1 ?all")
    hosts = {
        ("example.com", "MX"): [(1, "m1.test"), (2, "m2.test")],
        ("m1.test", "A"): [],
        ("m2.test", "A"): ["192.0.2.1"],
    }
    resolver = FakeResolver(zone | hosts)
    assert (await check_host(resolver, claim())).code is SpfCode.PASS
    assert resolver.asked == [
        ("example.com", "TXT"), ("b.test", "TXT"), ("c.test", "TXT"),
        ("example.com", "MX"), ("m1.test", "A"), ("m2.test", "A"),
    ]  # fmt: skip


async def test_an_explanation_is_asked_for_only_when_it_is_told() -> None:
    resolver = FakeResolver(spf("v=spf1 ip4:192.0.2.1 -all exp=why.test", why_test="%{i} is not one of %{o}'s"))
    await check_host(resolver, claim())
    assert ("why.test", "TXT") not in resolver.asked
    told = await check_host(resolver, claim(client="192.0.2.7"))
    assert (told.code, told.explanation) == (SpfCode.FAIL, "192.0.2.7 is not one of example.com's")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"see\r\nX-Injected: yes\x00\x1b[31m", "see??X-Injected: yes??[31m"),
        ("für".encode(), ""),
        (b"x" * 600, ""),
        (b"%{z} %(", ""),
        (b"%{s} at %{c} by %{r}%%%_%-", "joe@example.com at 192.0.2.1 by mx.test% %20"),
        (b"%{S}", "joe%40example.com"),
    ],
)
async def test_what_an_explanation_may_say(text: bytes, told: str) -> None:
    zone = spf("v=spf1 -all exp=why.test") | {("why.test", "TXT"): [text]}
    assert (await check(zone)).explanation == told


async def test_several_explanations_or_none_explain_nothing() -> None:
    for texts in ([], [b"one", b"two"], Status.TIMEOUT):
        zone: dict[tuple[str, str], Any] = {**spf("v=spf1 -all exp=why.test"), ("why.test", "TXT"): texts}
        assert await check(zone) == SpfResult(SpfCode.FAIL, "example.com", SpfIdentity.MAILFROM)


async def test_a_redirect_leaves_the_explanation_behind() -> None:
    zone = spf("v=spf1 redirect=b.test exp=why.test", b_test="v=spf1 -all", why_test="not mine")
    assert (await check(zone)).explanation == ""


@pytest.mark.parametrize(
    ("term", "name"),
    [
        ("%{l}", "strong-bad.t"), ("%{l-}", "strong.bad.t"), ("%{lr-}", "bad.strong.t"), ("%{l1r-}", "strong.t"),
        ("%{d2}", "example.com.t"), ("%{dr}", "com.example.email.t"), ("%{d1r}", "email.t"), ("%{p}", "unknown.t"),
        ("%{h}", "mx.example.com.t"), ("%{o}", "email.example.com.t"), ("%{s}", "strong-bad@email.example.com.t"),
        ("%{ir}.%{v}", "1.2.0.192.in-addr.t"),
        ("%{L}", "strong-bad.t"), ("%{d99999999999}", "email.example.com.t"),
    ],
)  # fmt: skip
async def test_macros(term: str, name: str) -> None:
    zone: dict[tuple[str, str], Any] = {
        ("email.example.com", "TXT"): [f"v=spf1 exists:{term}.t -all".encode()],
        (name, "A"): ["127.0.0.2"],
    }
    assert (await check(zone, claim(Address("strong-bad", "email.example.com")))).code is SpfCode.PASS


@pytest.mark.parametrize(
    "term", ["%{d0}.t", "%{x}.t", "%{}.t", "%{d", "%a.t", "%", "%{c}.t", "%{r}.t", "%{t}.t", "%{d-a}.t"]
)
async def test_macros_that_are_none_make_a_permerror(term: str) -> None:
    assert (await check(spf(f"v=spf1 exists:{term} -all"))).code is SpfCode.PERMERROR


async def test_a_name_that_grows_too_long_loses_labels_at_its_left() -> None:
    sender = Address(".".join(["abcdefg"] * 31), "example.com")
    kept = ".".join(["abcdefg"] * 29) + ".xx.t.example.com"
    zone = spf("v=spf1 exists:%{l}.xx.t.%{d} -all") | {(kept, "A"): ["127.0.0.2"]}
    assert len(kept) <= 253 < len(kept) + 8
    assert (await check(zone, claim(sender))).code is SpfCode.PASS


async def test_a_local_part_beyond_ascii_matches_nothing_and_harms_nothing() -> None:
    zone = spf("v=spf1 exists:%{l}.t ip4:192.0.2.1 -all")
    resolver = FakeResolver(zone)
    assert (await check_host(resolver, claim(Address("jürgen", "example.com")))).code is SpfCode.PASS
    assert resolver.asked == [("example.com", "TXT")]


@pytest.mark.parametrize("helo", ["a b.test", "a\\b.test", "a\tb.test", "a\x7fb.test"])
async def test_a_client_s_name_that_nobody_can_ask_for_leaves_nothing_open(helo: str) -> None:
    """As it is with domains whose record is one macro: a forged sender would be neither passed nor failed."""
    resolver = FakeResolver(spf("v=spf1 exists:%{i}._ip.%{h}._ehlo.%{d}._spf.test -all"))
    resolver.answers[f"192.0.2.1._ip.{helo}._ehlo.example.com._spf.test", "A"] = Status.NONSENSE
    assert (await check_host(resolver, claim(helo=helo))).code is SpfCode.FAIL
    for seen in ("[192.0.2.66]", "a+b='c.test"):
        resolver.asked.clear()
        assert (await check_host(resolver, claim(helo=seen))).code is SpfCode.FAIL
        assert resolver.asked[1:] == [(f"192.0.2.1._ip.{seen}._ehlo.example.com._spf.test", "A")]


async def test_an_at_sign_in_a_quoted_local_part_is_no_domain() -> None:
    zone = spf("v=spf1 ip4:192.0.2.1 -all") | {("evil.test@example.com", "TXT"): [b"v=spf1 +all"]}
    result = await check(zone, claim(Address("a@evil.test", "example.com"), client="192.0.2.2"))
    assert (result.code, result.domain) == (SpfCode.FAIL, "example.com")


async def test_a_name_of_the_client_that_cannot_be_looked_up_is_no_error() -> None:
    zone = spf("v=spf1 ptr:example.com ip4:192.0.2.1 -all") | {("1.2.0.192.in-addr.arpa", "PTR"): Status.TIMEOUT}
    assert (await check(zone)).code is SpfCode.PASS
    zone |= {
        ("1.2.0.192.in-addr.arpa", "PTR"): ["a.example.com", "b.example.com"],
        ("a.example.com", "A"): Status.TIMEOUT,
    }
    zone |= {("b.example.com", "A"): ["192.0.2.1"], ("example.com", "TXT"): [b"v=spf1 ptr:example.com -all"]}
    assert (await check(zone)).code is SpfCode.PASS


async def test_an_ipv6_client_and_a_mapped_one() -> None:
    zone = spf("v=spf1 ip6:2001:db8::/32 ip4:192.0.2.0/24 a:a.test -all") | {("a.test", "AAAA"): ["2001:db9::1"]}
    for client, code in (
        ("2001:db8::5", SpfCode.PASS),
        ("2001:db9::1", SpfCode.PASS),
        ("::ffff:192.0.2.1", SpfCode.PASS),
        ("2001:dba::", SpfCode.FAIL),
    ):
        assert (await check(zone, claim(client=client))).code is code, client


# Memory.


async def test_what_is_remembered_is_asked_for_at_once_and_never_older_than_dns() -> None:
    zone = spf("v=spf1 a:a.test a:b.test -all")
    resolver = FakeResolver(zone | {("a.test", "A"): ["192.0.2.8"], ("b.test", "A"): ["192.0.2.1"]})
    for _ in range(2):
        assert (await check_host(resolver, claim())).code is SpfCode.PASS
    resolver.answers["b.test", "A"] = ["192.0.2.2"]
    assert (await check_host(resolver, claim())).code is SpfCode.FAIL
    resolver.answers["example.com", "TXT"] = [b"v=spf1 ip4:192.0.2.1 -all"]
    assert (await check_host(resolver, claim())).code is SpfCode.PASS
    resolver.answers["example.com", "TXT"] = Status.TIMEOUT
    assert (await check_host(resolver, claim())).code is SpfCode.TEMPERROR


@pytest.mark.parametrize(
    ("record", "change"),
    [
        ("v=spf1 exists:%{l}.t -all", {"sender": Address("eve", "example.com")}),
        ("v=spf1 exists:%{S}.t -all", {"sender": Address("eve", "example.com")}),
        ("v=spf1 exists:%{h}.t -all", {"helo": "evil.test"}),
        ("v=spf1 exists:%{i}.t -all", {"client": "192.0.2.66"}),
    ],
)
async def test_nobody_gets_the_outcome_of_another(record: str, change: dict[str, Any]) -> None:
    names = ("joe.t", "joe%40example.com.t", "mx.example.com.t", "192.0.2.1.t")
    resolver = FakeResolver(spf(record) | {(name, "A"): ["127.0.0.2"] for name in names})
    assert (await check_host(resolver, claim())).code is SpfCode.PASS
    assert (await check_host(resolver, claim(**change))).code is SpfCode.FAIL
    assert (await check_host(resolver, claim())).code is SpfCode.PASS


# Enemies. Each has a defined end, few questions, and would take hours were the work not in proportion to the text.


async def test_records_that_include_each_other() -> None:
    resolver = FakeResolver(spf("v=spf1 include:b.test -all", b_test="v=spf1 include:example.com -all"))
    assert (await check_host(resolver, claim())).code is SpfCode.PERMERROR
    assert len(resolver.asked) == 2


async def test_records_nested_twelve_deep() -> None:
    zone = {(f"n{depth}.test", "TXT"): [f"v=spf1 include:n{depth + 1}.test -all".encode()] for depth in range(12)}
    resolver = FakeResolver(zone)
    assert (await check_host(resolver, claim(Address("a", "n0.test")))).code is SpfCode.PERMERROR
    assert len(resolver.asked) <= 13


async def test_a_tree_of_records_that_multiplies() -> None:
    zone = {
        (f"t{name}.test", "TXT"): [
            ("v=spf1 " + " ".join(f"include:t{name}{n}.test" for n in range(9)) + " -all").encode()
        ]
        for name in ("", *map(str, range(9)), *(f"{a}{b}" for a in range(9) for b in range(9)))
    }
    resolver = FakeResolver(zone)
    assert (await check_host(resolver, claim(Address("a", "t.test")))).code is SpfCode.PERMERROR
    assert len(resolver.asked) <= 60


def heavy(domain: str = "example.com", rest: str = "-all", before: str = "") -> dict[tuple[str, str], Any]:
    """A record that is within all limits of RFC 7208 and needs 110 answers."""
    zone: dict[tuple[str, str], Any] = {
        (domain, "TXT"): [f"v=spf1 {before}{' '.join(f'mx:m{n}.{domain}' for n in range(10))} {rest}".encode()]
    }
    for n in range(10):
        zone[f"m{n}.{domain}", "MX"] = [(1, f"h{n}x{host}.{domain}") for host in range(10)]
        zone |= {(f"h{n}x{host}.{domain}", "A"): ["198.51.100.9"] for host in range(10)}
    return zone


class Cached(FakeResolver):
    """Knows all by heart."""

    def cached(self, name: str, rtype: str) -> Answer | None:
        value = self.answers.get((name, rtype))
        return Answer(Status.OK, tuple(value)) if value is not None and not isinstance(value, Status) else None


@pytest.mark.parametrize("kind", [FakeResolver, Cached])
async def test_whose_record_needs_more_answers_than_are_asked_for_cannot_be_understood(
    kind: type[FakeResolver],
) -> None:
    """Whether they are in the cache or not: the same record has one result."""
    got = await check_host(kind(heavy()), claim(), questions=30)
    assert (got.code, got.reason) == (SpfCode.PERMERROR, "SPF Permanent Error: too many look-ups")
    assert (await check_host(kind(heavy()), claim())).code is SpfCode.FAIL
    resolver = kind(heavy(before="a:a.test ") | {("a.test", "A"): ["192.0.2.1"]})
    assert (await check_host(resolver, claim(), questions=30)).code is SpfCode.PASS


@pytest.mark.parametrize("term", ["a:n<n>.%{l}.%{d}", "x<n>=n<n>.%{l}.%{d}", "a:n<n>.%{p}"])
async def test_what_a_record_makes_of_a_claim_is_worked_out_once_however_many_answers_come(
    term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    runs: list[int] = []
    expanded, run = module._Evaluation._expanded, module._Evaluation.run

    def counted(self: Any, s: str, stripdot: bool) -> str:
        made.append(s)
        return expanded(self, s, stripdot)

    def counted_run(self: Any) -> SpfResult:
        runs.append(len(self.answers))
        return run(self)

    monkeypatch.setattr(module._Evaluation, "_expanded", counted)
    monkeypatch.setattr(module._Evaluation, "run", counted_run)
    zone = heavy(rest=" ".join(term.replace("<n>", str(n)) for n in range(300)))
    zone |= {("1.2.0.192.in-addr.arpa", "PTR"): ["mail.example.com"], ("mail.example.com", "A"): ["192.0.2.1"]}
    await check_host(FakeResolver(zone), claim())
    assert len([text for text in made if "%" in text]) <= 301  # once more until the client's name is known
    assert len(runs) <= 23  # for ten answers with ten hosts each, and the client's name


async def test_what_depends_on_answers_is_worked_out_anew() -> None:
    zone = spf("v=spf1 a:first.test include:%{d}.b.test exists:%{p}.%{d}.ok.test -all")
    zone |= {("example.com.b.test", "TXT"): [b"v=spf1 exists:%{d}.%{l}.ok.test -all"]}
    zone |= {("first.test", "A"): ["198.51.100.9"]}
    zone |= {("1.2.0.192.in-addr.arpa", "PTR"): ["mail.example.com"], ("mail.example.com", "A"): ["192.0.2.1"]}
    fail = await check(zone)
    resolver = FakeResolver(zone | {("other.example.com", "A"): ["192.0.2.1"]})
    for name in ("mail.example.com", "other.example.com"):  # remembered with the answer that it rests on
        resolver.answers["1.2.0.192.in-addr.arpa", "PTR"] = [name]
        resolver.asked.clear()
        assert (await check_host(resolver, claim())).code is SpfCode.FAIL
        assert ("1.2.0.192.in-addr.arpa", "PTR") in resolver.asked
    zone |= {("mail.example.com.example.com.ok.test", "A"): ["127.0.0.2"]}
    assert (fail.code, (await check(zone)).code) == (SpfCode.FAIL, SpfCode.PASS)
    del zone["mail.example.com.example.com.ok.test", "A"]
    zone |= {("example.com.b.test.joe.ok.test", "A"): ["127.0.0.2"]}  # the same macro in another record
    assert (await check(zone)).code is SpfCode.PASS


async def test_questions_in_all_have_an_end_whatever_is_asked_ahead_or_remembered() -> None:
    includes = " ".join(f"include:i{n}.test" for n in range(60))
    resolver = FakeResolver(heavy() | heavy("other.test", rest=includes))
    for sender in ("example.com", "other.test"):
        resolver.asked.clear()
        await check_host(resolver, claim(Address("a", sender)), questions=30)
        assert len(resolver.asked) <= 40
    remembered = FakeResolver(spf("v=spf1 mx:m0.example.com mx:m1.example.com -all"))
    remembered.answers |= {key: value for key, value in heavy().items() if key[1] != "TXT"}
    assert (await check_host(remembered, claim(), questions=30)).code is SpfCode.FAIL
    assert (await check_host(remembered, claim(), questions=15)).code is SpfCode.PERMERROR  # that is another matter
    remembered.answers["example.com", "TXT"] = [b"v=spf1 mx:m2.example.com mx:m3.example.com ?all"]
    remembered.asked.clear()
    changed = await check_host(remembered, claim(), questions=30)
    assert changed.code is SpfCode.TEMPERROR  # and soon it is not, since what is remembered is in the cache by then
    assert len(remembered.asked) <= 40


async def test_more_than_ten_hosts_of_a_name_are_not_looked_up() -> None:
    zone = spf("v=spf1 mx -all") | {("example.com", "MX"): [(n, f"m{n}.test") for n in range(2000)]}
    resolver = FakeResolver(zone)
    assert (await check_host(resolver, claim())).code is SpfCode.PERMERROR
    assert len(resolver.asked) == 2


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b"v=spf1 " + b"a:x.test " * 100_000, SpfCode.PERMERROR),
        (b"v=spf1 include:" + b"a" * 1_000_000, SpfCode.PERMERROR),
        (b"x" * 1_000_000, SpfCode.NONE),
        (b"v=spf1 exists:" + b"a." * 4000 + b"%{d} -all", SpfCode.PERMERROR),
        (b"v=spf1 redirect=." + b"a" * 8000 + b"!", SpfCode.PERMERROR),
        (b"v=spf1 exp=" + b"%{" * 4000, SpfCode.PERMERROR),
        (b"v=spf1 a:" + b"%{d}" * 2000 + b" -all", SpfCode.PERMERROR),
        (b"v=spf1 a:%{d" + b"9" * 5000 + b"}.test -all", SpfCode.PERMERROR),
        (b"v=spf1 " + b"ip4:192.0.2.9 " * 580 + b"-all", SpfCode.FAIL),
        (b"v=spf1 " + b"? " * 4000, SpfCode.PERMERROR),
        (b"v=spf1 ip4:1.2.3.4/" + b"9" * 490 + b" -all", SpfCode.PERMERROR),
        (b"v=spf1 \xff -all", SpfCode.PERMERROR),
        (b"v=spf1 a:\x00.test -all", SpfCode.PERMERROR),
        (b"v=spf1 =x", SpfCode.PERMERROR),
        (b"v=spf1 %{x}=y", SpfCode.PERMERROR),
    ],
)
async def test_records_that_are_meant_to_hurt(record: bytes, code: SpfCode) -> None:
    resolver = FakeResolver({("example.com", "TXT"): [record]})
    result = await check_host(resolver, claim())
    assert result.code is code, result
    assert len(resolver.asked) <= 5
    assert len(result.reason) <= 400
    assert result.reason.isprintable()


FRAGMENTS = st.sampled_from(
    ["v=spf1", " ", "-all", "?all", "a", "mx", "ptr", "include:", "redirect=", "exp=", "exists:", "ip4:", "ip6:",
     "192.0.2.1", "::1", "/24", "//64", "/", "example.com", "b.test", ".", "%{", "}", "%{i}", "%{l1r-}", "%{p}", "%%",
     "%", "+", "~", "=", ":", "é", "\x00"]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=30).map("".join), st.lists(FRAGMENTS, max_size=20).map("".join))
async def test_any_record_ends_in_a_result_after_few_questions(first: str, second: str) -> None:
    zone = spf("v=spf1 " + first, b_test="v=spf1 " + second)
    resolver = FakeResolver(zone | {("example.com", "MX"): [(1, "b.test")], ("b.test", "A"): ["192.0.2.1"]})
    result = await check_host(resolver, claim())
    assert isinstance(result.code, SpfCode)
    assert len(resolver.asked) <= 60


@given(st.text(max_size=1000))
def test_what_is_shown_of_a_stranger_s_words_is_short_and_printable(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= 400
    assert not shown or (shown.isascii() and shown.isprintable())


@pytest.mark.slow
@pytest.mark.parametrize("unit", [b"ip4:192.0.2.9 ", b"a:x.test ", b"? ", b"x" * 14, b"exp=%{i} "])
def test_cost_grows_no_faster_than_the_record(unit: bytes) -> None:
    import asyncio

    def evaluated(times: int) -> None:
        forget()
        resolver = FakeResolver({("example.com", "TXT"): [b"v=spf1 " + unit * times + b"-all"]})
        asyncio.run(check_host(resolver, claim()))

    assert (
        cost_of(lambda: evaluated(560)) / cost_of(lambda: evaluated(70)) < 16
    )  # in proportion it is 8, and 64 if squared
