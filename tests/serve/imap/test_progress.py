"""INPROGRESS: who takes long says so (RFC 9585 §4), at whole responses only."""

import asyncio
import time

from posthouse.serve.imap import progress
from posthouse.store import search as rows
from posthouse.wire.imap import code
from serve.imap.dialogue import connect


def test_a_tag_that_would_end_the_code_is_left_out():
    assert code.inprogress(b"a1") == b'INPROGRESS ("a1" NIL NIL)'
    assert code.inprogress(b"a]1") == b"INPROGRESS"


async def test_a_long_search_says_that_it_runs(house, door, monkeypatch):
    monkeypatch.setattr(progress, "PERIOD", 0.05)
    read = type(house.store).read

    async def slow(store, verb, *arguments, **options):
        if verb is rows.by_size:
            await asyncio.sleep(0.6)
        return await read(store, verb, *arguments, **options)

    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        monkeypatch.setattr(type(house.store), "read", slow)
        began = time.monotonic()
        *told, found = await client.do("SEARCH LARGER 1")
        assert found == b"* SEARCH 1"
        assert 2 <= len(told) <= (time.monotonic() - began) / progress.PERIOD
        assert set(told) == {b'* OK [INPROGRESS ("t%d" NIL NIL)] Still at work.' % client.count}
        monkeypatch.undo()
        await asyncio.sleep(0.1)
        assert await client.do("NOOP") == []  # nothing is said of a command that is over
        await client.do("COMPRESS DEFLATE")
