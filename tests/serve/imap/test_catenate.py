"""CATENATE: what is copied, for whom, how much, and what happens meanwhile (RFC 4469)."""

import asyncio
import errno
import tracemalloc
from dataclasses import replace

import pytest

from posthouse.serve.imap import catenate, parts
from posthouse.serve.limits import ImapSessionLimits
from posthouse.store import packing
from posthouse.store.blobs import Blobs
from posthouse.store.script import NotFound, Unavailable
from posthouse.transport.spool import DiskSpace, Spool
from posthouse.wire.imap.append import CAT_PARTS
from serve.imap.dialogue import MESSAGE, connect

HEADER = MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 4]
GONE = b"The URL names no message, or no part of one, that is there for you."


async def made(client, parts: str, mailbox: str = "INBOX") -> bytes:
    """The message that these parts make."""
    await client.do(f"APPEND {mailbox} CATENATE ({parts})")
    uid = client.last.partition(b"]")[0].split()[-1].decode()
    await client.do(f"EXAMINE {mailbox}")
    [line] = await client.do(f"UID FETCH {uid} BODY[]")
    await client.do("UNSELECT")
    return line.partition(b"}\r\n")[2].removesuffix(b")")


async def count(client, mailbox: str = "INBOX") -> int:
    [line] = await client.do(f"STATUS {mailbox} (MESSAGES)")
    return int(line.split(b"(MESSAGES ")[1].rstrip(b")"))


async def test_parts_are_copied_octet_for_octet(house, door):
    """Of small messages and of those that lie in files, with nothing converted (RFC 4469 §3)."""
    lines = b"0123456789abcde=\r\n" * 100_000
    large = (
        HEADER[:-2] + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + lines + b"\r\n--b--\r\n"
    )
    async with connect(house, door) as client:
        await client.append()
        await client.append(large)
        assert await made(client, "URL /INBOX/;UID=1") == MESSAGE
        assert await made(client, "URL /INBOX/;UID=2") == large
        assert await made(client, "URL /INBOX/;UID=2/;SECTION=1 URL /INBOX/;UID=1/;SECTION=HEADER") == lines + HEADER
        assert await made(client, "URL /INBOX/;UID=2/;SECTION=1/;PARTIAL=18.700000") == lines[18:700_018]
        await client.do("SELECT INBOX")
        assert b"\\Seen" not in b"".join(await client.do("FETCH 1:* FLAGS"))


async def test_rights_are_those_of_the_reader(house, door):
    """RFC 4314 §4: "r" on each mailbox that is read, "i" on the one that is written to."""
    url = 'URL "/Other%20Users/anna@home.test/box/;UID=1"'
    async with connect(house, door) as anna, connect(house, door, user="ben@work.test") as ben:
        await anna.do("CREATE box")
        await anna.append(mailbox="box")
        for rights, may in (("", False), ("l", False), ("lis", False), ("r", True), ("lr", True)):
            await anna.do(f'SETACL box ben@work.test "{rights}"')
            if may:
                assert await made(ben, url) == MESSAGE
            else:
                answer = await ben.fails(f"APPEND INBOX CATENATE ({url})")
                assert answer == b'NO [BADURL "/Other%20Users/anna@home.test/box/;UID=1"] ' + GONE
        answer = await ben.fails(f'APPEND "Other Users/anna@home.test/box" CATENATE ({url})')
        assert answer.startswith(b"NO [NOPERM] ")
        assert await count(anna, "box") == 1


async def test_the_selected_mailbox_of_another(house, door):
    async with connect(house, door) as anna, connect(house, door, user="ben@work.test") as ben:
        await anna.append()
        await anna.do("SETACL INBOX ben@work.test lr")
        await ben.do('SELECT "Other Users/anna@home.test/INBOX"')
        await ben.do("APPEND INBOX CATENATE (URL ;UID=1)")
        await anna.do("DELETEACL INBOX ben@work.test")
        assert (await ben.fails("APPEND INBOX CATENATE (URL ;UID=1)")) == b'NO [BADURL ";UID=1"] ' + GONE
        async with connect(house, door, user="ben@work.test") as again:
            assert await count(again) == 1


async def test_a_mailbox_made_again_under_the_name_of_the_selected_one(house, door):
    """A UID is one of the mailbox that was selected, not of the one that has its name now."""
    async with connect(house, door) as client, connect(house, door) as other:
        await client.do("CREATE box")
        await client.append(mailbox="box")
        await client.do("SELECT box")
        await other.do("RENAME box old")
        await other.do("CREATE box")
        await other.append(b"A: new\r\n\r\n", mailbox="box")
        await client.do("APPEND Sent CATENATE (URL ;UID=1)")
        await other.do("SELECT Sent")
        assert MESSAGE in (await other.do("FETCH 1 BODY[]"))[0]
        await other.do("DELETE old")
        assert (await client.fails("APPEND Sent CATENATE (URL ;UID=1)")).startswith(b'NO [BADURL ";UID=1"] ')


