"""Listening sockets: opened at start, kept over reloads, closed at the end.

The parent has them all, and the processes that accept from them inherit them: so none is closed while a generation of
processes takes the place of another, and nobody who connects meanwhile is lost.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatekeeper.wire.listen import ListenAddress, SystemdAddress, TcpAddress, UnixAddress

BACKLOG = 1024
"""Connections that may wait for `accept`; the system's own limit (net.core.somaxconn) may be lower."""


class CannotListen(Exception):
    """A socket cannot be opened. The text is one sentence for the operator, with the mend."""


@dataclass(slots=True)
class _Open:
    address: ListenAddress
    sockets: tuple[socket.socket, ...]
    file: tuple[int, int] | None = None  # device and inode of a socket in the file system: what we may remove again


class Sockets:
    """Every listening socket of this process. `inherited` are systemd's, by name; only `close` closes those.

    `handed` are those that an earlier version of this program had open, by place.
    """

    def __init__(
        self,
        inherited: Mapping[str, Sequence[socket.socket]] | None = None,
        handed: Mapping[str, Sequence[socket.socket]] | None = None,
    ) -> None:
        self._inherited = {name: tuple(sockets) for name, sockets in (inherited or {}).items()}
        self._handed = {place: tuple(sockets) for place, sockets in (handed or {}).items()}
        self._open: dict[str, _Open] = {}

    def open(self, addresses: Iterable[ListenAddress]) -> None:
        """Open those that are not open yet. Raises CannotListen, and then nothing has changed but a mode or group.

        Which ones are open and no longer wanted is told with `keep`.
        """
        before, handed = set(self._open), set(self._handed)
        try:
            for address in addresses:
                there = self._open.get(address.place)
                if there is None:
                    self._open[address.place] = self._opened(address)
                elif isinstance(address, UnixAddress) and address != there.address:
                    _permit(address)
                    there.address = address
        except (CannotListen, OSError):
            for place in set(self._open) - before:
                gone = self._open.pop(place)
                if place in handed:  # its processes accept from it
                    self._handed[place] = gone.sockets
                else:
                    self._shut(gone)
            raise

    def keep(self, addresses: Iterable[ListenAddress]) -> None:
        """Close all others, and give sockets in the file system their mode and group back."""
        wanted = {address.place: address for address in addresses}
        for place in set(self._open) - set(wanted):
            self._shut(self._open.pop(place))
        with contextlib.suppress(CannotListen):  # it worked when they were opened
            self.open(wanted.values())

    def numbers(self, address: ListenAddress) -> tuple[int, ...]:
        """The file descriptors of an open address. There may be several for one name of systemd."""
        return tuple(one.fileno() for one in self._open[address.place].sockets)

    def to_hand_over(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        """The descriptors of ours by place, and of systemd's by name."""
        ours = {place: [one.fileno() for one in sockets] for place, sockets in self._handed.items()}
        ours |= {
            place: [one.fileno() for one in there.sockets]
            for place, there in self._open.items()
            if not isinstance(there.address, SystemdAddress)
        }
        return ours, {name: [one.fileno() for one in sockets] for name, sockets in self._inherited.items()}

    def bound(self, address: ListenAddress) -> tuple[str, ...]:
        """Where they really are, for the log: port 0 has become a number."""
        return tuple(_name(one) for one in self._open[address.place].sockets)

    def close(self) -> None:
        """Close everything. May be called twice."""
        for there in self._open.values():
            self._shut(there)
        self._open.clear()
        for sockets in self._inherited.values():
            for one in sockets:
                one.close()
        self._inherited.clear()
        self.close_handed()

    def close_handed(self) -> None:
        """Close those of the earlier version that nobody wanted: now that none of its processes serves any more."""
        for sockets in self._handed.values():
            for one in sockets:
                one.close()
        self._handed.clear()

    def _opened(self, address: ListenAddress) -> _Open:
        if isinstance(address, SystemdAddress):
            sockets = self._inherited.get(address.name)
            if not sockets:
                raise CannotListen(
                    f"systemd passed no socket named {address.name}: start gatekeeper by a socket unit with "
                    f"FileDescriptorName={address.name}"
                )
            return _Open(address, sockets)
        handed = self._handed.pop(address.place, None)
        if isinstance(address, UnixAddress):
            if handed and not Path(address.path).is_socket():  # nobody can reach it any more
                for one in handed:
                    one.close()
                handed = None
            sockets = handed or (_unix(address),)
            there = Path(address.path).stat()
            return _Open(address, sockets, (there.st_dev, there.st_ino))
        return _Open(address, handed or (_tcp(address),))

    def _shut(self, gone: _Open) -> None:
        if isinstance(gone.address, SystemdAddress):
            return  # systemd would not pass it again at the next reload
        for one in gone.sockets:
            one.close()
        if isinstance(gone.address, UnixAddress):
            with contextlib.suppress(OSError):
                there = Path(gone.address.path).stat()
                if (there.st_dev, there.st_ino) == gone.file:  # not one that somebody else has put there since
                    Path(gone.address.path).unlink()


def _tcp(address: TcpAddress) -> socket.socket:
    family = socket.AF_INET6 if address.host.version == 6 else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # so that 0.0.0.0 can stand beside [::]
        found = socket.getaddrinfo(str(address.host), address.port, family, flags=socket.AI_NUMERICHOST)
        one.bind(found[0][4])
        one.listen(BACKLOG)
        one.setblocking(False)
    except OSError as error:
        one.close()
        raise CannotListen(f"cannot listen on {address}: {_why(error, address)}") from None
    return one


def _why(error: OSError, address: TcpAddress) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has that address; stop it, or choose another port"
        case errno.EACCES if address.port < 1024:
            return "ports below 1024 need CAP_NET_BIND_SERVICE, which systemd/gatekeeper.service gives"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
    return error.strerror or str(error)


def _unix(address: UnixAddress) -> socket.socket:
    _remove_stale(address)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o777)  # nobody connects before its mode and group are right
        try:
            one.bind(address.path)
        finally:
            os.umask(before)
        try:
            one.listen(BACKLOG)
            one.setblocking(False)
            _permit(address)
        except BaseException:
            Path(address.path).unlink()
            raise
    except OSError as error:
        one.close()
        raise CannotListen(
            f"cannot listen on unix:{address.path}: {error.strerror}; its directory must exist and be ours"
        ) from None
    except CannotListen:
        one.close()
        raise
    return one


