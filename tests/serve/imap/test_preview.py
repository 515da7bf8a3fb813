"""FETCH PREVIEW over sessions: made once, in pieces, of large and damaged messages too (RFC 8970)."""

import os

from posthouse.serve.imap import preview
from posthouse.store.blobs import Blobs
from posthouse.store.script import Unavailable
from serve.imap.dialogue import MESSAGE, connect

SHOWN = b'PREVIEW "Hello Joe, do you think we can meet at 3:30?"'


def message(number: int) -> bytes:
    return MESSAGE + b"Number %d.\r\n" % number


async def test_previews_are_made_once_and_in_rounds(house, door, monkeypatch):
    monkeypatch.setattr(preview, "AT_ONCE", 3)
    read = []
    many = Blobs.get_many

    async def watched(blobs, keys):
        read.extend(keys)
        return await many(blobs, keys)

    monkeypatch.setattr(Blobs, "get_many", watched)
    async with connect(house, door) as client:
        for number in range(8):
            await client.append(message(number))
        await client.do("SELECT INBOX")
        await client.do("COPY 1:2 INBOX")  # the same Emails: nothing to make
        answers = await client.do("FETCH 1:* (PREVIEW)")
        assert len([line for line in answers if SHOWN[:-1] in line]) == 10
        assert len(read) == len(set(read)) == 8
        assert len(await client.do("FETCH 1:* (PREVIEW (LAZY) PREVIEW)")) == 10
        assert len(read) == 8
        await client.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")
        await client.do("EXPUNGE")


async def test_of_a_large_message_only_the_beginning_is_read(house, door, monkeypatch):
    asked = []
    get = Blobs.get

    async def watched(blobs, blob, start=0, stop=None):
        asked.append((start, stop))
        return await get(blobs, blob, start, stop)

    monkeypatch.setattr(Blobs, "get", watched)
    async with connect(house, door) as client:
        await client.append(MESSAGE + b"\r\n" + os.urandom(3 << 20).replace(b"\0", b"0"))
        await client.append()
        await client.do("SELECT INBOX")
        first, second = await client.do("FETCH 1:2 PREVIEW")
        assert first.startswith(b"* 1 FETCH (PREVIEW {")
        assert b"Hello Joe, do you think we can meet at 3:30?" in first
        assert second == b"* 2 FETCH (" + SHOWN + b")"
        assert asked == [(0, preview.BEGINNING)]


async def test_a_damaged_message_has_an_empty_preview_and_spoils_no_other(house, door, monkeypatch):
    octets = Blobs.octets
    async with connect(house, door) as client:
        for number in range(3):
            await client.append(message(number))
        await client.do("SELECT INBOX")

        def broken(blobs, row, start=0, stop=None):
            found = octets(blobs, row, start, stop)
            if b"Number 1." in found:
                raise Unavailable("the octets of a message are damaged")
            return found

        monkeypatch.setattr(Blobs, "octets", broken)
        answers = await client.do("FETCH 1:3 (PREVIEW)")
        assert [b'PREVIEW ""' in line for line in answers] == [False, True, False]
        monkeypatch.setattr(Blobs, "octets", octets)
        [mended] = await client.do("FETCH 2 (PREVIEW)")
        assert b"Number 1." in mended


async def test_previews_that_cannot_be_kept_are_empty(house, door, monkeypatch):
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")

        async def full(store, *_arguments, **_options):
            raise Unavailable("the disk is full")

        monkeypatch.setattr(type(house.store), "run", full)
        assert await client.do("FETCH 1 PREVIEW") == [b'* 1 FETCH (PREVIEW "")']
        assert await client.do("FETCH 1 (PREVIEW (LAZY))") == [b"* 1 FETCH (PREVIEW NIL)"]
