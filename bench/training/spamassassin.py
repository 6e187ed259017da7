"""SpamAssassin with Bayes on the same mail, under the same schemes: what it is asked about it has never learned.

Its score is that of the rules that need no network, looked for once, and of Bayes, which is another for each part of
each scheme. What Bayes learns is counts, and counts add up: each message is learned once, in the cell of all parts that
it is in, and what has learned from all parts but one is the sum of the other cells. All that took time is kept in a
directory, under names that change with what it came from: a run that was cut short goes on there.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Protocol, Self

from bench.training.corpora import Example

PROGRAM = Path(__file__).with_name("spamassassin.pl")
AT_ONCE: Final = 2
"""Processes of SpamAssassin at a time."""
TRIED: Final = 20
"""Messages whose sum of rules and Bayes is compared with the score that SpamAssassin gives by itself."""
CLOSE: Final = 0.01
"""Points by which the two may differ: Bayes' probability counts a ten-thousandth more, so that fewer are ties."""
ABSENT = (
    "SpamAssassin is not there, and it is half of what is compared. As root: "
    "apt-get install -y --no-install-recommends spamassassin"
)

Scheme = Sequence[object]
"""For each message the part that it is in: a message is scored by what has learned from all other parts."""


class Ended(Exception):
    """SpamAssassin has ended before it was asked to, or does not say what its rules and Bayes add up to."""


