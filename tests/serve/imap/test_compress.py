"""COMPRESS (RFC 4978) in a session: bombs, garbage, large messages, and that others are served meanwhile."""

import asyncio
import re
import zlib

import pytest

from serve.imap.dialogue import Client, connect


class Talk:
    """A client that compresses."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.deflate = zlib.compressobj(9, wbits=-15)
        self.inflate = zlib.decompressobj(wbits=-15)
        self.heard = b""

    def send(self, octets: bytes) -> None:
        self.client.writer.write(self.deflate.compress(octets) + self.deflate.flush(zlib.Z_SYNC_FLUSH))

    async def until(self, pattern: bytes) -> bytes:
        async with asyncio.timeout(60):
            while not re.search(pattern, self.heard):
                some = await self.client.reader.read(65_536)
                assert some, self.heard[-1000:]
                self.heard += self.inflate.decompress(some)
        heard, self.heard = self.heard, b""
        return heard


async def begin(client: Client) -> Talk:
    await client.do("COMPRESS DEFLATE")
    return Talk(client)


async def test_a_bomb_ends_the_connection_and_others_are_served(house, door):
    async with connect(house, door) as bad, connect(house, door) as good:
        talk = await begin(bad)
        talk.send(b"a NOOP\r\n" * 1_000_000)
        await good.do("NOOP")
        assert b"* BYE [LIMIT] What came inflates to more than anything that is meant.\r\n" in await talk.until(b"BYE")


@pytest.mark.parametrize(
    "line", [b"x" * 8_000_000, b"a LIST {65536+}\r\n" + b"x" * 65_536 + b"{65536+}\r\n" * 1_000_000]
)
async def test_a_bomb_of_one_command(house, door, line):
    async with connect(house, door) as client:
        talk = await begin(client)
        talk.send(line)
        await talk.until(rb"BYE \[(LIMIT|TOOBIG)\]")


async def test_plain_text_behind_compress(house, door):
    async with connect(house, door) as client:
        talk = await begin(client)
        client.writer.write(b"a NOOP\r\n")
        assert b"* BYE [LIMIT] What came is not compressed by DEFLATE.\r\n" in await talk.until(b"BYE")


async def test_a_message_may_shrink_as_much_as_it_can(house, door):
    message = b"Subject: white\r\n\r\n" + b"/" * 8_000_000 + b"\r\n"
    async with connect(house, door) as client:
        talk = await begin(client)
        talk.send(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(message), message))
        assert b"a OK [APPENDUID" in await talk.until(b"a (OK|NO|BAD)")
        talk.send(b"b SELECT INBOX\r\nc FETCH 1 (RFC822.SIZE BODY.PEEK[])\r\n")
        assert message in await talk.until(b"c OK")


async def test_a_message_with_a_bomb_behind_it(house, door):
    message = b"Subject: white\r\n\r\n" + b"/" * 2_000_000
    async with connect(house, door) as client:
        talk = await begin(client)
        talk.send(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(message), message) + b"b NOOP\r\n" * 1_000_000)
        assert b"a OK [APPENDUID" in await talk.until(b"BYE")
