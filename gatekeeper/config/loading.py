"""TOML text -> settings dataclasses, with every mistake found at once and each named with its line and its mend.

Names and units are looked at here; types and ranges by pydantic, strictly ("3" is not 3), and by the `__post_init__`
of the dataclasses. Nothing is silently ignored.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gatekeeper.config import shape, units
from gatekeeper.config.positions import Path, nearest_line, positions

STRICT: Final = ConfigDict(extra="forbid", strict=True)

_TYPE_ERRORS: Final = {
    "string_type": 'must be text in quotes, such as "…"',
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "tuple_type": 'must be a list, such as ["…"]',
    "list_type": 'must be a list, such as ["…"]',
    "set_type": 'must be a list, such as ["…"]',
    "frozen_set_type": 'must be a list, such as ["…"]',
    "dataclass_type": "must be a table of keys and values",
    "dict_type": "must be a table of keys and values",
    "mapping_type": "must be a table of keys and values",
    "missing": "is required",
}
_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_SYNTAX_MENDS: Final = {
    "Invalid value": 'text stands in quotes: key = "text"',
    "Cannot overwrite a value": "the same key or section stands there twice: keep one",
    "Invalid statement": "a line is a [section], or key = value",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line` is 0 when no line can be named; `text` says what is wrong and names the mend."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class ConfigurationError(Exception):
    """The configuration cannot be used; every problem that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.line, p.key, p.text)))
        super().__init__("\n".join(map(str, self.problems)))


