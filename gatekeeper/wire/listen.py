"""Where a server listens, as it is written in the configuration: host:port, [v6]:port, unix:/path, systemd:NAME."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from gatekeeper.model import IPAddress

UNIX_PATH_BYTES = 107
"""What fits into sockaddr_un.sun_path on Linux, with its final NUL (unix(7))."""
FORMS = "127.0.0.1:25, [::1]:25, unix:/path?mode=0660&group=postfix, systemd:NAME"

_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
_MODE = re.compile(r"0?[0-7]{3}")
_PORT = re.compile(r"[0-9]{1,5}")
_SYSTEMD_NAME = re.compile(r"[!-9;-~]{1,255}")  # sd_listen_fds_with_names(3): printable, without ":"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An address of this machine and a port; port 0 lets the system choose one."""

    host: IPAddress
    port: int

    @property
    def place(self) -> str:
        """Two addresses with the same place cannot both be open."""
        return str(self)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.host.version == 6 else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket in the file system; `mode` is its permissions, `group` its group's name, or None for our own."""

    path: str
    mode: int = 0o660
    group: str | None = None

    @property
    def place(self) -> str:
        return f"unix:{self.path}"

    def __str__(self) -> str:
        return f"unix:{self.path}?mode={self.mode:04o}" + (f"&group={self.group}" if self.group else "")


@dataclass(frozen=True, slots=True)
class SystemdAddress:
    """Sockets that systemd opens for us, by their FileDescriptorName= (systemd.socket(5))."""

    name: str

    @property
    def place(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"systemd:{self.name}"


ListenAddress = TcpAddress | UnixAddress | SystemdAddress


def read_listen(text: str) -> ListenAddress:
    """Raises ValueError with a sentence that names the mend."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    if text.startswith("systemd:"):
        name = text.removeprefix("systemd:")
        if not _SYSTEMD_NAME.fullmatch(name):
            raise ValueError(f"{text!r}: write the FileDescriptorName= of the socket unit after systemd:")
        return SystemdAddress(name)
    return _tcp(text)


def _tcp(text: str) -> TcpAddress:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port; write one of {FORMS}")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"{text!r}: a port is a number up to 65535; write one of {FORMS}")
    if host in {"", "*"}:
        raise ValueError(
            f"{text!r}: for every address write 0.0.0.0:{port} for IPv4, and [::]:{port} for IPv6 beside it"
        )
    return TcpAddress(_host(text, host, port), int(port))


def _host(text: str, host: str, port: str) -> IPAddress:
    if host == "localhost":
        return IPv4Address("127.0.0.1")
    try:
        if host.startswith("[") and host.endswith("]"):
            return IPv6Address(host[1:-1])
        return IPv4Address(host)
    except ValueError:
        pass
    try:
        bare = IPv6Address(host)
    except ValueError:
        # A name would have to be looked up at start, may mean several addresses, and other ones tomorrow.
        raise ValueError(f"{text!r}: {host!r} is not an IP address; write one of {FORMS}") from None
    raise ValueError(f"{text!r}: an IPv6 address stands in brackets; write [{bare}]:{port}")


def _unix(text: str) -> UnixAddress:
    path, _, query = text.partition("?")
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError(f"unix:{text!r}: write the whole path of the socket, as in unix:/run/gatekeeper/smtp")
    if len(path.encode("utf-8", "surrogateescape")) > UNIX_PATH_BYTES:
        raise ValueError(f"unix:{path!r} is longer than the {UNIX_PATH_BYTES} bytes a socket's path may have")
    settings: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in {"mode", "group"} or name in settings:
            raise ValueError(f"unix:{text!r}: after the ? only mode= and group= may stand, once each")
        settings[name] = value
    mode, group = settings.get("mode", "0660"), settings.get("group")
    if not _MODE.fullmatch(mode):
        raise ValueError(f"unix:{text!r}: mode= is three octal digits, as in mode=0660")
    if group is not None and not _GROUP.fullmatch(group):
        raise ValueError(f"unix:{text!r}: group= is the name of a group, as in group=postfix")
    return UnixAddress(path, int(mode, 8), group)
