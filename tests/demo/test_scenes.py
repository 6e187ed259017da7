"""The scenes fit the world they are played in."""

import tomllib
from collections.abc import Iterable
from typing import Any

import pytest

from gatekeeper.config.configuration import SECTIONS
from gatekeeper.config.units import duration
from gatekeeper.demo import scenes

WORLD = scenes.world('"v=DKIM1; p=x"')
SCENES = scenes.scenes(lambda message: message)


class Client:
    """An smtplib client whose server gives these answers to RCPT."""

    def __init__(self, codes: Iterable[tuple[int, bytes]]) -> None:
        self.codes = iter(codes)
        self.said: list[Any] = []

    def mail(self, sender):
        self.said.append(sender)
        return 250, b"2.1.0 Ok"

    def rcpt(self, recipient):
        self.said.append(recipient)
        return next(self.codes)

    def data(self, message):
        self.said.append(message)
        return 250, b"2.0.0 Ok: queued as X"


def test_every_kind_of_outcome_that_is_promised_has_a_scene():
    titles = " | ".join(scene.title for scene in SCENES)
    for word in ("clean", "SPF fails", "DNS list", "forged", "VRFY", "EXPN", "guessed names", "comes back"):
        assert word in titles


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.title)
def test_a_client_with_a_name_is_known_in_dns_both_ways(scene):
    pointers = WORLD.get(f"{scenes.reverse(scene.address)}.in-addr.arpa", {}).get("PTR", [])
    assert list(pointers) == ([f"{scene.name}."] if scene.name else [])
    assert not scene.name or scene.address in WORLD[scene.name]["A"]


def test_the_lists_that_are_asked_are_the_lists_that_answer():
    settings = tomllib.loads(scenes.SETTINGS)
    zones = {one["zone"] for one in settings["checks"]["dnsbl"]["lists"]}
    listing = {name for name in WORLD if name.endswith(".list.example")}
    assert {name.split(".", 4)[4] for name in listing} == zones
    assert {scenes.reverse(a) for a in (scenes.LISTED, scenes.WORST)} == {n.rsplit(".", 3)[0] for n in listing}


def test_a_client_counts_as_slowed_when_it_waited_as_long_as_it_is_made_to():
    settings = tomllib.loads(scenes.SETTINGS)
    assert duration(settings["checks"]["stacking"]["slow_delay"]) == scenes.SLOWED
    assert "message.edit" in SECTIONS


def test_the_harvest_tells_how_many_of_each_answer_came_until_it_was_cut_off():
    unknown, blind = (550, b"5.1.1 unknown"), (451, b"4.7.1 later")
    client: Any = Client([unknown] * 3 + [blind] * 2 + [(421, b"4.7.1 go away")])
    assert scenes.harvest(client) == "3 x 550 5.1.1, then 2 x 451 4.7.1, then 1 x 421 4.7.1"


def test_nothing_is_sent_to_nobody():
    client: Any = Client([(550, b"5.1.1 no")])
    assert scenes.send(client, "a@b.example", ["x@example.org"], b"text") == "550 5.1.1 no"
    assert client.said == ["a@b.example", "x@example.org"]


def test_messages_have_every_field_that_is_asked_for():
    head = scenes.text("A <a@b.example>", "s", "b").partition(b"\r\n\r\n")[0]
    assert {line.split(b":")[0] for line in head.split(b"\r\n")} >= {b"Date", b"From", b"To", b"Subject", b"Message-ID"}
