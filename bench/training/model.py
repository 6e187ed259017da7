"""`make model CORPORA=DIR`: learn the model that is shipped, and write down what it was learned from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bench.training import corpora, learn
from gatekeeper.classifier import model as shipping
from gatekeeper.classifier.model import Learned

HELD_BACK = frozenset({"foff_milter"})
"""One household's mail: it is measured by and never learned from, so that nothing of it can be in what is shipped."""
PLACE = Path(shipping.__file__).with_name(shipping.SHIPPED)
INPUTS = Path(__file__).with_name("inputs.tsv")


def main() -> None:
    told = argparse.ArgumentParser(prog="make model", description=__doc__)
    told.add_argument("corpora", nargs="?", type=Path, default=corpora.DEFAULT)
    told.add_argument("--out", type=Path, default=PLACE)
    told.add_argument("--inputs", type=Path, default=INPUTS)
    given = told.parse_args()
    found = [each for each in corpora.examples(given.corpora) if each.corpus not in HELD_BACK]
    found += corpora.made()
    say(f"{len(found)} messages to learn from")
    octets = learned(found)
    given.out.write_bytes(octets)
    lines = [f"{each.digest}  {each.path}\n" for each in sorted(found, key=lambda each: each.path)]
    given.inputs.write_text("".join(lines), encoding="utf-8")
    say(f"{given.out}: {len(octets)} octets; what it was learned from: {given.inputs}")


def learned(found: list[corpora.Example]) -> bytes:
    """The file of the model of these."""
    made = learn.design(found)
    slope, offset = learn.calibrate(made, [learn.across_corpora(made, say), learn.across_folds(made)])
    fitted = learn.fit(made, np.arange(len(found)))
    return learn.packed(fitted, slope, offset, tuple([Learned(*each) for each in corpora.digests(found)]))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
