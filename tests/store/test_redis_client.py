"""What a fault of Redis is told as. With a real server: tests/peers/test_redis.py."""

import asyncio

import pytest

from gatekeeper.store.base import StoreAway
from gatekeeper.store.redis_client import Client
from gatekeeper.store.redis_place import Place


async def answering(text: bytes):
    """A server that gives that answer to whatever is asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(text)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, Client(Place.read(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"-NOAUTH Authentication required.\r\n", "mend user in"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"-OOM command not allowed\r\n", "not allowed"),
        (b"-READONLY You can't write against a read only replica.\r\n", "read only"),
        (b"\xff\xfe garbage\r\n", "Redis"),
        (b"*999999999999999999999\r\n" + b"*1\r\n" * 5000, "Redis"),
    ],
)
async def test_an_answer_that_is_none_is_away(text, said):
    server, client = await answering(text)
    with pytest.raises(StoreAway, match=said):
        await client.command("GET", "a")
    await client.close()
    server.close()
