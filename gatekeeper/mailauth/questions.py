"""Several questions to DNS at once, a task only for those that have no answer yet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gatekeeper.dns.resolver import Answer, Resolver

Question = tuple[str, str]
"""A name in lower case without its last dot, and a record type."""


async def ask_all(resolver: Resolver, questions: Iterable[Question]) -> dict[Question, Answer]:
    """The answer to each; in no order, and at once, so that the slowest one is all that is waited for."""
    answers: dict[Question, Answer] = {}
    unknown: list[Question] = []
    for question in questions:
        answer = resolver.cached(*question)
        if answer is None:
            unknown.append(question)
        else:
            answers[question] = answer
    if len(unknown) == 1:
        answers[unknown[0]] = await resolver.ask(*unknown[0])
    elif unknown:
        asked = await asyncio.gather(*(resolver.ask(*question) for question in unknown))
        answers.update(zip(unknown, asked, strict=True))
    return answers
