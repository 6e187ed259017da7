import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.style import (
    NO_SIZE,
    NOT_VISIBLE,
    ONE_PIXEL,
    RULES,
    Sheet,
    alike,
    colour_of,
    look_of,
)
from tests.support.cost import costs_of


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : NONE !important",
        "visibility:hidden",
        "font-size:0",
        "font-size:0px;color:red",
        "font-size:0.0pt",
        "font-size:1px",
        "opacity:0",
        "opacity: 0.00",
        "max-height:0px;overflow:hidden",
        "display:none! important ;mso-hide:all",
        "opacity:0%",
        "max-width:0",
        "font:0px Arial",
        "text-indent:-9999px",
        "position:absolute;top:-1000px",
        "height:0;overflow:hidden",
        "clip:rect(0 0 0 0)",
    ],
)
def test_styles_that_hide_are_known(style):
    assert look_of(style).hides


@pytest.mark.parametrize(
    ("style", "veils", "shows"),
    [
        ("font-size:0", NO_SIZE, 0),
        ("font: 0/0 a", NO_SIZE, 0),
        ("font-size:0cm", NO_SIZE, 0),
        ("font-size:1px", ONE_PIXEL, NO_SIZE),
        ("font-size:13px", 0, NO_SIZE | ONE_PIXEL),
        ("font-size:medium", 0, NO_SIZE | ONE_PIXEL),
        ("font-size:calc(1px + 1em)", 0, NO_SIZE | ONE_PIXEL),
        ("font:bold 14px/1.5 Arial", 0, NO_SIZE | ONE_PIXEL),
        ("font-size:200%", 0, ONE_PIXEL),
        ("font-size:inherit", 0, 0),
        ("font-size:0;font-size:13px", 0, NO_SIZE | ONE_PIXEL),
        ("font-size:0;font-size:13px !important", 0, NO_SIZE | ONE_PIXEL),
        ("font-family:Arial", 0, 0),
        ("visibility:hidden", NOT_VISIBLE, 0),
        ("visibility:hidden;font-size:0px", NOT_VISIBLE | NO_SIZE, 0),
        ("visibility:visible", 0, NOT_VISIBLE),
        ("visibility:inherit", 0, 0),
    ],
)
def test_what_an_element_inside_can_take_back_is_told_apart(style, veils, shows):
    look = look_of(style)
    assert (look.removes, look.veils, look.shows) == (False, veils, shows)


@pytest.mark.parametrize(
    "style",
    ["", "font-size:10px", "font-size:0.9em", "opacity:0.5", "max-height:100px", "line-height:0", "display:block",
     "text-indent:-1em", "max-height:0.5em", "margin:0;padding:0", "top:-1000px", "x-display:none", "--font-size:0",
     "font-size:0junk", "display:none junk", "display:none\\9", "display:none;display:block",
     "display:block;display:none x",
     "opacity:0;opacity:1", "opacity:0 0", "max-height:0;max-height:none", "visibility:hidden x", "font-size:0 0",
     "font:0",
     "font-size:0" + " " * 300 + "x", "display:none !x", "mso-hide:all",
     "/*display:none;*/", "margin:0 display:none", "background:url(display:none)", "font-size:0;font-size:13px"],
)  # fmt: skip
def test_styles_of_every_day_hide_nothing(style):
    assert not look_of(style).hides


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("#fff", 0xFFFFFF),
        ("#00FF7f", 0x00FF7F),
        ("rgb(1, 2 3)", 0x010203),
        ("rgba(999,0,0,0.1)", 0xFF0000),
        ("White !important", 0xFFFFFF),
        ("ffffff", 0xFFFFFF),
        ("inherit", None),
        ("", None),
    ],
)
def test_colours_are_read(text, colour):
    assert colour_of(text) == colour


def test_colours_and_grounds_are_told_apart():
    look = look_of("background-color:#eee;color:#111")
    assert (look.colour, look.ground, look.ground_unknown) == (0x111111, 0xEEEEEE, False)
    assert look_of("background:url(a.png) #fff").ground_unknown
    assert not look_of("background:transparent").ground_unknown


def test_people_cannot_tell_near_colours_apart():
    assert alike(0xFFFFFF, 0xFAFBFC)
    assert not alike(0xFFFFFF, 0xFFFFE0)


def test_a_sheet_hides_classes_and_ids_but_not_for_one_screen_only():
    sheet = Sheet()
    sheet.read(
        "@import 'x'; .a, p.b { display:none } #c{opacity:0} .d{color:red} @media print{.e{display:none}} "
        ".f{font-size:0}"
    )
    assert sheet.hiding == {".a", ".b", "#c", ".f"}
    assert not sheet.paints
    sheet.read("td{background:#000}")
    assert sheet.paints


def test_only_so_many_rules_are_read():
    sheet = Sheet()
    sheet.read("".join(f".c{n}{{display:none}}" for n in range(RULES + 100)))
    assert len(sheet.hiding) == RULES


@given(st.text(alphabet="{}@;.#a:-0 display:none", max_size=200))
def test_anything_is_read(text):
    Sheet().read(text)
    look_of(text)


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["{", "}", "@{", ".a{}", ".a,", " ", "a:0;"])
def test_cost_grows_with_the_size_alone(piece):
    small, large = costs_of(lambda n: Sheet().read(piece * n), 20_000, 80_000)
    assert large < 8 * small + 0.05
