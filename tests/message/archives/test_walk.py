import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives import walk as walking
from gatekeeper.message.archives.member import Budget, Late, LeftOut, Limits, Member, Opened, Trait
from gatekeeper.message.archives.walk import Report, Walk, _fetches, walk
from gatekeeper.message.filenames import Trick
from gatekeeper.message.filetypes import FileType
from tests.support.archives import PROGRAM, encrypted, iso, nested, ole, package, rar5, zipped
from tests.support.cost import costs_of


def look(octets: bytes, name: str = "a.zip", limits: Limits | None = None, late: int = -1) -> Report:
    turns = iter(range(10_000))
    budget = Budget(limits or Limits(), late=lambda: 0 <= late <= next(turns))
    return walk([(name, memoryview(octets))], budget, wanted=frozenset({"exe", "js"}))


def traits(report: Report) -> set[Trait]:
    return {trait for file in report.files for trait in file.traits}


def test_what_is_in_archives_in_archives_is_found():
    report = look(zipped({"in.zip": zipped({"a.pdf.exe": PROGRAM, "b.txt": "x"})}))
    assert [(file.path, file.type, file.tricks) for file in report.files] == [
        ("a.zip", FileType.ZIP, ()),
        ("a.zip//in.zip", FileType.ZIP, ()),
        ("a.zip//in.zip//a.pdf.exe", FileType.PE, (Trick.DOUBLE,)),
    ]
    assert report.members == 3


def test_of_harmless_members_nothing_is_told_but_their_number():
    report = look(zipped({f"{n}.txt": "x" for n in range(9)}))
    assert [file.path for file in report.files] == ["a.zip"]
    assert report.members == 9


@pytest.mark.parametrize(
    ("octets", "last"),
    [
        (zipped({"x.js": "x"}), "a//x.js"),
        (rar5(["x.exe"]), "a//x.exe"),
        (iso({"x.exe": PROGRAM}), "a//x.exe"),
        (ole({"\x01Ole10Native": package("x.exe", PROGRAM)}), "a//x.exe"),
        (gzip.compress(PROGRAM, mtime=0), "a//a"),
    ],
)
def test_each_kind_of_archive_is_opened(octets, last):
    assert look(octets, "a").files[-1].path == last


def test_a_packed_tar_is_read():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x.js"))
    assert look(made.getvalue(), "a.tgz").files[-1].path == "a.tgz//a.tar//x.js"


@pytest.mark.parametrize(
    ("files", "filetype", "found"),
    [
        ({"word/document.xml": "x"}, FileType.OOXML, set()),
        ({"word/vbaProject.bin": ole({"dir": b"x"})}, FileType.OOXML, {Trait.MACRO}),
        ({"xl/vbaProject.bin": b"Workbook_Open"}, FileType.OOXML, {Trait.MACRO, Trait.MACRO_RUNS}),
        ({"xl/macrosheets/sheet1.xml": "x"}, FileType.OOXML, {Trait.XLM}),
        ({"word/embeddings/oleObject1.bin": "x"}, FileType.OOXML, {Trait.OBJECT}),
        (
            {"word/_rels/settings.xml.rels": '<R Type="http://x/attachedTemplate" Target="y" TargetMode="External"/>'},
            FileType.OOXML,
            {Trait.REMOTE},
        ),
    ],
)
def test_documents_that_are_zips_are_read_as_documents(files, filetype, found):
    report = look(zipped({"[Content_Types].xml": "x", **files}))
    assert report.files[0].type is filetype
    assert set(report.files[0].traits) == found


def test_programs_that_are_zips_are_programs():
    assert look(zipped({"META-INF/MANIFEST.MF": "x", "A.class": "x"})).files[0].type is FileType.JAVA
    assert look(zipped({"classes.dex": "x"})).files[0].type is FileType.DEX


def test_an_archive_with_a_password_says_so():
    report = look(encrypted(zipped({"a.exe": PROGRAM})))
    assert report.files[0].traits == (Trait.ENCRYPTED,)
    assert report.files[1].path == "a.zip//a.exe"


