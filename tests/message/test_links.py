import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message import urls
from gatekeeper.message.content import content_of
from gatekeeper.message.html import read_html
from gatekeeper.message.links import MAPPED, MOST, Gatherer, Link, Links, Place, Trait
from tests.support.mail import message_of


def of_page(page: str) -> Links:
    gatherer = Gatherer()
    gatherer.page(read_html(page))
    return gatherer.links()


def of_text(text: str, place: Place = Place.TEXT) -> Links:
    gatherer = Gatherer()
    gatherer.text(text, place)
    return gatherer.links()


def only(links: Links) -> Link:
    assert len(links) == 1, list(links)
    return links.links[0]


def test_links_come_from_header_text_and_html_each_with_its_place():
    message = message_of(
        "Subject: =?utf-8?q?see_http=3A//subject.example.com?=\n"
        "List-Unsubscribe: <mailto:x@l.example.net>, <https://list.example.net/u?1>\n"
        "Content-Type: multipart/alternative; boundary=b\n\n"
        "--b\n\nhttp://text.example.org/ and bare.example.org\n"
        "--b\nContent-Type: text/html\n\n"
        '<a href="http://html.example.com">x</a><img src="https://img.example.com/a.png">'
        "<p style=display:none>http://hidden.example.com</p>\n--b--\n"
    )
    found = {link.url.host: link.place.word for link in content_of(message).links}
    assert found == {
        "subject.example.com": "subject",
        "list.example.net": "header",
        "text.example.org": "text",
        "bare.example.org": "bare",
        "html.example.com": "anchor",
        "img.example.com": "image",
        "hidden.example.com": "hidden",
    }


@pytest.mark.parametrize(
    ("page", "trait"),
    [
        ('<a href="http://evil.example.net">www.bank.example.com.sparkasse.de</a>', Trait.DECEPTIVE),
        ('<a href="http://evil.example.net">https://www.sparkasse.de/login</a>', Trait.DECEPTIVE),
        ('<a href="http://192.0.2.9/">sparkasse.de</a>', Trait.DECEPTIVE),
        ('<a href="http://paypa1.com/">x</a>', Trait.LOOK_ALIKE),
        ('<a href="http://xn--pypal-4ve.com/">x</a>', Trait.LOOK_ALIKE),
        ('<a href="http://3221225985/">x</a>', Trait.NUMERIC),
        ('<a href="http://192.0.2.1/">x</a>', Trait.ADDRESS),
        ('<a href="http://www.sparkasse.de@evil.example.net/">x</a>', Trait.USER_INFO),
        ('<a href="http://%65vil.example.net/">x</a>', Trait.ENCODED_HOST),
        ('<a href="http://bit.ly/abc">x</a>', Trait.SHORTENER),
        ('<a href="http://example.net:8181/">x</a>', Trait.PORT),
        ('<a href="http://bücher.de/">x</a>', Trait.PUNYCODE),
    ],
)
def test_what_is_odd_about_a_link_is_said(page, trait):
    assert trait in only(of_page(page)).traits


@pytest.mark.parametrize(
    "page",
    [
        '<a href="http://click.mailer.example.net/?u=https%3A%2F%2Fwww.shop.de%2Fx">www.shop.de</a>',  # leads there
        '<a href="https://www.shop.de/">Shop.de</a>',
        '<a href="https://shop.co.uk/">shop.de</a>',  # the same name in another country
        '<a href="https://news.example.net/x">Read more at our site. Thanks.</a>',
        '<a href="https://news.example.net/x">write to info@shop.de</a>',
        '<a href="https://example.com:443/">x</a>',
        '<a href="http://example.com:80/">x</a>',
    ],
)
def test_honest_links_have_nothing_odd(page):
    assert not {Trait.DECEPTIVE, Trait.PORT} & {trait for link in of_page(page) for trait in link.traits}


