"""`python -m bench.rules DIR`: how often each rule of content is met in labelled mail, and what looking for all costs.

DIR has `dev.tsv` (tier, path, label, corpus, client address, HELO, MAIL FROM) and the messages under `dev/`. What is
printed are counts; nothing of the mail. `--write FILE` puts the table of docs/rules-measured.md there.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from gatekeeper.message.content import content_of
from gatekeeper.message.reading import read_message
from gatekeeper.model import Envelope, Kind, Mail, Session
from gatekeeper.rules.facts import Surroundings
from gatekeeper.rules.ruleset import Ruleset
from gatekeeper.wire.address import AddressError, parse_path

HEAD = """# How often each rule is met

<!-- Written by `python -m bench.rules DIR --write docs/rules-measured.md`. -->

Messages of each collection that meet a rule, of spam and of ham (wanted mail), read without the network and without
what a receiver added. Counts only. The last rows count messages by the sum of all rules' scores, caps of groups taken
in. Rules for other languages and for what is new are seldom met there, since most collections are English and old.

"""


@dataclass(slots=True)
class Measured:
    """Counts of messages and of hits, by corpus and label; CPU seconds spent on rules alone."""

    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    hits: defaultdict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    sums: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0


def measure(directory: Path, rules: Ruleset) -> Measured:
    found = Measured()
    caps = dict(rules.groups)
    around = Surroundings("mx.example.org", frozenset({"example.org"}))
    for line in (directory / "dev.tsv").read_text().splitlines():
        _, path, label, corpus, _, _, sender, *_ = [*line.split("\t"), "", "", "", ""]
        message = read_message((directory / "dev" / path).read_bytes())
        envelope = Envelope("e")
        try:
            envelope.sender = parse_path(sender) if sender else None
        except AddressError:
            envelope.sender = None
        mail = Mail(Session("s", "check", 0.0), envelope, message)
        content = content_of(message)
        start = time.process_time()
        matches = rules.matches(mail, message, content, around)
        found.seconds += time.process_time() - start
        key = (corpus, label)
        found.messages[key] += 1
        groups: Counter[str] = Counter()
        score = 0.0
        for match in matches:
            found.hits[match.rule.name][key] += 1
            if match.rule.group:
                groups[match.rule.group] += match.rule.score  # type: ignore[assignment]
            else:
                score += match.rule.score
        found.sums[key].append(score + sum(min(caps[group], each) for group, each in groups.items()))
    return found


def table(rules: Ruleset, found: Measured) -> str:
    """For docs: a row for each rule."""
    spam = sorted({corpus for corpus, label in found.messages if label == "spam"})
    ham = sorted({corpus for corpus, label in found.messages if label == "ham"})
    keys = [*((corpus, "spam") for corpus in spam), *((corpus, "ham") for corpus in ham)]
    lines = ["| rule | score | " + " | ".join(f"{corpus} {label}" for corpus, label in keys) + " |"]
    lines.append("|---|---:" + "|---:" * len(keys) + "|")
    lines.append("| *messages* | | " + " | ".join(str(found.messages[key]) for key in keys) + " |")
    for rule in sorted(rules.rules, key=lambda each: (each.kind is not Kind.CONTENT, each.name)):
        cells = [str(found.hits[rule.name][key] or "") for key in keys]
        lines.append(f"| `{rule.name}` | {rule.score:g} | " + " | ".join(cells) + " |")
    for threshold in (1.0, 2.0, 3.0, 5.0):
        cells = [str(sum(each >= threshold for each in found.sums[key])) for key in keys]
        lines.append(f"| *all rules, {threshold:g} or more* | | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cost(rules: Ruleset, size: int = 10_000, rounds: int = 300) -> float:
    """CPU seconds for one message of that size: letters of plain prose."""
    words = ["the", "message", "that", "came", "this", "morning", "was", "about", "our", "meeting", "and", "figures"]
    text = " ".join(words[(number * 7) % len(words)] for number in range(size // 5))[:size]
    raw = f"From: Ann <ann@example.net>\nTo: bob@example.org\nSubject: Figures\n\n{text}\nhttps://example.net/x\n".encode()
    message = read_message(raw)
    content = content_of(message)
    mail = Mail(Session("s", "check", 0.0), Envelope("e"), message)
    around = Surroundings("mx.example.org", frozenset({"example.org"}))
    rules.matches(mail, message, content, around)
    gc.disable()
    best = min(_once(rules, mail, content, around) for _ in range(rounds))
    gc.enable()
    return best


def _once(rules: Ruleset, mail: Mail, content: object, around: Surroundings) -> float:
    start = time.process_time()
    assert mail.message is not None
    for _ in range(10):
        rules.matches(mail, mail.message, content, around)  # type: ignore[arg-type]
    return (time.process_time() - start) / 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    rules = Ruleset()
    start = time.process_time()
    size = rules.prepare()
    print(f"{len(rules.rules)} rules, {len(rules.expressions)} patterns, {size} octets, ready in", end=" ")
    print(f"{time.process_time() - start:.3f} s CPU; a message of 10 kB takes {cost(rules) * 1e6:.0f} us CPU")
    found = measure(arguments.directory, rules)
    count = sum(found.messages.values())
    print(f"{count} messages, {found.seconds / count * 1e6:.0f} us CPU each on average")
    text = table(rules, found)
    if arguments.write:
        arguments.write.write_text(HEAD + text)
    else:
        print(text)


if __name__ == "__main__":
    main()
