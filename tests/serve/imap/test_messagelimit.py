"""MESSAGELIMIT with a limit of three messages (RFC 9738 §3)."""

from posthouse.serve.limits import ImapSessionLimits
from serve.imap.dialogue import connect

FEW = ImapSessionLimits(messages=3)


async def test_the_newest_messages_are_worked_on(house, door):
    async with connect(house, door, limits=FEW) as client:
        assert b" MESSAGELIMIT=3" in (await client.do("CAPABILITY"))[0]
        for _ in range(5):
            await client.append()
        await client.do("SELECT INBOX")
        lines = await client.do("UID FETCH 1:* (FLAGS)")
        assert [line.split()[1] for line in lines if b"FETCH" in line] == [b"3", b"4", b"5"]
        assert client.last.startswith(b"OK [MESSAGELIMIT 3 3] ")
        await client.do("UID FETCH 1:2 (FLAGS)")
        assert client.last.startswith(b"OK FETCH")
        assert await client.do("SEARCH ALL") == [b"* SEARCH 3 4 5"]
        assert client.last.startswith(b"OK [MESSAGELIMIT 3 3] ")
        assert await client.do("UID SEARCH UIDBEFORE 3") == [b"* SEARCH 1 2"]
        assert client.last.startswith(b"OK SEARCH")
        assert await client.do("UID SEARCH UIDAFTER 4") == [b"* SEARCH 5"]
        assert await client.do("UID SEARCH UIDAFTER 5") == [b"* SEARCH"]
        assert await client.do("UID SEARCH OR UIDBEFORE 1 UIDAFTER 4294967295 UID 1") == [b"* SEARCH"]
        await client.do("UID SEARCH RETURN (SAVE) ALL")
        assert client.last.startswith(b"OK [MESSAGELIMIT 3 3] ")
        assert len(await client.do("FETCH $ UID")) == 3
        await client.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        assert client.last.startswith(b"OK [MESSAGELIMIT 3 3] ")
        await client.do("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)")
        assert await client.do("UID EXPUNGE 1:*") == [b"* 5 EXPUNGE", b"* 4 EXPUNGE", b"* 3 EXPUNGE"]
        assert client.last.startswith(b"OK [MESSAGELIMIT 3 3] ")
        assert len(await client.do("UID EXPUNGE 1:*")) == 2
        assert client.last.startswith(b"OK EXPUNGE")


async def test_what_is_atomic_is_refused(house, door):
    async with connect(house, door, limits=FEW) as client:
        for _ in range(4):
            await client.append()
        await client.do("SELECT INBOX")
        for command, last in (
            ("UID COPY 1:* Archive", b"NO [MESSAGELIMIT 3 2] "),
            ("SORT (DATE) UTF-8 ALL", b"NO [MESSAGELIMIT 3] "),
            ("UID THREAD REFERENCES UTF-8 ALL", b"NO [MESSAGELIMIT 3] "),
            ("UID FETCH 1:* UID (PARTIAL 1:9)", b"NO [MESSAGELIMIT 3 2] "),
        ):
            await client.until(client.write(command))
            assert client.last.startswith(last), (command, client.last)
        moved = await client.do("UID MOVE 1:* Archive")
        assert sum(b"EXPUNGE" in line for line in moved) == 3
        assert client.last.startswith(b"OK [MESSAGELIMIT 3 2] ")
        await client.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await client.do("EXPUNGE")
        assert client.last.startswith(b"OK EXPUNGE")