def test_an_address_inside_another_is_a_link_too():
    links = of_page('<a href="https://safe.example.com/?url=http%3A%2F%2Fevil.example.net%2Fx&data=1">x</a>')
    assert [(link.url.host, link.place) for link in links] == [
        ("safe.example.com", Place.ANCHOR),
        ("evil.example.net", Place.NESTED),
    ]
    assert links.links[1].url.rest == "/x&data=1"[:2]


def test_relative_links_lead_to_their_base():
    links = of_page('<base href="http://base.example.com/a/"><a href="b.html">x</a><a href="#top">y</a>')
    assert [link.url.host for link in links] == ["base.example.com"]
    assert not of_page('<a href="b.html">x</a>')
    assert only(of_page('<a href="www.example.com/x">x</a>')).url.host == "www.example.com"


def test_mail_addresses_are_kept_apart():
    links = of_page('<a href="mailto:Bob@Example.org,c@d.example?subject=x">mail</a> or ann@example.net')
    assert links.addresses == ("bob@example.org", "c@d.example", "ann@example.net")
    assert len(links) == 0


def test_the_most_telling_links_come_first_and_each_domain_once():
    links = of_page(
        '<img src="http://img.example.com/1"><a href="http://one.example.net/">1</a><a href="http://two.example.net/">2</a>'
        '<a href="http://3221225985/">3</a><a href="http://paypa1.com/">4</a>'
    )
    assert [link.url.host for link in links][:2] == ["paypa1.com", "192.0.2.1"]
    assert links.domains == ("paypa1.com", "example.net", "example.com")


def test_links_beyond_the_budget_are_counted():
    links = of_text(" ".join(f"http://h{n}.example.com/" for n in range(MOST + 7)))
    assert (len(links), links.left_out) == (MOST, 7)


@pytest.mark.slow
def test_a_thousand_pages_of_links_stay_within_the_budget():
    gatherer = Gatherer()
    for page in range(20):
        gatherer.text(" ".join(f"http://h{page}-{n}.example.com/" for n in range(900)))
    links = gatherer.links()
    assert len(links) == MOST
    assert links.left_out == 20 * 900 - MOST


@given(st.text(max_size=300), st.text(max_size=300))
def test_anything_is_gathered(text, page):
    gatherer = Gatherer()
    gatherer.text(text)
    gatherer.page(read_html(page))
    assert gatherer.links().left_out >= 0


def _foreign(number: int) -> str:
    """A host of four labels of ten, each another one; they are nobody's, and mapping them is what costs."""
    return ".".join("ä" * 8 + chr(0x4E00 + 4 * number + n) + "ö" for n in range(4)) + ".com"


@pytest.mark.parametrize(
    "form",
    [
        "http://{} ",
        "<a href='http://{}/'>x</a>",
        "<a href='www.{}'>x</a>",
        "<a href='http://a.example.com/?u=http://{}/'>x</a>",
        "<a href='http://a.example.com/{}'>http://{}</a>",
        "http://%C3%B6.{} ",
    ],
)
def test_labels_that_are_not_ascii_are_mapped_up_to_a_budget(monkeypatch, form):
    mapped: dict[str, str] = {}
    a_label = urls.a_label
    monkeypatch.setattr(urls, "a_label", lambda label: mapped.setdefault(label, a_label(label)))
    for known in (urls._parse_known, urls._place):
        known.cache_clear()
    gatherer, page = Gatherer(), "".join(form.replace("{}", _foreign(n)) for n in range(MAPPED // 40 + 50))
    gatherer.page(read_html(page)) if "<" in form else gatherer.text(page)
    assert MAPPED - 100 < sum(map(len, mapped)) <= MAPPED
    assert gatherer.links().left_out >= 50


def test_a_name_that_comes_often_is_mapped_once():
    page = "".join(f"<a href='http://bücher.example.com/{n}'>x</a>" for n in range(MOST))
    read = read_html(page)
    gatherer = Gatherer()
    for _ in range(10):
        gatherer.page(read)
    assert (len(gatherer.links()), gatherer.links().left_out) == (MOST, 0)
