"""`python -m tests.fuzz [TARGET …] --minutes 10`: each parser that meets a stranger gets that much processor time.

What it had in earlier runs counts, so that a run may be interrupted and taken up again; `--anew` begins at nothing.
Inputs that raised something or were slow are kept in run/fuzz/, and end the run with 1. docs/testing.md says the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from tests.fuzz import engine

PLACE = Path("run/fuzz")
TURN = 60.0
"""Processor seconds after which the next target has its turn, so that a short run sees them all."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them, if none is named")
    parser.add_argument("--minutes", type=float, default=10.0, help="processor time for each target")
    parser.add_argument("--anew", action="store_true", help="forget what earlier runs have done")
    parser.add_argument("--turn", type=float, help=argparse.SUPPRESS)  # this process is a turn of that many seconds
    given = parser.parse_args()
    if given.turn:
        _turn(given.targets[0], given.turn)
    from tests.fuzz.targets import TARGETS

    if not engine.guided():
        print("atheris is not installed: octets are mutated blindly (make fuzz installs it)", flush=True)
    unknown = sorted(set(given.targets) - set(TARGETS))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are: {', '.join(TARGETS)}")
    PLACE.mkdir(parents=True, exist_ok=True)
    if given.anew:
        (PLACE / "progress.json").unlink(missing_ok=True)
    return _all(given.targets or list(TARGETS), 60 * given.minutes)


def _all(names: list[str], seconds: float) -> int:
    progress = _progress()
    while left := [name for name in names if progress.get(name, {}).get("seconds", 0.0) < seconds - 1]:
        for name in left:
            done = progress.setdefault(name, {"seconds": 0.0, "runs": 0, "worst": 0.0, "faults": []})
            done.setdefault("guided", 0.0)
            told = _child(name, min(TURN, seconds - done["seconds"]))
            done["seconds"] += told["seconds"]
            done["guided"] += told["seconds"] if engine.guided() else 0.0
            done["runs"] += told["runs"]
            done["worst"] = max(done["worst"], told["worst"])
            done["faults"] += [each for each in told["faults"] if each not in done["faults"]]
            (PLACE / "progress.json").write_text(json.dumps(progress, indent=1))
            print(
                f"{name:16} {done['seconds'] / 60:5.1f} min ({done['guided'] / 60:.1f} led by coverage)"
                f" {done['runs']:>10,} inputs"
                f" {1e6 * done['worst']:6.2f} µs an octet at worst, {len(done['faults'])} faults",
                flush=True,
            )
    faults = [each for name in names for each in progress[name]["faults"]]
    print("\n".join(faults) or "nothing was raised, and nothing was slow")
    return 1 if faults else 0


def _progress() -> dict[str, dict]:  # type: ignore[type-arg]  # as JSON has it
    try:
        return dict(json.loads((PLACE / "progress.json").read_text()))
    except (OSError, ValueError):
        return {}


def _child(name: str, seconds: float) -> dict:  # type: ignore[type-arg]
    """One turn in a process of its own: what crashes the interpreter, or eats all memory, is found too."""
    told = PLACE / f"told-{os.getpid()}.json"
    command = [sys.executable, "-m", "tests.fuzz", name, "--turn", str(seconds)]
    environment = {**os.environ, "FUZZ_TOLD": str(told)}
    log = PLACE / f"{name}.log"
    with log.open("wb") as output:
        status = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False).returncode
    try:
        return dict(json.loads(told.read_text()))
    except (OSError, ValueError):
        died = f"{name}: the process ended with {status}; see {log}"
        return {"seconds": seconds, "runs": 0, "worst": 0.0, "faults": [died]}
    finally:
        told.unlink(missing_ok=True)


def _turn(name: str, seconds: float) -> NoReturn:
    if engine.guided():
        import atheris

        with atheris.instrument_imports(include=["gatekeeper"]):
            from tests.fuzz.targets import TARGETS
    else:
        from tests.fuzz.targets import TARGETS

    watched = engine.Watched(TARGETS[name])
    began = watched.clock()

    def end() -> NoReturn:
        told = {
            "seconds": watched.clock() - began,
            "runs": watched.runs,
            "worst": watched.worst / watched.slower,
            "faults": engine.keep(name, watched, PLACE),
        }
        Path(os.environ["FUZZ_TOLD"]).write_text(json.dumps(told))
        os._exit(0)  # libFuzzer would make its own of a SystemExit

    if engine.guided():
        watched.slower = engine.INSTRUMENTED
        artifacts = f"-artifact_prefix={PLACE}/{name}-"
        engine.with_coverage(watched, seconds, PLACE / "corpus" / name, [artifacts], end)
    else:
        engine.blindly(watched, seconds)
    end()


if __name__ == "__main__":
    sys.exit(main())
