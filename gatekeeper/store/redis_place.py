"""Where a Redis store is: the URL of one server, of sentinels or of a cluster. Pure, and without the Redis library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

PORT = 6379
SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class Place:
    """Where the store is. `hosts` are the server, the sentinels, or some nodes of the cluster; `service` is the name
    that the sentinels know. Raises ValueError, with the mend, when read from a URL that says none of it.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    database: int = 0
    service: str = ""
    user: str | None = None
    password: str | None = None

    @classmethod
    def read(cls, url: str) -> Place:
        scheme, separator, rest = url.partition("://")
        if not separator:
            raise ValueError(f'url: {url[:60]!r} names no host; write it as in "{_EXAMPLES["redis"]}"')
        authority, _, path = rest.partition("/")
        login, at, hosts = authority.rpartition("@")
        port = SENTINEL_PORT if scheme == "redis+sentinel" else PORT
        found = tuple(_host(text, port, url) for text in hosts.split(",")) if hosts else ()
        if not found:
            raise ValueError(f'url: {scheme}: names no host; write it as in "{_EXAMPLES[scheme]}"')
        if scheme in {"redis", "rediss"} and len(found) > 1:
            raise ValueError('url: several hosts are a cluster or sentinels: "redis+cluster:" or "redis+sentinel:"')
        user, colon, _ = login.partition(":")
        if colon:  # it would stand wherever the url is shown
            raise ValueError('url: a password does not stand here; write it as password = "..." in [store]')
        service, database = "", path
        if scheme == "redis+sentinel":
            service, _, database = path.partition("/")
            if not service:
                raise ValueError(f'url: the name of the service is missing; write "{_EXAMPLES[scheme]}"')
        if scheme == "redis+cluster" and database not in {"", "0"}:
            raise ValueError("url: a cluster has only database 0")
        if not re.fullmatch(r"[0-9]{0,4}", database):
            raise ValueError(f'url: {database[:20]!r} is no number of a database; write "{_EXAMPLES[scheme]}"')
        return cls(
            scheme,
            found,
            int(database or 0),
            service,
            unquote(user) if at and user else None,
        )


_EXAMPLES = {
    "redis": "redis://127.0.0.1:6379/0",
    "rediss": "rediss://user@redis.example.org:6379/0",
    "redis+cluster": "redis+cluster://10.0.0.1:6379,10.0.0.2:6379",
    "redis+sentinel": "redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster/0",
}


def _host(text: str, port: int, url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        name, number = parts.hostname, parts.port or port
    except ValueError:
        name, number = None, 0
    if not name:
        raise ValueError(f'url: {text[:60]!r} is no host; write it as in "{_EXAMPLES[url.partition("://")[0]]}"')
    return name, number
