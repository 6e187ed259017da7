"""Where a name ends that somebody has registered, and what stands under it (the Public Suffix List)."""

from __future__ import annotations

from functools import lru_cache

from publicsuffixlist import PublicSuffixList

SUFFIXES = PublicSuffixList()
"""The registries' suffixes, and those under which companies give out names to strangers."""

LONGEST_NAME = 253
"""Characters of a name, at most (RFC 1035 §2.3.4)."""


@lru_cache(maxsize=16_384)
def registered_domain(host: str) -> str:
    """The part of a name (A-labels, lower case) that was registered: "a.b.example.co.uk" -> "example.co.uk".

    "" for a name that is a suffix itself, that has one label, or whose last label is no suffix of the world's.
    """
    if "." not in host or len(host) > LONGEST_NAME or SUFFIXES.publicsuffix(host, accept_unknown=False) is None:
        return ""
    return SUFFIXES.privatesuffix(host) or ""


def own_label(domain: str) -> str:
    """What was chosen in a registered domain: "example" of "example.co.uk"."""
    return domain.partition(".")[0]
