"""Settings dataclasses -> the commented TOML file that shows them all: config/gatekeeper.toml and `config show`. Pure.

A setting that stands at its default is written commented out, so that a later version may find a better default.
"""

from __future__ import annotations

import enum
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gatekeeper.config import shape, units
from gatekeeper.model import Unit

WIDTH = 110


def value(given: Any, kind: shape.Kind) -> str:
    """One value as TOML."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if kind.unit is not None:
        return f'"{_with_unit(given, kind.unit)}"'
    if isinstance(given, enum.Enum):
        given = given.value
    if isinstance(given, int | float):
        return repr(given)
    if isinstance(given, Mapping):
        inner = shape.kind(kind.item) if kind.is_table else None
        pairs = (f"{_key(name)} = {value(each, inner or shape.kind(type(each)))}" for name, each in given.items())
        text = ", ".join(pairs)
        return f"{{ {text} }}" if text else "{}"
    if kind.is_section:
        pairs = (f"{key.name} = {value(each, key.kind)}" for key, each in _given(given, kind.type))
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(given, Sequence | frozenset | set) and not isinstance(given, str):
        inner = shape.kind(kind.item)
        return f"[{', '.join(value(each, inner) for each in given)}]"
    return _string(str(given))


def section(
    path: str,
    dataclass: type[Any],
    *,
    about: str,
    shipped: Mapping[str, Any],
    examples: Mapping[str, Any],
    switch: str = "",
    closed: bool = False,
) -> str:
    """A section with every setting: `shipped` ones live, the others commented out at their default.

    Both map whole paths ("servers.smtp.listen") to values; `examples` are shown, commented out, for settings
    whose default is nothing. `switch` is the sentence of a key `enabled` that the dataclass does not have. A `closed`
    section is commented out as a whole.
    """
    lines = ["", *_comment(about)] if about else [""]
    if path:
        lines.append(f"#[{path}]" if closed else f"[{path}]")
    if switch:
        lines += [*_comment(switch), "#enabled = true"]
    lines += _settings(path, dataclass, shipped, examples, closed=closed)
    return "\n".join(lines) + "\n"


def effective(path: str, settings: Any) -> str:
    """A section as it is in force, every value written out but for secrets."""
    lines, tables = ["", f"[{path}]"] if path else [], []
    for key, given in _given(settings, type(settings)):
        here = f"{path}.{key.name}" if path else key.name
        if key.kind.is_section:
            tables.append(effective(here, given))
        elif key.kind.item is not None and shape.kind(key.kind.item).is_section and not key.kind.is_table:
            tables += [effective(here, each).replace(f"\n[{here}]", f"\n[[{here}]]", 1) for each in given]
        elif key.kind.is_table:
            inner = shape.kind(key.kind.item)
            pairs = "".join(f"{_key(name)} = {value(each, inner)}\n" for name, each in given.items())
            tables.append(f"\n[{here}]\n{pairs}" if pairs else "")
        elif key.secret and given:
            lines.append(f"#{key.name} is set; it is not shown")
        elif key.shown is not None and key.shown(given) != given:
            lines.append(f"#{key.name} = {value(key.shown(given), key.kind)}  # what is secret in it is not shown")
        else:
            lines.append(f"{key.name} = {value(given, key.kind)}")
    return "\n".join(lines) + "\n" + "".join(tables)


def _settings(
    path: str, dataclass: type[Any], shipped: Mapping[str, Any], examples: Mapping[str, Any], *, closed: bool = False
) -> list[str]:
    lines, tables = [], []
    for key in shape.keys(dataclass).values():
        here = f"{path}.{key.name}" if path else key.name
        inner = shape.kind(key.kind.item)
        if key.kind.is_section:
            # One that may be left out means something by being there.
            shut = closed or key.kind.optional
            header = f"#[{here}]" if shut else f"[{here}]"
            inside = _settings(here, key.kind.type, shipped, examples, closed=shut)
            tables += ["", *_comment(key.about), header, *inside]
        elif key.kind.is_table:
            header = f"#[{here}]" if closed else f"[{here}]"
            tables += ["", *_comment(key.about), header, *_free_keys(examples.get(here, {}), inner)]
        elif inner.is_section and not key.kind.is_table:
            tables += ["", *_comment(key.about)]
            for each in examples.get(here, ({},)):
                tables += [f"#[[{here}]]", *_example(inner.type, each)]
        else:
            lines += [*_comment(key.about), _setting(here, key, shipped, examples)]
    return lines + tables


def _setting(here: str, key: shape.Key, shipped: Mapping[str, Any], examples: Mapping[str, Any]) -> str:
    if here in shipped:
        return f"{key.name} = {value(shipped[here], key.kind)}"
    given = examples.get(here, key.default)
    if given is None or key.required:
        raise KeyError(f"{here} has no default: give an example of it")
    return f"#{key.name} = {value(given, key.kind)}"


def _example(dataclass: type[Any], given: Mapping[str, Any]) -> Iterator[str]:
    """One item of a list of tables, commented out: the values given, and the other settings with their sentences."""
    for key in shape.keys(dataclass).values():
        shown = given.get(key.name, key.default)
        if shown is None or (key.name not in given and shown in ((), "", {})):
            continue
        yield from (f"#{line}" for line in _comment(key.about))
        yield f"#{key.name} = {value(shown, key.kind)}"


def _free_keys(given: Mapping[str, Any], inner: shape.Kind) -> Iterator[str]:
    for name, each in given.items():
        shown, about = each if isinstance(each, tuple) else (each, "")
        yield f"#{_key(name)} = {value(shown, inner)}" + (f"  # {about}" if about else "")


def _given(settings: Any, dataclass: type[Any]) -> Iterator[tuple[shape.Key, Any]]:
    """Every key and its value, those that are None left out: TOML has no word for nothing."""
    for key in shape.keys(dataclass).values():
        given = getattr(settings, key.field)
        if given is not None:
            yield key, given


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH)]


def _key(name: str) -> str:
    bare = name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
    return name if bare else _string(name)


def _string(text: str) -> str:
    """A basic string of TOML; it is JSON's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _with_unit(given: float, unit: Unit) -> str:
    return units.write_duration(given) if unit.kind == "duration" else units.write_size(int(given))
