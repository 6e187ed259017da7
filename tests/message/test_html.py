import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message import html
from gatekeeper.message.html import LINKS, LOOSE, TAGS, HtmlLink, Room, read_html
from gatekeeper.message.tags import ATTRIBUTES, NO_TAG, Tag, Use
from tests.support.cost import costs_of


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("page", "seen", "hidden"),
    [
        ("<p>one</p><p>two", "one two", ""),
        ("a <b>bold</b> word", "a bold word", ""),
        ("1 &lt; 2 &amp; 3", "1 < 2 & 3", ""),
        ("a < b and c <3", "a < b and c <3", ""),
        ("x<!-- secret -->y", "xy", "secret"),
        ("x<!-->y", "xy", ""),
        ("x<!-- never ends", "x", "never ends"),
        ("x<!--a--!>y", "xy", "a"),
        ("x<script>var a='<p>';</script>y", "xy", ""),
        ("<style>p{}</style>y", "y", ""),
        ("<title>T</title>y", "y", ""),
        ("<textarea><p>raw</textarea>", "<p>raw", ""),
        ('<p style="display:none">a<b>b</b></p>c', "c", "ab"),
        ("<div hidden><div>a</div>b</div>c", "c", "a b"),
        ('<span style="font-size:0">a</span>b', "b", "a"),
        ('<span style="font-size: 0.5em">a</span>b', "ab", ""),
        ('<font color="#ffffff">a</font>b', "b", "a"),
        ('<font color="#ffffff">a<font color=red>b</font></font>', "b", "a"),
        ('<td bgcolor=black><font color="white">a</font></td>', "a", ""),
        ('<td bgcolor=black style="color:#000">a</td>', "", "a"),
        ('<div style="background:url(x.png)"><font color="white">a</font></div>', "a", ""),
        ('<div style="position:absolute;left:-9999px">a</div>b', "b", "a"),
        ("<style>.x{display:none} @media print{.y{display:none}}</style><p class=x>a</p><p class=y>b", "b", "a"),
        ("<style>#i{font-size:0px}</style><p id=I>a</p>b", "b", "a"),
        ("<!--[if mso]><p>outlook</p><![endif]-->all", "all", "outlook"),
        # Word reads a condition there; to everybody else these two are comments themselves, and the text is shown.
        ("<![if !mso]>all<![endif]>", "all", ""),
        ("<![if x]>all", "all", ""),
        ("<!--[if !mso]><!-->all<!--<![endif]-->", "all", ""),
        ("<!--[if !mso]><!-- -->all<!--<![endif]-->", "all", ""),
        ("<!--[if !mso]> <!--\n-->all<![endif]-->", "all", ""),
        ("<!--[if x]-->all", "all", "[if x]"),
        ("<!--[if x]> -->all", "all", ""),
        ("<!--[if mso]><p>a <![endif]>b--> all", "all", "a b"),
        ("<!--[if mso]>a<!-- b -->all", "all", "a b"),
        ("<!--[if mso]>a<!--[if x]>b--!>all", "all", "ab"),
        ("<!--[if mso]>never ends", "", "never ends"),
        ("<!--[if mso]><td style=display:none><![endif]-->all", "all", ""),
        ("<p style=display:none><!--[if mso]></p><![endif]-->a", "", "a"),
        ("<!--[if mso]><style>.x{display:none}</style><![endif]--><p class=x>all", "all", ""),
        ("<!--[if mso]><p title='--><p title='a'>all", "all", ""),
        ('<!--[if mso]><p a=\'"--><p title="<p hidden>">all', "all", ""),
        ('<td style="font-size:0px"><div style="font-size:13px">a</div>b</td>c', "a c", "b"),
        ('<td style="font-size:0"><div style="FONT-SIZE:13px">a<b>b</b></div></td>', "ab", ""),
        ('<p style="font-size:0"><a href=x style="font-size:13px">a</a><i style="font-size:2em">b</i>', "a", "b"),
        ('<p style="font-size:1px"><i style="font-size:1400%">a</i><i style="font-size:inherit">b</i>', "a", "b"),
        ('<p style="font-size:0"><i style="font-size:1px">a<b style="font-size:20em">b</b></i>', "b", "a"),
        ('<p style="font-size:0"><font size=3>a</font><font size=x>b</font>', "a", "b"),
        ("<font size=0>a</font>", "a", ""),
        ('<p style="font-size:0"><i style="display:none;font-size:9px">a<b style="font-size:9px">b', "", "ab"),
        ('<body style="visibility:hidden">a<div style="visibility:visible">b</div>c', "b", "a c"),
        ('<p style="visibility:hidden"><i style="font-size:9px">a</i>', "", "a"),
        ('<p style="font-size:0;visibility:hidden"><i style="visibility:visible">a</i>', "", "a"),
        ("<style>.x{font-size:0} .y{font-size:9px}</style><p class=x>a<b class=y>b</b><b id=y>c", "b", "ac"),
        (
            "<style>.x{font-size:0}</style><p class=x>a<b style=font-size:9px>b</b><b class=x style=font-size:9px>c",
            "bc",
            "a",
        ),
        ("<style>.y{font-size:9px}</style><p style=font-size:0>a<b class=y>b</b>", "b", "a"),
        ("<style>.x{font-size:0} .x{font-size:9px}</style><p class=x>a", "a", ""),
        ("<svg><style>.x{display:none}<p>a<b class=x>b</b>", "a", "b"),
        ("<svg><title>t<p>a</svg>b", "ab", ""),
        ('<img alt="text of a picture">', "text of a picture", ""),
        ("a</p >b</DIV\n>c", "a b c", ""),
        ("<?php x ?>y", "y", ""),
        ("</ x>y", "y", ""),
        ("<p", "", ""),
        ("", "", ""),
    ],
)
def test_what_people_see_is_kept_apart_from_what_they_do_not(page, seen, hidden):
    read = read_html(page)
    assert (words(read.seen), words(read.hidden)) == (seen, hidden)


