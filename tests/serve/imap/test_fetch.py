"""serve/imap/fetch.py: large messages, which leave piece by piece (RFC 9051 §6.4.5)."""

import os

from posthouse.serve.imap import fetch
from posthouse.store.blobs import Blobs
from serve.imap.dialogue import MESSAGE, connect

LARGE = MESSAGE + os.urandom(3 * fetch.PIECE + 5).replace(b"\0", b"0")


async def large(client, message=LARGE):
    await client.append()
    await client.append(message)
    await client.do("SELECT INBOX")


async def test_a_large_message_leaves_in_pieces_and_whole(house, door, monkeypatch):
    asked = []
    octets = Blobs.octets

    def watched(blobs, row, start=0, stop=None):
        asked.append((row[1] if stop is None else stop) - start)
        return octets(blobs, row, start, stop)

    async with connect(house, door) as client:
        await large(client)
        monkeypatch.setattr(Blobs, "octets", watched)
        [_, answer] = await client.do("FETCH 1:2 (UID BODY.PEEK[])")
        assert answer == b"* 2 FETCH (UID 2 BODY[] {%d}\r\n%b)" % (len(LARGE), LARGE)
        assert max(asked) == fetch.PIECE
        size = MESSAGE.index(b"\r\n\r\n") + 4
        text = LARGE[size:]
        assert await client.do("FETCH 2 (RFC822.TEXT BODY[TEXT]<3.2000000>)") == [
            b"* 2 FETCH (FLAGS (\\Seen) RFC822.TEXT {%d}\r\n%b BODY[TEXT]<3> {%d}\r\n%b)"
            % (len(text), text, len(text) - 3, text[3:])
        ]
        assert max(asked) == fetch.PIECE
        assert await client.do("FETCH 2 BODY.PEEK[1]") == [b"* 2 FETCH (BODY[1] {%d}\r\n%b)" % (len(text), text)]
        assert await client.do("FETCH 2 BINARY.PEEK[1]") == [b"* 2 FETCH (BINARY[1] {%d}\r\n%b)" % (len(text), text)]


async def test_a_damaged_large_message_is_never_served_whole(house, door, monkeypatch):
    octets = Blobs.octets
    async with connect(house, door) as client:
        await large(client)
        monkeypatch.setattr(Blobs, "octets", lambda *args: octets(*args).replace(LARGE[-9:], b"otherwise"))
        client.write("FETCH 2 BODY.PEEK[]")
        heard = await client.reader.read()
        assert heard.startswith(b"* 2 FETCH (BODY[] {%d}\r\n" % len(LARGE))
        assert b"otherwise" not in heard
        assert len(heard) < len(LARGE)
