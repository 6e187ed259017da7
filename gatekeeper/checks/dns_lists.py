"""What the checks that ask DNS lists have in common: which lists go together, the rules they find, their groups."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from gatekeeper.dns.lists import DnsList, Family
from gatekeeper.model import Group, Kind, Rule


def groups_setting() -> Mapping[str, float]:
    """The caps of groups, as a check's setting."""
    found: Mapping[str, float] = field(
        default_factory=dict,
        hash=False,
        metadata={"about": "GROUP = points that the lists of a group count together at most, for or against."},
    )
    return found


def require_sound(lists: Sequence[DnsList], groups: Mapping[str, float]) -> None:
    """Whether these lists and the caps of their groups can stand in one section; ValueError says what to mend."""
    zones = Counter((each.suffix, Family.HASHES in each.families) for each in lists)
    for (zone, _), times in zones.items():
        if times > 1:
            raise ValueError(f"the zone {zone} stands there {times} times; write all its codes into one list")
    rules = Counter(rule for each in lists for rule in each.rules.values())
    for rule, times in rules.items():
        if times > 1:
            raise ValueError(f"{times} lists would find {rule}; give one of them another name")
    for each in lists:
        if each.group and each.group not in groups:
            raise ValueError(
                f'the group "{each.group}" of {each.name} has no cap; write {each.group} = 5.0 under groups'
            )
    for group, cap in groups.items():
        if not (math.isfinite(cap) and cap > 0):
            raise ValueError(f"groups: the cap of {group} must be above 0")
        if not any(each.group == group for each in lists):
            raise ValueError(f'groups: no list has the group "{group}"')


def rules_of(lists: Sequence[DnsList], groups: Mapping[str, float], about: Callable[[DnsList], str]) -> list[Rule]:
    """The rules that these lists find; `about` begins the sentence on each: "The client's address"."""
    return [
        Rule(
            rule,
            each.scores[code],
            f"{about(each)} is on {each.shown}{f' ({code})' if code else ''}.",
            kind=Kind.LIST,
            enhanced="7.1",
            group=_group(each, groups),
        )
        for each in lists
        for code, rule in each.rules.items()
    ]


def _group(each: DnsList, groups: Mapping[str, float]) -> Group | None:
    return Group(f"{each.prefix}_GROUP_{each.group.upper()}", groups[each.group]) if each.group else None
