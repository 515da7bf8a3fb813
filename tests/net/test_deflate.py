"""COMPRESS below IMAP: octets cut anywhere, bombs, broken streams, the end of compression, and what it all costs."""

import asyncio
import re
import socket
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from net.lines import Lines
from posthouse.net.deflate import INFLATED_WINDOW, RATIO, SLICE, Broken, Deflate
from posthouse.net.link import READ_AHEAD, Link, open_link

ROOM = 64 * 1024


def deflated(*pieces: bytes, end: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Pieces as a client sends them: each flushed."""
    compressor = zlib.compressobj(wbits=-15)
    return b"".join(compressor.compress(piece) + compressor.flush(end) for piece in pieces)


def inflated(octets: bytes) -> bytes:
    return zlib.decompressobj(wbits=-15).decompress(octets)


@given(st.lists(st.binary(max_size=3_000), max_size=8), st.lists(st.integers(1, 50), min_size=1), st.integers(1, 500))
def test_what_was_deflated_is_inflated_wherever_it_is_cut(pieces: list[bytes], cuts: list[int], room: int) -> None:
    octets, at, heard, turn = deflated(*pieces), 0, b"", 0
    deflate = Deflate()
    while at < len(octets):
        deflate.receive(octets[at : at + cuts[turn % len(cuts)]])
        at += cuts[turn % len(cuts)]
        turn += 1
        while deflate.held:
            some = deflate.inflate(room)
            assert len(some) <= room
            heard += some
    assert heard == b"".join(pieces)


@given(st.lists(st.tuples(st.binary(max_size=3_000), st.booleans()), max_size=10))
def test_a_compressor_that_rested_goes_on_with_the_same_stream(said: list[tuple[bytes, bool]]) -> None:
    deflate = Deflate()
    inflater = zlib.decompressobj(wbits=-15)
    for octets, rests in said:
        assert inflater.decompress(deflate.compress(octets)) == octets
        if rests:
            deflate.rest()


WORDS = re.compile(rb"unauthenticate\r?\n", re.IGNORECASE)


@given(
    st.lists(st.sampled_from([b"a NOOP\r\n", b"b SEARCH unauthenticate x\r\n", b"c unauthenticate\r\n"]), max_size=5),
    st.tuples(st.integers(0, 9), st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH])),
    st.lists(st.integers(1, 60), min_size=1),
    st.binary(max_size=40),
)
def test_a_stream_ends_behind_the_last_words(
    lines: list[bytes], how: tuple[int, int], cuts: list[int], behind: bytes
) -> None:
    """Wherever it is cut, whatever stands behind it; the same words before it end nothing (RFC 8437 §4.1)."""
    compressor = zlib.compressobj(how[0], wbits=-15)
    said = b"".join([*lines, b"z Unauthenticate\r\n"])
    octets = compressor.compress(said) + compressor.flush(how[1]) + b"plain " + behind
    deflate, heard, at, turn = Deflate(WORDS), b"", 0, 0
    while not heard.endswith(b"z Unauthenticate\r\n"):
        if not deflate.held:
            step = cuts[turn % len(cuts)]
            deflate.receive(octets[at : at + step])
            at, turn = at + step, turn + 1
        heard += deflate.inflate(ROOM)
        assert said.startswith(heard)
    assert deflate.paused
    deflate.receive(octets[at:])
    assert deflate.end() == (b"plain " + behind, True)


def test_the_rest_of_a_stream_may_come_later() -> None:
    octets = deflated(b"z UNAUTHENTICATE\r\n")
    for cut in range(len(octets) - 5, len(octets)):
        deflate = Deflate(WORDS)
        deflate.receive(octets[:cut])
        assert deflate.inflate(ROOM) == b"z UNAUTHENTICATE\r\n"
        assert deflate.end() == (b"", False)


@given(st.binary(max_size=400))
def test_garbage_behind_the_words_is_plain_or_broken(behind: bytes) -> None:
    compressor = zlib.compressobj(wbits=-15)
    deflate = Deflate(WORDS)
    deflate.receive(compressor.compress(b"z UNAUTHENTICATE\r\n") + compressor.flush(zlib.Z_PARTIAL_FLUSH) + behind)
    try:
        while deflate.held and not deflate.paused:
            deflate.inflate(ROOM)
        plain, _ = deflate.end()
    except Broken:
        return
    assert behind.endswith(plain)


@given(st.binary(max_size=2_000))
def test_garbage_is_broken_and_nothing_else(octets: bytes) -> None:
    deflate = Deflate()
    deflate.receive(octets)
    try:
        while deflate.held:
            assert len(deflate.inflate(ROOM)) <= ROOM
    except Broken:
        return


def test_a_bomb_is_broken_after_a_window() -> None:
    bomb = deflated(b"a NOOP\r\n" * (INFLATED_WINDOW // 4))
    assert RATIO * len(bomb) < 2 * INFLATED_WINDOW
    deflate = Deflate()
    deflate.receive(bomb)
    for _ in range(INFLATED_WINDOW // ROOM - 1):
        assert len(deflate.inflate(ROOM)) == ROOM
    with pytest.raises(Broken, match="inflates to more"):
        deflate.inflate(ROOM)


def test_what_was_announced_is_no_bomb() -> None:
    deflate = Deflate()
    deflate.receive(deflated(b"A" * (4 * INFLATED_WINDOW)))
    seen = 0
    while deflate.held:
        some = len(deflate.inflate(ROOM))
        deflate.excuse(some)
        seen += some
    assert seen == 4 * INFLATED_WINDOW


def test_octets_behind_a_finished_stream() -> None:
    deflate = Deflate()
    deflate.receive(deflated(b"x\r\n", end=zlib.Z_FINISH) + b"more")
    assert deflate.inflate(ROOM) == b"x\r\n"
    with pytest.raises(Broken, match="has ended"):
        deflate.inflate(ROOM)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = await open_link(ours)
    yield link, theirs
    link.abort()
    theirs.close()
    await link.wait_closed()


async def begin(link: Link, theirs: socket.socket) -> Lines:
    """One plain line, and its answer; then both compress."""
    engine = Lines()
    theirs.send(b"compress\n")
    assert await link.next(engine) == b"compress"
    link.write(b"ok\n")
    link.start_deflate()
    assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b"ok\n"
    assert link.deflating
    return engine


async def test_the_answer_is_plain_and_all_after_it_compressed(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = await begin(link, theirs)
    theirs.send(deflated(b"one\ntwo\n"))
    assert [await link.next(engine), await link.next(engine)] == [b"one", b"two"]
    link.write(b"three", b"four")
    await link.flush()
    assert inflated(await asyncio.get_running_loop().sock_recv(theirs, 100)) == b"threefour"
    theirs.shutdown(socket.SHUT_WR)
    assert await link.next(engine) is None


async def test_large_answers_go_out_in_slices_and_whole(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    await begin(link, theirs)
    octets = bytes(range(256)) * (5 * SLICE // 256)
    link.write(octets[:100], octets[100:])
    sending = asyncio.create_task(link.flush())
    inflater, heard = zlib.decompressobj(wbits=-15), b""
    while len(heard) < len(octets):
        heard += inflater.decompress(await asyncio.get_running_loop().sock_recv(theirs, 65_536))
    await sending
    assert heard == octets


async def test_a_flush_that_is_cancelled_loses_nothing(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    await begin(link, theirs)
    octets = bytes(range(256)) * (3 * SLICE // 256)
    link.write(octets)
    sending = asyncio.create_task(link.flush())
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    link.write(b"bye")
    link.close()
    inflater, heard = zlib.decompressobj(wbits=-15), b""
    while some := await asyncio.get_running_loop().sock_recv(theirs, 65_536):
        heard += inflater.decompress(some)
    assert heard == octets + b"bye"


async def test_no_more_is_inflated_than_the_engine_has_room_for(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = await begin(link, theirs)
    lines = [b"%d" % number * 300 for number in range(1_000)]
    theirs.setblocking(True)
    theirs.sendall(deflated(b"\n".join([*lines, b""])))
    await asyncio.sleep(0.1)
    assert len(b"\n".join(lines)) > 3 * READ_AHEAD
    assert len(engine.buffer) <= READ_AHEAD
    assert [await link.next(engine) for _ in lines] == lines


async def test_a_broken_stream_is_said_and_the_link_can_still_speak(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = await begin(link, theirs)
    theirs.send(b"NOOP in plain text\r\n")
    with pytest.raises(Broken):
        await link.next(engine)
    link.write(b"bye")
    link.close()
    assert inflated(await asyncio.get_running_loop().sock_recv(theirs, 100)) == b"bye"
