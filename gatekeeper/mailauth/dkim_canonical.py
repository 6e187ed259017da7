"""DKIM canonicalisation in linear time (RFC 6376 §3.4), and body hashes made while the bytes arrive.

Written anew because the usual way, a regular expression for blanks before a line end, is quadratic in a long run of
blanks: one line of 100 kB holds a process for seconds.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


class Canon(enum.StrEnum):
    """The two canonicalisations (RFC 6376 §3.4)."""

    SIMPLE = "simple"  # hardly any change survives
    RELAXED = "relaxed"  # changes of white space and of the case of field names survive


BodyKind = tuple[Canon, int | None]
"""A canonical form of the body, and how many of its octets count (l=); None for all of them."""


def canonical_field(raw_name: bytes, value: bytes, canon: Canon) -> bytes:
    """RFC 6376 §3.4.1 and §3.4.2, without a CRLF at the end."""
    if canon is Canon.SIMPLE:
        return raw_name + b":" + value
    if b"\r\n" in value:
        value = value.replace(b"\r\n", b"")
    return raw_name.rstrip(b" \t").lower() + b":" + _one_blank(value).strip(b" ")


@dataclass(frozen=True, slots=True)
class BodyHash:
    """The SHA-256 of (the first `l=` octets of) a canonical body, and the length of all of it."""

    digest: bytes
    length: int


class BodyHashes:
    """The body hashes that a message's signatures need, each made once however many signatures share it.

    Fed with the body in pieces of any size. `digest` may be called again and again; nothing can be fed after it.
    """

    __slots__ = ("_bodies",)

    def __init__(self, kinds: Iterable[BodyKind]) -> None:
        self._bodies: dict[Canon, _Body] = {}
        for canon, limit in kinds:
            body = self._bodies.get(canon)
            if body is None:
                body = self._bodies[canon] = _Body(relaxed=canon is Canon.RELAXED)
            body.digests.setdefault(limit, hashlib.sha256())

    def __bool__(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._bodies)

    @property
    def kinds(self) -> set[BodyKind]:
        """What was asked for at the start."""
        return {(canon, limit) for canon, body in self._bodies.items() for limit in body.digests}

    def update(self, chunk: bytes) -> None:
        for body in self._bodies.values():
            body.update(chunk)

    def digest(self, canon: Canon, limit: int | None) -> BodyHash | None:
        """None for a kind that was not asked for at the start."""
        body = self._bodies.get(canon)
        if body is None or limit not in body.digests:
            return None
        body.finish()
        return BodyHash(body.digests[limit].digest(), body.length)


class _Body:
    """One canonical form of a body on its way into any number of digests, each with its limit."""

    __slots__ = ("_empty_lines", "_finished", "_held", "_relaxed", "digests", "length")

    def __init__(self, *, relaxed: bool) -> None:
        self.digests: dict[int | None, hashlib._Hash] = {}
        self.length = 0
        self._relaxed = relaxed
        self._held = b""  # the end of the last piece that cannot be judged yet: blanks (as one), a CR
        self._empty_lines = 0  # line ends seen and not yet given on: they count only when more follows
        self._finished = False

    def update(self, chunk: bytes) -> None:
        data = self._held + chunk if self._held else chunk
        self._held = b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        if self._relaxed:
            if data.endswith((b" ", b"\t")):
                data, self._held = data.rstrip(b" \t"), b" " + self._held
            data = _relax(data)
        self._lines(data)

    def finish(self) -> None:
        """The last line gets its CRLF, empty lines at the end go (RFC 6376 §3.4.3, §3.4.4)."""
        if self._finished:
            return
        self._finished = True
        self._lines(self._held.removesuffix(b" ") if self._relaxed else self._held)
        if self.length or not self._relaxed:
            self._give(b"\r\n")

    def _lines(self, data: bytes) -> None:
        end = _without_line_ends(data)
        if end:
            if self._empty_lines:
                self._give(b"\r\n" * self._empty_lines)
                self._empty_lines = 0
            self._give(data[:end] if end < len(data) else data)
        self._empty_lines += (len(data) - end) // 2

    def _give(self, data: bytes) -> None:
        for limit, digest in self.digests.items():
            if limit is None or limit >= self.length + len(data):
                digest.update(data)
            elif limit > self.length:
                digest.update(data[: limit - self.length])
        self.length += len(data)


def _relax(data: bytes) -> bytes:
    """Runs of blanks become one blank, and none before a line end."""
    return _one_blank(data).replace(b" \r\n", b"\r\n")


def _one_blank(data: bytes) -> bytes:
    """Each run of blanks as one; in linear time, since each pass halves every run."""
    if b"\t" in data:
        data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


def _without_line_ends(data: bytes) -> int:
    """Where the CRLFs at the end begin."""
    end = len(data.rstrip(b"\r\n"))
    tail = len(data) - end
    if tail % 2 == 0 and data[end:] == b"\r\n" * (tail // 2):
        return end
    at = len(data)  # a bare CR or LF among them is text
    while data.endswith(b"\r\n", end, at):
        at -= 2
    return at
