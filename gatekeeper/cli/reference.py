"""Writes config/gatekeeper.toml and docs/reference/ from the code: `make reference`. A test compares them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from gatekeeper import log, metrics, pipeline
from gatekeeper.config import document, shape, shipped
from gatekeeper.config.configuration import SECTIONS, General
from gatekeeper.model import Rule
from gatekeeper.policy import OTHER_POLICY
from gatekeeper.rules.facts import FACTS
from gatekeeper.rules.rule import PLACES

MADE = "<!-- Written by `make reference`; do not edit. -->\n"


def pages() -> dict[str, str]:
    """Path in the repository -> text of every file that is made from the code."""
    return {
        "config/gatekeeper.toml": shipped.example_file(),
        "docs/reference/settings.md": settings(),
        "docs/reference/rules.md": rules(),
        "docs/reference/facts.md": facts(),
        "docs/reference/metrics.md": metrics_page(),
        "docs/reference/events.md": events(),
    }


def settings() -> str:
    introduction = (
        f'# Settings\n\n{MADE}\nThe file is TOML. Durations and sizes are text with a unit: `"3s"`, `"10MiB"`. '
        "`config/gatekeeper.toml` shows the same as a file to begin with.\n"
    )
    parts = [introduction]
    sections: Mapping[str, type] = {
        "": General,
        **SECTIONS,
        **{f"checks.{check.name}": check for check in pipeline.CHECKS},
    }
    for path, section in sections.items():
        about = shipped.ABOUT.get(path) or (shipped.purpose(section) if path else "The top of the file.")
        parts.append(f"\n## {f'[{path}]' if path else 'General'}\n\n{about}\n\n")
        extra = [("`enabled`", "`true`", shipped.SWITCH)] if path.startswith("checks.") else []
        parts.append(_table(("key", "default", "meaning"), [*extra, *_rows(section, "")]))
    return "".join(parts)


def rules() -> str:
    introduction = (
        f"# Rules\n\n{MADE}\nWhat a check can find, and what the policy makes of it by default; `[policy.scores]` "
        "changes a score. Each list of `[[checks.dnsbl.lists]]` makes rules of its own: `DNSBL_` and its name, or "
        "its name and a code's. `source` is the law or standard that a rule comes from.\n"
    )
    parts = [introduction]
    found = {f"checks.{check.name}": check().rules() for check in pipeline.CHECKS} | {"policy": (OTHER_POLICY,)}
    for place, each in found.items():
        if each:
            parts.append(f"\n## {place}\n\n")
            extra = ("source",) if any(rule.source for rule in each) else ()
            rows = [(*_rule(rule), rule.source) if extra else _rule(rule) for rule in each]
            parts.append(_table(("rule", "score", "decides alone", "meaning", *extra), rows))
    return "".join(parts)


def facts() -> str:
    intro = (
        "What the rules of `[checks.rules]` may look at; [Rules](../rules.md) says how they are written.\n\n"
        "## Places\n\nWhere a pattern may look, beside `header.NAME`, a field's decoded value as it stands there.\n\n"
    )
    places = _table(("place", "what stands there"), [(f"`{name}`", about) for name, about in PLACES.items()])
    numbers = _table(("fact", "what it counts"), [(f"`{name}`", about) for name, about in FACTS.items()])
    heading = "\n## Facts\n\nNumbers that `when` may compare; one that is named alone means more than none.\n\n"
    return f"# Places and facts\n\n{MADE}\n{intro}{places}{heading}{numbers}"


def metrics_page() -> str:
    rows = []
    for metric in _metrics():
        family = next(iter(metric.describe()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # the library tells them nowhere else
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    intro = "Served as `/metrics` by `[servers.http]`, summed over all processes.\n\n"
    return f"# Metrics\n\n{MADE}\n{intro}" + _table(("metric", "type", "labels", "meaning"), sorted(rows))


def events() -> str:
    intro = (
        "The first word of each line of the log, or `event` where `[log] format` is `json`. What is folded, since\n"
        "strangers can cause it at will, gets one line a minute in each process; `more` in the next one says how many\n"
        "were left out, and a metric counts each.\n\n"
    )
    rows = [(f"`{name}`", about) for name, about in log.EVENTS.items()]
    return f"# Events in the log\n\n{MADE}\n{intro}" + _table(("event", "meaning"), rows)


def write(root: Path) -> None:
    for path, text in pages().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def _rule(rule: Rule) -> tuple[str, ...]:
    return f"`{rule.name}`", f"{rule.score:g}", rule.decides.word if rule.decides else "", rule.about


def _rows(section: type, prefix: str) -> Iterable[tuple[str, str, str]]:
    for key in shape.keys(section).values():
        inner = shape.kind(key.kind.item)
        nested = inner.type if inner.is_section else key.kind.type if key.kind.is_section else None
        if nested is not None:
            yield f"`{prefix}{key.name}`", "none", key.about
            marker = ".*." if key.kind.is_table else "[]." if inner.is_section else "."
            yield from _rows(nested, f"{prefix}{key.name}{marker}")
        elif key.required:
            yield f"`{prefix}{key.name}`", "required", key.about
        elif key.default is None:
            yield f"`{prefix}{key.name}`", "not set", key.about
        else:
            yield f"`{prefix}{key.name}`", f"`{document.value(key.default, key.kind)}`", key.about


def _metrics() -> list[MetricWrapperBase]:
    """Every metric of the module that has them all."""
    found = [*vars(metrics).values(), *(getattr(metrics.SUPERVISOR, name) for name in ("reloads", "worker_restarts"))]
    plain = [getattr(each, "metric", each) for each in found]
    return [each for each in plain if isinstance(each, MetricWrapperBase)]


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"

    return line(headings) + line("---" for _ in headings) + "".join(line(row) for row in rows)


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
