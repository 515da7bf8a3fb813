"""UNAUTHENTICATE: the next user inherits nothing (RFC 8437 §3, §4.1, §8)."""

import zlib
from dataclasses import replace

from household import ANNA, PASSWORD
from serve.imap.dialogue import connect


async def test_the_next_user_begins_anew(house, door):
    async with connect(house, door) as client:
        await client.append()
        await client.do("ENABLE IMAP4rev2 CONDSTORE")
        await client.do("SELECT INBOX")
        tag = client.write("UNAUTHENTICATE")
        again = client.write(f'LOGIN {ANNA} "{PASSWORD}"')  # sent in one go, as RFC 8437 §3 allows
        assert await client.until(tag) == []
        assert client.last.startswith(b"OK [CAPABILITY ")
        await client.until(again)
        assert client.last.startswith(b"OK [CAPABILITY ")
        assert await client.fails("FETCH 1 FLAGS") == b"BAD No mailbox is selected; SELECT or EXAMINE one first."
        assert b"* 0 RECENT" in await client.do("SELECT INBOX")  # IMAP4rev1 again
        for _ in range(50):  # each login counts, and is given back
            await client.do("UNAUTHENTICATE")
            await client.do(f'LOGIN {ANNA} "{PASSWORD}"')


async def test_wrong_passwords_count_on(house, door):
    async with connect(house, door) as client:
        await client.do("UNAUTHENTICATE")
        for _ in range(2):
            await client.fails(f"LOGIN {ANNA} wrong")
        await client.do(f'LOGIN {ANNA} "{PASSWORD}"')
        await client.do("UNAUTHENTICATE")
        await client.fails(f"LOGIN {ANNA} wrong")
        assert (await client.response()).startswith(b"* BYE")


async def test_a_compressed_connection_ends(house, door):
    async with connect(house, door) as client:
        await client.do("COMPRESS DEFLATE")
        packer = zlib.compressobj(wbits=-15)
        client.writer.write(packer.compress(b"w CAPABILITY\r\nx UNAUTHENTICATE\r\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        told = zlib.decompressobj(wbits=-15).decompress(await client.reader.read())
        before, told = told.split(b"\r\nw OK CAPABILITY completed.\r\n")
        assert b"UNAUTHENTICATE" not in before
        assert told.startswith(b"* BYE")
        assert b"OK" not in told


async def test_it_can_be_turned_off(house, door):
    async with connect(replace(house, unauthenticate=False), door) as client:
        [line] = await client.do("CAPABILITY")
        assert b"UNAUTHENTICATE" not in line
        assert (await client.fails("UNAUTHENTICATE")).startswith(b"BAD")