class Document:
    """One TOML file on its way into dataclasses. Sections are taken out one by one; what is left over is a mistake."""

    def __init__(self, text: str, file: str, *, general: Iterable[str], planned: Mapping[str, str]) -> None:
        """`general` are the keys at the top of the file. `planned` maps keys that this version does not have yet to
        what is said about them.

        Raises ConfigurationError when the text is not TOML.
        """
        self.problems: list[Problem] = []
        self._general = frozenset(general)
        self._planned = planned
        self._file = file
        self._data = _parse(text, file)
        self._lines = positions(text)
        self._taken: set[Path] = set()
        self._switches: dict[Path, str] = {}

    def has(self, *path: str) -> bool:
        return self._look(path) is not None

    def switch(self, *path: str, key: str, default: bool) -> bool:
        """Take a key of the loader's own out of a section."""
        self._switches[path] = key
        table = self._look(path)
        if not isinstance(table, dict) or key not in table:
            return default
        value = table.pop(key)
        if not isinstance(value, bool):
            self.problem((*path, key), f"{_TYPE_ERRORS['bool_type']}, not {_shown(value)}")
            return default
        return value

    def section(self, section: type[Any], *path: str) -> Any:
        """That section as its dataclass, with its defaults when it is not there; None, and problems, when it is wrong.

        Without a path, the keys at the top of the file.
        """
        self._taken.add(path)
        table = self._look(path) if path else {k: v for k, v in self._data.items() if k in shape.keys(section)}
        if table is None:
            table = {}
        if not isinstance(table, dict):
            self.problem(path, "must be a section: [" + ".".join(path) + "]")
            return None
        before = len(self.problems)
        if not table:
            with contextlib.suppress(TypeError, ValueError):  # something is required: pydantic says what
                return section()
        data = self._walk(table, shape.kind(section), path)
        try:
            # As JSON, so that lists may become tuples and tables dataclasses, and nothing else may become anything.
            # Within a tuple, because pydantic takes no settings for a dataclass by itself.
            made = TypeAdapter(tuple[section], config=STRICT).validate_json(json.dumps([data]))  # type: ignore[valid-type]  # made at run time
        except ValidationError as wrong:
            for error in wrong.errors(include_url=False):
                self._explain(error, path, section)
            return None
        return made[0] if len(self.problems) == before else None

    def leftovers(self, known: Iterable[str]) -> None:
        """Every table that no section has taken is a problem; the nearest of the `known` sections is named."""
        sections = list(known)
        groups = {tuple(name.split(".")[:n]) for name in sections for n in range(1, len(name.split(".")))}
        self._leftovers((), self._data, groups, sections)

    def problem(self, path: Path, text: str) -> None:
        key = ".".join(str(part) for part in path if not isinstance(part, int))
        found = Problem(self._file, nearest_line(self._lines, path), key, text)
        if not any((p.line, p.key) == (found.line, found.key) for p in self.problems):  # the first reason is enough
            self.problems.append(found)

    def _look(self, path: tuple[str, ...]) -> Any:
        table: Any = self._data
        for part in path:
            if not isinstance(table, dict) or part not in table:
                return None
            table = table[part]
        return table

    def _leftovers(self, path: Path, table: dict[str, Any], groups: set[tuple[str, ...]], sections: list[str]) -> None:
        for key, value in table.items():
            here = (*path, key)
            if here in self._taken or (not path and key in self._general):
                continue
            if here in groups and isinstance(value, dict):
                self._leftovers(here, value, groups, sections)
            elif here in groups:
                self.problem(here, f"must be a table, as in [{next(s for s in sections if s.startswith(key + '.'))}]")
            else:
                self._unknown(here, value, sections)

    def _unknown(self, path: Path, value: Any, sections: list[str]) -> None:
        name = ".".join(map(str, path))
        if name in self._planned:
            self.problem(path, self._planned[name])
        elif not isinstance(value, dict | list):
            self.problem(path, "unknown setting" + nearest(name, self._general if len(path) == 1 else ()))
        else:
            by_last = {section.rpartition(".")[2]: section for section in sections}
            groups = {section.rpartition(".")[0] for section in sections} - {""}
            near = nearest(name, [*sections, *groups])
            if not near and (last := difflib.get_close_matches(str(path[-1]), by_last, 1)):
                near = f"; did you mean '{by_last[last[0]]}'?"
            self.problem(path, "unknown section" + near)

    def _walk(self, data: Any, kind: shape.Kind, path: Path) -> Any:
        """Check the names, read the units, and turn TOML's names into the dataclass's. None for what is wrong."""
        if isinstance(data, dt.date | dt.time):
            self.problem(path, 'dates and times are not used here: put text in quotes, "…"')
            return None
        if isinstance(data, float) and not math.isfinite(data):
            self.problem(path, "must be a finite number")
            return None
        if kind.unit is not None:
            return self._with_unit(data, kind.unit.kind, path)
        if isinstance(data, dict) and kind.is_section:
            return self._walk_section(data, kind.type, path)
        if isinstance(data, dict):
            inner = shape.kind(kind.item)
            return {key: self._walk(value, inner, (*path, key)) for key, value in data.items()}
        if isinstance(data, list):
            inner = shape.kind(kind.item)
            return [self._walk(value, inner, (*path, index)) for index, value in enumerate(data)]
        return data

    def _walk_section(self, data: dict[str, Any], section: type[Any], path: Path) -> dict[str, Any]:
        keys = shape.keys(section)
        walked = {}
        for name, value in data.items():
            if name not in keys:
                here = (*path, name)
                planned = self._planned.get(".".join(map(str, here)))
                choices = [*keys, *([self._switches[path]] if path in self._switches else [])]
                self.problem(here, planned or "unknown setting" + nearest(name, choices) + self._elsewhere(name))
                continue
            result = self._walk(value, keys[name].kind, (*path, name))
            if result is not None or keys[name].required:  # its problem is named: let the default stand in
                walked[keys[name].field] = result
        return walked

    def _elsewhere(self, name: str) -> str:
        """A key of the top of the file, written after a [section], belongs to that section: say so."""
        return "; it belongs to the top of the file, above the first [section]" if name in self._general else ""

    def _with_unit(self, data: Any, unit: str, path: Path) -> float | None:
        def written(number: float) -> str:
            return units.write_duration(number) if unit == "duration" else units.write_size(int(number))

        if isinstance(data, int | float) and not isinstance(data, bool) and data >= 0:
            self.problem(path, f'{data} needs a unit: write "{written(data)}"')
            return None
        if not isinstance(data, str):
            self.problem(path, f'must be a {unit} in quotes, such as "{written(10)}", not {_shown(data)}')
            return None
        try:
            return units.duration(data) if unit == "duration" else units.size(data)
        except ValueError as wrong:
            self.problem(path, str(wrong))
            return None

    def _quoted(self, text: str, place: Path) -> list[Path]:
        """The keys there whose value a sentence quotes, where it names none."""
        table: Any = self._data
        for part in place:
            table = table[part] if isinstance(part, int) or part in table else {}
        found = {key: value if isinstance(value, list) else [value] for key, value in table.items()}
        return [
            (*place, key) for key, given in found.items() if any(f"'{v}'" in text or f'"{v}"' in text for v in given)
        ]

    def _explain(self, error: ErrorDetails, path: Path, section: type[Any]) -> None:
        """One of pydantic's complaints in our words, at the place in the file."""
        place, kind = self._in_toml(error["loc"][1:], path, section)
        given = error["input"]
        if error["type"] == "value_error":
            text = error["msg"].removeprefix("Value error, ")
            if kind.is_section:  # the dataclass's own sentence: find the key it speaks of
                spoken_of = (word for word in re.findall(r"\w+", text) if word in shape.keys(kind.type))
                named = [(*place, word) for word in spoken_of] or self._quoted(text, place)
                place = next((each for each in named if each in self._lines), place)
                text = text.removeprefix(f"{place[-1] if place else ''}: ")
        elif error["type"] == "literal_error":
            text = _one_of([str(choice) for choice in get_args(kind.type)], given)
        elif error["type"] == "missing":
            text = _TYPE_ERRORS["missing"]
        elif error["type"] in _TYPE_ERRORS:
            text = f"{_TYPE_ERRORS[error['type']]}, not {_shown(given)}"
        else:
            text = f"{error['msg'][:1].lower()}{error['msg'][1:]}, not {_shown(given)}"
        self.problem(place, text)

    def _in_toml(self, location: tuple[int | str, ...], path: Path, section: type[Any]) -> tuple[Path, shape.Kind]:
        """A place in the dataclasses as the path in the file, and what stands there."""
        kind = shape.kind(section)
        for part in location:
            if kind.is_section:
                key = next((each for each in shape.keys(kind.type).values() if each.field == part), None)
                if key is None:
                    break
                path, kind = (*path, key.name), key.kind
            elif kind.item is not None:
                path, kind = (*path, part), shape.kind(kind.item)
            else:  # the arm of a union, which does not stand in the file
                break
        return path, kind


def _parse(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        said = str(wrong)
        place = _SYNTAX_PLACE.search(said)
        said = said[: place.start()] if place else said
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        column = f" at column {place[2]}" if place and place[2] else ""
        mend = _SYNTAX_MENDS.get(said)
        raise ConfigurationError(
            [Problem(file, line, "", f"not TOML{column}: {said}" + (f"; {mend}" if mend else ""))]
        ) from None
    except (ValueError, RecursionError) as wrong:  # a number of 5000 digits; a thousand brackets
        raise ConfigurationError(
            [Problem(file, 0, "", f"not TOML that can be read: {type(wrong).__name__}: {wrong}")]
        ) from None


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of a sentence that asks whether the nearest choice was meant; nothing when none is near."""
    by_case = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), by_case, 1)
    return f"; did you mean '{by_case[near[0]]}'?" if near else ""


def _one_of(choices: list[str], given: object) -> str:
    listed = ", ".join(f'"{each}"' for each in choices)
    return f"must be one of {listed}, not {_shown(given)}" + nearest(str(given), choices)


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
