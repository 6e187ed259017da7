"""A wire that goes silent in the middle of what it carries to us: the system takes no more, and confirms no more.

Nobody reading is something else: the system would confirm what waits for a reader. A filter on the socket sees each
packet before TCP does, and without privileges (socket(7), SO_ATTACH_FILTER; the instructions: Linux, filter.h).
"""

from __future__ import annotations

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
LOAD_LENGTH, LOAD_OCTET, LOAD_AT_X = 0x80, 0x30, 0x40
AND, RIGHT, ADD, SUBTRACT_X, A_TO_X, X_TO_A = 0x54, 0x74, 0x04, 0x1C, 0x07, 0x87
IF_EQUAL, TAKE, TAKE_A = 0x15, 0x06, 0x16
TCP_OFFSET = 12
"""Where a TCP header says how long it is, in words of four octets in the upper half."""
ALL, NOTHING = 0xFFFFFFFF, 0


def silent_after(sock: socket.socket, text: bytes, octets: int) -> None:
    """From now on nothing arrives at this TCP socket but the first `octets` of a packet that begins as `text` does,
    and packets without content. Of what is sent again the rest begins otherwise, if the first eight octets tell.
    """
    first, second = struct.unpack("!II", text[:8])
    instructions = [
        (LOAD_OCTET, 0, 0, TCP_OFFSET),
        (AND, 0, 0, 0xF0),
        (RIGHT, 0, 0, 2),  # from words in the upper half to octets
        (A_TO_X, 0, 0, 0),
        (LOAD_LENGTH, 0, 0, 0),
        (SUBTRACT_X, 0, 0, 0),
        (IF_EQUAL, 7, 0, 0),  # no content
        (LOAD_AT_X, 0, 0, 0),
        (IF_EQUAL, 0, 6, first),
        (LOAD_AT_X, 0, 0, 4),
        (IF_EQUAL, 0, 4, second),
        (X_TO_A, 0, 0, 0),
        (ADD, 0, 0, octets),
        (TAKE_A, 0, 0, 0),
        (TAKE, 0, 0, ALL),
        (TAKE, 0, 0, NOTHING),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(instructions), ctypes.addressof(code)))
