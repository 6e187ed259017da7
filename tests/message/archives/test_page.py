import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Trait
from gatekeeper.message.archives.page import read_page
from tests.support.cost import growth_of


@pytest.mark.parametrize(
    ("page", "traits"),
    [
        (b"<p>hello</p>", ()),
        (b"<SCRIPT>alert(1)</SCRIPT>", (Trait.SCRIPT,)),
        (b"<svg onload='x()'>", (Trait.SCRIPT,)),
        (b'<a href=" javascript:x">', (Trait.SCRIPT,)),
        (b"<script>document.write(atob('PGI+'))</script>", (Trait.SCRIPT, Trait.SMUGGLES)),
        (b"document.write is a function", ()),
        (b'<form><input name=p type="password"></form>', (Trait.ASKS,)),
        ("<script>x".encode("utf-16"), (Trait.SCRIPT,)),
    ],
)
def test_what_a_page_does_is_seen(page, traits):
    assert read_page(page) == traits


@given(st.binary(max_size=300))
def test_any_octets_are_read(page):
    read_page(page)


@pytest.mark.parametrize("piece", [b"<a ", b"<input ", b"' ", b"javascript", b"on", b"<script "])
def test_cost_grows_with_the_size_alone(piece):
    assert growth_of(lambda n: read_page(piece * n), 10_000) < 3.0
