"""Does port 25 lead out? Asked of servers in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from fakes import ZoneResolver
from posthouse.transport.port25 import Port25, Probe, greeted, probe
from posthouse.trust.resolver import Found

ZONE = """
one.test. A 127.0.0.1
two.test. A 127.0.0.2
two.test. AAAA ::1
"""


@contextlib.asynccontextmanager
async def server(greeting: bytes) -> AsyncIterator[int]:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (b"220 mx.test ESMTP\r\n", ""),
        (b"554 no\r\n", ""),
        (b"HTTP/1.1 403\r\n", "does not greet"),
        (b"", "does not greet"),
    ],
)
async def test_greetings(greeting: bytes, said: str) -> None:
    async with server(greeting) as port:
        answer = await greeted("127.0.0.1", port)
    assert (answer.startswith(said), bool(answer)) == (True, bool(said))
    assert await greeted("127.0.0.1", port), "nobody listens any more"


async def test_one_that_greets_is_enough() -> None:
    async def ask(ip: str, port: int) -> str:
        assert port == 25
        return "" if ip == "::1" else "does not answer"

    hosts = ["one.test", "two.test"]
    assert await probe(hosts, ZoneResolver(ZONE), ask) == Probe(
        True, (("one.test", "does not answer"), ("two.test", "answers"))
    )
    assert (await probe(hosts[:1], ZoneResolver(ZONE), ask)).open is False
    lost = await probe(hosts, ZoneResolver(ZONE, failing={"one.test": Found.TIMEOUT, "two.test": Found.SERVFAIL}), ask)
    assert lost.open is None, "without the DNS nothing is known"


async def test_it_is_remembered_and_asked_once() -> None:
    looks = 0
    answer: bool | None = False

    async def look() -> Probe:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return Probe(answer, ())

    port25 = Port25(look)
    assert await asyncio.gather(*[port25.blocked() for _ in range(5)]) == [True] * 5
    assert looks == 1
    port25._until = 0.0
    answer = None
    assert await port25.blocked() is False, "not known is not blocked"
    assert looks == 2
