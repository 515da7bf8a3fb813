"""serve/imap/fetch.py and parts.py: large messages, which leave piece by piece (RFC 9051 §6.4.5)."""

import asyncio
import base64
import errno
import os
import tracemalloc

from posthouse.net.link import LinkLimits
from posthouse.serve.imap import fetch, parts
from posthouse.store.blobs import Blobs
from posthouse.store.script import Unavailable
from serve.imap.dialogue import MESSAGE, connect

LARGE = MESSAGE + os.urandom(3 * fetch.PIECE + 5).replace(b"\0", b"0")


async def large(client, message=LARGE):
    await client.append()
    await client.append(message)
    await client.do("SELECT INBOX")


async def test_a_large_message_leaves_in_pieces_and_whole(house, door, monkeypatch):
    asked = []
    octets = Blobs.octets

    def watched(blobs, row, start=0, stop=None):
        asked.append((row[1] if stop is None else stop) - start)
        return octets(blobs, row, start, stop)

    async with connect(house, door) as client:
        await large(client)
        monkeypatch.setattr(Blobs, "octets", watched)
        [_, answer] = await client.do("FETCH 1:2 (UID BODY.PEEK[])")
        assert answer == b"* 2 FETCH (UID 2 BODY[] {%d}\r\n%b)" % (len(LARGE), LARGE)
        assert max(asked) == fetch.PIECE
        size = MESSAGE.index(b"\r\n\r\n") + 4
        text = LARGE[size:]
        assert await client.do("FETCH 2 (RFC822.TEXT BODY[TEXT]<3.2000000>)") == [
            b"* 2 FETCH (FLAGS (\\Seen) RFC822.TEXT {%d}\r\n%b BODY[TEXT]<3> {%d}\r\n%b)"
            % (len(text), text, len(text) - 3, text[3:])
        ]
        assert max(asked) == fetch.PIECE
        assert await client.do("FETCH 2 BODY.PEEK[1]") == [b"* 2 FETCH (BODY[1] {%d}\r\n%b)" % (len(text), text)]
        assert await client.do("FETCH 2 BINARY.PEEK[1]") == [b"* 2 FETCH (BINARY[1] {%d}\r\n%b)" % (len(text), text)]


async def test_a_damaged_large_message_is_never_served_whole(house, door, monkeypatch):
    octets = Blobs.octets
    async with connect(house, door) as client:
        await large(client)
        monkeypatch.setattr(Blobs, "octets", lambda *args: octets(*args).replace(LARGE[-9:], b"otherwise"))
        client.write("FETCH 2 BODY.PEEK[]")
        heard = await client.reader.read()
        assert heard.startswith(b"* 2 FETCH (BODY[] {%d}\r\n" % len(LARGE))
        assert b"otherwise" not in heard
        assert len(heard) < len(LARGE)


FILE = os.urandom(5 * 1024 * 1024)
ENCODED = base64.encodebytes(FILE).replace(b"\n", b"\r\n")
MIXED = (
    b"From: anna@home.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\n--xx\r\n"
    b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n%b\r\n--xx\r\n"
    b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-own\r\n\r\nHello\r\n--xx--\r\n" % ENCODED
)
READERS = 6
PIECES = 9  # what one reader may hold: high_water of its link, pieces on their way, what base64 makes of them


async def test_parts_of_a_large_message_are_decoded_as_they_leave(house, door):
    async with connect(house, door) as client:
        await large(client, MIXED)
        size = len(FILE)
        assert await client.do("FETCH 2 (BINARY.SIZE[1] BINARY.PEEK[1])") == [
            b"* 2 FETCH (BINARY.SIZE[1] %d BINARY[1] ~{%d}\r\n%b)" % (size, size, FILE)
        ]
        assert await client.do("FETCH 2 (BINARY.PEEK[1]<5.2000000> BINARY.PEEK[1]<9000000.5> BINARY.PEEK[])") == [
            b"* 2 FETCH (BINARY[1]<5> ~{2000000}\r\n%b BINARY[1]<9000000> ~{0}\r\n BINARY[] {%d}\r\n%b)"
            % (FILE[5:2000005], len(MIXED), MIXED)
        ]
        assert await client.do("FETCH 2 BODY.PEEK[1]") == [b"* 2 FETCH (BODY[1] {%d}\r\n%b)" % (len(ENCODED), ENCODED)]
        assert await client.fails("FETCH 2 BINARY.PEEK[2]") == (
            b"NO [UNKNOWN-CTE] The transfer encoding of a part is not known here."
        )


async def test_many_items_of_a_message_hold_no_copy_each(house, door):
    """Two hundred items, each almost the whole of a message of 200 KB, are 40 MB."""
    message = MESSAGE + b"x" * 200_000
    async with connect(house, door, link=LinkLimits(high_water=parts.PIECE)) as client:
        await large(client, message)
        items = b" ".join(b"BODY.PEEK[]<%d.300000>" % start for start in range(200))
        tracemalloc.start()
        client.write(b"FETCH 2 (%b)" % items)
        for _ in range(20):
            await asyncio.sleep(0.02)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * parts.PIECE


async def test_clients_that_do_not_read_hold_a_few_pieces_each(house, door):
    """They asked for 80 MB and 60 MB; the tree of the message is made once, of a file."""
    async with connect(house, door) as client:
        await large(client, MIXED)
        for item in ("BODY.PEEK[1]", "BINARY.PEEK[1]"):
            tracemalloc.start()
            others = [connect(house, door, link=LinkLimits(high_water=parts.PIECE)) for _ in range(READERS)]
            clients = [await other.__aenter__() for other in others]
            for waiting in clients:
                await waiting.do("EXAMINE INBOX")
                waiting.write(f"FETCH 2 {item}")
                waiting.write(f"FETCH 2 {item}")
            for _ in range(30):
                await asyncio.sleep(0.05)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            for waiting, other in zip(clients, others, strict=True):
                waiting.link.abort()
                await other.__aexit__(None, None, None)
            assert peak < READERS * PIECES * parts.PIECE, item


async def test_trees_are_remembered_by_weight(house, door, monkeypatch):
    monkeypatch.setattr(parts, "TREE_OCTETS", 1)
    async with connect(house, door) as client:
        await large(client, MIXED)
        await client.append(LARGE)
        await client.do("FETCH 2:3 BODY.PEEK[1.MIME]")
        assert len(parts._trees[house.store.blobs].known) == 1


async def test_parts_are_read_with_a_full_disk(house, door, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with connect(house, door) as client:
        await large(client, MIXED)
        monkeypatch.setattr(parts.tempfile, "TemporaryFile", full)
        assert await client.do("FETCH 2 BINARY.SIZE[1]") == [b"* 2 FETCH (BINARY.SIZE[1] %d)" % len(FILE)]


async def test_messages_are_read_with_a_full_disk(house, door, monkeypatch):
    """The client reads the message; that it has read it cannot be kept (RFC 9051 §6.4.5)."""

    async def full(store, *_arguments, **_options):
        raise Unavailable("the disk is full")

    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        with monkeypatch.context() as patched:
            patched.setattr(type(house.store), "run", full)
            [fetched] = await client.do("FETCH 1 (FLAGS BODY[])")
            assert MESSAGE in fetched
            assert b"FLAGS ()" in fetched
        [fetched] = await client.do("FETCH 1 BODY[]")
        assert b"FLAGS (\\Seen)" in fetched