def _remove_stale(address: UnixAddress) -> None:
    """A socket that nobody listens on any more was left behind by a crash."""
    try:
        if not stat.S_ISSOCK(Path(address.path).lstat().st_mode):
            raise CannotListen(f"cannot listen on unix:{address.path}: a file of that name is there, and not a socket")
    except OSError:
        return  # nothing there, or bind will say why not
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        refused = probe.connect_ex(address.path) == errno.ECONNREFUSED
    if not refused:
        raise CannotListen(f"cannot listen on unix:{address.path}: another program listens there; stop it first")
    with contextlib.suppress(OSError):
        Path(address.path).unlink()


def _permit(address: UnixAddress) -> None:
    try:
        if address.group is not None:
            group = int(address.group) if address.group.isdecimal() else grp.getgrnam(address.group).gr_gid
            os.chown(address.path, -1, group)
        Path(address.path).chmod(address.mode)
    except KeyError:
        raise CannotListen(
            f"unix:{address.path}: there is no group {address.group}; name another after group="
        ) from None
    except OSError as error:
        raise CannotListen(
            f"unix:{address.path}: mode {address.mode:04o} or group {address.group} cannot be given "
            f"({error.strerror}); we must be in that group: SupplementaryGroups= in the unit"
        ) from None


def _name(one: socket.socket) -> str:
    name = one.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if one.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"
    return f"unix:{name}"
