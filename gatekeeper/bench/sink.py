"""A next hop that accepts everything, as fast as Python can: `python -m gatekeeper.bench.sink PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import Final, cast

_END: Final = b"\r\n.\r\n"
_HELLO: Final = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n250 ENHANCEDSTATUSCODES\r\n"


class Sink(asyncio.Protocol):
    """One connection; commands by their first letters, message text up to its dot, of which nothing is kept."""

    def __init__(self) -> None:
        self._rest = b""
        self._in_text = False
        self._transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._rest += data
        replies = []
        leaves = False
        while not leaves:
            head, found, rest = self._rest.partition(_END if self._in_text else b"\r\n")
            if not found:
                if self._in_text:
                    self._rest = self._rest[-len(_END) + 1 :]
                break
            self._rest = rest
            reply, leaves = (b"250 2.0.0 Ok\r\n", False) if self._in_text else _answer(head[:4].upper())
            self._in_text = not self._in_text and head[:4].upper() == b"DATA"
            if self._in_text:
                self._rest = b"\r\n" + self._rest  # so that the dot of an empty message is seen
            replies.append(reply)
        if replies:
            self._transport.write(b"".join(replies))
        if leaves:
            self._transport.close()


def _answer(verb: bytes) -> tuple[bytes, bool]:
    """The reply to a command, and whether it was the last."""
    if verb == b"EHLO":
        return _HELLO, False
    if verb == b"DATA":
        return b"354 go ahead\r\n", False
    return (b"221 2.0.0 bye\r\n", True) if verb == b"QUIT" else (b"250 2.0.0 Ok\r\n", False)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