async def test_a_message_may_have_so_many_octets_however_it_is_made(house, door, monkeypatch):
    """What is too large is refused before it is copied."""
    small = replace(house, limits=replace(house.limits, message_size=2 * len(MESSAGE), spool_above=10))
    whole = "URL /INBOX/;UID=1"
    async with connect(small, door) as client:
        await client.append()
        assert await made(client, f"{whole} {whole}") == MESSAGE * 2
        with monkeypatch.context() as patch:
            patch.setattr(catenate, "octets_of", None)
            await client.fails(b"APPEND INBOX CATENATE (TEXT {%d+}\r\n%b %b)" % (
                len(MESSAGE) * 2, MESSAGE * 2, whole.encode(),
            ))  # fmt: skip
            assert client.last.startswith(b"NO [TOOBIG] A message may have at most ")
        assert (await client.fails(f"APPEND INBOX CATENATE ({whole} {whole} {whole})")).startswith(b"NO [TOOBIG] ")
        answer = await client.fails(b"APPEND INBOX CATENATE (%b %b TEXT {1+}\r\n.)" % (whole.encode(), whole.encode()))
        assert answer.startswith(b"NO [TOOBIG] ")
        assert await count(client) == 2


async def test_all_messages_of_one_append_are_bounded_together(house, door):
    url = "CATENATE (URL /INBOX/;UID=1)"
    async with connect(house, door, limits=ImapSessionLimits(append_size=2 * len(MESSAGE))) as client:
        await client.append()
        await client.do(f"APPEND INBOX {url} {url}")
        answer = await client.fails(f"APPEND INBOX {url} {url} {url}")
        assert answer == b"NO [TOOBIG] The messages of one APPEND may have at most %d octets." % (2 * len(MESSAGE))
        assert await count(client) == 3


async def test_a_chain_of_urls_holds_a_few_pieces(house, door):
    """Thirty times a megabyte and a half in one message, and no more in memory than for one."""
    large = MESSAGE + b"0123456789abcde\r\n" * 90_000
    async with connect(house, door) as client:
        await client.append(large)
        await made(client, "URL /INBOX/;UID=1")
        tracemalloc.start()
        await client.do("APPEND INBOX CATENATE (" + " ".join(["URL /INBOX/;UID=1"] * 30) + ")")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 * parts.PIECE  # the compressed blob among them
        [line] = await client.do("STATUS INBOX (SIZE)")
        assert line == b"* STATUS INBOX (SIZE %d)" % (32 * len(large))


async def test_so_many_parts(house, door):
    async with connect(house, door) as client:
        await client.append()
        url = " ".join(["URL /INBOX/;UID=1/;PARTIAL=0.1"] * CAT_PARTS)
        assert await made(client, url) == b"D" * CAT_PARTS
        assert (await client.fails(f"APPEND INBOX CATENATE ({url} URL x)")).startswith(b"BAD [LIMIT] ")


