import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Trait
from gatekeeper.message.attachments import MOST, Attachment, Attachments, attachments_of
from gatekeeper.message.filenames import Trick
from gatekeeper.message.filetypes import Family, FileType
from gatekeeper.message.mime import mime_of
from gatekeeper.message.parts import Mime
from tests.support.archives import PROGRAM, iso, zipped
from tests.support.cost import costs_of
from tests.support.mail import message_of


def read(raw: str) -> Attachments:
    return attachments_of(mime_of(message_of(raw)))


def one(name: str, octets: bytes, media: str = "application/octet-stream") -> Attachment:
    fields = f'Content-Type: {media}\nContent-Disposition: attachment; filename="{name}"\n'
    text = base64.encodebytes(octets).decode()
    [file] = read(f"{fields}Content-Transfer-Encoding: base64\n\n{text}").files
    return file


@pytest.mark.parametrize(
    ("name", "octets", "filetype", "disguised", "mismatched"),
    [
        ("a.exe", PROGRAM, FileType.PE, False, False),
        ("a.pdf", PROGRAM, FileType.PE, True, False),
        ("a.pdf", b"<html><script>", FileType.HTML, False, False),
        ("a.pdf", b"\x89PNG\r\n\x1a\n", FileType.PNG, False, True),
        ("a.jpg", b"\x89PNG\r\n\x1a\n", FileType.PNG, False, False),
        ("a.doc", b"{\\rtf1", FileType.RTF, False, False),
        ("a.docx", zipped({"a": "x"}), FileType.ZIP, False, False),
        ("a.txt", b"#!/bin/sh\n", FileType.SHELL, False, False),
        ("a.iso", iso({}), FileType.ISO, False, False),
        ("a", b"hello", FileType.UNKNOWN, False, False),
    ],
)
def test_what_a_file_is_stands_beside_what_it_says(name, octets, filetype, disguised, mismatched):
    file = one(name, octets)
    assert (file.type, file.disguised, file.mismatched) == (filetype, disguised, mismatched)


@pytest.mark.parametrize("padding", ["\n" * 8300, (" " * 70 + "\n") * 1000, "=\n" * 9000, "-*-\n" * 40_000])
@pytest.mark.parametrize("behind", [0, 40_000])
def test_what_is_no_code_before_a_file_does_not_hide_it(padding, behind):
    text = base64.encodebytes(zipped({"a.exe": PROGRAM}) + bytes(behind)).decode()
    fields = 'Content-Disposition: attachment; filename="a.zip"\nContent-Transfer-Encoding: base64\n\n'
    [file] = read(fields + padding + text).files
    assert (file.type, file.opens) == (FileType.ZIP, True)


def test_soft_breaks_before_a_file_do_not_hide_it():
    text = binascii.b2a_qp(zipped({"a.exe": PROGRAM}), istext=False).decode()
    fields = 'Content-Disposition: attachment; filename="a.zip"\nContent-Transfer-Encoding: quoted-printable\n\n'
    [file] = read(fields + "=\n" * 70_000 + text).files
    assert (file.type, file.opens) == (FileType.ZIP, True)


@pytest.mark.parametrize(
    ("name", "media", "before", "opens"),
    [
        ("a.zip", "application/octet-stream", b"X", True),
        ("a.docx", "application/octet-stream", b"X", True),
        ("a", "application/zip", b"X", True),
        ("a.zip", "application/octet-stream", b"GIF89a", True),
        ("a.pdf", "application/octet-stream", b"%PDF-1.4", False),
        ("a.txt", "application/octet-stream", b"X", False),
    ],
)
def test_what_is_called_an_archive_is_opened_whatever_it_begins_with(name, media, before, opens):
    assert one(name, before + zipped({"a.exe": PROGRAM}), media).opens is opens


def test_a_type_is_believed_where_there_is_no_name():
    file = one("", PROGRAM, "image/png")
    assert file.claims == {Family.IMAGE}
    assert file.disguised


def test_every_name_that_a_program_could_show_is_read():
    [file] = read(
        "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment; filename=b.txt;\n"
        " filename*0=c.; filename*1=js; filename*=utf-8''d%2Eexe\n\nx\n"
    ).files
    assert set(file.extensions) >= {"pdf", "txt", "js"} or set(file.extensions) >= {"pdf", "txt", "exe"}
    assert file.name == file.part.name


def test_tricks_in_any_name_count():
    [file] = read(
        'Content-Type: x/y; name="ok.txt"\nContent-Disposition: attachment; filename="a.pdf.exe"\n\nx\n'
    ).files
    assert file.tricks == (Trick.DOUBLE,)


def test_pages_that_come_as_files_are_read():
    assert one("a.html", b"<html><script>eval(x)</script>").traits == (Trait.SCRIPT, Trait.SMUGGLES)
    assert one("a.svg", b"<svg onload=x>", "image/svg+xml").traits == (Trait.SCRIPT,)
    assert one("readme.txt", b"<html><script>eval(x)</script>").traits == ()


def test_what_has_to_be_opened_is_known():
    assert one("a.zip", zipped({"a": "x"})).opens
    assert not one("a.zip", b"no archive").opens


def test_text_without_a_name_is_no_file():
    assert read("Content-Type: text/html\n\n<script>\n").files == ()


def test_only_so_many_are_looked_at():
    part = "--b\nContent-Disposition: attachment\n\nx\n"
    found = read("Content-Type: multipart/mixed; boundary=b\n\n" + part * (MOST + 5) + "--b--\n")
    assert (len(found.files), found.left_out) == (MOST, 5)


@given(st.binary(max_size=200), st.text(max_size=30).filter(lambda name: name.isprintable() and '"' not in name))
def test_any_file_is_read(octets, name):
    file = one(name.replace("\\", ""), octets)
    assert isinstance(file.disguised or file.mismatched or file.opens, bool)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "junk"), [("base64", "!"), ("base64", "="), ("quoted-printable", "=\n"), ("x-uuencode", "x")]
)
def test_what_is_passed_over_is_so_once_however_many_readings_there_are(encoding, junk):
    levels = "".join(f"Content-Type: message/{each}\n" for each in ("rfc822", "global", "news")) + "\n"
    head = f"Content-Type: application/zip; name=a.zip\nContent-Transfer-Encoding: {encoding}\n\n"

    def mime(n: int, depth: int) -> Mime:
        return mime_of(message_of(levels * depth + head + junk * n))

    assert attachments_of(mime(400_000, 0)).files[0].opens
    assert len(attachments_of(mime(400_000, 5)).files) > 50
    small, large = costs_of(lambda n: attachments_of(mime(n, 5)), 1_000_000, 4_000_000)
    assert large < 2 * small + 0.3
