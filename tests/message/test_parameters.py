import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.parameters import PARAMETERS, Oddity, parse_parameterised
from tests.support.cost import costs_of


@pytest.mark.parametrize(
    ("text", "value", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        ("Text/HTML; Charset=UTF-8", "text/html", {"charset": ("UTF-8",)}),
        ('multipart/mixed; boundary="a b;c"', "multipart/mixed", {"boundary": ("a b;c",)}),
        ("text/plain; charset=utf-8; format=flowed", "text/plain", {"charset": ("utf-8",), "format": ("flowed",)}),
        ("text/plain ;charset = us-ascii ;", "text/plain", {"charset": ("us-ascii",)}),
        ("attachment; filename*=UTF-8''%e2%82%ac.pdf", "attachment", {"filename": ("€.pdf",)}),
        ("attachment; filename*0*=UTF-8''a%20; filename*1=b.exe", "attachment", {"filename": ("a b.exe",)}),
        ("attachment; filename*1=b.exe; filename*0=a.", "attachment", {"filename": ("a.b.exe",)}),
        ('a/b; name="=?utf-8?B?4oKsLmV4ZQ==?="', "a/b", {"name": ("€.exe", "=?utf-8?B?4oKsLmV4ZQ==?=")}),
        ('a/b; x="q\\"q"', "a/b", {"x": ('q"q', 'q\\"q')}),
        ("", "", {}),
        (";;;", "", {}),
        ("text/plain (a comment); charset=x", "text/plain", {"charset": ("x",)}),
    ],
)
def test_values_are_read_with_their_parameters(text, value, parameters):
    read = parse_parameterised(text)
    assert (read.value, read.parameters) == (value, parameters)


@pytest.mark.parametrize(
    ("text", "name", "values", "oddity"),
    [
        ("multipart/mixed; boundary=a; boundary=b", "boundary", ("a", "b"), Oddity.REPEATED),
        ("attachment; filename=a.txt; filename*=utf-8''b.exe", "filename", ("b.exe", "a.txt"), Oddity.CONTINUED),
        ("attachment; filename=a b.exe", "filename", ("a", "a b.exe"), Oddity.UNQUOTED),
        ('attachment; filename="a.txt; x=y', "filename", ("a.txt", "a.txt; x=y"), Oddity.UNBALANCED),
        ('multipart/mixed boundary="b"', "boundary", ("b",), Oddity.NO_SEMICOLON),
    ],
)
def test_where_readers_differ_every_value_is_given_and_why(text, name, values, oddity):
    read = parse_parameterised(text)
    assert read.parameters[name] == values
    assert oddity in read.oddities


def test_more_parameters_than_are_read_is_said():
    read = parse_parameterised("a/b" + "".join(f"; p{n}=x" for n in range(5000)))
    assert len(read.parameters) == PARAMETERS
    assert Oddity.TOO_MANY in read.oddities


@given(st.text(max_size=200) | st.text(alphabet="ab/;=\"\\*0'% ()", max_size=200))
def test_anything_is_read(text):
    read = parse_parameterised(text)
    assert all(values for values in read.parameters.values())


@pytest.mark.slow
@pytest.mark.parametrize("piece", [";a=", ';a="', "(", "a", ' "', ";a*0=x", "\\", " ;", "(on,\\"])
def test_cost_grows_with_the_length_alone(piece):
    small, large = costs_of(lambda n: parse_parameterised(f"a/b{piece * n}"), 2000, 8000)
    assert large < 8 * small + 0.02