@pytest.mark.parametrize(
    ("page", "links"),
    [
        ('<a href="http://x.test/?a=1&amp;b">see <b>this</b></a>', [("http://x.test/?a=1&b", Use.ANCHOR, "see this")]),
        ("<a href='x'>1</a><A HREF=y>2", [("x", Use.ANCHOR, "1"), ("y", Use.ANCHOR, "2")]),
        ("<a href=x>1<a href=y>2</a>", [("x", Use.ANCHOR, "1"), ("y", Use.ANCHOR, "2")]),
        ('<a href="x" href="y">1</a>', [("x", Use.ANCHOR, "1")]),
        ("<a\nhref\n=\nx\n>1</a>", [("x", Use.ANCHOR, "1")]),
        ("<a/href=x>1</a>", [("x", Use.ANCHOR, "1")]),
        ("<a href=' '>1</a><a href>2</a><a href='&#32;'>3</a>", []),
        ('<a title="a>b" href="x">1</a>', [("x", Use.ANCHOR, "1")]),
        ('<a href="x>1</a>', [("x", Use.ANCHOR, "1")]),  # a quote that is never closed
        ("<a href=x", [("x", Use.ANCHOR, "")]),
        (
            "<img src=x><form action=y><input formaction=z>",
            [("x", Use.IMAGE, ""), ("y", Use.FORM, ""), ("z", Use.FORM, "")],
        ),
        ("<base href=http://b.test/>", [("http://b.test/", Use.BASE, "")]),
        ('<meta http-equiv=Refresh content="0;URL=http://r.test/">', [("http://r.test/", Use.REFRESH, "")]),
        ('<meta http-equiv=refresh content="0; https://r.test/x">', [("https://r.test/x", Use.REFRESH, "")]),
        ('<meta http-equiv=refresh content="0 https://r.test/x">', [("https://r.test/x", Use.REFRESH, "")]),
        ('<meta http-equiv=refresh content=".5,&#39;//r.test/x&#39;">', [("//r.test/x", Use.REFRESH, "")]),
        ('<meta http-equiv=refresh content="0; http://r.test/?url=x">', [("http://r.test/?url=x", Use.REFRESH, "")]),
        ("<meta http-equiv=refresh content=\"now; url = 'r'\">", [("r", Use.REFRESH, "")]),
        ('<meta http-equiv=refresh content="5">', []),
        ("<svg><style>b{}<p>a<a href=x>1</a>", [("x", Use.ANCHOR, "1")]),
        ("<MATH><title></math><a href=x>1</a>", [("x", Use.ANCHOR, "1")]),
        ("<style><a href=x>1</a></style>", []),
        ("<area href=x><iframe src=y></iframe>", [("x", Use.ANCHOR, ""), ("y", Use.RESOURCE, "")]),
        ("<a name=top>no link</a>", []),
        ("<!-- <a href=x>1</a> -->", []),
    ],
)
def test_links_are_found_with_the_text_that_people_see(page, links):
    assert [(link.target, link.use, link.text) for link in read_html(page).links] == links


