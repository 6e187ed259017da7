"""Targets: files that come with a message and what is inside of them, and what is made of a whole message."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from functools import cache

from gatekeeper.classifier.traits import names_of, traits_of
from gatekeeper.message.archives.member import Budget, Limits
from gatekeeper.message.archives.walk import walk
from gatekeeper.message.as_received import as_received, message_of
from gatekeeper.message.attachments import attachments_of
from gatekeeper.message.content import content_of
from gatekeeper.message.filenames import read_name
from gatekeeper.message.filetypes import HEAD, type_of
from gatekeeper.message.mime import mime_of
from gatekeeper.message.reading import read_message
from gatekeeper.message.reported import MOST, reported
from gatekeeper.message.shingles import Digest, digest_of
from gatekeeper.rules.ruleset import Ruleset, ruleset
from gatekeeper.rules.trial import tried
from tests.fuzz.target import Target
from tests.support.archives import cabinet, encrypted, iso, nested, ole, package, rar4, rar5, seven, zipped

LIMITS = Limits(members=500, steps=20_000, opened=50, unpacked=1 << 20, held=1 << 20)
"""As in use, but smaller: octets made in plenty would hide what an octet given costs."""
TEXT = "\n".join(f"Line {n} of a text that is long enough for a digest, with words in it." for n in range(12))


def _walked(octets: bytes) -> None:
    budget = Budget(LIMITS)
    report = walk([("a", memoryview(octets))], budget, wanted=frozenset({"txt"}))
    assert budget.unpacked <= LIMITS.unpacked
    assert report.members <= LIMITS.members
    assert len(report.files) <= LIMITS.kept


def _file_name(octets: bytes) -> None:
    name, _, head = octets.partition(b"\n")
    told = read_name(name.decode("utf-8", "replace"))
    assert "/" not in told.extension
    type_of(head[:HEAD])


def _attachments(octets: bytes) -> None:
    message = read_message(octets)
    for file in attachments_of(mime_of(message)).files:
        assert file.name is not None
        (file.tricks, file.extensions, file.opens, file.disguised, file.mismatched)  # noqa: B018 - made when asked for


def _report(octets: bytes) -> None:
    """A user's report of other mail, and each of those as it came in."""
    found = reported(message_of(octets), user="user@example.org")
    assert len(found) <= MOST
    for each in found:
        as_received(each.message, hostname="mx.example.org", subject_prefix="[SPAM] ")


def _digest(octets: bytes) -> None:
    digest = digest_of(octets.decode("utf-8", "replace").split("\f")[:5])
    if digest is not None:
        assert Digest.parse(str(digest)) == digest
        assert digest.likeness(digest) == 1.0


@cache
def _rules() -> Ruleset:
    return ruleset()


def _judged(octets: bytes) -> None:
    """The rules and the classifier's traits, as content checks ask for them."""
    tried(_rules(), octets.decode("utf-8", "surrogateescape"))
    message = read_message(octets)
    content_of(message)
    traits = traits_of(message)
    names_of(message, [*traits.words[:5], *traits.others[:5]])


def _tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("ä" * 120 + ".js"))
        archive.addfile(tarfile.TarInfo("b.txt"))
    return made.getvalue()[:4096]


_ZIPPED = zipped({"a.txt": "text" * 20, "dir/b.js": "x"})
_FORWARDED = (
    b"Subject: Fwd\r\n\r\n-------- Original Message --------\r\nSubject: Hello\r\nFrom: A <a@example.com>\r\n"
    b"To: user@example.org\r\n\r\n> text\r\n"
)
_ATTACHED = (
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nReceived: from a by'
    b" mx.example.org (gatekeeper) with ESMTP id 0123456789ABCD\r\nFrom: <a@example.com>\r\nSubject: [SPAM] x\r\n\r\n"
    b"text\r\n--b\r\nContent-Type: application/octet-stream; name=x.eml\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"RnJvbTogYQo=\r\n--b\r\nContent-Disposition: attachment; filename*=utf-8''a.pdf%E2%80%AEexe\r\n\r\nMZ\r\n--b--\r\n"
)
_SOLD = (
    b"Received: from a (b [192.0.2.1]) by c with ESMTP; Mon, 02 Nov 2026 10:00:00 +0000\r\nFrom: =?utf-8?q?Your_Bank?="
    b" <a@example.com>\r\nReply-To: <b@example.net>\r\nMessage-ID: <1@localhost>\r\nList-Unsubscribe: <mailto:c@d>\r\n"
    b"Subject: =?utf-8?b?V0lOIDEwMDAwMDAgJA==?=\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p style='color:white'"
    b">Dear friend</p><a href='http://example.net/a?b=user%40example.org'>http://bank.example</a> v1agra \xd0\xb0\xc3"
)

FILES: dict[str, Target] = {
    "zip": Target(
        _walked,
        (
            _ZIPPED,
            encrypted(_ZIPPED),
            nested(_ZIPPED, 3),
            zipped({"word/vbaProject.bin": ole({"Macros/VBA/x": b"AutoOpen"}), "[Content_Types].xml": "<Types/>"}),
        ),
        most=1 << 18,
    ),
    "archives": Target(
        _walked,
        (
            rar4(["a.exe"]),
            rar5(["a.exe", "b"], locked=True),
            rar5(["c.js"], hidden=True),
            seven(["a.exe", "b.txt"]),
            seven(["a"], locked=True),
            cabinet(["a.exe", "b"]),
            _tar(),
            gzip.compress(_tar(), mtime=0),
            bz2.compress(b"text" * 99),
            lzma.compress(b"text" * 99),
        ),
        most=1 << 18,
    ),
    "disk_image": Target(_walked, (iso({"a.exe": b"MZ", "b.txt": b"text"}), iso({"c": b""}, joliet=False)), 1 << 18),
    "documents": Target(
        _walked,
        (
            ole({"Workbook": b"\x09\x08\x10\0" + bytes(16) + b"\x85\0\x08\0" + bytes(8), "_VBA_PROJECT": b"x"}),
            ole({"\x01Ole10Native": package("x.exe", b"MZ"), "Macros/VBA/Module1": b"\1\0\xb0AutoOpen"}),
            rb"{\rtf1{\object\objemb{\*\objdata 0105000002000000}}}",
            b"<html><script>atob('x');new Blob([1]);a.download='b'</script>",
            b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(x)>>>>endobj",
        ),
        most=1 << 18,
    ),
    "file_name": Target(
        _file_name,
        (b"a.pdf.exe\nMZ\x90", "a\u202efdp.exe\nPK\3\4".encode(), b"a .js . \n<html>", b"../\0a.tar.gz\n\x1f\x8b"),
        8192,
    ),
    "attachments": Target(_attachments, (_ATTACHED, b"Content-Type: text/html; name=a.html\r\n\r\n<script>"), 1 << 18),
    "report": Target(
        _report, (_ATTACHED, _FORWARDED, b"Resent-From: <a@b>\r\n\r\n", b"From a\r\nFrom: b\n\nc"), 1 << 18
    ),
    "digest": Target(_digest, (TEXT.encode(), (TEXT.replace(" ", "\n\n") + "\f" + TEXT).encode(), "字".encode() * 400)),
    "judged": Target(_judged, (_SOLD, _FORWARDED, _ATTACHED), 1 << 18),
}
