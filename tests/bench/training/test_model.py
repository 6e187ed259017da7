import hashlib
from pathlib import Path

import pytest

from bench.training import corpora, model
from bench.training.household import HOUSEHOLD
from gatekeeper.classifier.model import read_model
from tests.support.labelled import CORPORA, EACH, write_labelled


def test_the_model_is_learned_and_what_from_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    where, out, inputs = write_labelled(tmp_path), tmp_path / "model", tmp_path / "inputs"
    letters = corpora.made(10)
    monkeypatch.setattr(corpora, "made", lambda: letters)
    arguments = ["make model", str(where), "--out", str(out), "--inputs", str(inputs)]
    monkeypatch.setattr("sys.argv", arguments)
    model.main()
    listed = [line.split("  ") for line in inputs.read_text().splitlines()]
    assert len(listed) == 2 * EACH * (len(CORPORA) - 1) + len(letters)
    assert not any(path.startswith(HOUSEHOLD) for _, path in listed)  # it is there to measure by
    for digest, path in listed:
        if not path.startswith(corpora.MADE):
            assert digest == hashlib.sha256((where / path).read_bytes()).hexdigest()
    learned = read_model(out.read_bytes()).card.learned
    assert sum(each.messages for each in learned) == len(listed)
    assert {each.name for each in learned} == {*CORPORA, corpora.MADE} - {HOUSEHOLD}
    model.main()
    assert [line.split("  ") for line in inputs.read_text().splitlines()] == listed


def test_the_model_is_the_same_each_time(tmp_path: Path):
    found = corpora.examples(write_labelled(tmp_path))
    assert model.learned(found) == model.learned(found)


def test_the_list_of_inputs_is_that_of_the_model_that_is_shipped():
    listed = [line.rstrip("\n").split("  ") for line in model.INPUTS.open(encoding="utf-8")]
    card = read_model(model.PLACE.read_bytes()).card
    assert sum(each.messages for each in card.learned) == len(listed)
    assert not any(path.split("/")[0] in model.HELD_BACK for _, path in listed)
    for each in card.learned:
        lines = sorted(
            f"{digest}  {path}\n" for digest, path in listed if path.startswith(f"{each.name}/{each.label}/")
        )
        assert hashlib.sha256("".join(lines).encode()).hexdigest() == each.digest
