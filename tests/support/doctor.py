"""Facts for the doctor's judges: a configuration from text, and a Postfix from its parameters and services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gatekeeper.config.configuration import read
from gatekeeper.doctor.facts import Attachment, Facts, Mode
from gatekeeper.doctor.postfix import Endpoint, Postfix, Service
from gatekeeper.wire.listen import read_listen

POSTFIX_3_7 = {
    "config_directory": "/etc/postfix",
    "disable_vrfy_command": "no",
    "inet_interfaces": "all",
    "mail_owner": "postfix",
    "milter_command_timeout": "30s",
    "milter_content_timeout": "300s",
    "milter_default_action": "tempfail",
    "milter_protocol": "6",
    "mynetworks": "127.0.0.0/8 [::1]/128",
    "queue_directory": "/var/spool/postfix",
    "smtpd_policy_service_default_action": "451 4.3.5 Server configuration problem",
    "smtpd_policy_service_timeout": "100s",
    "smtpd_proxy_timeout": "100s",
    "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
}
"""What `postconf -x` says of an untouched one, as far as the doctor looks."""

SMTP = '[servers.smtp]\nlisten = ["127.0.0.1:10025"]\nnext_hop = "smtp://127.0.0.1:10026"\n'


def service(name: str = "smtp", kind: str = "inet", *, chroot: bool = False, **overrides: str) -> Service:
    return Service(name, kind, chroot, "smtpd", overrides)


def postfix(*services: Service, **main: str) -> Postfix:
    return Postfix("/etc/postfix", {**POSTFIX_3_7, **main}, services)


def facts(text: str = SMTP, behind: Postfix | None = None, **known: Any) -> Facts:
    return Facts("gatekeeper.toml", read(text, "gatekeeper.toml"), behind, "no postconf here", **known)


def attachment(
    mode: Mode,
    *entrances: Service,
    listen: Iterable[str] = (),
    endpoint: str = "",
    inner: Service | None = None,
) -> Attachment:
    return Attachment(
        mode, tuple(map(read_listen, listen)), entrances, Endpoint.read(endpoint) if endpoint else None, inner
    )


def assignments(values: Mapping[str, str]) -> str:
    """As postconf prints them."""
    return "".join(f"{name} = {value}\n" for name, value in values.items())