class Asked(Protocol):
    """What answers a line with a line; `spamassassin.pl` says which."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...

    def ask(self, line: str) -> str: ...


def installed() -> bool:
    """Whether its Perl module is there (Debian's package spamassassin)."""
    perl = shutil.which("perl")
    asked = [perl or "", "-MMail::SpamAssassin", "-e1"]
    # No word of it is a stranger's.
    return perl is not None and subprocess.run(asked, check=False, stderr=subprocess.DEVNULL).returncode == 0


class Process:
    """One SpamAssassin with the Bayes files of a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._running = subprocess.Popen(
            ["perl", str(PROGRAM), str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # no word of it is a stranger's

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is not None:
            self._running.kill()
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._running.stdin).close()
        self._running.wait()
        _pipe(self._running.stdout).close()

    def ask(self, line: str) -> str:
        to = _pipe(self._running.stdin)
        with contextlib.suppress(BrokenPipeError):  # then there is no answer
            to.write(line + "\n")
            to.flush()
        answer = _pipe(self._running.stdout).readline()
        if not answer:
            raise Ended(f"SpamAssassin ended at: {line}")
        return answer.strip()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("no pipe")
    return pipe


@dataclass(slots=True)
class Kept:
    """Scores by digest in a file to which each is added as it comes, so that little is lost when all ends at once."""

    file: Path
    known: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file.is_file():
            text = self.file.read_text(encoding="ascii")
            whole = text[: text.rfind("\n") + 1]  # the last line may have been cut off
            if whole != text:
                self.file.write_text(whole, encoding="ascii")
            for line in whole.splitlines():
                digest, _, score = line.partition("\t")
                self.known[digest] = float(score)

    def fill(self, digests: Sequence[str], scored: Iterator[float]) -> None:
        """Add the scores of these, in this order."""
        with self.file.open("a", encoding="ascii", buffering=1) as to:
            for digest, score in zip(digests, scored, strict=True):
                to.write(f"{digest}\t{score}\n")
                self.known[digest] = score


@dataclass(frozen=True, slots=True)
class Scores:
    """`named` is which SpamAssassin; `by_scheme` the score of each message; `spent` the CPU seconds that all of it
    took, in this run and in those before it; of a step that was cut short it is what came after.
    """

    named: str
    by_scheme: Mapping[str, Sequence[float]]
    spent: float


@dataclass(slots=True)
class Scorer:
    """Scores these messages; `files` are where they are, in the same order, and `kept` is where results stay."""

    examples: Sequence[Example]
    files: Sequence[Path]
    kept: Path
    tell: Callable[[str], None] = lambda _: None
    process: Callable[[Path], Asked] = Process

    def scores(self, schemes: Mapping[str, Scheme]) -> Scores:
        """Under each scheme. Raises Ended."""
        memory = Path("/dev/shm")  # Bayes' files are rewritten at each message
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
            scratch = Path(made)
            with self.process(scratch / "named") as running:
                named = running.ask("named")
            place = self.kept / f"spamassassin-{_name_of(named, PROGRAM.read_text(encoding='utf-8'))}"
            place.mkdir(parents=True, exist_ok=True)
            work = _Work(self, place, scratch)
            rules = work.rules()
            cells = work.learn(list(zip(*schemes.values(), strict=True)))
            found = {}
            for axis, (name, parts) in enumerate(schemes.items()):
                bayes = work.bayes(name, parts, cells=cells, axis=axis, rules=rules)
                found[name] = [rules[each.digest] + bayes[n] for n, each in enumerate(self.examples)]
        return Scores(named, found, sum(map(float, (place / "spent").read_text(encoding="ascii").split())))


@dataclass(slots=True)
class _Work:
    """The steps of one run: what is kept in `place` is not done again, and `scratch` is gone when it ends."""

    of: Scorer
    place: Path
    scratch: Path
    started: int = 0

    def rules(self) -> dict[str, float]:
        """By digest, what all rules but Bayes' say."""

        def ask(share: int) -> dict[str, float]:
            kept = Kept(self.place / f"rules-{share}")
            wanted = [n for n in range(share, len(self.of.examples), AT_ONCE) if self._digest(n) not in kept.known]
            if wanted:
                with self._process(f"rules {share}") as running:
                    answers = self._told(wanted, "rules", (running.ask(f"rules {self.of.files[n]}") for n in wanted))
                    kept.fill([self._digest(n) for n in wanted], map(float, answers))
                    self._spent(running)
            return kept.known

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return {digest: score for each in pool.map(ask, range(AT_ONCE)) for digest, score in each.items()}

    def learn(self, cells: Sequence[tuple[object, ...]]) -> dict[tuple[object, ...], Path]:
        """For each cell the file of what Bayes has learned from its messages."""
        members: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for n, cell in enumerate(cells):
            members[cell].append(n)

        def teach(cell: tuple[object, ...]) -> Path:
            inside = members[cell]
            lines = [f"{'spam' if self.of.examples[n].spam else 'ham'} {self._digest(n)}" for n in inside]
            file = self.place / f"learned-{_name_of(*sorted(lines))}"
            if not file.is_file():
                with self._process(f"learn {_name_of(*map(str, cell))}") as running:
                    for n in inside:
                        running.ask(f"learn {'spam' if self.of.examples[n].spam else 'ham'} {self.of.files[n]}")
                    half = file.with_suffix(".half")
                    running.ask(f"keep {half}")
                    self._spent(running)
                half.rename(file)
                self.of.tell(f"SpamAssassin has learned from {' and '.join(map(str, cell))}: {len(inside)} messages")
            return file

        every = sorted(members, key=str)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(every, pool.map(teach, every), strict=True))

    def bayes(
        self,
        name: str,
        parts: Scheme,
        *,
        cells: Mapping[tuple[object, ...], Path],
        axis: int,
        rules: Mapping[str, float],
    ) -> dict[int, float]:
        """By number, what Bayes adds: `axis` is where a cell names the part of this scheme."""

        def score(part: object) -> dict[int, float]:
            inside = [n for n, each in enumerate(parts) if each == part]
            others = sorted(file for cell, file in cells.items() if cell[axis] != part)
            kept = Kept(self.place / f"bayes-{_name_of(*[file.name for file in others])}")
            wanted = [n for n in inside if self._digest(n) not in kept.known]
            if wanted:
                total = self.scratch / f"{axis} {part}"
                add_up(others, total)
                with self._process(f"bayes {axis} {part}") as running:
                    running.ask(f"take {total}")
                    what = f"Bayes, {name}: {part}"
                    answers = self._told(wanted, what, (running.ask(f"bayes {self.of.files[n]}") for n in wanted))
                    kept.fill([self._digest(n) for n in wanted], map(float, answers))
                    for n in wanted[:: max(1, len(wanted) // TRIED)]:
                        agree(running, self.of.files[n], rules[self._digest(n)] + kept.known[self._digest(n)])
                    self._spent(running)
                total.unlink()
            return {n: kept.known[self._digest(n)] for n in inside}

        with ThreadPoolExecutor(AT_ONCE) as pool:
            scored = list(pool.map(score, sorted(set(parts), key=str)))
        return {n: added for each in scored for n, added in each.items()}

    def _told(self, wanted: Sequence[int], what: str, answers: Iterator[str]) -> Iterator[str]:
        for n, answer in enumerate(answers, 1):
            if n % 250 == 0 or n == len(wanted):
                self.of.tell(f"SpamAssassin, {what}: {n} of {len(wanted)}")
            yield answer

    def _process(self, name: str) -> Asked:
        return self.of.process(self.scratch / name)

    def _digest(self, n: int) -> str:
        return self.of.examples[n].digest

    def _spent(self, running: Asked) -> None:
        with (self.place / "spent").open("a", encoding="ascii") as to:
            to.write(running.ask("spent") + "\n")


def agree(running: Asked, file: Path, ours: float) -> None:
    """Raises Ended where rules and Bayes, asked apart, are not what SpamAssassin itself says."""
    whole = float(running.ask(f"whole {file}"))
    if abs(ours - whole) > CLOSE:
        raise Ended(f"SpamAssassin says {whole:.3f}, but its rules and Bayes {ours:.3f}: {file}")


def add_up(files: Sequence[Path], total: Path) -> None:
    """The file of what all of these have learned.

    Each is as `sa-learn --backup` writes it: lines of v (a total), t (how often a token was in spam and ham, and when
    last) and s (a message that was learned), fields between tabs.
    """
    totals: dict[str, int] = defaultdict(int)
    tokens: dict[str, tuple[int, int, int]] = {}
    seen = []
    for file in files:
        for line in file.open(encoding="ascii"):
            kind, *rest = line.rstrip("\n").split("\t")
            if kind == "v":
                value, name = rest
                totals[name] = int(value) if name.startswith("db_version") else totals[name] + int(value)
            elif kind == "t":
                in_spam, in_ham, at, token = rest
                before = tokens.get(token, (0, 0, 0))
                tokens[token] = (before[0] + int(in_spam), before[1] + int(in_ham), max(before[2], int(at)))
            elif kind == "s":
                seen.append(line)
    with total.open("w", encoding="ascii") as to:
        for name, count in totals.items():  # the version first, as it was read
            to.write(f"v\t{count}\t{name}\n")
        for token, counts in tokens.items():
            to.write(f"t\t{counts[0]}\t{counts[1]}\t{counts[2]}\t{token}\n")
        to.writelines(dict.fromkeys(seen))


def _name_of(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
