import json

import pytest

from gatekeeper.message.archives.member import LeftOut, Trait
from gatekeeper.message.archives.walk import Inside, Report
from gatekeeper.message.filenames import Trick
from gatekeeper.message.filetypes import FileType
from gatekeeper.message.transfer import Encoding
from gatekeeper.scanning.frames import (
    LENGTH,
    FileHead,
    Request,
    error_frame,
    read_report,
    read_request,
    report_frame,
    request_frame,
)


def test_what_is_asked_arrives():
    request = Request((FileHead("ü\udcff.zip", Encoding.BASE64, 9),), ("exe",), 2.5)
    frame = request_frame(request)
    assert int.from_bytes(frame[:LENGTH]) == len(frame) - LENGTH
    assert read_request(frame[LENGTH:]) == request


def test_what_is_answered_arrives():
    inside = Inside("a//b", 1, FileType.PE, "exe", (Trait.ENCRYPTED,), (Trick.DOUBLE,), 3)
    report = Report((inside,), 7, (LeftOut.TIME,))
    assert read_report(report_frame(report)[LENGTH:]) == report


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[]", b"{}", b'{"files": [[1]], "members": 1, "left_out": []}', b'{"files": 1}', b"\xff", b"[" * 5000),
        json.dumps({"files": [["a", 0, "no type", "", [], [], 0]], "members": 0, "left_out": []}).encode(),
    ],
)
def test_what_is_no_answer_is_an_error(text):
    with pytest.raises(ValueError):
        read_report(text)


def test_an_error_is_told():
    with pytest.raises(ValueError, match="KeyError"):
        read_report(error_frame("KeyError: x")[LENGTH:])
