"""TOML text into dataclasses: every mistake is found at once, with its line and its mend."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.config.loading import ConfigurationError, Document, Problem
from gatekeeper.model import Duration, Size, setting


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Code:
    name: str
    score: float = setting(1.0, "Points.")


@dataclass(frozen=True, slots=True)
class Entry:
    zone: str
    score: float = setting(1.0, "Points.")
    timeout: Duration | None = setting(None, "How long.")
    codes: Mapping[str, Code] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.score > 100:
            raise ValueError("score is at most 100")


@dataclass(frozen=True, slots=True)
class Settings:
    name: str = setting("x", "A name.")
    count: int = setting(3, "A count.")
    ratio: float = setting(0.5, "A ratio.")
    open: bool = setting(True, "Whether.")
    wait: Duration = setting(3.0, "How long.")
    most: Size = setting(1024, "How much.")
    form: Literal["logfmt", "json"] = setting("logfmt", "How.")
    colour: Colour = setting(Colour.RED, "Which.")
    names: tuple[str, ...] = setting((), "Which.")
    waits: tuple[Duration, ...] = setting((), "How long each.")
    networks: tuple[IPv4Network, ...] = setting((), "Where.")
    scores: Mapping[str, float] = field(default_factory=dict)
    lists: tuple[Entry, ...] = setting((), "Lists.")
    for_: tuple[Entry, ...] = setting((), "A keyword of Python's.")
    one: Entry | None = setting(None, "One.")

    def __post_init__(self) -> None:
        if self.ratio > 1:
            raise ValueError(f"ratio ({self.ratio}) is above 1: write a fraction")
        if self.count > 99:
            raise ValueError("too many")


@dataclass(frozen=True, slots=True)
class General:
    hostname: str = setting("", "Our name.")


SECTIONS = ("servers.smtp", "checks.dnsbl", "room")
PLANNED = {"servers.milter": "comes later", "room.tls": "comes later"}


def _load(text: str) -> Settings:
    source = Document(text, "f.toml", general=["hostname", "domains"], planned=PLANNED)
    source.section(General)
    made = source.section(Settings, "room")
    for other in SECTIONS[:2]:
        source.section(Settings, *other.split("."))
    source.leftovers(SECTIONS)
    if source.problems:
        raise ConfigurationError(source.problems)
    assert isinstance(made, Settings)
    return made


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as wrong:
        _load(text)
    return [str(problem) for problem in wrong.value.problems]


def test_an_empty_file_gives_the_defaults():
    assert _load("") == Settings()


def test_every_kind_of_value_is_read():
    made = _load("""
        hostname = "mx"
        [room]
        name = "n"
        count = 7
        ratio = 1
        open = false
        wait = "500ms"
        most = "64KiB"
        form = "json"
        colour = "red"
        names = ["a", "b"]
        waits = ["1s", "2m"]
        networks = ["127.0.0.0/8"]
        scores = { A = 1, B = -0.5 }
        one = { zone = "z", timeout = "2s" }
        [[room.lists]]
        zone = "zen"
        codes = { "127.0.0.2" = {name = "SBL", score = 4.0} }
        [[room.for]]
        zone = "two"
    """)
    assert made == Settings(
        name="n",
        count=7,
        ratio=1.0,
        open=False,
        wait=0.5,
        most=65536,
        form="json",
        names=("a", "b"),
        waits=(1, 120),
        networks=(IPv4Network("127.0.0.0/8"),),
        scores={"A": 1.0, "B": -0.5},
        one=Entry("z", timeout=2),
        lists=(Entry("zen", codes={"127.0.0.2": Code("SBL", 4.0)}),),
        for_=(Entry("two"),),
    )
    assert isinstance(made.most, int)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("naem = 'x'", "f.toml:2: room.naem: unknown setting; did you mean 'name'?"),
        ("NAME = 'x'", "f.toml:2: room.NAME: unknown setting; did you mean 'name'?"),
        ("zzzzzz = 'x'", "f.toml:2: room.zzzzzz: unknown setting"),
        ("for_ = []", "f.toml:2: room.for_: unknown setting; did you mean 'for'?"),
        (
            "domains = []",
            "f.toml:2: room.domains: unknown setting; it belongs to the top of the file, above the first [section]",
        ),
        ("tls = {}", "f.toml:2: room.tls: comes later"),
        ("name = 3", 'f.toml:2: room.name: must be text in quotes, such as "…", not 3'),
        ("count = '3'", 'f.toml:2: room.count: must be a whole number, without quotes, not "3"'),
        ("count = 1.5", "f.toml:2: room.count: must be a whole number, without quotes, not 1.5"),
        ("count = true", "f.toml:2: room.count: must be a whole number, without quotes, not true"),
        ("ratio = '1'", 'f.toml:2: room.ratio: must be a number, without quotes, not "1"'),
        ("ratio = nan", "f.toml:2: room.ratio: must be a finite number"),
        ("ratio = -inf", "f.toml:2: room.ratio: must be a finite number"),
        ("ratio = 2.0", "f.toml:2: room.ratio: ratio (2.0) is above 1: write a fraction"),
        ("count = 100", "f.toml:1: room: too many"),
        ("open = 'yes'", 'f.toml:2: room.open: must be true or false, without quotes, not "yes"'),
        ("open = 1", "f.toml:2: room.open: must be true or false, without quotes, not 1"),
        ("wait = 3", 'f.toml:2: room.wait: 3 needs a unit: write "3s"'),
        ("wait = 0.5", 'f.toml:2: room.wait: 0.5 needs a unit: write "500ms"'),
        ("wait = -3", 'f.toml:2: room.wait: must be a duration in quotes, such as "10s", not -3'),
        ("wait = true", 'f.toml:2: room.wait: must be a duration in quotes, such as "10s", not true'),
        (
            "wait = '3 s'",
            'f.toml:2: room.wait: "3 s" is not a duration: write a number and ms, s, m, h or d, such as "3s"',
        ),
        ("most = 10485760", 'f.toml:2: room.most: 10485760 needs a unit: write "10MiB"'),
        ("most = []", 'f.toml:2: room.most: must be a size in quotes, such as "10B", not []'),
        ("form = 'jsno'", 'f.toml:2: room.form: must be one of "logfmt", "json", not "jsno"; did you mean \'json\'?'),
        ("names = 'a'", 'f.toml:2: room.names: must be a list, such as ["…"], not "a"'),
        ("names = [\n'a',\n3]", 'f.toml:4: room.names: must be text in quotes, such as "…", not 3'),
        ("waits = ['1s', 2]", 'f.toml:2: room.waits: 2 needs a unit: write "2s"'),
        ("networks = ['127.0.0.1/8']", "f.toml:2: room.networks: 127.0.0.1/8 has host bits set"),
        ("name = 2026-01-01", 'f.toml:2: room.name: dates and times are not used here: put text in quotes, "…"'),
        ("scores = 3", "f.toml:2: room.scores: must be a table of keys and values, not 3"),
        ("scores = {A = 'x'}", 'f.toml:2: room.scores.A: must be a number, without quotes, not "x"'),
        ("lists = {zone = 'x'}", 'f.toml:2: room.lists: must be a list, such as ["…"], not {"zone": "x"}'),
        ("lists = ['x']", 'f.toml:2: room.lists: must be a table of keys and values, not "x"'),
        ("one = 3", "f.toml:2: room.one: must be a table of keys and values, not 3"),
        ("[[room.lists]]\nscore = 1.0", "f.toml:2: room.lists.zone: is required"),
        ("[[room.lists]]\nzone = 'z'\nscore = 101", "f.toml:4: room.lists.score: score is at most 100"),
        ("[[room.lists]]\nzone = 'z'\nscor = 1", "f.toml:4: room.lists.scor: unknown setting; did you mean 'score'?"),
        (
            "[[room.lists]]\nzone = 'z'\ncodes = {'127.0.0.2' = {nam = 'x'}}",
            "f.toml:4: room.lists.codes.127.0.0.2.nam: unknown setting; did you mean 'name'?",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_its_mend(text, said):
    assert said in _problems("[room]\n" + text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hostnam = 'x'", "f.toml:1: hostnam: unknown setting; did you mean 'hostname'?"),
        ("[rom]", "f.toml:1: rom: unknown section; did you mean 'room'?"),
        ("[smtp]", "f.toml:1: smtp: unknown section; did you mean 'servers.smtp'?"),
        ("[check.dnsbl]", "f.toml:1: check: unknown section; did you mean 'checks'?"),
        ("[checks.dnsb]", "f.toml:1: checks.dnsb: unknown section; did you mean 'checks.dnsbl'?"),
        ("[servers.milter]", "f.toml:1: servers.milter: comes later"),
        ("checks = 3", "f.toml:1: checks: must be a table, as in [checks.dnsbl]"),
        ("room = 3", "f.toml:1: room: must be a section: [room]"),
        ("[[room]]", "f.toml:1: room: must be a section: [room]"),
        ("checks.dnsbl.count = 'x'", 'f.toml:1: checks.dnsbl.count: must be a whole number, without quotes, not "x"'),
        (
            "a = 1\na = 2",
            "f.toml:2: not TOML: Cannot overwrite a value; the same key or section stands there twice",
        ),
        ("a = x", 'f.toml:1: not TOML at column 5: Invalid value; text stands in quotes: key = "text"'),
        ('\na = "x', "f.toml:2: not TOML: Unterminated string"),
        ("a = " + "9" * 5000, "f.toml: not TOML that can be read: ValueError"),
        ("a = " + "[" * 5000, "f.toml: not TOML that can be read: RecursionError"),
    ],
)
def test_a_mistake_outside_of_a_section_is_named_too(text, said):
    assert any(problem.startswith(said) for problem in _problems(text)), _problems(text)


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file():
    found = _problems("""[room]
