"""Link over socket pairs: events, limits, back-pressure, TLS upgrade, closing."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from fakes import comes_true
from net.lines import Lines
from posthouse.net import link as link_module
from posthouse.net.link import READ_AHEAD, WOKEN, Link, LinkLimits, open_link

HIGH_WATER = LinkLimits().high_water


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = await open_link(ours)
    yield link, theirs
    link.abort()
    theirs.close()
    await link.wait_closed()


async def write_for_ever(link: Link) -> None:
    while True:
        link.write(b"x")
        await link.flush()
        await asyncio.sleep(0.01)


async def read(theirs: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    octets = b""
    while len(octets) < count and (more := await loop.sock_recv(theirs, 65536)):
        octets += more
    return octets


async def test_pipelined_lines_are_events_in_order_and_the_end_is_none(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = Lines()
    theirs.send(b"a\nb\nc")
    assert [await link.next(engine), await link.next(engine)] == [b"a", b"b"]
    theirs.send(b"d\n")
    theirs.shutdown(socket.SHUT_WR)
    assert await link.next(engine) == b"cd"
    assert await link.next(engine) is None
    assert await link.next(engine) is None
    assert engine.ended == 1
    link.write(b"still ", b"there")
    await link.flush()
    assert await read(theirs, 11) == b"still there"


async def test_octets_before_the_first_next_are_kept(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    theirs.send(b"early\n")
    await comes_true(lambda: link.received == 6)
    assert await link.next(Lines()) == b"early"


async def test_written_octets_leave_before_a_wait(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    link.write(b"hello")
    waiting = asyncio.create_task(link.next(Lines()))
    assert await read(theirs, 5) == b"hello"
    theirs.send(b"x\n")
    assert await waiting == b"x"


async def test_deadline_ends_a_wait_and_not_the_link(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = Lines()
    link.deadline(1.5)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    waiting = asyncio.create_task(link.next(engine))
    await asyncio.sleep(1.2)
    theirs.send(b"no line yet")  # octets that make no event do not prolong the wait
    with pytest.raises(TimeoutError):
        await waiting
    assert 1.4 < loop.time() - begun < 2.6
    link.write(b"bye")
    await link.flush()
    assert await read(theirs, 3) == b"bye"


async def test_each_event_begins_a_new_wait(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = Lines()
    link.deadline(1.0)
    for _ in range(4):
        asyncio.get_running_loop().call_later(0.3, theirs.send, b"x\n")
        assert await link.next(engine) == b"x"
    with pytest.raises(TimeoutError):
        await link.next(engine)


async def test_a_shorter_deadline_replaces_a_longer_timer(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = Lines()
    link.deadline(60)
    theirs.send(b"x\n")
    await asyncio.sleep(0)
    assert await link.next(engine) == b"x"
    link.deadline(0.05)
    with pytest.raises(TimeoutError):
        await link.next(engine)


async def test_wake_is_told_between_events_and_does_not_prolong_the_wait(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = Lines()
    link.deadline(1.5)
    link.wake()
    assert await link.next(engine) is WOKEN
    loop = asyncio.get_running_loop()
    for moment in (0.2, 0.5, 0.8):
        loop.call_later(moment, link.wake)
    begun = loop.time()
    for _ in range(3):
        assert await link.next(engine) is WOKEN
    with pytest.raises(TimeoutError):
        await link.next(engine)
    assert loop.time() - begun < 2.2
    theirs.send(b"x\n")
    await asyncio.sleep(0.05)
    link.wake()
    assert await link.next(engine) == b"x"
    assert await link.next(engine) is WOKEN


async def test_drain_tells_the_session(pair: tuple[Link, socket.socket]) -> None:
    link, _ = pair
    asyncio.get_running_loop().call_later(0.02, link.drain)
    assert await link.next(Lines()) is WOKEN
    assert link.closing


async def test_reading_stops_while_the_session_is_busy(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    engine = Lines()
    theirs.send(b"go\n")
    assert await link.next(engine) == b"go"
    sent = blocked = 0
    while blocked < 20 and sent < 400 * 65536:  # a tenth of a second without room: nobody reads
        try:
            sent += theirs.send(b"x" * 15 + b"\n" + b"y" * 65520)
            blocked = 0
        except BlockingIOError:
            blocked += 1
            await asyncio.sleep(0.005)
    assert sent > link.received
    assert link.received < READ_AHEAD + 1024 * 1024
    feeding = asyncio.create_task(asyncio.get_running_loop().sock_sendall(theirs, b"\nlast\n"))
    events = []
    while (event := await link.next(engine)) != b"last":
        events.append(event)
    await feeding
    assert len(events) > 4


async def test_flush_waits_beyond_the_high_water_mark_and_goes_on(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    link.write(b"a" * HIGH_WATER)
    await asyncio.wait_for(link.flush(), 60)
    link.write(b"b" * HIGH_WATER)
    flushing = asyncio.create_task(link.flush())
    await asyncio.sleep(0.05)
    assert not flushing.done()
    octets = await read(theirs, 2 * HIGH_WATER)
    await asyncio.wait_for(flushing, 60)
    assert octets == b"a" * HIGH_WATER + b"b" * HIGH_WATER


async def test_a_peer_that_never_reads_is_cut_off() -> None:
    ours, theirs = socket.socketpair()
    link = await open_link(ours, limits=LinkLimits(stall_seconds=0.2, high_water=65_536))
    link.write(b"a" * 3 * HIGH_WATER)
    with pytest.raises(ConnectionError, match="has read nothing for"):
        await asyncio.wait_for(link.flush(), 60)
    assert link.closing
    theirs.close()


async def test_a_slow_reader_is_not_cut_off() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = await open_link(ours, limits=LinkLimits(stall_seconds=1.0))
    link.write(b"a" * 3 * HIGH_WATER)
    flushing = asyncio.create_task(link.flush())
    for _ in range(8):
        await asyncio.sleep(0.15)
        assert len(await read(theirs, 100_000)) >= 100_000
    assert not flushing.done()
    flushing.cancel()
    link.abort()
    theirs.close()


async def test_flush_to_a_peer_that_left_raises(pair: tuple[Link, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    assert await link.next(Lines()) is None
    with pytest.raises(ConnectionError):
        await write_for_ever(link)


async def test_close_sends_what_was_written_and_survives_unread_input() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(listener.getsockname())
    ours, _ = listener.accept()
    listener.close()
    link = await open_link(ours)
    assert link.peer == theirs.getsockname()
    assert ours.fileno() != -1
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    flood = asyncio.create_task(loop.sock_sendall(theirs, b"x" * 200_000))
    link.write(b"421 go\r\n")
    link.close()
    link.close()
    assert link.closing
    assert await link.next(Lines()) is None
    await flood
    assert await read(theirs, 8) == b"421 go\r\n"
    theirs.close()
    await asyncio.wait_for(link.wait_closed(), 60)


async def test_close_ends_even_when_the_peer_stays(
    pair: tuple[Link, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, theirs = pair
    monkeypatch.setattr(link_module, "LINGER", 0.1)
    link.write(b"x")
    link.close()
    await asyncio.wait_for(link.wait_closed(), 60)
    assert await read(theirs, 2) == b"x"
