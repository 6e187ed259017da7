import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.filenames import FileName, Trick, read_name


@pytest.mark.parametrize(
    ("name", "extension", "tricks"),
    [
        ("invoice.pdf", "pdf", ()),
        ("invoice.PDF.ExE", "exe", (Trick.DOUBLE,)),
        ("invoice.exe. .", "exe", ()),
        ("photo.jpg" + " " * 30 + ".scr", "scr", (Trick.PADDED, Trick.DOUBLE)),
        ("invoice_\u202efdp.exe", "exe", (Trick.OVERRIDE,)),
        ("a.e\u200bxe", "exe", (Trick.INVISIBLE,)),
        ("C:\\temp\\x.js", "js", ()),
        ("x.exe:stream", "exe", ()),
        ("\u200fצילום.jpg", "jpg", ()),
        ("archive.tar.gz", "gz", ()),
        ("setup-1.2.3.msi", "msi", ()),
        ("jquery.min.js", "js", ()),
        ("README", "", ()),
        ("", "", ()),
    ],
)
def test_a_name_is_read_as_windows_does_and_its_tricks_are_seen(name, extension, tricks):
    assert read_name(name) == FileName(extension, tricks)


@given(st.text(max_size=200))
def test_any_name_is_read(name):
    found = read_name(name)
    assert found.extension == found.extension.lower()