naem = 1
wait = 3
count = "x"
[servers.milter]
[[checks.dnsbl.lists]]
scor = 2
""")
    assert [problem.split(": ")[:2] for problem in found] == [
        ["f.toml:2", "room.naem"],
        ["f.toml:3", "room.wait"],
        ["f.toml:4", "room.count"],
        ["f.toml:5", "servers.milter"],
        ["f.toml:6", "checks.dnsbl.lists.zone"],
        ["f.toml:7", "checks.dnsbl.lists.scor"],
    ]


def test_one_mistake_is_told_once():
    assert len(_problems("[room]\nwait = 3\n[[room.lists]]\nzone = 'z'\ntimeout = 3")) == 2


def test_a_switch_of_the_loaders_own_is_taken_out_of_the_section():
    source = Document("[room]\nenabled = false", "f", general=(), planned={})
    assert source.switch("room", key="enabled", default=True) is False
    assert source.section(Settings, "room") == Settings()
    assert not source.problems


def test_a_switch_that_is_neither_true_nor_false_is_a_mistake():
    source = Document("[room]\nenabled = 'no'", "f", general=(), planned={})
    assert source.switch("room", key="enabled", default=True) is True
    assert source.problems == [
        Problem("f", 2, "room.enabled", 'must be true or false, without quotes, not "no"'),
    ]


VALUES = st.recursive(
    st.sampled_from(["1", "1.5", "true", "nan", "'a'", "'3s'", "2026-01-01", "07:00:00"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(["zone", "score", "codes", "x"]), inner, max_size=3).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=6,
)


@pytest.mark.slow
@given(st.sampled_from(["name", "count", "wait", "most", "names", "waits", "scores", "lists", "for", "one"]), VALUES)
def test_whatever_stands_there_is_loaded_or_named(key, value):
    problems: tuple[Problem, ...] = ()
    try:
        _load(f"[room]\n{key} = {value}")
    except ConfigurationError as wrong:
        problems = wrong.problems or (Problem("none named", 0, "", ""),)
    assert all(problem.line == 2 for problem in problems), problems
