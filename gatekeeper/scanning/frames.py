"""What is said between a worker and the process that looks into attachments for it (unpacker.py and child.py).

A request is a length (four octets), that much JSON, and then the octets of each file, still in their transfer encoding,
as many as the JSON says. An answer is a length and that much JSON. One after the other, never two at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatekeeper.message.archives.member import LeftOut, Trait
from gatekeeper.message.archives.walk import Inside, Report
from gatekeeper.message.filenames import Trick
from gatekeeper.message.filetypes import FileType
from gatekeeper.message.transfer import Encoding
from gatekeeper.wire.notation import read_json

LENGTH = 4
MOST = 4 * 1_048_576
"""Octets of JSON that are read; what is longer is no answer."""


@dataclass(frozen=True, slots=True)
class FileHead:
    """A file that is sent: its name, how it is encoded, how many octets follow."""

    name: str
    encoding: Encoding
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """`seconds` of processor time may be spent; `wanted` are extensions to be told of."""

    files: tuple[FileHead, ...]
    wanted: tuple[str, ...]
    seconds: float


def request_frame(request: Request) -> bytes:
    files = [[file.name, file.encoding.value, file.size] for file in request.files]
    return _frame({"files": files, "wanted": list(request.wanted), "seconds": request.seconds})


def read_request(text: bytes) -> Request:
    told = read_json(text)
    files = tuple(FileHead(name, Encoding(encoding), size) for name, encoding, size in told["files"])
    return Request(files, tuple(told["wanted"]), told["seconds"])


def report_frame(report: Report) -> bytes:
    files = [
        [
            *(each.path, each.depth, each.type.value, each.extension),
            *([trait.value for trait in each.traits], [trick.value for trick in each.tricks], each.beside),
        ]
        for each in report.files
    ]
    return _frame({"files": files, "members": report.members, "left_out": [each.value for each in report.left_out]})


def error_frame(error: str) -> bytes:
    return _frame({"error": error})


def read_report(text: bytes) -> Report:
    """Raises ValueError where it is none: the other side looks at what strangers send, and is not trusted."""
    try:
        told = read_json(text)
        if "error" in told:
            raise ValueError(str(told["error"])[:200])
        files = tuple(_inside(*each) for each in told["files"])
        return Report(files, int(told["members"]), tuple(LeftOut(each) for each in told["left_out"]))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no report: {type(error).__name__}") from error


def _inside(  # noqa: PLR0917 - as they stand in the frame
    path: Any, depth: Any, filetype: Any, extension: Any, traits: Sequence[Any], tricks: Sequence[Any], beside: Any
) -> Inside:
    return Inside(
        str(path),
        int(depth),
        FileType(filetype),
        str(extension),
        tuple(Trait(each) for each in traits),
        tuple(Trick(each) for each in tricks),
        int(beside),
    )


def _frame(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return len(text).to_bytes(LENGTH) + text
