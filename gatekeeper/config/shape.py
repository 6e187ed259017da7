"""What a settings dataclass looks like from outside: its keys as TOML spells them, their types, units and sentences."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from gatekeeper.model import Unit


class Kind(NamedTuple):
    """A type without its wrapping: `Duration | None` is float, with a unit, and may be left out."""

    type: Any
    unit: Unit | None
    optional: bool

    @property
    def item(self) -> Any:
        """The type of the items of a list, or of the values of a table of free keys; None for anything else."""
        origin, arguments = get_origin(self.type), get_args(self.type)
        if origin in (tuple, list, frozenset, set):
            return arguments[0]
        if self.is_table:
            return arguments[1]
        return None

    @property
    def is_table(self) -> bool:
        """Whether keys are the operator's own, as in [policy.scores]."""
        origin = get_origin(self.type)
        return isinstance(origin, type) and issubclass(origin, Mapping)

    @property
    def is_section(self) -> bool:
        return dataclasses.is_dataclass(self.type)


class Key(NamedTuple):
    """One setting: `name` in TOML, `field` in the dataclass; `default` is MISSING when it must be given."""

    name: str
    field: str
    kind: Kind
    default: Any
    about: str
    secret: bool = False
    shown: Callable[[Any], Any] | None = None  # the value without what is secret in it

    @property
    def required(self) -> bool:
        return self.default is MISSING


def keys(section: Any) -> dict[str, Key]:
    """The settings of a dataclass in their order, by their names in TOML (`for_` is written `for`)."""
    hints = get_type_hints(section, include_extras=True)
    found = {}
    for field in dataclasses.fields(section):
        if not field.init or field.name.startswith("_"):
            continue
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        name = field.name.rstrip("_")
        about, secret = field.metadata.get("about", ""), field.metadata.get("secret", False)
        shown = field.metadata.get("shown")
        found[name] = Key(name, field.name, kind(hints[field.name]), default, about, secret, shown)
    return found


def kind(hint: Any) -> Kind:
    unit, optional = None, False
    while True:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            unit = next((each for each in hint.__metadata__ if isinstance(each, Unit)), unit)
            hint = arguments[0]
        elif origin in (Union, types.UnionType) and type(None) in arguments and len(arguments) == 2:
            optional = True
            hint = next(each for each in arguments if each is not type(None))
        else:
            return Kind(hint, unit, optional)
