"""The letters that are sent: signed by domains that the zone knows, one client for each number."""

import re

from gatekeeper.bench.letters import SELECTOR, ZONE, Writer, key_record, new_key
from gatekeeper.mailauth.dkim import verify
from gatekeeper.mailauth.dkim_signature import DkimCode
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

KEY = new_key()


async def test_a_letter_is_signed_so_that_it_verifies_and_is_of_its_size():
    letter = Writer(KEY, 10_000).letter(300)
    raw = re.sub(rb"(?m)^\.\.", b".", letter.wire.removesuffix(b".\r\n"))
    assert 9_000 < len(raw) < 11_000
    domain = letter.sender.partition("@")[2]
    resolver = FakeResolver({(f"{SELECTOR}._domainkey.{domain}", "TXT"): [key_record(KEY)]})
    (result,) = (await verify(message_of(raw), resolver, now=1.8e9)).results
    assert (result.code, result.domain) == (DkimCode.PASS, domain)


def test_each_number_is_another_client_whose_name_leads_back_to_it():
    writer = Writer(KEY, 2_000)
    letters = [writer.letter(number) for number in (0, 1, 256, 1 << 16)]
    assert [letter.address for letter in letters] == ["198.18.0.0", "198.18.0.1", "198.18.1.0", "198.19.0.0"]
    assert len({letter.sender for letter in letters}) == 4
    assert all(letter.helo == f"c-{letter.address.replace('.', '-')}.{ZONE}" for letter in letters)
