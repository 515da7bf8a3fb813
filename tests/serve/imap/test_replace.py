"""REPLACE: both or neither, whatever others do meanwhile (RFC 8508)."""

import pytest

from posthouse.store import emails
from posthouse.store.script import Unavailable
from serve.imap.dialogue import connect

NEW = b"A: new\r\n\r\n"


def replace(number: bytes, mailbox: bytes = b"INBOX", uid: bytes = b"") -> bytes:
    return b"%bREPLACE %b %b (\\Seen) {%d+}\r\n%b" % (uid, number, mailbox, len(NEW), NEW)


async def count(client, mailbox: str = "INBOX") -> bytes:
    [line] = await client.do(f"STATUS {mailbox} (MESSAGES)")
    return line.split(b"(MESSAGES ")[1].rstrip(b")")


async def test_the_old_message_goes_as_the_new_one_comes(house, door):
    async with connect(house, door) as client:
        for _ in range(3):
            await client.append()
        await client.do("SELECT INBOX")
        told = await client.do(replace(b"2"))
        assert b"[APPENDUID " in told[0]
        assert sorted(told[1:]) == [b"* 2 EXPUNGE", b"* 3 EXISTS"]
        [line] = await client.do("FETCH 3 (FLAGS UID BODY.PEEK[])")
        assert b"UID 4" in line
        assert b"\\Seen" in line
        assert NEW in line
        assert await count(client) == b"3"
        await client.do(replace(b"*", uid=b"UID "))
        assert [b"UID" in line for line in await client.do("UID FETCH 4 FLAGS")] == []


async def test_into_another_mailbox_and_with_qresync(house, door):
    async with connect(house, door) as client:
        await client.append()
        await client.do("ENABLE QRESYNC")
        await client.do("SELECT INBOX")
        told = await client.do(replace(b"1", b"Sent", uid=b"UID "))
        assert b"[APPENDUID " in told[0]
        assert told[1:] == [b"* VANISHED 1"]
        assert client.last.startswith(b"OK [HIGHESTMODSEQ ")
        assert await count(client, "Sent") == b"1"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (replace(b"7"), b"BAD "),
        (replace(b"7", uid=b"UID "), b"NO [EXPUNGEISSUED] "),
        (replace(b"0"), b"BAD "),
        (replace(b"1:2"), b"BAD "),
        (replace(b"4294967296"), b"BAD "),
        (replace(b"1", b"Nowhere"), b"NO [TRYCREATE] "),
        (replace(b"1") + b" {1+}\r\nx", b"BAD "),
        (b"REPLACE 1 INBOX", b"BAD "),
        (b"REPLACE", b"BAD "),
        (b"UID REPLACE 1 INBOX (", b"BAD "),
    ],
)
async def test_what_is_refused_changes_nothing(house, door, command, answer):
    async with connect(house, door) as client:
        assert (await client.fails(replace(b"1"))).startswith(b"BAD ")  # nothing is selected
        await client.append()
        await client.do("SELECT INBOX")
        assert (await client.fails(command)).startswith(answer)
        assert await count(client) == b"1"
        await client.do("FETCH 1 FLAGS")


async def test_a_mailbox_opened_read_only(house, door):
    async with connect(house, door) as client:
        await client.append()
        await client.do("EXAMINE INBOX")
        assert (await client.fails(replace(b"1"))).startswith(b"NO ")
        assert await count(client) == b"1"


async def test_the_old_message_goes_by_another_hand_meanwhile(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.append()
        await client.do("SELECT INBOX")
        tag = client.write(b"REPLACE 1 INBOX {%d}" % len(NEW))
        assert (await client.response()).startswith(b"+ ")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS (\\Deleted)")
        await other.do("EXPUNGE")
        client.writer.write(NEW + b"\r\n")
        await client.until(tag)
        assert client.last.startswith(b"NO [EXPUNGEISSUED] ")
        assert await count(other) == b"0"


async def test_a_fault_in_the_middle_leaves_all_as_it_was(house, door, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise Unavailable("disk full")
        yield

    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        with monkeypatch.context() as patch:
            patch.setattr(emails, "expunge", broken)
            assert (await client.fails(replace(b"1"))).startswith(b"NO [UNAVAILABLE] ")
        assert await count(client) == b"1"
        assert b"* 1 FETCH (UID 1)" in await client.do("FETCH 1 UID")


async def test_numbers_are_refused_once_uidonly_is_enabled(house, door):
    """RFC 9586 §3."""
    async with connect(house, door) as client:
        await client.append()
        await client.do("ENABLE UIDONLY")
        await client.do("SELECT INBOX")
        assert (await client.fails(replace(b"1"))).startswith(b"BAD [UIDREQUIRED] ")
        assert b"* VANISHED 1" in await client.do(replace(b"1", uid=b"UID "))
