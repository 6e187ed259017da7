"""THE REGISTRY: which section of the file is which module's settings; and the whole configuration as one value."""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import gatekeeper.classifier.learning
import gatekeeper.complaints.dmarc
import gatekeeper.dns.resolver
import gatekeeper.gate
import gatekeeper.log
import gatekeeper.mailauth.signing
import gatekeeper.message.edit
import gatekeeper.nexthop.settings
import gatekeeper.policy
import gatekeeper.records.writer
import gatekeeper.servers.http
import gatekeeper.servers.milter_settings
import gatekeeper.servers.policy_settings
import gatekeeper.servers.smtp_settings
import gatekeeper.store.opening
import gatekeeper.wire.process
from gatekeeper import pipeline
from gatekeeper.checks.base import Check, Prepares
from gatekeeper.checks.rules import Rules
from gatekeeper.config import loading, shape
from gatekeeper.config.loading import ConfigurationError, Problem
from gatekeeper.config.positions import nearest_line, positions
from gatekeeper.model import Rule, setting
from gatekeeper.rules.rule import RuleProblem, RulesUnusable
from gatekeeper.wire.address import normal_domain

SECTIONS: Final[MappingProxyType[str, type[Any]]] = MappingProxyType(
    {
        "servers.smtp": gatekeeper.servers.smtp_settings.Settings,
        "servers.milter": gatekeeper.servers.milter_settings.Settings,
        "servers.policy_service": gatekeeper.servers.policy_settings.Settings,
        "servers.http": gatekeeper.servers.http.Settings,
        "nexthop": gatekeeper.nexthop.settings.Settings,
        "gate": gatekeeper.gate.Settings,
        "policy": gatekeeper.policy.Settings,
        "message.edit": gatekeeper.message.edit.Settings,
        "mailauth.signing": gatekeeper.mailauth.signing.Settings,
        "dns": gatekeeper.dns.resolver.Settings,
        "store": gatekeeper.store.opening.Settings,
        "classifier.learning": gatekeeper.classifier.learning.Settings,
        "records": gatekeeper.records.writer.Settings,
        "complaints.dmarc": gatekeeper.complaints.dmarc.Settings,
        "log": gatekeeper.log.Settings,
        "supervisor": gatekeeper.wire.process.Settings,  # where it can be told to the processes it starts
    }
)
"""Section path -> settings; the path is the module's, without `gatekeeper.`. Checks stand in pipeline.py's table."""

OPTIONAL: Final = frozenset({"servers.smtp", "servers.milter", "servers.policy_service", "servers.http"})
"""A section left out is a server not opened."""

_LATER = "is not available in this version: remove it"
PLANNED: Final = MappingProxyType(dict.fromkeys(("web",), _LATER))
"""What the documentation names and this version does not have: said so, never ignored."""


@dataclass(frozen=True, slots=True)
class General:
    """The keys at the top of the file."""

    hostname: str = setting(
        "", "Our name: in the greeting, in Received and Authentication-Results; the machine's own when empty."
    )
    relay_domains: tuple[str, ...] = setting(
        (),
        "The domains that mail is taken for. Required where the next hop cannot know the true client; where it can "
        "and the list is empty, the next hop decides.",
    )

    def __post_init__(self) -> None:
        for name, domain in (("hostname", self.hostname), *(("relay_domains", each) for each in self.relay_domains)):
            if (domain or name != "hostname") and normal_domain(domain) is None:
                raise ValueError(f'{name}: "{domain}" is not a domain name, such as "mx.example.org"')


@dataclass(frozen=True, slots=True)
class Servers:
    """None is a server that is not opened."""

    smtp: gatekeeper.servers.smtp_settings.Settings | None
    milter: gatekeeper.servers.milter_settings.Settings | None
    policy_service: gatekeeper.servers.policy_settings.Settings | None
    http: gatekeeper.servers.http.Settings | None


@dataclass(frozen=True, slots=True)
class MessageParts:
    """What is done to a message that passes."""

    edit: gatekeeper.message.edit.Settings


@dataclass(frozen=True, slots=True)
class ClassifierParts:
    """What is learned from the site's own mail."""

    learning: gatekeeper.classifier.learning.Settings


@dataclass(frozen=True, slots=True)
class ComplaintParts:
    """What is said about mail afterwards."""

    dmarc: gatekeeper.complaints.dmarc.Settings


