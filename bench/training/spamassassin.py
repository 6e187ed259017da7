"""SpamAssassin with Bayes on the same mail: taught all of it, then made to forget what it is about to be asked.

The score is that of the rules that need no network, and of Bayes as it stands without that fold or corpus.
Forgetting is the exact reverse of learning there, and much cheaper than learning all the rest anew each time.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bench.training.corpora import Example

PROGRAM = Path(__file__).with_name("spamassassin.pl")


def installed() -> bool:
    """Whether its Perl module is there (Debian's package spamassassin)."""
    perl = shutil.which("perl")
    return (
        perl is not None
        and subprocess.run([perl, "-MMail::SpamAssassin", "-e1"], check=False, stderr=subprocess.DEVNULL).returncode
        == 0
    )  # no word of it is a stranger's


class _Process:
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
        _pipe(self._running.stdin).close()
        self._running.wait()

    def ask(self, line: str) -> str:
        to = _pipe(self._running.stdin)
        to.write(line + "\n")
        to.flush()
        answer = _pipe(self._running.stdout).readline()
        if not answer:
            raise RuntimeError(f"SpamAssassin ended at: {line}")
        return answer.strip()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("no pipe")
    return pipe


def scores(
    examples: Sequence[Example],
    files: Mapping[str, Path],
    schemes: Mapping[str, Sequence[object]],
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[int, float]]:
    """By scheme, the score of each measured message by its number. A scheme says for each message in which part it is;
    a message is scored by what has learned from all other parts. `files`: where each message is, by its path.
    """
    measured = [n for n, each in enumerate(examples) if each.measured]
    memory = Path("/dev/shm")  # its files are rewritten at each message
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made, ThreadPoolExecutor() as pool:
        place = Path(made)
        by_rules = pool.submit(_by_rules, place / "rules", [files[examples[n].path] for n in measured])
        with _Process(place / "whole") as taught:
            for n, each in enumerate(examples):
                taught.ask(f"learn {'spam' if each.spam else 'ham'} {files[each.path]}")
                if n % 500 == 0:
                    tell(f"SpamAssassin has learned {n} of {len(examples)}")
            taught.ask("close ")

        def without(name: str) -> dict[int, float]:
            found: dict[int, float] = {}
            parts = schemes[name]
            for part in sorted({parts[n] for n in measured}, key=str):
                now = place / f"{name} {part}"
                shutil.copytree(place / "whole", now)
                with _Process(now) as running:
                    for n, each in enumerate(examples):
                        if parts[n] == part:
                            running.ask(f"forget {files[each.path]}")
                    for n in measured:
                        if parts[n] == part:
                            found[n] = float(running.ask(f"bayes {files[examples[n].path]}"))
                shutil.rmtree(now)
                tell(f"SpamAssassin, {name}: {part}")
            return found

        by_bayes = dict(zip(schemes, pool.map(without, schemes), strict=True))
        rules = dict(zip(measured, by_rules.result(), strict=True))
    return {name: {n: rules[n] + added for n, added in found.items()} for name, found in by_bayes.items()}


def _by_rules(place: Path, files: Sequence[Path]) -> list[float]:
    """The score of each file by all rules but Bayes'."""
    with _Process(place) as running:
        return [float(running.ask(f"rules {file}")) for file in files]