def test_rtf_with_an_object_is_seen():
    assert look(b"{\\rtf1{\\object\\objdata 6571756174696f6e2e33}}").files[0].traits == (Trait.OBJECT, Trait.EQUATION)


def test_a_page_in_an_archive_is_read():
    report = look(zipped({"a.html": "<html><script>eval(atob('x'))</script>"}))
    assert report.files[1].traits == (Trait.SCRIPT, Trait.SMUGGLES)


def test_bombs_end_early_and_are_known():
    forty_two = nested(zipped({"0": bytes(4_000_000)}), 8, beside=4)
    report = look(forty_two)
    assert Trait.DEPTH in traits(report)
    assert report.members < 3000
    assert LeftOut.MEMBERS in report.left_out
    assert len(report.files) <= Limits().kept


def test_a_size_that_lies_is_found():
    made = bytearray(zipped({"a.txt": b"x" * 3000}))
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = made.index(mark) + at
        made[place : place + 4] = (10).to_bytes(4, "little")
    assert Trait.LYING in traits(look(bytes(made)))


def test_what_was_not_looked_at_is_said():
    assert LeftOut.TIME in look(nested(PROGRAM, 3), late=1).left_out
    assert LeftOut.SIZE in look(nested(zipped({"a": bytes(300)}, 0), 2), limits=Limits(held=100)).left_out
    assert LeftOut.UNPACKED in look(nested(PROGRAM, 3), limits=Limits(unpacked=100)).left_out


def test_of_more_than_may_be_told_the_worst_is():
    files: dict[str, bytes | str] = {f"{n}.html": "<html><script>" for n in range(50)}
    report = look(zipped(files | {"z.exe": PROGRAM}), limits=Limits(kept=3))
    assert report.files[0].path == "a.zip//z.exe"
    assert len(report.files) == 3
    assert LeftOut.KEPT in report.left_out


@given(st.binary(max_size=60), st.integers(0, 400))
def test_any_octets_are_looked_through(octets, at):
    whole = nested(zipped({"a.exe": PROGRAM, "b.html": "<html><script>"}), 2)
    for each in (octets, whole[:at] + octets + whole[at + len(octets) :]):
        assert look(each).files


@pytest.mark.parametrize("before", [b"X", b"hello\r\n", b"GIF89a", b"<html>", b"MZ"])
def test_a_zip_behind_something_else_is_found_by_its_end(before):
    hidden = before + zipped({"a.exe": PROGRAM})
    report = look(hidden)
    assert "a.zip//a.exe" in {each.path for each in report.files}
    report = look(zipped({"a.zip": hidden}), "b.zip")
    assert "b.zip//a.zip//a.exe" in {each.path for each in report.files}


def test_what_is_told_of_a_program_that_is_a_zip_too_is_both():
    report = look(zipped({"a.zip": PROGRAM + zipped({"c.exe": PROGRAM})}), "b.zip")
    assert {(each.path, each.type) for each in report.files} >= {
        ("b.zip//a.zip", FileType.PE),
        ("b.zip//a.zip//c.exe", FileType.PE),
    }


def test_what_has_no_end_of_a_zip_is_none_whatever_its_name():
    assert look(b"hello", "a.docx").files[0].type is FileType.UNKNOWN
    assert [each.path for each in look(zipped({"a.zip": b"hello"}), "b.zip").files] == ["b.zip"]


TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


@pytest.mark.parametrize(
    ("told", "remote"),
    [
        (f'<Relationship Type="{TYPE}/attachedTemplate" Target="http://x/" TargetMode="External"/>', True),
        (f"<Relationship Target='a>b' TargetMode = 'External' Type='{TYPE}/oleObject'/>", True),
        (f'<r:Relationship TargetMode="External"\n{" " * 9000}Type="{TYPE}/frame"/>', True),
        (f'<a Type="{TYPE}/attach&#101;dTemplate" TargetMode="&#x45;xtern&#0097;l"/>', True),
        (f'<a Type="{TYPE}/hyperlink&#233;" TargetMode="External"/>', False),
        (f'<a TargetMode="External"/><a Type="{TYPE}/frame"/><a TargetMode="Internal"/>', False),
        (f'<a TargetMode="External" Type="{TYPE}/hyperlink"/>', False),
        (f'TargetMode="External" Type="{TYPE}/frame"', True),
        ("x", False),
    ],
)
@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_a_relationship_that_fetches_something_is_seen(told, remote, charset):
    document = zipped({"[Content_Types].xml": "x", "word/_rels/a.rels": told.encode(charset)})
    assert (Trait.REMOTE in traits(look(document, "a.docx"))) is remote


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        '/frame" ',
        'TargetMode="External" ',
        "<TargetMode",
        "TargetMode" + " " * 20,
        "<",
        "targetmode<",
        "<targetmode&#97;",
    ],
)
def test_relationships_cost_what_they_are_long(piece):
    small, large = costs_of(lambda n: _fetches((piece * n).encode()), 4_000, 16_000)
    assert large < 8 * small + 0.05


