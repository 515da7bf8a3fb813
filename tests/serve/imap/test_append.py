"""serve/imap/append.py: what keeps a message out: before it comes, while it comes, and after (RFC 9051 §6.3.12)."""

import errno
from dataclasses import replace

import pytest

from posthouse.serve.limits import ImapSessionLimits
from posthouse.store import emails, mailboxes, packing
from posthouse.store.blobs import Blobs
from posthouse.store.script import Unavailable
from posthouse.transport.spool import Spool
from serve.imap.dialogue import MESSAGE, connect


async def test_the_messages_of_one_append_are_bounded_together(house, door):
    async with connect(house, door, limits=ImapSessionLimits(append_size=10)) as client:
        answer = await client.fails(b"APPEND INBOX {6+}\r\nA: 1\r\n {6+}\r\nB: 2\r\n")
        assert answer == b"NO [TOOBIG] The messages of one APPEND may have at most 10 octets."
        assert await client.do("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_a_binary_literal_with_nul_is_encoded_or_refused_and_one_without_is_kept(house, door):
    """RFC 3516 §4.4."""
    small = replace(house, limits=replace(house.limits, spool_above=10, message_size=200))
    async with connect(small, door) as client:
        assert (await client.fails(b"APPEND INBOX ~{5+}\r\nA:\x001\n")).startswith(b"NO [UNKNOWN-CTE] ")
        assert (await client.fails(b"APPEND INBOX ~{200+}\r\nA: 1\r\n\r\n" + bytes(192))).startswith(b"NO [TOOBIG] ")
        await client.do(b"APPEND INBOX ~{6+}\r\nA: 1\r\n")
        await client.do(b"APPEND INBOX ~{108+}\r\nA: 1\r\n\r\n" + bytes(100))
        await client.do("SELECT INBOX")
        assert b"\0" not in b"".join(await client.do("FETCH 2 BODY[]"))
        [told] = await client.do("FETCH 2 BINARY[1]")
        assert b"BINARY[1] ~{100}\r\n" + bytes(100) in told


@pytest.mark.parametrize("full", ["spool", "blob", "row", "look"])
async def test_a_full_disk_refuses_the_message_and_keeps_the_session(house, door, monkeypatch, full):
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def unavailable(*_: object) -> None:
        raise Unavailable("disk full")
        yield

    async def cannot(*_: object) -> None:
        raise Unavailable("disk full")

    small = replace(house, limits=replace(house.limits, spool_above=10))
    async with connect(small, door) as client:
        with monkeypatch.context() as patch:
            match full:
                case "spool":
                    patch.setattr(Spool, "_append", no_space)
                case "blob":
                    patch.setattr(packing, "AT_ONCE_SIZE", 5)  # a larger one is put alone
                    patch.setattr(Blobs, "put", cannot)
                case "row":
                    patch.setattr(emails, "add", unavailable)
                case "look":
                    patch.setattr(mailboxes, "find", unavailable)
            answer = await client.fails(b"APPEND INBOX {%d+}\r\n%b" % (len(MESSAGE), MESSAGE))
        assert answer.startswith(b"NO [UNAVAILABLE] ")
        await client.append()
        assert await client.do("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 1)"]


async def test_the_mailbox_goes_while_the_message_comes(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.do("CREATE Short")
        tag = client.write(b"APPEND Short {6}")
        assert (await client.response()).startswith(b"+ ")
        await other.do("DELETE Short")
        client.writer.write(b"A: 1\r\n\r\n")
        await client.until(tag)
        assert client.last.startswith(b"NO [TRYCREATE] ")


async def test_many_messages_are_kept_as_they_came(house, door):
    """RFC 3502 §6.3.11: more than are compressed together, large ones among them."""
    bodies = [b"%d" % number * (40_000 if number in (3, 40, 41, 77) else 500) for number in range(80)]
    messages = [b"Subject: %d\r\n\r\n%b\r\n" % pair for pair in enumerate(bodies)]
    async with connect(house, door) as client:
        literals = b"".join(b" {%d+}\r\n%b" % (len(message), message) for message in messages)
        await client.do(b"APPEND INBOX" + literals)
        await client.do("SELECT INBOX")
        for number, message in enumerate(messages, 1):
            [answer] = await client.do(f"FETCH {number} BODY.PEEK[]")
            assert answer.endswith(b"BODY[] {%d}\r\n%b)" % (len(message), message))


async def test_many_messages_are_described_as_they_came(house, door):
    """Each with its own flags, date and text, whatever waits beside it; the largest is described in a thread."""
    sizes = [300_000 if number == 100 else 70_000 if number in (0, 3, 70) else 10 + number for number in range(140)]
    messages = [b"Subject: %d\r\n\r\n%b\r\n" % (number, b"x" * size) for number, size in enumerate(sizes)]
    flags = [b" (\\Seen)" if number % 3 == 0 else b" (k%d)" % (number % 5) for number in range(140)]
    dates = [b"%02d-Jan-2024 10:%02d:00 +0000" % (number % 19 + 10, number % 60) for number in range(140)]
    async with connect(house, door) as client:
        literals = b"".join(
            b'%b "%b" {%d+}\r\n%b' % (flag, date, len(message), message)
            for flag, date, message in zip(flags, dates, messages, strict=True)
        )
        await client.do(b"APPEND INBOX" + literals)
        await client.do("EXAMINE INBOX")
        answers = await client.do("FETCH 1:* (FLAGS INTERNALDATE ENVELOPE BODYSTRUCTURE)")
    assert answers == [
        b'* %d FETCH (FLAGS%b INTERNALDATE "%b" ENVELOPE (NIL "%d" NIL NIL NIL NIL NIL NIL NIL NIL)'
        b' BODYSTRUCTURE ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" %d 1 NIL NIL NIL NIL))'
        % (number + 1, flags[number], dates[number], number, sizes[number] + 2)
        for number in range(140)
    ]


async def test_several_messages_are_all_kept_or_none(house, door):
    async with connect(house, door) as client:
        answer = await client.fails(b"APPEND INBOX {6+}\r\nA: 1\r\n {6+}\r\nB:\x002\r\n")
        assert answer.startswith(b"NO ")
        assert await client.do("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_a_small_literal_that_comes_unasked_is_refused_behind_it(house, door):
    async with connect(house, door) as client:
        answer = await client.fails(b"APPEND Nowhere {6+}\r\nA: 1\r\n {6+}\r\nB: 2\r\n")
        assert answer.startswith(b"NO [TRYCREATE] ")
        large = house.limits.spool_above + 1
        tag = client.write(b"APPEND Nowhere {%d+}" % large)
        await client.until(tag)  # of a large one it is said before the octets have come
        assert client.last.startswith(b"NO [TRYCREATE] ")
        client.writer.write(b"x" * large + b"\r\n")
        await client.do("NOOP")
