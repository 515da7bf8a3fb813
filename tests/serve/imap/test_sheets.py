"""serve/imap/sheets.py, store/sheets.py: FETCH by sheets shows what the rows say, whatever happens to the mailbox."""

from array import array

import apsw
import pytest

from posthouse.serve.imap import sheets
from posthouse.serve.imap.view import View
from posthouse.store import gc
from posthouse.store import sheets as kept
from posthouse.store.emails import Changes
from posthouse.store.script import sql
from serve.imap.dialogue import MESSAGE, connect

CHANGES = (
    "NOOP",
    "STORE 2 +FLAGS (\\Seen $Junk)",
    "COPY 2:3 INBOX",
    "STORE 4,9 +FLAGS (\\Deleted)",
    "EXPUNGE",
    "STORE 1 +FLAGS (\\Answered)",
    "MOVE 6 Trash",
    "STORE 1:* -FLAGS ($Junk)",
)
COMMANDS = (
    "FETCH 1:* (UID FLAGS ENVELOPE)",
    "UID FETCH 1:* (RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From Subject)])",
    "FETCH 2:* BODY.PEEK[HEADER.FIELDS (X-Number)]",
    "FETCH 1:* (BODY.PEEK[HEADER] BODY.PEEK[HEADER.FIELDS.NOT (Date)])",
)


@pytest.fixture
def small(monkeypatch):
    """Sheets of four messages."""
    for module in (sheets, kept):
        monkeypatch.setattr(module, "PLACE", 4)
    monkeypatch.setattr(sheets, "MANY", 1)
    monkeypatch.setattr(sheets, "FEW", 1)
    monkeypatch.setattr(sheets, "AT_ONCE", 2)
    monkeypatch.setattr(sheets, "WRITTEN", 1)


async def by_rows(client, monkeypatch, command):
    with monkeypatch.context() as patch:
        patch.setattr(sheets, "MANY", 10**9)
        return await client.do(command)


async def fill(client, number):
    for count in range(number):
        await client.append(b"X-Number: %d %%d\r\n" % count + MESSAGE)
    await client.do("SELECT INBOX")


def rows(house):
    connection = apsw.Connection(str(house.store.directory / "posthouse.db"), flags=apsw.SQLITE_OPEN_READONLY)
    found = connection.execute("SELECT mailbox, place, form, messages FROM sheet ORDER BY id").fetchall()
    connection.close()
    return found


async def test_sheets_say_what_the_rows_say(house, door, small, monkeypatch):
    async with connect(house, door) as client, connect(house, door) as other:
        await fill(client, 14)
        await other.do("SELECT INBOX")
        for change in CHANGES:
            await other.do(change)
            await client.do("NOOP")
            for command in COMMANDS:
                told = await by_rows(client, monkeypatch, command)
                assert await client.do(command) == told  # drawn
                assert await client.do(command) == told  # read
        assert {row[1] for row in rows(house)} == {0, 1, 2, 3}


async def test_messages_themselves_are_in_no_sheet(house, door, small, monkeypatch):
    async with connect(house, door) as client:
        await fill(client, 9)
        for item in (
            "BODY.PEEK[]",
            "BODY.PEEK[TEXT]",
            "BODY.PEEK[1]",
            "BODY.PEEK[HEADER]<3.9>",
            "(ENVELOPE BODY.PEEK[])",
        ):
            for _ in range(2):
                told = await client.do(f"FETCH 1:* {item}")
                assert told == await by_rows(client, monkeypatch, f"FETCH 1:* {item}")
        assert rows(house) == []


async def test_the_newest_messages_are_read_from_rows(house, door, small, monkeypatch):
    async with connect(house, door) as client:
        await fill(client, 6)  # uids 1 to 3, 4 to 6; 7 may still come
        await client.do(COMMANDS[0])
        assert [row[1] for row in rows(house)] == [0]
        await client.append()
        await client.do("NOOP")
        told = await by_rows(client, monkeypatch, COMMANDS[0])
        assert await client.do(COMMANDS[0]) == told
        assert [row[1] for row in rows(house)] == [0, 1]


