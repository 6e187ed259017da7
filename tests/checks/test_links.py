import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.links import LinkEvidence, Links, LinksEvidence
from gatekeeper.message.links import MOST
from gatekeeper.model import Envelope, Finding, Kind, Mail, Session
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of


async def inspect(page: str | None, check: Links | None = None, domains: frozenset[str] = frozenset()) -> list[Finding]:
    resolver = FakeResolver({})
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"))
    if page is not None:
        mail.message = message_of("Content-Type: text/html\nList-Unsubscribe: <http://192.0.2.1/>\n\n" + page + "\n")
    found = await (check or Links()).inspect(
        mail, Tools(resolver, MemoryStore(), lambda: 0.0, "mx.example.org", domains)
    )
    assert resolver.asked == []  # nothing is ever looked up, let alone fetched
    return [each for each in found if isinstance(each, Finding)]


@pytest.mark.parametrize(
    ("page", "rule", "text"),
    [
        (
            '<a href="http://evil.example.net/">www.sparkasse.de</a>',
            "LINK_DECEPTIVE",
            "evil.example.net, shown as sparkasse.de",
        ),
        ('<a href="http://paypa1.com/">x</a>', "LINK_LOOK_ALIKE", "paypa1.com, shown as paypal"),
        ('<a href="http://3221225985/">x</a>', "LINK_NUMERIC", "192.0.2.1"),
        (
            '<a href="http://192.0.2.1/a">x</a><a href="http://192.0.2.2/b">x</a>',
            "LINK_ADDRESS",
            "192.0.2.1 and 1 more",
        ),
        (
            '<a href="http://www.sparkasse.de@evil.example.net/">x</a>',
            "LINK_USER_INFO",
            "evil.example.net, shown as www.sparkasse.de",
        ),
        ('<a href="http://%65vil.example.net/">x</a>', "LINK_ENCODED_HOST", "evil.example.net"),
        ('<a href="https://bit.ly/x">x</a>', "LINK_SHORTENER", "bit.ly"),
        ('<a href="https://example.net:8443/x">x</a>', "LINK_PORT", "example.net"),
    ],
)
async def test_a_link_that_pretends_is_found_with_what_it_shows(page, rule, text):
    found = await inspect(page)
    assert [(each.rule, each.text) for each in found] == [(rule, text)]
    assert isinstance(found[0].evidence, LinkEvidence)


async def test_a_name_that_looks_like_ours_is_found():
    page = '<a href="http://www.examp1e.org/">x</a><a href="http://mail.example.org">y</a>'
    found = await inspect(page, domains=frozenset({"example.org", "internal"}))
    assert [(each.rule, each.text) for each in found] == [("LINK_LIKE_OURS", "www.examp1e.org, shown as example.org")]


async def test_honest_links_are_not_found():
    assert await inspect('<a href="https://www.example.com/">our site</a> and http://example.net') == []


async def test_a_message_without_links_and_one_that_is_not_there_have_none():
    assert await inspect("text") == []
    assert await inspect(None) == []


async def test_the_operator_may_ignore_domains_and_name_shorteners():
    check = Links(ignore=("example.net",), shorteners=("go.example.com",))
    assert await inspect('<a href="http://a.example.net:99/">x</a>', check) == []
    assert [each.rule for each in await inspect('<a href="http://go.example.com/">x</a>', check)] == ["LINK_SHORTENER"]


@pytest.mark.parametrize("key", ["ignore", "shorteners"])
def test_what_is_no_domain_is_refused(key):
    with pytest.raises(ValueError, match=f"{key}: .*no domain"):
        Links(**{key: ("no domain",)})


async def test_links_that_were_not_read_are_counted():
    found = await inspect(" ".join(f"http://h{n}.example.com/" for n in range(MOST + 2)))
    assert found == [Finding("LINKS_LEFT_OUT", LinksEvidence(MOST, 3), f"3 links beyond the {MOST} that were read")]


async def test_a_message_whose_body_is_gone_is_missing_evidence():
    class Gone:
        size = 300_000

        def chunks(self):
            raise OSError("closed")

    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"), message_of("\nx"))
    mail.message.body = Gone()  # type: ignore[union-attr]  # it is there
    with pytest.raises(OSError, match="closed"):  # the gate makes `missing` of it
        await Links().inspect(mail, Tools(FakeResolver({}), MemoryStore(), lambda: 0.0, "mx", frozenset()))


def test_every_rule_is_of_content_and_says_so():
    assert {rule.kind for rule in Links().rules()} == {Kind.CONTENT}
