"""Large messages: what is looked for in them is found as in small ones, and only a piece of one is in memory."""

import asyncio
import errno
import random
import tracemalloc

import pytest

from posthouse.mail import longtext, text
from posthouse.serve.imap import criteria, question
from posthouse.store import blobs
from posthouse.store.indexer import Indexer
from serve.imap.dialogue import connect

LINE = "<p class='x'>Ein Gruß &amp; <b>schöne</b> Worte</p><!-- nobody sees this -->\r\n".encode()
SIZE = 8_000_000
SMALL = 5_000_000  # octets of Python's memory; the message alone has more
HTML = b"Subject: long\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + (LINE + b"worte " * 300) * (SIZE // 1_900)
LATIN = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nW=FCnsche"
WORDS = ("gruß", "schöne", "worte", "attached", "nobody", "inside", "wünsche", "wort", "outer", "x-part: 7")


def mixed(chance: random.Random) -> bytes:
    """A message with parts of several kinds."""
    parts = [
        b"Content-Type: text/html; charset=utf-8\r\n\r\n" + LINE * chance.randrange(4),
        LATIN,
        b"X-Part: 7\r\nContent-Type: text/plain\r\n\r\n" + b"attached words\r\n" * chance.randrange(5),
        b"Content-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\n" + b"enclosed outer\r\n" * chance.randrange(3),
    ]
    some = b"".join(b"--b\r\n" + part + b"\r\n" for part in chance.sample(parts, chance.randrange(1, 5)))
    return b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + some + b"--b--\r\n"


@pytest.mark.parametrize("seed", range(3))
async def test_large_messages_are_searched_like_small_ones(house, door, monkeypatch, seed):
    chance = random.Random(seed)
    keys = [
        f"{fuzzy}{kind} {{{len(word.encode())}+}}\r\n{word}"
        for fuzzy in ("", "FUZZY ")
        for kind in ("BODY", "TEXT")
        for word in WORDS
    ]
    async with connect(house, door) as client:
        for _ in range(12):
            await client.append(mixed(chance))
        await client.do("SELECT INBOX")
        whole = [await client.do(f"SEARCH CHARSET UTF-8 {key}".encode()) for key in keys]
        for module in (text, criteria):
            monkeypatch.setattr(module, "LONG", 20)
        monkeypatch.setattr(question, "INLINE_SIZE", 100)
        monkeypatch.setattr(longtext, "PIECE", 90)
        assert [await client.do(f"SEARCH CHARSET UTF-8 {key}".encode()) for key in keys] == whole
        assert len(set(map(tuple, whole))) > 5


async def searched(client, key: str) -> list[bytes]:
    return await client.do(f"SEARCH {key}")


@pytest.mark.parametrize("key", ["BODY nowhere", "FUZZY TEXT worte"])
async def test_a_search_holds_a_piece_of_a_large_message(house, door, key):
    async with connect(house, door) as client, connect(house, door) as second:
        await client.append(HTML)
        for one in (client, second):
            await one.do("SELECT INBOX")
        tracemalloc.start()
        answers = await asyncio.gather(searched(client, key), searched(second, key))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [one[-1] for one in answers] == [b"* SEARCH" if key.startswith("BODY") else b"* SEARCH 1"] * 2
        assert peak < SMALL


async def test_the_index_takes_up_a_large_message_by_pieces(house, door):
    async with connect(house, door) as client:
        await client.append(HTML)
        indexer = Indexer(house.store)
        writer = await indexer.begin()
        tracemalloc.start()
        assert await indexer.step(writer) == 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        indexer.close()
        assert peak < SMALL
        await client.do("SELECT INBOX")
        assert await searched(client, "SUBJECT long") == [b"* SEARCH 1"]
        assert await searched(client, "BODY worte") == [b"* SEARCH 1"]


async def test_large_messages_are_searched_with_a_full_disk(house, door, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with connect(house, door) as client:
        await client.append(HTML)
        await client.do("SELECT INBOX")
        monkeypatch.setattr(blobs.tempfile, "TemporaryFile", full)
        assert await searched(client, "BODY worte") == [b"* SEARCH 1"]
        assert await searched(client, "BODY wortlos") == [b"* SEARCH"]
