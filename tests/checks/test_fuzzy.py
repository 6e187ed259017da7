import random
from ipaddress import ip_address

import pytest

from gatekeeper import fuzzy
from gatekeeper.checks.base import Tools
from gatekeeper.checks.fuzzy import LOOK_EVERY, WAITING, Fuzzy, NearCopy
from gatekeeper.message.content import content_of
from gatekeeper.model import Address, Envelope, Finding, Mail, Recipient, Session
from gatekeeper.store.base import StoreAway
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore
from tests.support.mail import message_of

NOW = 1_790_000_000.0


class World:
    def __init__(self) -> None:
        self.now = NOW
        self.store = FakeStore()
        self.tools = Tools(FakeResolver({}), self.store, lambda: self.now, "mx.example.org", frozenset())


def mail_of(seed: int, *recipients: str, client: str = "192.0.2.1", words: int = 120) -> Mail:
    text = " ".join(
        f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in random.Random(seed).choices(range(600), k=words)
    )
    mail = Mail(Session("s", "smtp", 0.0, address=ip_address(client)), Envelope("e"))
    mail.message = message_of(f"Subject: x\n\n{text}\n")
    for recipient in recipients or ("user@example.org",):
        local, _, domain = recipient.partition("@")
        mail.envelope.recipients.append(Recipient(Address(local, domain)))
    return mail


async def trapped(check: Fuzzy, world: World, mail: Mail) -> None:
    assert mail.message is not None
    content_of(mail.message)
    check.learn(mail, world.tools, passed=True)
    await check.flush(world.tools)


async def rules(check: Fuzzy, world: World, mail: Mail) -> list[str]:
    return [each.rule for each in await check.inspect(mail, world.tools) if isinstance(each, Finding)]


async def test_near_copies_of_mail_to_a_trap_are_found():
    world, check = World(), Fuzzy(traps=("Trap@example.org",))
    assert await rules(check, world, mail_of(1)) == []
    await trapped(check, world, mail_of(1, "user@example.org", "trap@example.org"))
    [found] = await check.inspect(mail_of(1), world.tools)
    assert isinstance(found, Finding)
    assert found.rule == "FUZZY_SEEN"
    assert isinstance(found.evidence, NearCopy)
    assert (found.evidence.count, found.evidence.sources, found.evidence.likeness) == (1, 1, 1.0)
    assert await rules(check, world, mail_of(2)) == []


async def test_what_came_to_traps_from_many_networks_counts_more():
    world, check = World(), Fuzzy(traps=("@trap.example.org",))
    for n in range(5):
        await trapped(check, world, mail_of(1, "x@trap.example.org", client=f"192.0.{n}.1"))
    assert await rules(check, world, mail_of(1)) == ["FUZZY_OFTEN"]


async def test_one_network_alone_does_not_make_it_often():
    world, check = World(), Fuzzy(traps=("@trap.example.org",))
    for _ in range(9):
        await trapped(check, world, mail_of(1, "x@trap.example.org"))
    assert await rules(check, world, mail_of(1)) == ["FUZZY_SEEN"]


async def test_traps_of_stacking_count_where_their_mail_passes():
    world, check = World(), Fuzzy()
    mail = mail_of(1)
    mail.envelope.recipients[0].notebook.findings.append(Finding("STACKING_TRAP"))
    await trapped(check, world, mail)
    assert await rules(check, world, mail_of(1)) == ["FUZZY_SEEN"]


async def test_other_mail_and_short_mail_teach_nothing():
    world, check = World(), Fuzzy(traps=("trap@example.org",))
    await trapped(check, world, mail_of(1))
    await trapped(check, world, mail_of(1, "trap@example.org", words=10))
    assert not await fuzzy.anything(world.store, NOW)


async def test_mail_costs_nothing_as_long_as_nothing_was_reported():
    world, check = World(), Fuzzy()
    for _ in range(3):
        await check.inspect(mail_of(1), world.tools)
    assert world.store.asked == ["notes"]
    assert check.possible() == ()
    mail = mail_of(1)
    assert mail.message is not None
    await fuzzy.report(world.store, _digest(mail), NOW)
    assert await rules(check, world, mail_of(1)) == []
    world.now += LOOK_EVERY
    assert await rules(check, world, mail_of(1)) == ["FUZZY_SEEN"]
    assert set(check.possible()) == {"FUZZY_SEEN", "FUZZY_OFTEN"}


def _digest(mail: Mail):
    from gatekeeper.message.shingles import digest_of

    assert mail.message is not None
    found = digest_of(content_of(mail.message).seen)
    assert found is not None
    return found


async def test_a_store_that_is_away_is_missing_evidence_and_loses_no_trapped_mail():
    world, check = World(), Fuzzy(traps=("trap@example.org",))
    await trapped(check, world, mail_of(1, "trap@example.org"))
    world.store.away = True
    with pytest.raises(StoreAway):  # the gate counts the check as missing
        await check.inspect(mail_of(1), world.tools)
    with pytest.raises(StoreAway):
        await trapped(check, world, mail_of(2, "trap@example.org"))
    world.store.away = False
    await check.flush(world.tools)
    assert await rules(check, world, mail_of(2)) == ["FUZZY_SEEN"]


async def test_only_so_much_trapped_mail_waits():
    world, check = World(), Fuzzy(traps=("trap@example.org",))
    mail = mail_of(1, "trap@example.org")
    assert mail.message is not None
    content_of(mail.message)
    for _ in range(WAITING + 5):
        check.learn(mail, world.tools, passed=False)
    assert len(check._memory.trapped) == WAITING


@pytest.mark.parametrize("settings", [{"traps": ("nobody",)}, {"traps": ("a@b c",)}, {"often": 0.0}, {"sources": 0}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError):
        Fuzzy(**settings)
