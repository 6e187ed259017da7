"""`make detection`: how well is spam told from ham that was not learned from? Writes the tables of docs/detection.md.

Two questions. Five folds: mail like what was learned, near-copies never on both sides. Each corpus left out: other
people's mail, of another time, of which nothing was learned. SpamAssassin with Bayes answers both, in the same run.
And a third to all of content as it is shipped: what of one household's wanted mail would it mark?
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.training import corpora, household, learn, spamassassin, tables
from bench.training.corpora import Example
from bench.training.household import Judged

PAGE = Path("docs/detection.md")
KEPT = Path("run/detection")
BEGIN, END = "<!-- made by make detection -->", "<!-- until here -->"
OURS, THEIRS = "gatekeeper", "SpamAssassin + Bayes"
TITLES = {"folds": "Five folds, near-copies in one fold", "corpora": "Each corpus left out in turn"}
SHIPPED, TAUGHT = "shipped model", f"after {household.LESSONS} of the site's own messages"


@dataclass(frozen=True, slots=True)
class Result:
    """All that was measured. `ours`: by scheme, the score of each message. `spent`: CPU seconds but SpamAssassin's."""

    examples: Sequence[Example]
    ours: dict[str, np.ndarray]
    theirs: spamassassin.Scores | None
    judged: dict[str, list[Judged]]
    spent: float


def main() -> None:
    told = argparse.ArgumentParser(prog="make detection", description=__doc__)
    told.add_argument("corpora", nargs="?", type=Path, default=corpora.DEFAULT)
    told.add_argument("--kept", type=Path, default=KEPT, help="where SpamAssassin's scores stay, for the next run")
    told.add_argument("--ours-only", action="store_true", help="leave SpamAssassin out, which takes most of the time")
    told.add_argument("--page", type=Path, default=PAGE)
    given = told.parse_args()
    if not given.ours_only and not spamassassin.installed():
        sys.exit(f"{spamassassin.ABSENT}\nWithout it: python -m bench.training.detection --ours-only --page FILE")
    try:
        write(given.page, text_of(measure(given.corpora, None if given.ours_only else given.kept)))
    except spamassassin.Ended as ended:
        sys.exit(f"{ended}\nWhat was done until then is kept: run it again, and it goes on.")


def measure(where: Path, kept: Path | None) -> Result:
    """Everything, on the mail in `where`; without `kept`, no SpamAssassin."""
    before = _cpu_seconds()
    examples = corpora.examples(where)
    count = len(examples)
    say(f"{count} messages read")
    made = learn.design([*examples, *corpora.made()])
    ours = {"folds": learn.across_folds(made)[:count], "corpora": learn.across_corpora(made, say)[:count]}
    say("gatekeeper's model: both schemes scored")
    of_one = [each for each in examples if each.corpus == household.HOUSEHOLD]
    judged = {
        SHIPPED: asyncio.run(household.judge(of_one, where)),
        TAUGHT: asyncio.run(household.after_lessons(of_one, where)),
    }
    for name, each in judged.items():
        say(name)
        household.blamed(each, say)
    spent = _cpu_seconds() - before
    theirs = None
    if kept is not None:
        schemes: dict[str, spamassassin.Scheme] = {
            "folds": made.folds[:count],
            "corpora": [each.corpus for each in examples],
        }
        files = [where / each.path for each in examples]
        theirs = spamassassin.Scorer(examples, files, kept, say).scores(schemes)
    return Result(examples, ours, theirs, judged, spent)


def text_of(result: Result) -> str:
    """What stands between the marks of the page."""
    examples = result.examples
    spam = sum(each.spam for each in examples)
    even = [each for each in examples if each.measured]
    took = f"gatekeeper's part took {result.spent / 60:.1f} CPU minutes"
    if result.theirs is not None:
        took += f", that of SpamAssassin ({result.theirs.named}) {result.theirs.spent / 60:.1f}"
    said = (
        f"{len(examples)} messages of {len({each.corpus for each in examples})} corpora were learned from and judged: "
        f"{spam} spam, {len(examples) - spam} ham. The even sample is {len(even)} of them, at most "
        f"{_most_of_one(even)} of one corpus and kind: {sum(each.spam for each in even)} spam, "
        f"{sum(not each.spam for each in even)} ham. {took}."
    )
    lines = [said, "", "Shares are in percent; in brackets the 95% interval, and counts."]
    for scheme, title in TITLES.items():
        by_filter: dict[str, Sequence[float]] = {OURS: list(result.ours[scheme])}
        if result.theirs is not None:
            by_filter[THEIRS] = result.theirs.by_scheme[scheme]
        lines += ["", f"### {title}", "", *tables.caught(examples, by_filter)]
        lines += ["", *tables.modern(examples, by_filter)]
    lines += ["", "### Modern mail, judged by all of content", "", *tables.household(result.judged)]
    return "\n".join(lines)


def _most_of_one(examples: Sequence[Example]) -> int:
    kinds = [(each.corpus, each.spam) for each in examples]
    return max(map(kinds.count, set(kinds)), default=0)


def write(page: Path, text: str) -> None:
    """Put the text between the marks of the page; what stands around them stays."""
    whole = page.read_text(encoding="utf-8") if page.is_file() else f"# Detection\n\n{BEGIN}\n{END}\n"
    before, _, rest = whole.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    say(f"{page} written")


def _cpu_seconds() -> float:
    """Of this process and of those that it has ended."""
    used = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