async def test_others_are_served_while_many_parts_are_copied(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.append()
        tag = client.write("APPEND INBOX CATENATE (" + " ".join(["URL /INBOX/;UID=1"] * CAT_PARTS) + ")")
        answered = 0
        waiting = asyncio.create_task(client.until(tag))
        while not waiting.done():
            await other.do("NOOP")
            answered += 1
        await waiting
        assert client.last.startswith(b"OK ")
        assert answered > 10


async def test_a_message_that_is_expunged_meanwhile(house, door, monkeypatch):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.append()
        tag = client.write(b"APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {3}")
        assert (await client.response()).startswith(b"+ ")
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS (\\Deleted)")
        await other.do("EXPUNGE")
        client.writer.write(b"abc URL /INBOX/;UID=1)\r\n")
        await client.until(tag)
        assert client.last == b'NO [BADURL "/INBOX/;UID=1"] ' + GONE
        await client.append()

        async def gone(*_):
            raise NotFound("swept up")
            yield b""

        monkeypatch.setattr(catenate, "pieces_of", gone)
        await client.append(MESSAGE + b"x" * parts.PIECE)
        assert (await client.fails("APPEND INBOX CATENATE (URL /INBOX/;UID=3)")).startswith(b"NO [BADURL ")


@pytest.mark.parametrize("full", ["room", "spool", "blob", "read"])
async def test_a_full_or_broken_disk_refuses_the_message_and_keeps_the_session(house, door, monkeypatch, full):
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def cannot(*_: object) -> None:
        raise Unavailable("disk full")

    small = replace(house, limits=replace(house.limits, spool_above=10))
    async with connect(small, door) as client:
        await client.append()
        with monkeypatch.context() as patch:
            match full:
                case "room":
                    patch.setattr(DiskSpace, "room", lambda *_: False)
                case "spool":
                    patch.setattr(Spool, "_append", no_space)
                case "blob":
                    patch.setattr(packing, "AT_ONCE_SIZE", 5)  # a larger one is put alone
                    patch.setattr(Blobs, "put", cannot)
                case "read":
                    patch.setattr(Blobs, "get", cannot)
            answer = await client.fails("APPEND INBOX CATENATE (URL /INBOX/;UID=1 URL /INBOX/;UID=1)")
        assert answer.startswith(b"NO [UNAVAILABLE] ")
        assert await made(client, "URL /INBOX/;UID=1") == MESSAGE
        assert await count(client) == 2


async def test_replace_is_all_or_nothing(house, door):
    """RFC 8508 §4.2: also where the message that goes is a source of the one that comes."""
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        assert (await client.fails("REPLACE 1 INBOX CATENATE (URL ;UID=1 URL ;UID=2)")).startswith(b"NO [BADURL ")
        assert await count(client) == 1
        told = await client.do(b"REPLACE 1 INBOX CATENATE (TEXT {6+}\r\nX: y\r\n URL ;UID=1)")
        assert told[1:] == [b"* 1 EXPUNGE", b"* 1 EXISTS"]
        [line] = await client.do("FETCH 1 BODY.PEEK[]")
        assert b"X: y\r\n" + MESSAGE in line


async def test_the_client_hangs_up_in_the_middle(house, door):
    async with connect(house, door) as client, connect(house, door) as other:
        await client.append()
        client.write(b"APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {3}")
        assert (await client.response()).startswith(b"+ ")
        client.writer.close()
        async with asyncio.timeout(60):
            await asyncio.wait([client.task])
        assert await count(other) == 1


async def test_no_file_is_left_of_what_is_not_kept(house, door):
    """A few octets of a client make a file of megabytes: it goes at once, and not with the sweep (durability.md)."""
    large = MESSAGE + b"0123456789abcde\r\n" * 90_000

    def files() -> int:
        return len(list((house.store.directory / "blobs").glob("*/*")))

    async with connect(house, door) as client, connect(house, door) as other:
        await client.append(large)
        assert files() == 1
        url, two = "CATENATE (URL /INBOX/;UID=1)", "CATENATE (URL /INBOX/;UID=1 URL /INBOX/;UID=1)"
        await client.fails(f"APPEND INBOX {two} CATENATE (URL /INBOX/;UID=9)")
        assert files() == 1
        await client.fails(f"APPEND Nowhere {two}")
        assert files() == 1
        await client.do(f"APPEND INBOX {url} {two} {url}")
        assert files() == 2  # the same octets are kept once
        await other.do("CREATE Short")
        tag = client.write(f"APPEND Short {url.replace('UID=1', 'UID=3')} {{1}}")
        assert (await client.response()).startswith(b"+ ")
        await other.do("DELETE Short")
        client.writer.write(b"x\r\n")
        await client.until(tag)
        assert client.last.startswith(b"NO [TRYCREATE] ")
        assert files() == 2
        client.write(f"APPEND INBOX {two} {{100}}")
        assert (await client.response()).startswith(b"+ ")
        client.writer.close()
        async with asyncio.timeout(60):
            await asyncio.wait([client.task])
        assert files() == 2
        assert await made(other, "URL /INBOX/;UID=3") == large * 2


async def test_a_file_stays_where_nobody_knows_what_became_of_it(house, door, monkeypatch):
    large = MESSAGE + b"0123456789abcde\r\n" * 90_000
    async with connect(house, door) as client:
        await client.append(large)
        with monkeypatch.context() as patch:
            run = house.store.run

            async def committed_and_broken(script, *args, **more):
                await run(script, *args, **more)
                raise Unavailable("the answer was lost")

            patch.setattr(type(house.store), "run", lambda self, *args, **more: committed_and_broken(*args, **more))
            answer = await client.fails("APPEND INBOX CATENATE (URL /INBOX/;UID=1 URL /INBOX/;UID=1)")
        assert answer.startswith(b"NO [UNAVAILABLE] ")
        assert await made(client, "URL /INBOX/;UID=2") == large * 2
