"""A next hop that accepts everything, for where Postfix' smtp-sink is not installed: `python -m bench.sink PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import cast


class Sink(asyncio.Protocol):
    """One connection; commands by their first letter, message text up to its dot."""

    def __init__(self) -> None:
        self._buffer = b""
        self._in_text = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        replies = []
        while True:
            head, end, rest = self._buffer.partition(b"\r\n.\r\n" if self._in_text else b"\r\n")
            if not end:
                break
            self._buffer = rest
            verb = head[:4].upper()
            if self._in_text:
                self._in_text = False
                replies.append(b"250 2.0.0 Ok\r\n")
            elif verb == b"EHLO":
                replies.append(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
            elif verb == b"DATA":
                self._in_text = True
                replies.append(b"354 go ahead\r\n")
            else:
                replies.append(b"221 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 Ok\r\n")
            if verb == b"QUIT" and not self._in_text:
                self._transport.write(b"".join(replies))
                self._transport.close()
                return
        self._transport.write(b"".join(replies))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
