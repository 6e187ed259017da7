"""The configuration file that ships: every setting with its sentence, ready for a Postfix on the same machine."""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import Any, Final

from gatekeeper import pipeline
from gatekeeper.config import document
from gatekeeper.config.configuration import SECTIONS, Configuration, General
from gatekeeper.model import Rule

HEAD: Final = """\
# gatekeeper: what it does with mail, and where. TOML; durations and sizes are text with a unit ("3s", "10MiB").
#
# Lines that begin with "#key = " show the default (or an example where the default is nothing): take the "#" away to
# change one. After a change: `gatekeeper config check FILE`, then `systemctl reload gatekeeper`. A wrong file is
# refused with the line and the mend, and the old one stays in force.
"""

SWITCH: Final = "Whether this check runs."
ABOUT: Final = MappingProxyType(
    {
        "servers.smtp": "The SMTP proxy. A server whose section is left out is not opened.",
        "servers.milter": "A milter for Postfix and Sendmail, in the place of the SMTP proxy; docs/modes/milter.md.",
        "servers.policy_service": "What Postfix may ask before it takes a mail; docs/modes/policy-service.md.",
        "servers.http": "Monitoring (/metrics, /healthz, /readyz), and messages to be checked; docs/modes/http.md.",
        "dns": "Questions to the DNS: one cache in each worker.",
        "policy": "What findings are worth, and from which score on a message is marked or refused.",
        "store": "Where budgets, blocks, histories and records are kept.",
        "classifier.learning": "What the site's own people teach, by `gatekeeper learn`; docs/learning.md.",
        "records": "One record of each transaction, for `gatekeeper records` and `gatekeeper explain`.",
        "complaints.dmarc": "Daily reports to domains that ask for them (RFC 9990); docs/dmarc-reports.md.",
        "log": "One line for each event; `journalctl -u gatekeeper` shows them.",
        "nexthop": "How we speak to the mail server behind us.",
        "message.edit": "What is written into the header of a message that passes.",
        "mailauth.signing": "DKIM signatures for our own mail, ARC seals for what we change; docs/signing.md.",
        "gate": "How long judging may take, and how much evidence it gathers.",
        "supervisor": "Processes.",
    }
)

SHIPPED: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {
        "servers.smtp.listen": ("127.0.0.1:10025",),
        "servers.smtp.next_hop": "smtp://127.0.0.1:10026",
        "servers.smtp.trust": ("127.0.0.1/32",),
        "servers.http.listen": ("127.0.0.1:8025",),
        "policy.tag": 5.0,
        "policy.reject": 10.0,
        "policy.greylist": 3.0,
        "store.url": "sqlite:/var/lib/gatekeeper/state.db",
    }
)
"""What stands live in the file: what an operator looks for first."""

CLOSED: Final = frozenset({"servers.milter", "servers.policy_service"})
"""Servers that stand in the file without being opened by it."""

EXAMPLES: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {
        "hostname": "mx.example.org",
        "complaints.dmarc.email": "dmarc-reports@example.org",
        "servers.smtp.ours": ("192.0.2.0/24",),
        "relay_domains": ("example.org", "example.net"),
        "dns.nameservers": ("127.0.0.1:53",),
        "mailauth.signing.keys": (
            {"domain": "example.org", "selector": "mail2026", "file": "/etc/gatekeeper/dkim/mail2026.pem"},
        ),
        "mailauth.signing.networks": ("192.0.2.0/24",),
        "mailauth.signing.seal_domain": "example.org",
        "checks.arc.trusted": ("lists.example.net",),
        "checks.spf.upstreams": ({"authserv_id": "mx.upstream.example", "clients": ("198.51.100.0/28",)},),
        "policy.for": ({"recipients": ("sales@example.org", "@example.net"), "tag": 4.0, "reject": 12.0},),
        "checks.operator_lists.files": ("/etc/gatekeeper/lists/*.list",),
        "checks.rates.limits": (
            {"what": "messages", "per": ("address",), "most": 10_000, "within": 3600.0},
            {"what": "messages", "per": ("network", "sender"), "most": 5_000, "within": 3600.0},
            {"what": "messages", "per": ("recipient",), "most": 3_000, "within": 3600.0},
            {"what": "bytes", "per": ("authenticated_domain",), "size": 10 * 1024**3, "within": 86400.0},
        ),
        "checks.dnsbl.lists": (
            {"zone": "zen.spamhaus.org", "name": "ZEN", "score": 4.0},
            {
                "zone": "bl.example.net",
                "name": "EXAMPLE",
                "group": "example",
                "codes": {"127.0.0.2": {"name": "SBL", "score": 4.0}, "127.0.0.4-7": {"name": "XBL", "score": 3.0}},
            },
        ),
        "checks.dnsbl.groups": {"example": 5.0},
        "checks.uribl.lists": (
            {"zone": "dbl.spamhaus.org", "name": "DBL", "score": 5.0, "of": ("links", "sender", "from", "helo")},
        ),
        "checks.uribl.ignore": ("example.org",),
        "checks.links.ignore": ("example.org",),
        "checks.rules.paths": ("/etc/gatekeeper/rules/*.toml",),
        "checks.rules.disabled": ("SUBJECT_SHOUTS",),
        "checks.links.shorteners": ("go.example.org",),
    }
)
"""Shown, commented out, where the default is nothing."""


def example_file() -> str:
    """config/gatekeeper.toml."""
    examples = EXAMPLES | {"policy.scores": {rule.name: (rule.score, rule.about) for rule in default_rules()}}
    parts = [HEAD, document.section("", General, about="", shipped=SHIPPED, examples=examples)]
    parts += [
        document.section(path, settings, about=ABOUT[path], shipped=SHIPPED, examples=examples, closed=path in CLOSED)
        for path, settings in SECTIONS.items()
    ]
    parts += [
        document.section(
            f"checks.{check.name}", check, about=purpose(check), shipped=SHIPPED, examples=examples, switch=SWITCH
        )
        for check in pipeline.CHECKS
    ]
    return "".join(parts)


def effective(settings: Configuration) -> str:
    """The configuration in force as a file: every value written out."""
    general = General(hostname=settings.hostname, relay_domains=settings.relay_domains)
    parts = [document.effective("", general).lstrip("\n")]
    for path in SECTIONS:
        section: Any = settings
        for name in path.split("."):
            section = getattr(section, name)
        if section is not None:
            parts.append(document.effective(path, section))
    on = {check.name: check for check in settings.checks}
    for check in pipeline.CHECKS:
        path = f"checks.{check.name}"
        parts.append(document.effective(path, on[check.name]) if check.name in on else f"\n[{path}]\nenabled = false\n")
    return "".join(parts)


def default_rules() -> list[Rule]:
    """The rules of every check with its default settings, in the order of the pipeline's table."""
    return [rule for check in pipeline.CHECKS for rule in check().rules()]


def purpose(module_of: type[Any]) -> str:
    """The first sentence of the module that a class stands in."""
    module = inspect.getmodule(module_of)
    text = inspect.getdoc(module) or "" if module else ""
    return " ".join(text.split("\n\n")[0].split())
