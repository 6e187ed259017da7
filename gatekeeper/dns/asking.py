"""Asking lists: all questions at once, with the time that each took, for the histogram and for the records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gatekeeper.dns.resolver import Answer, Question, Resolver, Status
from gatekeeper.metrics import LIST_SECONDS


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer, and the seconds it took; None where nothing was sent for it."""

    answer: Answer
    seconds: float | None = None


async def ask_lists(
    resolver: Resolver, questions: Mapping[Question, str], clock: Callable[[], float]
) -> dict[Question, Timed]:
    """The answer to each question, asked at once; its value is the list's name, as LIST_SECONDS has declared it."""
    answers: dict[Question, Timed] = {}
    unknown: dict[Question, str] = {}
    for question, name in questions.items():
        answer = resolver.cached(*question)
        if answer is None:
            unknown[question] = name
        else:
            answers[question] = Timed(answer)
    if len(unknown) == 1:
        for question, name in unknown.items():
            answers[question] = await _timed(resolver, question, name, clock)
    elif unknown:
        async with asyncio.TaskGroup() as group:
            tasks = {
                question: group.create_task(_timed(resolver, question, name, clock))
                for question, name in unknown.items()
            }
        answers.update((question, task.result()) for question, task in tasks.items())
    return answers


async def _timed(resolver: Resolver, question: Question, name: str, clock: Callable[[], float]) -> Timed:
    began = clock()
    answer = await resolver.ask(*question)
    if answer.status is Status.BUDGET:
        return Timed(answer)
    seconds = max(0.0, clock() - began)
    LIST_SECONDS[name].observe(seconds)
    return Timed(answer, round(seconds, 3))