@dataclass(frozen=True, slots=True)
class MailAuthParts:
    """What we vouch for."""

    signing: gatekeeper.mailauth.signing.Settings


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything the operator decided, under the names of the sections.

    `hostname` and `relay_domains` are in lower case, A-labels; no `relay_domains` means that the next hop decides.
    `checks` are those switched on, in the order of the pipeline's table.
    """

    hostname: str
    relay_domains: tuple[str, ...]
    servers: Servers
    nexthop: gatekeeper.nexthop.settings.Settings
    gate: gatekeeper.gate.Settings
    policy: gatekeeper.policy.Settings
    message: MessageParts
    mailauth: MailAuthParts
    dns: gatekeeper.dns.resolver.Settings
    store: gatekeeper.store.opening.Settings
    records: gatekeeper.records.writer.Settings
    classifier: ClassifierParts
    complaints: ComplaintParts
    log: gatekeeper.log.Settings
    supervisor: gatekeeper.wire.process.Settings
    checks: tuple[Check, ...]

    def check(self, name: str) -> Check | None:
        """The check of that name, if it is switched on."""
        return next((each for each in self.checks if each.name == name), None)


def load(path: str, *, named: str | None = None) -> Configuration:
    """The configuration in that file; `named` is what messages call it, where the file is a copy.

    Raises ConfigurationError, with every problem.
    """
    file = named or path
    try:
        raw = Path(path).read_bytes()
    except OSError as failure:
        mend = "name the file with --config FILE, or write one: gatekeeper config document > FILE"
        raise ConfigurationError([Problem(file, 0, "", f"cannot be read: {failure.strerror}; {mend}")]) from None
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as wrong:
        line = raw.count(b"\n", 0, wrong.start) + 1
        raise ConfigurationError([Problem(file, line, "", "not UTF-8 text: save the file as UTF-8")]) from None
    found = read(text, file)
    try:
        for check in found.checks:
            if isinstance(check, Prepares):
                check.prepare()
    except RulesUnusable as unusable:
        raise ConfigurationError([rule_problem(each, file) for each in unusable.problems]) from None
    return found


def defaults() -> Configuration:
    """What an empty file means."""
    return read("", "defaults")


def read(text: str, file: str) -> Configuration:
    """`load` for text that is at hand; `file` is what messages call it."""
    source = loading.Document(text, file, general=shape.keys(General), planned=PLANNED)
    general: General | None = source.section(General)
    made = {
        name: source.section(section, *name.split("."))
        for name, section in SECTIONS.items()
        if name not in OPTIONAL or source.has(*name.split("."))
    }
    checks, rules, unsure = _checks(source)
    source.leftovers([*SECTIONS, *(f"checks.{check.name}" for check in pipeline.CHECKS)])
    _scores(source, made["policy"], rules, unsure)
    if source.problems or general is None:
        raise ConfigurationError(source.problems)
    return Configuration(
        hostname=_own_name(general.hostname),
        relay_domains=tuple(dict.fromkeys(normal_domain(domain) or domain for domain in general.relay_domains)),
        servers=Servers(
            smtp=made.get("servers.smtp"),
            milter=made.get("servers.milter"),
            policy_service=made.get("servers.policy_service"),
            http=made.get("servers.http"),
        ),
        nexthop=made["nexthop"],
        gate=made["gate"],
        policy=made["policy"],
        message=MessageParts(edit=made["message.edit"]),
        mailauth=MailAuthParts(signing=made["mailauth.signing"]),
        dns=made["dns"],
        store=made["store"],
        records=made["records"],
        classifier=ClassifierParts(learning=made["classifier.learning"]),
        complaints=ComplaintParts(dmarc=made["complaints.dmarc"]),
        log=made["log"],
        supervisor=made["supervisor"],
        checks=tuple(checks),
    )


def _own_name(given: str) -> str:
    """Ours, as given or as the system says without asking anybody; a look-up could hold up the start."""
    return normal_domain(given or socket.gethostname()) or "localhost"


def _checks(source: loading.Document) -> tuple[list[Check], list[Rule], list[str]]:
    """The checks that are switched on; the rules of all; the names of those whose section is wrong."""
    checks: list[Check] = []
    rules: list[Rule] = []
    wrong: list[str] = []
    for kind in pipeline.CHECKS:
        path = ("checks", kind.name)
        enabled = source.switch(*path, key="enabled", default=True)
        check: Check | None = source.section(kind, *path)
        if check is None:
            wrong.append(kind.name)
            continue
        try:
            found = check.rules()
        except RulesUnusable as unusable:
            wrong.append(kind.name)
            for each in unusable.problems:
                if each.file:
                    source.problems.append(rule_problem(each))
                else:  # a setting of the check's own
                    source.problem((*path, *each.path), each.text)
            continue
        if enabled:
            checks.append(check)
        rules += _sound(source, path, found)
        if isinstance(check, Rules):
            rules += check.switched_off()
    _names(source, rules)
    return checks, rules, wrong


def _names(source: loading.Document, rules: Iterable[Rule]) -> None:
    """Rules from files may not take the names of others: a score would count for both."""
    for name, times in Counter(rule.name for rule in rules).items():
        if times > 1:
            source.problem(("checks", "rules", "paths"), f"a check has a rule {name} already: give yours another name")


def rule_problem(problem: RuleProblem, file: str = "") -> Problem:
    """A mistake in a file of rules, with its line; `file` is the configuration's, for one that is in no other."""
    if not problem.file:
        return Problem(file, 0, ".".join(("checks", "rules", *problem.path)), problem.text)
    line = problem.line
    if not line and problem.path:
        try:
            line = nearest_line(positions(Path(problem.file).read_text("utf-8-sig")), problem.path)
        except (OSError, UnicodeDecodeError):
            line = 0
    return Problem(problem.file, line, ".".join(problem.path), problem.text)


def _sound(source: loading.Document, path: tuple[str, ...], rules: Iterable[Rule]) -> Iterable[Rule]:
    for rule in rules:
        if not _in_thousandths(rule.score):
            source.problem((*path, rule.name), f"its score {rule.score!r} has more than three decimals")
        yield rule


def _scores(
    source: loading.Document, policy: gatekeeper.policy.Settings | None, rules: list[Rule], unsure: list[str]
) -> None:
    """Rules that are given a score must exist. A check whose section is wrong may have had others: those pass here."""
    known = {rule.name for rule in rules}
    for name, score in policy.scores.items() if policy else ():
        path = ("policy", "scores", name)
        if not _in_thousandths(score):
            source.problem(path, f"{score!r} has more than three decimals: write {round(score, 3)!r}")
        if name not in known and not any(name.startswith(check.upper()) for check in unsure):
            source.problem(path, "no check has such a rule" + loading.nearest(name, known))


def _in_thousandths(score: float) -> bool:
    return math.isfinite(score) and math.isclose(score * 1000, round(score * 1000), rel_tol=0, abs_tol=1e-6)
