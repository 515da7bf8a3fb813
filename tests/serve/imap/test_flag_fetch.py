"""serve/imap/flag_fetch.py and store/flag_column.py: FETCH 1:* FLAGS by a column shows what the rows say."""

from posthouse.serve.imap import flag_fetch
from posthouse.store import flag_column
from serve.imap.dialogue import MESSAGE, connect

CHANGES = (
    "NOOP",
    "STORE 2 +FLAGS (\\Seen $Junk)",
    "STORE 3:4 FLAGS (work)",
    "COPY 2:3 INBOX",
    "STORE 1,5 +FLAGS (\\Deleted)",
    "EXPUNGE",
    "STORE 1:* -FLAGS ($Junk)",
)
COMMANDS = ("FETCH 1:* FLAGS", "FETCH 1:* (UID FLAGS)", "UID FETCH 1:* FLAGS", "FETCH 1,3:* FLAGS", "FETCH 2:* FLAGS")


async def both_ways(client, monkeypatch, command):
    """The answer by the column, having seen that it is that of the rows."""
    monkeypatch.setattr(flag_fetch, "MANY", 10**9)
    rows = await client.do(command)
    monkeypatch.setattr(flag_fetch, "MANY", 1)
    assert await client.do(command) == rows
    return rows


async def test_a_column_says_what_the_rows_say(house, door, monkeypatch):
    monkeypatch.setattr(flag_fetch, "LINES", 3)
    async with connect(house, door) as client, connect(house, door) as other:
        for _ in range(8):
            await client.append()
        await client.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        for change in CHANGES:
            await other.do(change)
            await client.do("NOOP")
            for command in COMMANDS:
                await both_ways(client, monkeypatch, command)
        assert len(await client.do("FETCH 1:* FLAGS")) == 8


async def test_what_the_client_was_not_told_yet(house, door, monkeypatch):
    """RFC 9051 §7.5.1: numbers stay as long as FETCH runs; messages not told by EXISTS are not shown."""
    async with connect(house, door) as client, connect(house, door) as other:
        for _ in range(6):
            await client.append()
        await client.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        await both_ways(client, monkeypatch, "FETCH 1:* FLAGS")
        await other.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        await other.append(MESSAGE)
        shown = [line for line in await client.do("FETCH 1:* FLAGS") if b"FETCH" in line]
        assert [line.split()[1] for line in shown[:5]] == [b"1", b"3", b"4", b"5", b"6"]


async def test_too_many_kinds_of_flags_are_read_as_rows(house, door, monkeypatch):
    monkeypatch.setattr(flag_column, "KINDS", 3)
    async with connect(house, door) as client:
        for number in range(5):
            await client.append()
            await client.do("SELECT INBOX")
            await client.do(f"STORE {number + 1} +FLAGS (word{number})")
            await client.do("FETCH 1:* FLAGS")  # names the keywords
            assert len(await both_ways(client, monkeypatch, "FETCH 1:* FLAGS")) == number + 1


async def test_columns_are_few(house, door, monkeypatch):
    monkeypatch.setattr(flag_fetch, "COLUMNS", 2)
    async with connect(house, door) as client:
        for _ in range(4):
            await client.append()
        await client.do("SELECT INBOX")
        for name in ("one", "two", "three"):
            await client.do(f"CREATE {name}")
            await client.do("SELECT INBOX")
            await client.do(f"COPY 1:4 {name}")
            await client.do(f"SELECT {name}")
            await both_ways(client, monkeypatch, "FETCH 1:* FLAGS")
        assert len(flag_fetch._columns[house.store]) == 2


async def test_select_names_the_keywords_in_use_as_far_as_they_are_not_too_many(house, door, monkeypatch):
    """RFC 9051 §7.3.5: the rest is named before it is shown."""
    monkeypatch.setattr(flag_column, "IN_USE", 3)
    async with connect(house, door) as client, connect(house, door) as other:
        for _ in range(4):
            await client.append()
        await client.do("SELECT INBOX")
        for number in range(1, 5):
            await client.do(f"STORE {number} +FLAGS.SILENT (k{number} all)")
        for client_now in (client, other):
            told = b" ".join(await client_now.do("SELECT INBOX"))
            assert [b"k%d" % number in told for number in range(1, 5)] == [True, True, False, False]
        shown = await other.do("FETCH 3 FLAGS")
        assert shown[0].startswith(b"* FLAGS (")
        assert b"k3" in shown[0]
        assert shown[-1] == b"* 3 FETCH (FLAGS (all k3))"
