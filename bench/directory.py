"""A next hop that knows some names: those that begin with "real". `python -m bench.directory PORT`.

It takes its time to find out that there is no such name, as one does that asks a directory and a cache before it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

SLOW: Final = 0.002
"""Seconds until a name is known not to be there."""


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 directory ESMTP\r\n")
    while line := await reader.readline():
        verb, rest = line[:4].upper(), line[4:].lower()
        reply = b"250 2.0.0 Ok\r\n"
        if verb == b"EHLO":
            reply = b"250-directory\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n"
        elif verb == b"RCPT" and b"<real" not in rest:
            await asyncio.sleep(SLOW)
            reply = b"550 5.1.1 There is no such user\r\n"
        elif verb == b"QUIT":
            break
        writer.write(reply)
    writer.close()


async def _listen(port: int) -> None:
    async with await asyncio.start_server(_serve, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_listen(int(sys.argv[1])))
