"""dkimpy's one home: tag lists (RFC 6376 §3.2), and signatures on mail that we wrote ourselves.

It does not verify here: a line of blanks or a giant key holds it for seconds, and it passes what RFC 8301 forbids.
"""

from __future__ import annotations

import dkim
import dkim.util

from gatekeeper.mailauth.dkim_canonical import Canon


class NotTags(ValueError):
    """Not a list of tags; one in which a tag stands twice is none either."""


def tag_list(text: bytes) -> dict[bytes, bytes]:
    """The tags of a value, which may be folded, in their order. Raises NotTags."""
    try:
        tags: dict[bytes, bytes] = dkim.util.parse_tag_value(text.replace(b"\r\n", b""))
    except dkim.util.InvalidTagValueList:
        raise NotTags from None
    return tags


def sign(message: bytes, *, domain: str, selector: str, private_key: bytes, canon: Canon = Canon.RELAXED) -> bytes:
    """A DKIM-Signature field, with its CRLF, for a message of our own: RSA, PEM key, both parts canonicalised alike.

    For mail whose text is ours. dkimpy canonicalises in quadratic time: never give it what a stranger wrote.
    """
    name = canon.value.encode()
    made: bytes = dkim.sign(message, selector.encode(), domain.encode(), private_key, canonicalize=(name, name))
    return made