def test_a_link_that_nobody_sees_is_marked():
    page = '<div style="display:none"><a href="x">a</a></div><a href="y"><span style="display:none">b</span></a>'
    assert read_html(page).links == (
        HtmlLink("x", Use.ANCHOR, "a", hidden=True),
        HtmlLink("y", Use.ANCHOR, "b", hidden=True),
    )


def test_the_size_of_letters_hides_no_picture_and_a_link_is_seen_if_its_text_is():
    def hidden(page: str) -> list[bool]:
        return [link.hidden for link in read_html(page).links if link.use is Use.ANCHOR]

    zero = '<td style="font-size:0">'
    assert hidden(f"{zero}<a href=x><img src=y></a>") == [False]
    assert hidden(f"{zero}<a href=x>a</a>") == [True]
    assert hidden(f'{zero}<a href=x><span style="font-size:13px">see this</span></a>') == [False]
    assert hidden('<td style="visibility:hidden"><a href=x><img src=y></a>') == [True]
    assert hidden('<td style="visibility:hidden"><a href=x><b style="visibility:visible">see this</b></a>') == [False]


def test_a_condition_leaves_the_link_around_it_open():
    page = "<a href=x>see <!--[if mso]><a href=o>o</a><a href=p>p<![endif]-->this</a>"
    assert [(link.target, link.text, link.hidden) for link in read_html(page).links] == [
        ("o", "o", True),
        ("p", "p", True),
        ("x", "see this", False),
    ]


def test_a_link_for_outlook_alone_is_a_link():
    page = read_html("<!--[if gte mso 9]><a href=http://o.test>o</a><![endif]-->")
    assert [link.target for link in page.links] == ["http://o.test"]


def test_pictures_forms_and_scripts_are_counted():
    page = read_html("<img src=a><img src=b><form><script></script>")
    assert (page.images, page.forms, page.scripts, page.title) == (2, 1, 1, "")
    assert read_html("<title> T &amp; t </title>").title == "T & t"


@pytest.mark.parametrize(
    ("page", "left_out"),
    [
        ("<p>" * (TAGS + 5), "tags"),
        ("<a href=x></a>" * (LINKS + 5), "links"),
        ("<a " + " ".join(f"a{n}='<'" for n in range(ATTRIBUTES + 5)) + ">", "attributes"),
        ("<p style=color:red>" * 3000, "depth"),
        ("x" * 2_000_001, "characters"),
    ],
)
def test_budgets_are_kept_and_said(page, left_out):
    assert left_out in read_html(page).left_out


PIECES = st.sampled_from(
    [*"<>\"'=/! &;-", "<a href=", "</a>", "<!--", "-->", "<p style='display:none'>", "</p>", "<script>", "</script",
     "text", "<style>", "</style>", "<!--[if mso]>", "<![endif]-->", "&#", "<title>", "\0", "<![if x]>"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=200))
def test_anything_is_read(page):
    read = read_html(page)
    assert len(read.seen) + len(read.hidden) <= 2 * len(page) + 50


