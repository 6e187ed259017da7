"""What Postfix is set to, read from the output of postconf(1): `postconf -x`, `postconf -M` and `postconf -Px`. Pure.

Asking postconf instead of reading main.cf and master.cf gives the defaults of that very version, and its own reading
of continuation lines, of `$name` and of `-o { name = value }`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PORTS: Final = {"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465}
LOOPBACK: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Service:
    """A line of master.cf (master(5)); `overrides` are its `-o name=value`."""

    name: str
    type: str  # inet, unix, pass ...
    chroot: bool
    command: str  # smtpd, postscreen ...
    overrides: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.type}"

    @property
    def host(self) -> str:
        """The address it listens on; "" for those of inet_interfaces."""
        host = self.name.rpartition(":")[0].strip("[]")
        return "127.0.0.1" if host == "localhost" else host

    @property
    def port(self) -> int | None:
        """None for what is not on the network, and for a service name that only /etc/services knows."""
        if self.type != "inet":
            return None
        port = self.name.rpartition(":")[2]
        return int(port) if port.isdecimal() else _PORTS.get(port)


@dataclass(frozen=True, slots=True)
class Postfix:
    """One instance: the directory of its configuration, every parameter of main.cf, every service of master.cf."""

    directory: str
    main: Mapping[str, str]
    services: tuple[Service, ...]

    def value(self, name: str, service: Service | None = None) -> str:
        """A parameter as it is for that service; "" where it is empty or not known to this version."""
        if service is not None and name in service.overrides:
            return service.overrides[name]
        return self.main.get(name, "")

    @property
    def sessions(self) -> tuple[Service, ...]:
        """The services that talk to SMTP clients; behind postscreen such a one has the type pass."""
        return tuple(each for each in self.services if each.command == "smtpd" and each.type in {"inet", "pass"})

    def listening(self, host: str, port: int) -> Service | None:
        """The session service at that address."""
        host = "127.0.0.1" if host == "localhost" else host
        at_port = [each for each in self.sessions if each.port == port]
        exact = [each for each in at_port if each.host == host]
        anywhere = [each for each in at_port if each.host in {"", "0.0.0.0", "::"}]
        return next(iter(exact + anywhere), None)

    def is_public(self, service: Service) -> bool:
        """Whether somebody on another machine could connect to it."""
        if service.type != "inet":
            return False
        if service.host:
            return not service.host.startswith("127.") and service.host != "::1"
        return not set(words(self.value("inet_interfaces"))) <= {"loopback-only", "localhost", *LOOPBACK, "[::1]"}


def read(directory: str, main: str, services: str, overrides: str) -> Postfix:
    """From the text that the three commands printed; lines that are none of theirs are left out."""
    by_service: dict[tuple[str, str], dict[str, str]] = {}
    for place, value in _assignments(overrides):
        name, _, rest = place.rpartition("/")
        service, _, kind = name.rpartition("/")
        by_service.setdefault((service, kind), {})[rest] = value
    found = []
    for line in services.splitlines():
        fields = line.split()
        if len(fields) < 8 or line.startswith((" ", "#")):
            continue
        found.append(
            Service(
                name=fields[0],
                type=fields[1],
                chroot=fields[4] == "y",  # "-" is no: the default since Postfix 3.0 (compatibility_level 1)
                command=fields[7],
                overrides=by_service.get((fields[0], fields[1]), {}),
            )
        )
    return Postfix(directory, dict(_assignments(main)), tuple(found))


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith((" ", "#")):
            yield name.strip(), value.strip()


_WORD = re.compile(r"\{[^{}]*\}|[^\s,{}]+")


def words(value: str) -> tuple[str, ...]:
    """The elements of a list: split at blanks and commas, `{ … }` kept together."""
    return tuple(_WORD.findall(value))


def seconds(value: str, default: float) -> float:
    """A time such as "100s" or "5m"; a number alone counts seconds. `default` for what is none."""
    found = re.fullmatch(r"(\d+)([smhdw]?)", value.strip())
    return int(found[1]) * _UNITS[found[2] or "s"] if found else default


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Postfix finds a milter, a policy service or a proxy: `inet:host:port` or `unix:path`, and its options."""

    text: str  # as written, without options
    host: str = ""
    port: int = 0
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, word: str) -> Endpoint | None:
        """From `inet:127.0.0.1:10027`, `:10025`, `{ unix:/path, command_timeout = 5s }`; None for no address."""
        text, *rest = [part.strip() for part in word.strip("{} ").split(",")]
        options = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in rest)}
        if text.startswith("unix:"):
            return cls(text, path=text.removeprefix("unix:"), options=options)
        host, colon, port = text.removeprefix("inet:").rpartition(":")
        if not port.isdecimal() or not (colon or text.isdecimal()):
            return None
        host = host.strip("[]") or "127.0.0.1"
        return cls(text, host="127.0.0.1" if host == "localhost" else host, port=int(port), options=options)


_WITH_ARGUMENT = ("check_", "reject_rbl_", "reject_rhsbl_", "permit_dnswl_", "permit_rhswl_", "sleep")


def restrictions(value: str) -> tuple[str, ...]:
    """The restrictions of a list, each with its argument: "check_policy_service inet:127.0.0.1:10028"."""
    given = iter(words(value))
    return tuple(f"{word} {next(given, '')}".rstrip() if word.startswith(_WITH_ARGUMENT) else word for word in given)


def policy_check(restriction: str) -> Endpoint | None:
    """Whom a `check_policy_service` asks; None for any other restriction."""
    word, _, argument = restriction.partition(" ")
    return Endpoint.read(argument) if word == "check_policy_service" else None


_CLOSING = {"reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit"}
_LOCAL = {"permit_mynetworks", "permit_inet_interfaces", "permit"}


def trusts_local(restrictions: str) -> bool:
    """Whether these let a client of mynetworks send to any domain. An empty list refuses nobody."""
    for word in words(restrictions):
        if word in _LOCAL:
            return True
        if word in _CLOSING:
            return False
    return True


def closes(restrictions: str) -> bool:
    """Whether these keep a stranger from sending to any domain."""
    for word in words(restrictions):
        if word == "permit":
            return False
        if word in _CLOSING:
            return True
    return False
