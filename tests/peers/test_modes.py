"""The same mail through every mode, against the real Postfix: the same findings and scores, and where not, why not."""

from __future__ import annotations

import urllib.error
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.records.document import HEALTH
from tests.peers.instances import wait_until
from tests.peers.modes import MODES, Client, Mode, running
from tests.peers.test_front import EXPLOITED, GOOD, TWICE, message, records, rules

SERVERS = {"front": "smtp", "behind": "smtp", "milter": "milter", "policy_service": "policy_service"}
FOR_BOB = '[[policy.for]]\nrecipients = ["bob@example.org"]\nreject = 20.0\n'


@dataclass(frozen=True)
class Case:
    """One mail and the answer to each of its commands from MAIL on; the last one is the end of data's."""

    sender: str
    content: bytes
    codes: tuple[int, ...]
    address: str = GOOD
    recipients: tuple[str, ...] = ("alice@example.org",)
    judged_by_content: bool = False  # so that where the content is not seen, the mail passes

    @property
    def name(self) -> str:
        """The client's PTR record, where it has one: the Postfix of this test does not look for itself."""
        return "mail.good.test" if self.address == GOOD else "[UNAVAILABLE]"


CASES = {
    "clean": Case("clean@good.test", message("clean@good.test", "clean"), (250, 250, 250)),
    "tagged": Case("tagged@soft.test", message("tagged@soft.test", "tagged"), (250, 250, 250), EXPLOITED),
    "refused at RCPT": Case("rcpt@soft.test", message("rcpt@soft.test", "at RCPT"), (250, 550), TWICE),
    "refused at the end": Case(
        "end@good.test", message("boss@forged.test", "at the end"), (250, 250, 550), judged_by_content=True
    ),
    "first of two": Case(
        "two@good.test",
        message("two@good.test", "the first"),
        (250, 250, 452, 250),
        recipients=("alice@example.org", "bob@example.org"),
    ),
    "second of two": Case(
        "again@good.test", message("again@good.test", "again"), (250, 250, 250), recipients=("bob@example.org",)
    ),
}


UNSEEN = {"policy_service": ("CLASSIFIER_", "DKIM_", "DMARC_")}
"""How the rules begin that a mode cannot find: Postfix tells a policy service nothing of the content."""
RECORDS = len(CASES) + 1  # the recipient who was told to come again has one of its own


@dataclass(frozen=True)
class Seen:
    """What one mode made of a case."""

    codes: tuple[int, ...]
    action: str
    scores: dict[str, int | None]
    """Of each rule that was found, in thousandths; None where it counted for nothing."""

    @property
    def score(self) -> int:
        return sum(score for score in self.scores.values() if score is not None)


def send(mode: Mode, case: Case) -> tuple[int, ...]:
    with Client(mode.port, case.address, name=case.name) as client:
        codes = [client.mail(case.sender)[0], *(client.rcpt(recipient)[0] for recipient in case.recipients)]
        if 250 in codes[1:]:
            codes.append(client.data(case.content)[0])
    return tuple(codes)


def seen_by(mode: Mode) -> dict[str, Seen]:
    sent = {title: send(mode, case) for title, case in CASES.items()}
    written: list[dict[str, Any]] = []

    def all_written() -> bool:
        """Records of mail; what becomes of the DNS lists has its own."""
        written[:] = [each for each in records(mode.gatekeeper) if each["action"] != HEALTH]
        return len(written) >= RECORDS

    wait_until("the records of all cases", all_written)
    assert len(written) == RECORDS
    assert {record["server"] for record in written} == {SERVERS[mode.name]}
    told: dict[str, Seen] = {}
    for title, codes in sent.items():
        [record] = [
            each
            for each in written
            if each["sender"] == CASES[title].sender and each["reply"]["code"] == codes[-1]  # of the mail, not of bob
        ]
        counted: dict[str, int] = dict(record["decision"]["contributions"])
        assert sum(counted.values()) == record["decision"]["millis"]
        told[title] = Seen(codes, record["action"], {rule: counted.get(rule) for rule in rules(record) | set(counted)})
    return told


@pytest.fixture(scope="module")
def seen(workplace: Path, nameserver: int) -> dict[str, dict[str, Seen]]:
    """Mode -> case -> what became of it. One mode after the other, so that only one Postfix runs at a time."""
    told = {}
    for name in MODES:
        with running(name, workplace / f"modes-{name}", nameserver, extra=FOR_BOB) as mode:
            told[name] = seen_by(mode)
    return told


def table(seen: dict[str, dict[str, Seen]]) -> str:
    """All of it side by side: what a mode saw in its column."""
    lines: list[tuple[str, ...]] = [("", *MODES)]
    for title in CASES:
        of = {mode: seen[mode][title] for mode in MODES}
        lines.append((title, *(" ".join(map(str, of[mode].codes)) for mode in MODES)))
        lines.append(("  = action", *(of[mode].action for mode in MODES)))
        lines.append(("  = score", *(f"{of[mode].score / 1000:.1f}" for mode in MODES)))
        for rule in sorted({rule for mode in MODES for rule in of[mode].scores}):
            lines.append((f"  {rule}", *(_cell(of[mode].scores, rule) for mode in MODES)))
    return "\n".join(f"{first:<24}" + "".join(f"{cell:>17}" for cell in cells) for first, *cells in lines)


def _cell(scores: dict[str, int | None], rule: str) -> str:
    if rule not in scores:
        return "-"
    score = scores[rule]
    return "found" if score is None else f"{score / 1000:.1f}"


def test_the_modes_side_by_side(seen: dict[str, dict[str, Seen]], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{table(seen)}")
    assert {tuple(of) for of in seen.values()} == {tuple(CASES)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("title", CASES)
def test_every_mode_gives_the_same_findings_and_scores(seen: dict[str, dict[str, Seen]], title: str, mode: str) -> None:
    case, ours, front = CASES[title], seen[mode][title], seen["front"][title]
    unseen = UNSEEN.get(mode, ())
    assert ours.scores == {rule: score for rule, score in front.scores.items() if not rule.startswith(unseen)}
    if unseen and case.judged_by_content:
        assert (ours.codes, ours.action) == ((*case.codes[:-1], 250), "accept")
    else:
        assert (ours.codes, ours.action) == (case.codes, front.action)


def test_the_cases_are_what_they_are_called(seen: dict[str, dict[str, Seen]]) -> None:
    actions = {title: each.action for title, each in seen["front"].items()}
    assert actions == {
        "clean": "accept",
        "tagged": "tag",
        "refused at RCPT": "reject",
        "refused at the end": "reject",
        "first of two": "accept",
        "second of two": "accept",
    }


@pytest.mark.parametrize("name", ["milter", "policy_service"])
def test_under_load_postfix_tells_the_client_to_come_again(workplace: Path, nameserver: int, name: str) -> None:
    too_little = f'[servers.{name}.overload]\nmemory = "1MiB"\n'
    with running(name, workplace / f"modes-load-{name}", nameserver, extra=too_little) as mode:
        wait_until("/readyz to say that there is no room", lambda: no_room(mode))
        with Client(mode.port, GOOD, name="mail.good.test") as client:
            for _ in range(2):  # the session goes on
                code, text = client.mail("busy@good.test")
                if code == 250:
                    code, text = client.rcpt("alice@example.org")
                assert (code, b"Too busy for new mail" in text) == (451, True), text
                client.rset()


def no_room(mode: Mode) -> bool:
    try:
        mode.gatekeeper.get("/readyz")
    except urllib.error.HTTPError as error:
        return error.code == 503 and b"room" in error.read()
    return False