WRITTEN_WELL = st.sampled_from(
    ["<p>", "</p>", "<P Class='x y'>", "<br>", "<BR />", "<div hidden>", "</div\n>", "<b>", "</b>", "<table>",
     "<td bgcolor=black>", "<td background='z.png'>", "</td>", "</table>", "<font color=white>", "</font>",
     "<font color='red' size=0>", "<a href='http://x.test/?a&amp;b'>", "<a href=y>", "<A HREF=y style='color:#fff'>",
     "<a name=n>", "<a href=' '>", "</a>", "<img src=i alt=t>", "<form action=f>", "<i id=q>", "<script>'<p>'</script>",
     "<style>.x{display:none} #q{font-size:0}</style>", "<style>b{background:red}</style>", "<title>t</title>",
     "<textarea><p>", "</textarea>", "<script>", "<meta http-equiv=refresh content='0;url=http://z.test/'>",
     "<base href=http://b.test>", "<p style='font-size:0'>", "<p style='font-size:9px'>",
     "<a href=z style=font-size:9px>",
     "<i style='visibility:hidden'>", "<i style='visibility:visible'>", "<p class=v>",
     "<style>.x{font-size:0} .v{font-size:9px}</style>", "<svg>", "</svg>"]
)  # fmt: skip


class _Nothing(dict[str, Tag]):
    def __missing__(self, text: str) -> Tag:
        return NO_TAG


