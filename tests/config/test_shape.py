"""What a settings dataclass looks like from outside."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from gatekeeper.config import shape
from gatekeeper.model import Duration, Size, Unit, setting


@dataclass(frozen=True)
class Inner:
    zone: str


@dataclass(frozen=True)
class Settings:
    name: ClassVar[str] = "not a setting"

    wait: Duration = setting(3.0, "How long.")
    most: Size | None = setting(None, "How much.")
    for_: tuple[Inner, ...] = setting((), "For whom.")
    scores: Mapping[str, float] = field(default_factory=dict, metadata={"about": "Scores."})
    inner: Inner | None = None
    _worked_out: int = 0
    later: int = field(init=False, default=0)


def test_every_setting_is_found_in_its_order_under_its_name_in_toml():
    assert list(shape.keys(Settings)) == ["wait", "most", "for", "scores", "inner"]


def test_a_keyword_of_python_keeps_its_field():
    assert shape.keys(Settings)["for"].field == "for_"


def test_the_sentence_and_the_default_are_known():
    keys = shape.keys(Settings)
    assert (keys["wait"].about, keys["wait"].default) == ("How long.", 3.0)
    assert keys["scores"].default == {}
    assert keys["inner"].about == ""


def test_what_has_no_default_is_required():
    assert shape.keys(Inner)["zone"].required
    assert not shape.keys(Settings)["most"].required


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wait", shape.Kind(float, Unit("duration"), optional=False)),
        ("most", shape.Kind(int, Unit("size"), optional=True)),
        ("inner", shape.Kind(Inner, None, optional=True)),
    ],
)
def test_a_type_is_taken_out_of_its_wrapping(name, expected):
    assert shape.keys(Settings)[name].kind == expected


def test_lists_and_tables_of_free_keys_know_what_is_in_them():
    keys = shape.keys(Settings)
    assert keys["for"].kind.item is Inner
    assert keys["scores"].kind.item is float
    assert keys["scores"].kind.is_table
    assert not keys["for"].kind.is_table
    assert keys["wait"].kind.item is None
    assert keys["inner"].kind.is_section
