"""What rots when it is kept by hand: tests beside modules, event names, first lines."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from gatekeeper.log import EVENTS
from gatekeeper.records import writer

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gatekeeper"
MODULES = sorted(PACKAGE.rglob("*.py"))

WITHOUT_A_TEST = {
    "__main__.py": "starts the command line, and nothing else",
    "checks/base.py": "says what a check is; nothing runs there",
}
"""Modules that need no test of their own, and why. Every __init__.py is one: it holds nothing."""

EVENTS_FROM_A_TABLE = {
    "records/writer.py": writer._EVENTS,
}
"""Modules whose event names stand in a table of theirs."""


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of log.event, log.traceback_once and log.Folded, however they were imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            called = (
                function.id
                if isinstance(function, ast.Name)
                else function.attr
                if isinstance(function, ast.Attribute)
                and isinstance(function.value, ast.Name)
                and function.value.id == "log"
                else ""
            )
            if called in {"event", "traceback_once", "Folded"}:
                yield node


def _literals(node: ast.expr) -> Iterator[str | None]:
    """The names that an argument can be; None for one that cannot be read off."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    else:
        yield None


def test_every_module_has_its_test_at_the_same_path():
    wanted = [
        ROOT / "tests" / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
        for path in MODULES
        if path.name != "__init__.py" and _name(path) not in WITHOUT_A_TEST
    ]
    assert [test.relative_to(ROOT).as_posix() for test in wanted if not test.is_file()] == []


def test_what_learns_and_measures_has_its_tests_too():
    without = {"__init__.py", "wordings.py"}  # the second is words alone, which the letters are made of
    modules = {path.name for path in (ROOT / "bench/training").glob("*.py")} - without
    tests = {path.name for path in (ROOT / "tests/bench/training").glob("test_*.py")}
    assert {f"test_{name}" for name in modules} == tests


def test_modules_named_as_exceptions_exist():
    assert set(WITHOUT_A_TEST) <= {_name(path) for path in MODULES}


def test_every_module_says_first_what_it_is_for():
    assert [_name(path) for path in MODULES if not ast.get_docstring(_tree(path))] == []


def test_every_event_that_is_logged_is_explained_in_the_list():
    for table in EVENTS_FROM_A_TABLE.values():
        assert set(table.values()) <= set(EVENTS)
    for path in MODULES:
        for call in _calls(_tree(path)):
            for name in _literals(call.args[0]):
                if name is None and _name(path) in EVENTS_FROM_A_TABLE:
                    continue
                where = f"{_name(path)}, line {call.lineno}"
                assert name is not None, f"{where}: the event's name is not written there"
                assert name in EVENTS, f"{where}: {name} does not stand in log.EVENTS"


def test_every_event_in_the_list_is_logged_somewhere():
    source = "\n".join(path.read_text() for path in MODULES)
    assert [name for name in EVENTS if source.count(f'"{name}"') < 2] == []


def test_init_files_hold_no_magic():
    for path in MODULES:
        if path.name == "__init__.py":
            statements = _tree(path).body
            assert all(isinstance(each, ast.Expr | ast.ImportFrom | ast.Assign) for each in statements), _name(path)
