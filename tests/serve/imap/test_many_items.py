"""FETCH of many items at once: little is held, trees are made once, and others have their turn."""

import asyncio

import pytest

from posthouse.serve.imap import fetch, fetch_rows, sheets
from posthouse.store import emails
from serve.imap.dialogue import MESSAGE, connect

MANY = 40


def selections(fields: str = "HEADER.FIELDS.NOT") -> str:
    return " ".join(f"BODY.PEEK[{fields} (X-{number})]" for number in range(MANY))


async def test_of_many_selections_fewer_messages_are_read_at_once(house, door, monkeypatch):
    monkeypatch.setattr(fetch_rows, "HEADERS", 20)
    monkeypatch.setattr(sheets, "MANY", 1)
    monkeypatch.setattr(sheets, "FEW", 1)
    async with connect(house, door) as client:
        for number in range(9):
            await client.append(b"X-%d: %d\r\n" % (number, number) + MESSAGE)
        await client.do("SELECT INBOX")
        alone = [(await client.do(f"FETCH {number} ({selections()})"))[0] for number in range(1, 10)]
        asked, reading = [], house.store.reading

        def watched(verb, *args):
            asked.append((verb, args[-1]))
            return reading(verb, *args)

        monkeypatch.setattr(house.store, "reading", watched)
        assert await client.do(f"FETCH 1:* ({selections()})") == alone
        sizes = [size for verb, size in asked if verb is emails.fetch]
        assert len(asked) == len(sizes)  # no sheets
        assert len(sizes) >= 5
        assert set(sizes) == {20 * fetch_rows.SELECTIONS // MANY}


async def test_a_tree_is_made_once_for_all_parts(house, door, monkeypatch):
    made, parse = [], fetch.parse
    monkeypatch.setattr(fetch, "parse", lambda octets: made.append(1) or parse(octets))
    parts = b"".join(b"--q\r\nX-N: %d\r\n\r\npart %d\r\n" % (number, number) for number in range(1, MANY))
    async with connect(house, door) as client:
        await client.append(b"Content-Type: multipart/mixed; boundary=q\r\n\r\n" + parts + b"--q--\r\n")
        await client.do("SELECT INBOX")
        asked = " ".join(f"BODY.PEEK[{number}] BINARY.SIZE[{number}]" for number in range(1, MANY + 1))
        [shown] = await client.do(f"FETCH 1 ({asked})")
        assert len(made) == 1
        for number in range(1, MANY):
            length = len(f"part {number}")
            assert b"BODY[%d] {%d}\r\npart %d BINARY.SIZE[%d] %d" % (number, length, number, number, length) in shown
        assert b"BODY[%d] NIL BINARY.SIZE[%d] 0" % (MANY, MANY) in shown


async def test_others_have_their_turn_between_the_items_of_a_long_header(house, door, monkeypatch):
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"v" * 50) for number in range(500))
    turns, ended, seen, select = 0, asyncio.Event(), [], fetch.select_fields

    async def another() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1
            await asyncio.sleep(0)

    def watched(*args, **named):
        seen.append(turns)
        return select(*args, **named)

    monkeypatch.setattr(fetch, "select_fields", watched)
    async with connect(house, door) as client:
        await client.append(fields + MESSAGE)
        await client.do("SELECT INBOX")
        task = asyncio.create_task(another())
        [shown] = await client.do(f"FETCH 1 ({selections('HEADER.FIELDS')})")
        ended.set()
        await task
    assert len(seen) == len(set(seen)) == MANY
    assert b"X-7: " + b"v" * 50 in shown


async def test_selections_beyond_a_piece_are_cut_when_they_are_sent(house, door, monkeypatch):
    """Ten times the header of a megabyte is not held ten times."""
    monkeypatch.setattr(fetch, "PIECE", 1_000)
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"v" * 50) for number in range(MANY * 10))
    asked = ["HEADER", "HEADER.FIELDS (X-3)", "HEADER.FIELDS.NOT (X-3)", "HEADER.FIELDS.NOT (X-4)", "TEXT"]
    items = [f"BODY.PEEK[{one}]{partial}" for one in asked for partial in ("", "<5.30>", "<5.2000>")]
    printed, print_message = [], fetch.print_message

    def watched(*args):
        printed.append(print_message(*args))
        return printed[-1]

    async with connect(house, door) as client:
        await client.append(fields + MESSAGE)
        await client.do("SELECT INBOX")
        alone = []
        for item in items:
            [one] = await client.do(f"FETCH 1 {item}")
            alone.append(one.removeprefix(b"* 1 FETCH (").removesuffix(b")"))
        monkeypatch.setattr(fetch, "print_message", watched)
        [shown] = await client.do(f"FETCH 1 ({' '.join(items)})")
        assert shown == b"* 1 FETCH (" + b" ".join(alone) + b")"
        assert sum(len(piece) for piece in printed[-1] if isinstance(piece, bytes)) < 3_000
        header = (fields + MESSAGE).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        assert alone[0] == b"BODY[HEADER] {%d}\r\n%b" % (len(header), header)


@pytest.mark.parametrize("large", [10, 1 << 20])
async def test_of_many_ranges_a_small_message_is_read_once(house, door, monkeypatch, large):
    """361,000 of them took 22 s of processor time, each with a question to the store; now 1 s."""
    monkeypatch.setattr(fetch, "LARGE", large)
    items = [
        f"BODY.PEEK[{text}]<{start}.{size}>"
        for text in ("", "TEXT")
        for start in (0, 7, 5_000)
        for size in (1, 50, 9_000)
    ]
    items += ["BODY.PEEK[HEADER]<3.9>", "BODY.PEEK[1]<2.4>", "BODY.PEEK[HEADER.FIELDS (FROM)]<1.5>", "BODY.PEEK[TEXT]"]
    read, rows = [], house.store.blobs._read

    def watched(blobs):
        read.append(len(blobs))
        return rows(blobs)

    async with connect(house, door) as client:
        for number in range(3):
            await client.append(MESSAGE + b"more %d\r\n" % number * 30)
        await client.do("SELECT INBOX")
        alone = []
        for item in items:
            [one] = await client.do(f"FETCH 2 {item}")
            alone.append(one.removeprefix(b"* 2 FETCH (").removesuffix(b")"))
        monkeypatch.setattr(house.store.blobs, "_read", watched)
        assert (await client.do(f"FETCH 1:3 ({' '.join(items)})"))[1] == b"* 2 FETCH (" + b" ".join(alone) + b")"
        assert read == [3] if large > 10 else len(read) > 3
