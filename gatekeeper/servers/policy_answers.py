"""What the policy service answers Postfix with: a verdict's reply, or a header, as an action of access(5). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from gatekeeper.message.edit import Edit, Insert
from gatekeeper.model import Action, Reply, Verdict

DUNNO: Final = "DUNNO"
"""Nothing against it; what else Postfix is configured to look at decides."""
PASSED: Final = Reply.of(250, "2.0.0 Left to Postfix")
"""In the record, in the place of an answer that we do not see."""
TOO_LATE: Final = "DEFER_IF_PERMIT 4.3.0 Not judged in time, try again later"
HEADER: Final = "X-Spam-Status"
HEADER_LIMIT: Final = 900
"""Characters of the added field: one line, since an answer is one, and RFC 5322 §2.1.1 ends it at 998."""

_FOLD: Final = re.compile(r"\r\n[ \t]*")


def refusal(verdict: Verdict, reply: Reply) -> str:
    """The action for a recipient that is refused.

    DEFER_IF_PERMIT lets Postfix still refuse for good what it knows to be hopeless, so that nobody tries again in
    vain. Not where a rule alone has decided to defer: for a client that has spent its probe budget every name must
    get the same answer, those that Postfix does not know too. Never REJECT, which is whatever code Postfix is set to.
    """
    weighed = verdict.action is Action.GREYLIST or (verdict.action is Action.DEFER and verdict.decided_by is None)
    return f"DEFER_IF_PERMIT {reply.text}" if weighed else plain(reply)


def plain(reply: Reply) -> str:
    """The reply itself. Postfix hangs up after a 421."""
    return f"{reply.code} {reply.text}"


def header(edits: Iterable[Edit]) -> str:
    """The action that adds the field of the verdict, or DUNNO when there is none among the edits."""
    for edit in edits:
        if isinstance(edit, Insert) and edit.name == HEADER:
            return f"PREPEND {HEADER}: {_one_line(edit.value)}"
    return DUNNO


def _one_line(value: str) -> str:
    """Unfolded, and cut at the end of a rule's name where it is too long."""
    value = _FOLD.sub(" ", value)
    return value if len(value) <= HEADER_LIMIT else value[:HEADER_LIMIT].rpartition(",")[0]