@given(st.lists(WRITTEN_WELL | PIECES, max_size=60).map("".join), st.sampled_from([1, 7, 65_536]))
def test_the_short_ways_read_what_the_long_one_reads(page, window):
    """The long one takes every tag for one that is not well-formed, and reads it attribute by attribute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "WINDOW", window)
        short = read_html(page)
        patch.setattr(html, "TAGS_KNOWN", _Nothing())
        assert read_html(page, Room(tags=10 * TAGS)) == short


@given(st.text(max_size=30) | st.text(alphabet="ab \t\n\xa0\u200b\x0b\x1c", max_size=12))
def test_blanks_of_every_kind_are_one_each(text):
    assert html._in_one_line(text) == html._BLANKS.sub(" ", text).strip()


@given(st.lists(WRITTEN_WELL | PIECES, max_size=60).map("".join), st.integers(-1, 40), st.integers(0, 4))
def test_where_budgets_end_does_not_depend_on_how_a_page_is_cut(page, most, links):
    with pytest.MonkeyPatch.context() as patch:
        read = []
        for window in (1, 65_536):
            patch.setattr(html, "WINDOW", window)
            room = Room(tags=most, links=links)
            read.append((read_html(page, room), room))
    assert read[0] == read[1]


BOMBS = {
    "nested": "<div>",
    "nested with looks": "<div style='color:red'>",
    "hidden": "<p style='display:none'>",
    "quotes": '<a b="',
    "one quote": "<a b='\"",
    "comments": "<!--",
    "closed comments": "<!--x-->",
    "declarations": "<!",
    "angles": "<",
    "slashes": "</",
    "script": "<script>",
    "scripts in an svg": "<svg><script>x",
    "refresh": "<meta http-equiv=refresh content='0 ; 0 '>",
    "end of script": "<script></scrip",
    "attributes": " a=1",
    "blanks": " ",
    "equals": "=",
    "anchors": "<a href=x>y",
    "conditions": "<!--[if mso]>",
    "closed conditions": "<!--[if mso]><a b=' --><i c='",
    "scripts in conditions": "<!--[if mso]><script>-->",
    "veils": "<p style='font-size:0'><p style='font-size:9px'>",
    "mixed": "<b><i></u>",
    "sheet": "<style>.a{",
    "braces": "}",
    "entities": "&#x",
}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("begins", ["", "<a ", "<style>"])
def test_cost_grows_with_the_size_alone(bomb, begins):
    small, large = costs_of(lambda n: read_html(begins + BOMBS[bomb] * n), 4_000, 16_000)
    assert large < 8 * small + 0.05


@pytest.mark.parametrize(
    ("page", "tags", "left_out"),
    [
        ("<div>" * 200_000, TAGS + 1, "tags"),
        ("<a " + " ".join(f"a{n}=1" for n in range(50_000)) + " href=x>", 1, "attributes"),
    ],
)
def test_the_bombs_of_the_field_are_read_up_to_their_budgets(page, tags, left_out):
    room = Room()
    read = read_html(page, room)
    assert (read.tags, read.left_out) == (tags, (left_out,))
    assert LOOSE - room.loose <= ATTRIBUTES + 1
    assert len(read.seen) <= TAGS + 1


@pytest.mark.parametrize("name", ["a", "img", "div class=x"])
def test_an_attribute_behind_more_than_are_read_is_said_to_be_left_out(name):
    assert read_html(f"<{name} {'b=1 ' * (ATTRIBUTES - 2)}>").left_out == ()
    many = read_html(f"<{name} {'b=1 ' * ATTRIBUTES} href=x src=x>y")
    assert (many.tags, many.left_out, many.seen.strip()) == (1, ("attributes",), "y")


@pytest.mark.parametrize(
    "page",
    [
        "<style>.a{display:none}.a{display:block}</style><p class=a>hello",
        "<style>.a{display:none}</style><p class=a style='display:block'>hello",
        "<style>#a{max-height:0}</style><p id=a style='color:red;display:inline'>hello",
        "<p hidden style='display:block'>hello",
    ],
)
def test_what_is_displayed_after_all_is_seen(page):
    assert read_html(page).seen.strip() == "hello"


@pytest.mark.parametrize(
    "page",
    [
        "<style>.a{display:block}.a{display:none}</style><p class=a>hello",
        "<style>.a{display:none}</style><p class=a style='display:none x'>hello",
        "<div style='display:none'><p style='display:block'>hello",
    ],
)
def test_what_is_displayed_in_what_is_not_is_hidden(page):
    assert read_html(page).hidden.strip() == "hello"


@pytest.mark.parametrize(
    "page",
    [
        "<p hidden>x<div>hello",
        "<p hidden>x<p>hello",
        "<p hidden>x<div a'b>hello",
        "<ul><li hidden>x<li>hello</ul>",
        "<table><tr hidden><td>x<tr><td>hello</table>",
        "<table><tr><td hidden>x<td>hello</table>",
        "<table><tr><td><p hidden>x<td>hello</table>",
        "<select><option hidden>x<option>hello</select>",
        "<a hidden href=http://a.example>x<a href=http://b.example>hello</a>",
        "<div><span hidden>x</div>hello",
        "<div><span hidden>x</div a'b>hello",
        "<ul><li hidden>x</ul>hello",
        "<table><tr><td><b hidden>x</td><td>hello</table>",
        "<table><tr><td hidden>x</table>hello",
    ],
)
def test_what_is_hidden_ends_where_browsers_end_it_without_a_tag_of_its_own(page):
    read = read_html(page)
    assert (read.seen.split(), read.hidden.split()) == (["hello"], ["x"])


@pytest.mark.parametrize(
    "page",
    [
        "<div hidden>hello<p>hello<p>hello</div>",
        "<ul><li hidden>hello<ul><li>hello<li>hello</ul></ul>",
        "<table><tr><td hidden>hello<table><tr><td>hello<tr><td>hello</table>hello</table>",
        "<div hidden><table><tr><td>hello<td>hello</center>hello</table></div>",
        "<span hidden>hello<br>hello</p>hello</span>",
    ],
)
def test_what_ends_inside_ends_nothing_that_hides_around_it(page):
    assert not read_html(page).seen.strip()


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["<div>", "</div>", "<p>", "<td>", "<a href=x>", "<li>"])
@pytest.mark.parametrize("around", ["<p hidden><button>", "<table><tr><td hidden>", "<a hidden href=y>"])
def test_what_ends_without_a_tag_is_sought_in_linear_time(around, piece):
    small, large = costs_of(lambda n: read_html(around + "<i>" * n + piece * n, Room(tags=2 * n + 10)), 500, 2_000)
    assert large < 8 * small + 0.05
