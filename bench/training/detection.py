"""`make detection`: how well is spam told from ham that the model has not seen? Writes the tables of docs/detection.md.

Two questions. Five folds: mail like what was learned, near-copies never on both sides. Each corpus left out: other
people's mail, of another time, of which nothing was learned. SpamAssassin with Bayes answers both, in the same run.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.training import corpora, learn, spamassassin
from bench.training.corpora import Example

PAGE = Path("docs/detection.md")
BEGIN, END = "<!-- made by make detection -->", "<!-- until here -->"
MODERN_SPAM = ("foff_milter", "glitchyzorua")
OURS, THEIRS = "gatekeeper", "SpamAssassin + Bayes"


def main() -> None:
    told = argparse.ArgumentParser(prog="make detection", description=__doc__)
    told.add_argument("corpora", nargs="?", type=Path, default=corpora.DEFAULT)
    told.add_argument("--all", action="store_true", help="learn from all messages, not from the measured sample alone")
    told.add_argument("--spamassassin", type=Path, help="its scores, kept by an earlier run on the same mail")
    told.add_argument("--ours-only", action="store_true", help="leave SpamAssassin out, which takes most of the time")
    told.add_argument("--page", type=Path, default=PAGE)
    given = told.parse_args()
    found = [each for each in corpora.examples(given.corpora) if each.measured or given.all]
    theirs = {} if given.ours_only else _theirs(found, given.corpora, given.spamassassin)
    made = learn.design(found + corpora.made())
    count = len(found)
    ours = {"folds": learn.across_folds(made)[:count], "corpora": learn.across_corpora(made, _say)[:count]}
    measured = np.array([each.measured for each in found])
    said = (
        f"{count} messages of {len({each.corpus for each in found})} corpora, {sum(measured)} of them measured. "
        "In brackets: the 95% interval (Wilson), and counts."
    )
    text = [said]
    titles = {"folds": "Five folds, near-copies in one fold", "corpora": "Each corpus left out in turn"}
    for scheme, title in titles.items():
        by_filter = {OURS: ours[scheme][measured]}
        if theirs:
            by_filter[THEIRS] = np.array([theirs[scheme][each.path] for each in found if each.measured])
        text += ["", f"### {title}", "", *_tables([each for each in found if each.measured], by_filter)]
    _write(given.page, "\n".join(text))


def _theirs(found: Sequence[Example], where: Path, kept: Path | None) -> Mapping[str, Mapping[str, float]]:
    if kept is not None and kept.is_file():
        read: dict[str, dict[str, float]] = json.loads(kept.read_text())
        return read
    if not spamassassin.installed():
        _say("SpamAssassin is not there: apt-get install spamassassin; its rows are left out")
        return {}
    schemes = {
        "folds": corpora.folds_of(corpora.near_copies(found)),
        "corpora": [each.corpus for each in found],
    }
    made = spamassassin.scores(found, {each.path: where / each.path for each in found}, schemes, _say)
    by_path = {name: {found[n].path: score for n, score in scored.items()} for name, scored in made.items()}
    if kept is not None:
        kept.write_text(json.dumps(by_path))
    return by_path


# -- tables


def _tables(found: Sequence[Example], by_filter: Mapping[str, np.ndarray]) -> list[str]:
    spam = np.array([each.spam for each in found])
    corpus = np.array([each.corpus for each in found])
    having = sorted(set(corpus[spam]))
    lines = []
    for rate in (0.005, 0.0):
        allowed = int(rate * sum(~spam))
        lines += [
            f"Caught, % of spam, where {allowed} of {sum(~spam)} ham messages reach the threshold:",
            "",
            "| filter | mean | " + " | ".join(having) + " |",
            "|---|---:" + "|---:" * len(having) + "|",
        ]
        for name, scored in by_filter.items():
            limit = np.sort(scored[~spam])[::-1][allowed]
            cells = [_share(scored[spam & (corpus == each)] > limit) for each in having]
            mean = sum(share for share, _ in cells) / len(cells)
            lines.append(f"| {name} | **{mean:.1f}** | " + " | ".join(text for _, text in cells) + " |")
        lines.append("")
    modern_ham = ~spam & (corpus == learn.MODERN_HAM)
    lines += ["Modern spam against modern ham (AUC):", "", "| filter | AUC |", "|---|---:|"]
    for name, scored in by_filter.items():
        modern = area(scored[spam & np.isin(corpus, MODERN_SPAM)], scored[modern_ham])
        low, high = _area_interval(modern, sum(spam & np.isin(corpus, MODERN_SPAM)), sum(modern_ham))
        lines.append(f"| {name} | {modern:.3f} ({low:.3f} to {high:.3f}) |")
    return lines


def _share(caught: np.ndarray) -> tuple[float, str]:
    low, high = wilson(int(sum(caught)), len(caught))
    share = 100 * sum(caught) / len(caught)
    return share, f"{share:.1f} ({low:.0f} to {high:.0f}; {sum(caught)} of {len(caught)})"


def wilson(count: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share, in percent (Wilson's score)."""
    z = 1.96
    share = count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def area(spam: Sequence[float], ham: Sequence[float]) -> float:
    """The area under the curve: how often spam scores higher than ham; a tie is one half."""
    ordered = np.sort(np.asarray(ham))
    below = np.searchsorted(ordered, spam, "left") + np.searchsorted(ordered, spam, "right")
    return float(below.mean() / (2 * len(ordered)))


def _area_interval(share: float, spam: int, ham: int) -> tuple[float, float]:
    """Hanley and McNeil's standard error."""
    one, two = share / (2 - share), 2 * share * share / (1 + share)
    error = (share * (1 - share) + (spam - 1) * (one - share**2) + (ham - 1) * (two - share**2)) / (spam * ham)
    half = 1.96 * math.sqrt(error)
    return max(0.0, share - half), min(1.0, share + half)


def _write(page: Path, text: str) -> None:
    whole = page.read_text(encoding="utf-8") if page.is_file() else f"# Detection\n\n{BEGIN}\n{END}\n"
    before, _, rest = whole.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    _say(f"{page} written")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
