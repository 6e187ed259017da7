from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.training import corpora, detection, learn, spamassassin
from bench.training.corpora import Example
from bench.training.household import HOUSEHOLD
from bench.training.spamassassin import Scorer
from tests.support.fake_spamassassin import FakeSpamAssassin
from tests.support.labelled import CORPORA, EACH, write_labelled


@pytest.fixture(autouse=True)
def few_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = corpora.made(10)
    monkeypatch.setattr(corpora, "made", lambda: letters)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["make detection", *map(str, arguments)])
    detection.main()


def test_one_run_measures_both_filters_under_the_same_folds_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    where, page, fake = write_labelled(tmp_path), tmp_path / "page.md", FakeSpamAssassin()
    page.write_text(f"# Ours\n\nbefore\n{detection.BEGIN}\nwhat was there\n{detection.END}\nafter\n")
    monkeypatch.setattr(spamassassin, "installed", lambda: True)
    asked = {}

    def scorer(found, files, kept, tell):  # what it is told is looked at
        real = Scorer(found, files, kept, tell, process=fake)

        class Noting:
            def scores(self, schemes):
                asked.update(schemes)
                return real.scores(schemes)

        return Noting()

    monkeypatch.setattr(spamassassin, "Scorer", scorer)
    designs: list[learn.Design] = []
    design = learn.design

    def noted(found: Sequence[Example]) -> learn.Design:
        designs.append(design(found))
        return designs[-1]

    monkeypatch.setattr(learn, "design", noted)
    run(monkeypatch, where, "--kept", tmp_path / "kept", "--page", page)
    text = page.read_text()
    assert text.startswith(f"# Ours\n\nbefore\n{detection.BEGIN}\n")
    assert text.endswith(f"{detection.END}\nafter\n")
    assert "what was there" not in text
    count = 2 * EACH * len(CORPORA)
    assert f"{count} messages of {len(CORPORA)} corpora" in text
    assert "SpamAssassin (0.0, rules fake)" in text
    for title in detection.TITLES.values():
        assert f"### {title}" in text
    # Two samples at two rates under two schemes, and the area under two; and the household twice.
    assert text.count(f"| {detection.THEIRS} |") == text.count(f"| {detection.OURS} |") == 10
    assert text.count(f"| {detection.SHIPPED} |") == text.count(f"| {detection.TAUGHT} |") == 1
    (made,) = designs
    assert asked["folds"] == made.folds[:count]
    assert asked["corpora"] == list(made.corpus)[:count]


def test_without_spamassassin_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spamassassin, "installed", lambda: False)
    with pytest.raises(SystemExit, match="apt-get install -y --no-install-recommends spamassassin"):
        run(monkeypatch, write_labelled(tmp_path), "--page", tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


def test_where_spamassassin_ends_the_page_stays_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spamassassin, "installed", lambda: True)
    fakes = iter([FakeSpamAssassin(ends_after=100), FakeSpamAssassin()])

    def scorer(found, files, kept, tell):
        return Scorer(found, files, kept, tell, next(fakes))

    monkeypatch.setattr(spamassassin, "Scorer", scorer)
    where, page = write_labelled(tmp_path), tmp_path / "page.md"
    with pytest.raises(SystemExit, match="run it again, and it goes on"):
        run(monkeypatch, where, "--kept", tmp_path / "kept", "--page", page)
    assert not page.exists()
    run(monkeypatch, where, "--kept", tmp_path / "kept", "--page", page)
    assert detection.THEIRS in page.read_text()


def test_nothing_of_the_mail_stands_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    run(monkeypatch, write_labelled(tmp_path), "--ours-only", "--page", page)
    text = page.read_text()
    assert detection.THEIRS not in text
    assert "sender.example" not in text
    assert HOUSEHOLD in text
