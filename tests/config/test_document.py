"""Settings dataclasses as TOML: what is written can be read again."""

import enum
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.config import document, loading, shape
from gatekeeper.model import Duration, Size, setting


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Code:
    name: str = field(metadata={"about": "The end of the name."})
    score: float | None = setting(None, "Points.")


@dataclass(frozen=True, slots=True)
class Entry:
    zone: str = field(metadata={"about": "The zone."})
    wait: Duration = setting(1.0, "How long.")
    score: float | None = setting(None, "Points.")
    codes: Mapping[str, Code] = field(default_factory=dict, metadata={"about": "Codes."})


@dataclass(frozen=True, slots=True)
class Deeper:
    on: bool = setting(False, "Whether.")


@dataclass(frozen=True, slots=True)
class Settings:
    name: str = setting("x", "A name.")
    wait: Duration = setting(90.0, "How long. " + "It is a long sentence. " * 8)
    most: Size | None = setting(None, "How much.")
    colour: Colour = setting(Colour.RED, "Which.")
    networks: tuple[IPv4Network, ...] = setting((), "Where.")
    names: tuple[str, ...] = setting(("a",), "Who.")
    lists: tuple[Entry, ...] = setting((), "The lists.")
    scores: Mapping[str, float] = field(default_factory=dict, metadata={"about": "RULE = score."})
    deeper: Deeper = setting(Deeper(), "More.")
    spare: Deeper | None = setting(None, "Or not.")


EXAMPLES: dict[str, Any] = {
    "room.most": 1024,
    "room.networks": ("192.0.2.0/24",),
    "room.lists": (
        {"zone": "zen.example", "score": 4.0},
        {"zone": "two.example", "codes": {"127.0.0.2": {"name": "SBL", "score": 4.0}}},
    ),
    "room.scores": {"SPF_FAIL": (3.0, "Why.")},
}


def _document(shipped: dict[str, Any]) -> str:
    return document.section(
        "room", Settings, about="The room.", shipped=shipped, examples=EXAMPLES, switch="Whether it runs."
    )


def _load(text: str) -> Settings:
    source = loading.Document(text, "f", general=(), planned={})
    source.switch("room", key="enabled", default=True)
    made = source.section(Settings, "room")
    assert source.problems == []
    assert isinstance(made, Settings)
    return made


def test_a_section_shows_every_setting_with_its_sentence_and_default():
    assert _document({"room.name": "live"}) == (
        """
# The room.
[room]
# Whether it runs.
#enabled = true
# A name.
name = "live"
# How long. It is a long sentence. It is a long sentence. It is a long sentence. It is a long sentence. It is a
# long sentence. It is a long sentence. It is a long sentence. It is a long sentence.
#wait = "90s"
# How much.
#most = "1KiB"
# Which.
#colour = "red"
# Where.
#networks = ["192.0.2.0/24"]
# Who.
#names = ["a"]

# The lists.
#[[room.lists]]
## The zone.
#zone = "zen.example"
## How long.
#wait = "1s"
## Points.
#score = 4.0
#[[room.lists]]
## The zone.
#zone = "two.example"
## How long.
#wait = "1s"
## Codes.
#codes = { "127.0.0.2" = { name = "SBL", score = 4.0 } }

# RULE = score.
[room.scores]
#SPF_FAIL = 3.0  # Why.

# More.
[room.deeper]
# Whether.
#on = false

# Or not.
#[room.spare]
# Whether.
#on = false
"""
    )


def test_a_section_as_shipped_is_the_defaults():
    assert _load(_document({})) == Settings()


def test_every_line_that_is_commented_out_can_be_taken_in():
    made = _load(re.sub(r"^#(?=[^# ])", "", _document({}), flags=re.MULTILINE))
    assert made == Settings(
        most=1024,
        networks=(IPv4Network("192.0.2.0/24"),),
        lists=(Entry("zen.example", score=4.0), Entry("two.example", codes={"127.0.0.2": Code("SBL", 4.0)})),
        scores={"SPF_FAIL": 3.0},
        spare=Deeper(),
    )


def test_a_setting_without_default_needs_an_example():
    with pytest.raises(KeyError, match=r"room\.most"):
        document.section("room", Settings, about="", shipped={}, examples={})


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.slow
@given(
    st.builds(
        Settings,
        name=TEXT,
        wait=st.integers(0, 10**9).map(lambda n: n / 1000),
        most=st.none() | st.integers(0, 10**12),
        names=st.lists(TEXT, max_size=3).map(tuple),
        lists=st.lists(
            st.builds(
                Entry,
                zone=TEXT,
                wait=st.just(0.5),
                score=st.none() | st.integers(-100, 100).map(float),
                codes=st.dictionaries(TEXT, st.builds(Code, name=TEXT, score=st.none() | st.just(1.5)), max_size=2),
            ),
            max_size=2,
        ).map(tuple),
        scores=st.dictionaries(TEXT, st.floats(-9, 9), max_size=3),
        deeper=st.builds(Deeper, on=st.booleans()),
    )
)
def test_what_is_in_force_survives_being_shown_and_read(settings):
    assert _load(document.effective("room", settings)) == settings


@given(TEXT)
def test_any_text_is_written_as_toml(text):
    assert tomllib.loads(f"key = {document.value(text, shape.kind(str))}") == {"key": text}
