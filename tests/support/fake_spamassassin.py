"""A SpamAssassin that answers from what stands in the messages, and notes what it was asked and had learned then."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from bench.training.spamassassin import Ended


class FakeSpamAssassin:
    """Makes processes: each call is one. `ends_after` so many lines, none of them answers any more.

    Rules say the message's size in thousandths, Bayes the number of messages learned; "whole" is their sum, and `off`
    more.
    """

    def __init__(self, *, ends_after: int = 1_000_000, off: float = 0.0) -> None:
        self.ends_after = ends_after
        self.off = off
        self.lines: list[str] = []
        self.judged: list[tuple[str, frozenset[str]]] = []
        """Which file was scored by Bayes, and the files that had been learned by then."""

    def __call__(self, directory: Path) -> _Process:
        return _Process(self)

    def count(self, what: str) -> int:
        return sum(line.startswith(f"{what} ") for line in self.lines)


class _Process:
    def __init__(self, of: FakeSpamAssassin) -> None:
        self._of = of
        self._learned: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        return None

    def ask(self, line: str) -> str:
        if len(self._of.lines) >= self._of.ends_after:
            raise Ended("fake")
        self._of.lines.append(line)
        what, _, rest = line.partition(" ")
        if what == "learn":
            kind, _, file = rest.partition(" ")
            self._learned[file] = kind[0]
        elif what == "keep":
            Path(rest).write_text(self._text(), encoding="ascii")
        elif what == "take":
            lines = [each.split("\t") for each in Path(rest).read_text(encoding="ascii").splitlines()]
            self._learned = {each[2]: each[1] for each in lines if each[0] == "s"}
        elif what == "rules":
            return str(self._rules(rest))
        elif what == "bayes":
            self._of.judged.append((rest, frozenset(self._learned)))
            return str(len(self._learned))
        elif what == "whole":
            return str(self._rules(rest) + len(self._learned) + self._of.off)
        elif what == "spent":
            return "0.50"
        elif what == "named":
            return "0.0, rules fake"
        return ""

    @staticmethod
    def _rules(file: str) -> float:
        return Path(file).stat().st_size / 1000

    def _text(self) -> str:
        spam = sum(kind == "s" for kind in self._learned.values())
        totals = f"v\t3\tdb_version # this\nv\t{spam}\tnum_spam\nv\t{len(self._learned) - spam}\tnum_nonspam\n"
        return totals + "".join(f"s\t{kind}\t{file}\n" for file, kind in self._learned.items())
