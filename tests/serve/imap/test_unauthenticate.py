"""UNAUTHENTICATE: the next user inherits nothing (RFC 8437 §3, §4.1, §8)."""

import asyncio
import zlib
from dataclasses import replace

import pytest

from household import ANNA, PASSWORD
from posthouse.net.deflate import LAST_TIMES
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


@pytest.mark.parametrize("end", [zlib.Z_SYNC_FLUSH, zlib.Z_FINISH, zlib.Z_FULL_FLUSH])
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("cut", [1, 7, 10_000])
async def test_compression_ends_with_the_command_and_with_its_answer(house, door, end, level, cut):
    """RFC 8437 §4.1: the next login follows in plain text, in one go."""
    async with connect(house, door) as client:
        await client.do("COMPRESS DEFLATE")
        packer = zlib.compressobj(level, wbits=-15)
        octets = packer.compress(b"w CAPABILITY\r\nx UNAUTHENTICATE\r\n") + packer.flush(end)
        octets += f'y LOGIN {ANNA} "{PASSWORD}"\r\nz CAPABILITY\r\n'.encode()
        for at in range(0, len(octets), cut):
            client.writer.write(octets[at : at + cut])
            await asyncio.sleep(0)
        inflater, plain, said = zlib.decompressobj(wbits=-15), b"", b""
        while b"z OK" not in plain:
            some = await client.reader.read(65_536)
            assert some
            if not inflater.eof:
                said += inflater.decompress(some)
                some = inflater.unused_data
            plain += some
        assert b" UNAUTHENTICATE" in said
        assert b"\r\nx OK [CAPABILITY " in said
        assert said.endswith(b"\r\n")
        assert plain.startswith(b"y OK [CAPABILITY ")
        await client.do("COMPRESS DEFLATE")  # and it may begin again


async def test_a_client_that_waits_may_flush_as_it_likes(house, door):
    """A partial flush has no mark of its own; what comes after the answer is plain."""
    async with connect(house, door) as client:
        await client.do("COMPRESS DEFLATE")
        packer = zlib.compressobj(wbits=-15)
        client.writer.write(packer.compress(b"x UNAUTHENTICATE\r\n") + packer.flush(zlib.Z_PARTIAL_FLUSH))
        inflater = zlib.decompressobj(wbits=-15)
        while not inflater.eof:
            inflater.decompress(await client.reader.read(65_536))
        await client.do(f'LOGIN {ANNA} "{PASSWORD}"')


async def test_where_the_stream_does_not_end_the_connection_does(house, door):
    """The client went on compressing, or flushed so that nobody can tell."""
    for end in (zlib.Z_NO_FLUSH, zlib.Z_PARTIAL_FLUSH):
        async with connect(house, door) as client:
            await client.do("COMPRESS DEFLATE")
            packer = zlib.compressobj(wbits=-15)
            octets = packer.compress(b"x UNAUTHENTICATE\r\n") + packer.flush(end)
            octets += packer.compress(b"y NOOP\r\n" * 9) + packer.flush(zlib.Z_SYNC_FLUSH)
            client.writer.write(octets)
            said = zlib.decompressobj(wbits=-15).decompress(await client.reader.read())
            assert said.startswith(b"* BYE ")


async def test_the_words_in_a_message_end_nothing(house, door):
    """However often they stand there, also where the stream was flushed behind them."""
    async with connect(house, door) as client:
        await client.do("COMPRESS DEFLATE")
        packer, inflater, said = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15), b""
        line = b"x UNAUTHENTICATE\r\n"
        octets = packer.compress(b"a APPEND INBOX {%d+}\r\n" % (2 * LAST_TIMES * len(line)))
        for _ in range(2 * LAST_TIMES):
            octets += packer.compress(line) + packer.flush(zlib.Z_SYNC_FLUSH)
        client.writer.write(octets + packer.compress(b"\r\nb NOOP\r\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        while b"b OK" not in said:
            said += inflater.decompress(await client.reader.read(65_536))
        assert said.startswith(b"a OK [APPENDUID ")
        client.writer.write(packer.compress(line) + packer.flush(zlib.Z_SYNC_FLUSH))  # but now nobody looks any more
        assert inflater.decompress(await client.reader.read()).startswith(b"* BYE ")


async def test_it_can_be_turned_off(house, door):
    async with connect(replace(house, unauthenticate=False), door) as client:
        [line] = await client.do("CAPABILITY")
        assert b"UNAUTHENTICATE" not in line
        assert (await client.fails("UNAUTHENTICATE")).startswith(b"BAD")