async def test_what_left_the_mailbox_is_kept_in_no_sheet(house, door, small):
    async with connect(house, door) as client:
        await fill(client, 15)
        await client.do("UID STORE 9 +FLAGS.SILENT (\\Deleted)")
        for leave, left in (("UID MOVE 5 Trash", {0, 2, 3}), ("UID EXPUNGE 9", {0, 1, 3}), ("RENAME INBOX old", set())):
            await client.do(COMMANDS[0])
            assert {row[1] for row in rows(house)} == {0, 1, 2, 3}
            await client.do(leave)
            assert {row[1] for row in rows(house)} == left


async def test_a_mailbox_gone_takes_its_sheets(house, door, small):
    async with connect(house, door) as client:
        await fill(client, 9)
        await client.do("CREATE other")
        await client.do("COPY 1:* other")
        await client.do("SELECT other")
        await client.do(COMMANDS[0])
        assert rows(house)
        await client.do("SELECT INBOX")
        await client.do("DELETE other")
        await gc.collect_garbage(house.store, 0)
        assert rows(house) == []


async def test_a_client_that_was_not_told_yet(house, door, small, monkeypatch):
    """RFC 9051 §7.5.1: numbers stay as long as FETCH runs."""
    async with connect(house, door) as client, connect(house, door) as other:
        await fill(client, 12)
        await other.do("SELECT INBOX")
        await client.do(COMMANDS[0])
        await other.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        shown = [line for line in await client.do(COMMANDS[0]) if b"ENVELOPE" in line]
        assert [int(line.split()[1]) for line in shown] == [1, *range(3, 13)]


async def test_a_damaged_sheet_is_drawn_anew(house, door, small, monkeypatch):
    async with connect(house, door) as client:
        await fill(client, 9)
        told = await client.do(COMMANDS[0])

        def damage():
            yield sql("UPDATE sheet SET packed = substr(packed, 1, 30)")

        await house.store.run(damage)
        assert await client.do(COMMANDS[0]) == told
        assert all(line[3] for line in rows(house))
        assert await client.do(COMMANDS[0]) == told


def test_messages_far_apart_are_no_stretches():
    view = View(2_000, 2_000_000, 1)
    view.load(array("I", range(1, 2_000_000, 1_000)), Changes(1, 2_000_000, 2_000, (), (), ()))
    assert sheets.cut(view, ((0, 2_000),), 31) is None
    assert [piece.stretch for piece in sheets.cut(view, ((0, 2),), 31)] == [(1, 1, 0), (1001, 1001, 1)]
    assert sheets.cut(view, ((1999, 2_000),), 31) == [(1999, 2000, (1_999_001, 1_999_001, 3904))]


async def test_forms_of_a_mailbox_are_few(house, door, small):
    async with connect(house, door) as client:
        await fill(client, 9)
        for number in range(5):
            await client.do(f"FETCH 1:* BODY.PEEK[HEADER.FIELDS (X-{number})]")
            assert len({row[2] for row in rows(house)}) == min(number + 1, kept.FORMS)


async def test_long_headers_and_long_texts_are_not_kept(house, door, small, monkeypatch):
    async with connect(house, door) as client:
        await fill(client, 5)
        await client.append(b"X-Long: " + b"x" * 900 + b"\r\n" + b"Y: y\r\n" * 3_000 + MESSAGE)
        await client.append()
        await client.append()
        await client.do("NOOP")
        for _ in range(2):
            assert await client.do(COMMANDS[1]) == await by_rows(client, monkeypatch, COMMANDS[1])
        assert [row[1] for row in rows(house)] == [0]
        monkeypatch.setattr(sheets, "LONGEST", 10)
        await client.do(COMMANDS[0])
        assert len(rows(house)) == 1


async def test_a_sheet_of_a_message_that_left_meanwhile_is_not_kept(house, door, small):
    async with connect(house, door) as client:
        await fill(client, 5)
        of = kept.Listed(*(await house.store.read(_inbox)), 1)
        for messages, stays in ((4, 0), (3, 1)):
            await house.store.run(kept.keep, of, [kept.pack(0, range(messages), b"text")])
            assert len(rows(house)) == stays


def _inbox():
    [row] = yield sql("SELECT account, id FROM mailbox WHERE name = 'INBOX' AND total > 0")
    return row
