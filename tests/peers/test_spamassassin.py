"""The real SpamAssassin, as `make detection` asks it: what is added up from parts is what it learns from the whole."""

from __future__ import annotations

from pathlib import Path

from bench.training.letters import letters
from bench.training.spamassassin import Process, add_up, agree, installed
from tests.peers.conftest import need


def test_what_was_learned_apart_adds_up_to_what_is_learned_together(tmp_path: Path) -> None:
    need("spamassassin")
    assert installed()
    files = []
    for n, letter in enumerate(letters(120)):
        file = tmp_path / f"{'spam' if letter.spam else 'ham'}-{n}.eml"
        file.write_bytes(letter.octets)
        files.append(file)
    taught, asked = files[:-16], files[-16:]  # it wants a hundred of each before it says anything
    kept = []
    for name, some in [("whole", taught), ("one", taught[::3]), ("other", taught[1::3]), ("third", taught[2::3])]:
        kept.append(tmp_path / f"{name}.kept")
        with Process(tmp_path / name) as running:
            for file in some:
                running.ask(f"learn {file.name.partition('-')[0]} {file}")
            running.ask(f"keep {kept[-1]}")
    total = tmp_path / "total.kept"
    add_up(kept[1:], total)
    said = []
    for n, learned in enumerate((kept[0], total)):
        with Process(tmp_path / f"asked-{n}") as running:
            running.ask(f"take {learned}")
            said.append([running.ask(f"bayes {file}") for file in asked])
            agree(running, asked[0], float(running.ask(f"rules {asked[0]}")) + float(said[-1][0]))
    assert said[0] == said[1]
    assert len(set(said[0])) > 2  # Bayes has an opinion, and not always the same
