"""What rots in documentation: links to files and headings that have moved, and paths of somebody's own machine."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LONGEST = 200
"""Lines of a page that somebody wrote; the reference is made from the code and as long as that."""

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)>\s]+)>?[^)]*\)")
_HEADING = re.compile(r"^#+\s+(.*?)\s*#*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_MACHINE = re.compile(r"(?<![\w/.])(/(?:home|root|Users|work|mnt|private|workspace|repo)/[\w.-]+)")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _links(text: str) -> list[str]:
    """Targets of the links in a page, without those in code and those that lead out of the repository."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    return [target for target in _LINK.findall(prose) if not _ELSEWHERE.match(target)]


def _anchors(text: str) -> set[str]:
    """What the headings of a page are called in links, as the usual renderers spell it."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_somewhere():
    for page in PAGES:
        for link in _links(page.read_text()):
            file, _, anchor = unquote(link).partition("#")
            target = (page.parent / file).resolve() if file else page
            assert target.is_relative_to(ROOT), f"{_name(page)}: {link} leads out of the repository"
            assert target.exists(), f"{_name(page)}: {link} leads nowhere"
            if anchor:
                assert anchor in _anchors(target.read_text()), f"{_name(page)}, {link}: there is no such heading"


def test_no_page_names_a_path_of_somebodys_machine():
    assert {_name(page): found for page in PAGES if (found := _MACHINE.findall(page.read_text()))} == {}


def test_no_page_is_too_long_to_read():
    written = [page for page in PAGES if page.parent.name != "reference"]
    assert [_name(page) for page in written if len(page.read_text().splitlines()) > LONGEST] == []


def test_every_decision_stands_in_the_list_of_decisions():
    decisions = ROOT / "docs" / "decisions"
    listed = {*_links((decisions / "README.md").read_text()), "README.md"}
    assert [page.name for page in sorted(decisions.glob("*.md")) if page.name not in listed] == []


def test_links_in_code_are_no_links():
    assert _links(
        "see [a](b.md), `[c](d.md)`\n```\n[e](f.md)\n```\nand <https://example.org> [g](https://example.org)"
    ) == ["b.md"]


def test_anchors_are_spelt_as_renderers_spell_them():
    assert _anchors("# What it does, today\n## `VRFY` and EXPN\n") == {"what-it-does-today", "vrfy-and-expn"}
