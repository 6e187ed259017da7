"""Many questions asked at once: in one call, without a task for each where the resolver needs none, and in a hurry."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Final

from gatekeeper.dns.answer import Answer, Question, Resolver, Status, starts_of

MOST: Final = 2 / 3
"""The part of the questions asked together after which the others are hurried."""


async def ask_all(
    resolver: Resolver,
    questions: Iterable[Question],
    *,
    hurry: float | None = None,
    took: Callable[[str], None] | None = None,
) -> dict[Question, Answer]:
    """The answer to each, asked at once; a task is made only for what is not in the cache.

    With `hurry` the deadline shrinks as answers arrive: once two thirds of those that had to be asked have ended, the
    others get that many seconds more, or three times what it took until then; what is late is a TIMEOUT here, and
    still comes into the cache. `took` is told each name when its answer is there, of those asked in such a hurry.
    """
    answers: dict[Question, Answer] = {}
    unknown: dict[Question, None] = {}
    for question in questions:
        answer = resolver.cached(*question)
        if answer is None:
            unknown[question] = None
        else:
            answers[question] = answer
    if unknown:
        answers.update(await ask_unknown(resolver, list(unknown), hurry=hurry, took=took))
    return answers


async def ask_unknown(
    resolver: Resolver,
    questions: list[Question],
    *,
    hurry: float | None = None,
    took: Callable[[str], None] | None = None,
) -> dict[Question, Answer]:
    """`ask_all` for different questions of which the caller knows that the cache has no answer."""
    if len(questions) == 1:
        answer = await resolver.ask(*questions[0])
        if took is not None:
            took(questions[0][0])
        return {questions[0]: answer}
    if hurry is not None:
        return await _hurried(resolver, questions, hurry, took)
    starting = starts_of(resolver)
    if starting is None:
        async with asyncio.TaskGroup() as group:
            tasks = {question: group.create_task(resolver.ask(*question)) for question in questions}
        return {question: task.result() for question, task in tasks.items()}
    answers: dict[Question, Answer] = {}
    waiting: dict[Question, asyncio.Future[Answer]] = {}
    for question in questions:
        started = starting.start(*question)
        if isinstance(started, Answer):
            answers[question] = started
        else:
            waiting[question] = started
    if waiting:
        await asyncio.wait(waiting.values())  # whoever gives up leaves them to the others
        answers.update((question, future.result()) for question, future in waiting.items())
    return answers


async def _hurried(
    resolver: Resolver, questions: list[Question], hurry: float, took: Callable[[str], None] | None
) -> dict[Question, Answer]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers: dict[Question, Answer] = {}
    waiting: dict[Question, asyncio.Future[Answer]] = {}
    ours: list[asyncio.Task[Answer]] = []
    starts = starts_of(resolver)
    for question in questions:
        if starts is not None:  # no task of our own: the one that asks is shared by all who want that answer
            started = starts.start(*question)
            if isinstance(started, Answer):
                answers[question] = started
                if took is not None:
                    took(question[0])
            else:
                waiting[question] = started
        else:
            waiting[question] = task = loop.create_task(resolver.ask(*question))
            ours.append(task)
    most = loop.create_future()
    wanted = math.ceil(len(questions) * MOST) - len(answers)

    def arrived(question: Question) -> Callable[[asyncio.Future[Answer]], None]:
        def count(_: asyncio.Future[Answer]) -> None:
            nonlocal wanted
            wanted -= 1
            if took is not None:
                took(question[0])
            if wanted == 0 and not most.done():
                most.set_result(None)

        return count

    callbacks = {question: arrived(question) for question in waiting}
    for question, future in waiting.items():
        future.add_done_callback(callbacks[question])
    try:
        if wanted > 0:
            await most
        late = [future for future in waiting.values() if not future.done()]
        if late:
            await asyncio.wait(late, timeout=max(hurry, 3 * (loop.time() - began)))
    finally:
        for question, future in waiting.items():
            future.remove_done_callback(callbacks[question])
        for task in ours:
            task.cancel()  # does nothing to one that has ended; the question itself goes on
    for question, future in waiting.items():
        answered = future.done() and not future.cancelled()
        answers[question] = future.result() if answered else Answer(Status.TIMEOUT)
    return answers