RUNS = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1Document_Open"


def test_what_tells_most_of_a_document_is_read_first_and_names_are_told_whatever_is_left():
    parts = {f"word/_rels/{n}.rels": "x" for n in range(9)} | {f"word/{n}.xml": "x" for n in range(9)}
    document = zipped({"[Content_Types].xml": "x", **parts, "word/vbaProject.bin": RUNS, "b.exe": PROGRAM})
    report = look(document, "a.docm", Limits(opened=3))
    assert {Trait.MACRO, Trait.MACRO_RUNS} <= traits(report)
    assert "a.docm//b.exe" in [each.path for each in report.files]
    assert set(report.left_out) == {LeftOut.MEMBERS}


def test_when_the_time_is_over_names_are_told_all_the_same():
    report = look(zipped({"a.txt": "x", "b.pdf.exe": PROGRAM}), late=0)
    assert [(each.path, each.type) for each in report.files[1:]] == [("a.zip//b.pdf.exe", FileType.UNKNOWN)]
    assert set(report.left_out) == {LeftOut.TIME}


def test_past_the_budget_nothing_of_a_document_is_read():
    reads = []

    def read(limit: int) -> bytes:
        reads.append(limit)
        return b""

    walked = Walk(Budget(Limits(opened=1)))
    opened = Opened([Member(f"_rels/{n}.rels", None, (), read) for n in range(9)])
    for member in opened.members:
        walked._member(member, "a.docx", 1, opened, FileType.OOXML, beside=9)
    assert len(reads) == 1


@pytest.mark.parametrize(("early", "size", "slow"), [(True, 0, True), (False, 0, False), (True, 1_100_000, False)])
def test_late_keeps_what_was_found_and_a_small_file_alone_is_a_bomb(monkeypatch, early, size, slow):
    late = False

    def reads(_octets: memoryview, _budget: Budget) -> Opened:
        def read(_limit: int) -> bytes:
            nonlocal late
            late = True
            raise Late

        opened = Opened([Member("a.exe", None, (), lambda _: PROGRAM), Member("b", None, (), read), Member("c.js", 1)])
        opened.note(Trait.AMBIGUOUS)
        return opened

    monkeypatch.setitem(walking._READERS, FileType.ZIP, reads)
    walked = Walk(Budget(late=lambda: late), frozenset({"js"}))
    walked.file("a.zip", memoryview(zipped({}) + bytes(size)), early=early)
    report = walked.report()
    assert [each.path for each in report.files] == ["a.zip", "a.zip//a.exe", "a.zip//c.js"]
    assert (Trait.AMBIGUOUS in traits(report), Trait.SLOW in traits(report)) == (True, slow)
    assert report.left_out == (LeftOut.TIME,)


def test_late_in_the_list_of_an_archive_keeps_the_files_before(monkeypatch):
    def reads(_octets: memoryview, _budget: Budget) -> Opened:
        raise Late

    monkeypatch.setitem(walking._READERS, FileType.TAR, reads)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    walked = Walk(Budget())
    walked.file("a.zip", memoryview(zipped({"a.exe": PROGRAM})), early=True)
    walked.file("b.tar", memoryview(made.getvalue()), early=True)
    assert [each.path for each in walked.report().files] == ["a.zip", "a.zip//a.exe", "b.tar"]
    assert traits(walked.report()) == {Trait.SLOW}
