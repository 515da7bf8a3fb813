"""Link: one stream socket, and the only class that touches one.

A session drives it like this; the engine is one of `wire` (house rules: `receive`, `next_event`, `starttls`):

    while (event := await link.next(engine)) is not None:
        link.write(engine.send(reply))
        if not engine.pending:
            await link.flush()

What it does NOT do: it knows no protocol and speaks no goodbye. Rate limits and reply texts belong to the sessions.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeVar, cast

from posthouse.net.deflate import SLICE, Broken, Deflate

LOW_WATER = 4  # writing goes on at this part of `high_water`: low enough that a slow peer costs few wake-ups
READ_AHEAD = 256 * 1024  # octets taken in while the session is busy; then the kernel's window closes
STALL_CHECK = 15.0  # seconds between two looks at that progress
TLS_SHUTDOWN = 5.0  # seconds to wait for the peer's close_notify
LINGER = 2.0  # seconds to throw away input after our FIN: closing with unread input sends RST and eats the last reply
LINGER_WRITE = 30.0  # seconds a closed link may still take to hand its last octets over
_NO_COMMAND = bytes(range(0x21)) + bytes(range(0x7F, 0x100))
NO_LIMIT = 24 * 3600.0  # seconds; what `next` may wait when the session has said nothing

Event = TypeVar("Event")
Event_co = TypeVar("Event_co", covariant=True)


class Engine(Protocol[Event_co]):
    """What a Link needs of an engine; every server and client engine of `wire` has it."""

    def receive(self, data: bytes, /) -> None:
        """Take octets in; `b""` once when the peer has closed."""

    def next_event(self) -> Event_co | None:
        """The next event, or None when more octets are needed."""

    def starttls(self) -> None:
        """Forget everything received in plain text (RFC 3207 §4.2, RFC 9051 §6.2.1)."""


class Woken(Enum):
    """The type of WOKEN."""

    WOKEN = "woken"


#: What `next` returns when `wake` was called while the engine had nothing: look at your hints, and at `link.closing`.
WOKEN: Final = Woken.WOKEN


@dataclass(frozen=True, slots=True)
class TlsState:
    """What the handshake agreed on: `TLSv1.3` and the cipher suite's name, for a Received field (RFC 8314 §4.3)."""

    version: str
    cipher: str


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What one connection may take. Seconds and octets."""

    handshake_seconds: float = 30.0  # TLS, start to end
    stall_seconds: float = 300.0  # without progress before a peer that does not read is cut off
    high_water: int = 1024 * 1024  # octets held for a peer that does not read; beyond it `flush` waits


_USUAL = LinkLimits()


class Link(asyncio.Protocol):
    """One stream socket between a peer and an engine.

    `closing` is True once the connection is to end: the worker drains (say 421 or BYE and return), `close` was
    called, or the peer is gone. `received` counts octets taken in.
    """

    __slots__ = (
        "_deflate",
        "_discard",
        "_drained",
        "_early",
        "_engine",
        "_eof",
        "_fault",
        "_limit",
        "_limits",
        "_loop",
        "_lost",
        "_out",
        "_reading",
        "_timer",
        "_trailing",
        "_transport",
        "_unread",
        "_until",
        "_waiter",
        "_woken",
        "_write_paused",
        "closing",
        "peer",
        "received",
        "tls",
    )

    def __init__(self, limits: LinkLimits = _USUAL) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._engine: Engine[object] | None = None
        self._early: list[bytes] | None = None  # what came before the session asked for its first event
        self._out: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None  # someone waits in `next`
        self._drained: asyncio.Future[None] | None = None  # someone waits in `flush` or `wait_closed`
        self._timer: asyncio.TimerHandle | None = None
        self._limit = NO_LIMIT
        self._until = 0.0  # when the present wait ends; 0.0 when none has begun
        self._unread = 0  # octets given to the engine since it last ran dry
        self._reading = True
        self._write_paused = False
        self._woken = False
        self._deflate: Deflate | None = None
        self._trailing = False  # the rest of a stream that has ended may still come
        self._fault: Broken | None = None  # why no more can be inflated
        self._eof = False
        self._lost = False
        self._discard = False
        self.closing = False
        self.received = 0
        #: Address and port of the peer; ("", 0) on a Unix socket. IPv4 addresses mapped into IPv6 are plain IPv4.
        self.peer: tuple[str, int] = ("", 0)
        #: None in plain text.
        self.tls: TlsState | None = None

    # --- what a session calls

    async def next(self, engine: Engine[Event]) -> Event | Woken | None:
        """The engine's next event; None when the peer has closed; WOKEN after `wake`.

        Waits only when the engine has nothing, and sends what was written before it waits. Raises TimeoutError when
        one wait was longer than `deadline` allows (the link is still open then: say goodbye), and Broken when what came
        cannot be inflated (so too).
        """
        if self._engine is not engine:
            self._attach(engine)
        while True:
            event = engine.next_event()
            if event is not None:
                self._until = 0.0
                return event
            if self._lost or self._discard:
                return None
            if self._deflate is not None and await self._inflate_more(engine):
                continue
            if self._eof:
                return None
            if self._woken:
                self._woken = False
                return WOKEN
            if self._out:
                await self.flush()
            await self._wait()

    def write(self, *chunks: bytes) -> None:
        """Keep chunks for the next `flush`; they leave joined, in one write."""
        self._out.extend(chunks)

    def interject(self, octets: bytes) -> None:
        """Send octets at once from outside the session's turn; forget them where something else waits to be sent."""
        if not (self._out or self._write_paused or self._lost):
            self._out.append(octets)
            self._hand_over()

    async def flush(self) -> None:
        """Send what was written. Waits only while more than `high_water` is held for the peer.

        Raises ConnectionError when the peer is gone, or has taken nothing for `stall_seconds` (the link is aborted).
        """
        if self._deflate is not None:
            await self._compress_most(self._deflate)
        self._hand_over()
        if self._write_paused:
            await self._wait_for_room()
        if self._lost:
            raise ConnectionResetError("the peer has closed the connection")

    async def start_tls(self, context: ssl.SSLContext, engine: Engine[object]) -> None:
        """Send what was written, forget all plain text not yet read, and do the server's side of a TLS handshake
        (RFC 3207 §4.2, RFC 9051 §6.2.1). Raises ConnectionError when it fails; the link is gone then."""
        await self._start_tls(context, engine)

    async def start_client_tls(self, context: ssl.SSLContext, name: str, engine: Engine[object] | None = None) -> None:
        """As `start_tls`, from the client's side, asking for the server `name` (RFC 6066 §3). Without an engine TLS
        begins with the first octet. The cause of the ConnectionError is the ssl.SSLError, where there was one."""
        await self._start_tls(context, engine, name=name)

    async def _start_tls(self, context: ssl.SSLContext, engine: Engine[object] | None, name: str | None = None) -> None:
        transport = self._transport
        if transport is None or self._lost or self._eof:
            raise ConnectionResetError("the peer has closed the connection")
        self._pause_reading()
        self._hand_over()
        if engine is not None:
            engine.starttls()
        self._early = None
        self._unread = 0
        try:
            upgraded = await self._loop.start_tls(
                transport,
                self,
                context,
                server_side=name is None,
                server_hostname=name,
                ssl_handshake_timeout=self._limits.handshake_seconds,
                ssl_shutdown_timeout=TLS_SHUTDOWN,
            )
        except OSError as error:  # ssl.SSLError and the time-out's ConnectionAbortedError are OSErrors
            self.abort()
            raise ConnectionResetError(f"TLS handshake failed: {error}") from error
        if upgraded is None:  # pragma: no cover  (typeshed allows it; asyncio does when the peer left meanwhile)
            raise ConnectionResetError("the peer has closed the connection")
        self._adopt(upgraded)

    def start_deflate(self, last: re.Pattern[bytes] | None = None) -> None:
        """Send what was written as it is; from now on compress what is written and inflate what comes (RFC 4978 §3).
        What came before, the engine has as it was. `last`: words behind which the peer's stream may end."""
        self._hand_over()
        self._deflate = Deflate(last)

    def stop_deflate(self, last: bytes) -> None:
        """Send what was written and these octets, compressed; from now on nothing is, both ways (RFC 8437 §4.1).
        Only where `may_stop_deflate`. Raises Broken, and has sent nothing, where the end of the peer's stream
        cannot be told."""
        deflate, engine = self._deflate, self._engine
        if deflate is None or engine is None:
            return
        plain, self._trailing = b"", True
        if deflate.held:
            plain, ended = deflate.end()
            self._trailing = not ended
        octets, self._out, self._deflate = b"".join([*self._out, last]), [], None
        if self._transport is not None and not self._lost and not self._discard:
            self._transport.write(deflate.finish(octets))
        if plain:
            self.data_received(plain)
            self.received -= len(plain)  # counted when it came

    @property
    def may_stop_deflate(self) -> bool:
        """Whether the last words of the peer's stream are all that was taken of it."""
        return self._deflate is not None and self._deflate.paused

    @property
    def deflating(self) -> bool:
        """Whether what is written is compressed."""
        return self._deflate is not None

    def rest(self) -> None:
        """Nothing will be said for a while: hold less memory."""
        if self._deflate is not None:
            self._deflate.rest()

    def excuse(self, octets: int) -> None:
        """So many octets that came were announced and wanted: they are no bomb, however well they were compressed."""
        if self._deflate is not None:
            self._deflate.excuse(octets)

    def deadline(self, seconds: float) -> None:
        """From now on one wait in `next` may last this many seconds. It ends with an event: octets that make no
        whole command do not prolong it, and neither does `wake`."""
        self._limit = seconds
        self._until = 0.0

    def wake(self) -> None:
        """Make a waiting (or the next waiting) `next` return WOKEN. Safe at any time, from the loop's thread."""
        self._woken = True
        self._resume(self._waiter)

    def drain(self) -> None:
        """Ask the session to say goodbye: `closing` becomes True and `next` returns WOKEN."""
        self.closing = True
        self.wake()

    def close(self) -> None:
        """Send what was written, then close. Input that still arrives is thrown away for LINGER seconds, so that
        the peer can read our last reply. Harmless when called twice."""
        transport = self._transport
        if transport is None or self._discard or self._lost:
            return
        self._hand_over()
        self.closing = True
        self._discard = True
        self._resume(self._waiter)
        self._resume_reading()
        if self.tls is None and not self._eof and transport.can_write_eof():
            with contextlib.suppress(OSError):  # asyncio's own loop says so when the peer has just reset the connection
                transport.write_eof()
            seconds = LINGER_WRITE if transport.get_write_buffer_size() else LINGER
        else:
            transport.close()
            seconds = LINGER_WRITE
        self._cancel_timer()
        self._timer = self._loop.call_later(seconds, self.abort)

    def abort(self) -> None:
        """Close at once; what was written and not yet sent is lost."""
        self.closing = True
        self._discard = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def unsent(self) -> int:
        """Octets that were written and that the kernel has not taken yet."""
        return 0 if self._lost else self._held()

    @property
    def tls_session(self) -> ssl.SSLObject | None:
        """What there is to ask about the peer's certificate; None in plain text."""
        found = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        return cast(ssl.SSLObject | None, found)

    async def wait_closed(self) -> None:
        """Wait until the socket is gone. At most LINGER_WRITE seconds after `close`."""
        while not self._lost:
            await self._wait_drained()

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours; with TLS from the first octet, the handshake is done."""
        peername = transport.get_extra_info("peername")
        if isinstance(peername, tuple):
            self.peer = (peername[0].removeprefix("::ffff:"), peername[1])
        self._adopt(cast(asyncio.Transport, transport))  # uvloop's transports are no subclass of it

    def data_received(self, data: bytes) -> None:
        """Octets for the engine. When it has READ_AHEAD of them that the session did not use, stop reading."""
        if self._discard:
            return
        self.received += len(data)
        if self._engine is None:
            self._unread += len(data)
            self._early = [*(self._early or ()), data]
        elif self._trailing:
            self._received_trail(self._engine, data)
        elif self._deflate is not None:
            self._received_deflated(self._deflate, self._engine, data)
        else:
            self._unread += len(data)
            self._engine.receive(data)
        if self._unread > READ_AHEAD:
            self._pause_reading()
        self._resume(self._waiter)

    def eof_received(self) -> bool:
        """The peer sends no more; in plain text it may still read our answers."""
        self._end_of_input()
        if self._discard and self._transport is not None:
            self._transport.close()
        return self.tls is None and not self._discard

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self._lost = True
        self.closing = True
        self._cancel_timer()
        self._end_of_input()
        self._resume(self._drained)

    def pause_writing(self) -> None:
        """More than `high_water` is held for the peer."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The peer has read on."""
        self._write_paused = False
        self._resume(self._drained)

    # --- inside

    def _adopt(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reading = True
        high = self._limits.high_water
        transport.set_write_buffer_limits(high=high, low=high // LOW_WATER)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            cipher = tls.cipher()
            self.tls = TlsState(tls.version() or "", cipher[0] if cipher else "")

    def _attach(self, engine: Engine[object]) -> None:
        self._engine = engine
        early, self._early = self._early, None
        for data in early or ():
            engine.receive(data)
        if self._eof:
            engine.receive(b"")

    def _end_of_input(self) -> None:
        if not self._eof:
            self._eof = True
            if self._engine is not None and not self._discard:
                self._engine.receive(b"")
        self._resume(self._waiter)

    def _hand_over(self) -> None:
        if not self._out:
            return
        out, self._out = self._out, []
        if self._transport is None or self._lost or self._discard:
            return
        octets = out[0] if len(out) == 1 else b"".join(out)
        self._transport.write(octets if self._deflate is None else self._deflate.compress(octets))

    async def _compress_most(self, deflate: Deflate) -> None:
        """Compress and send all but a last SLICE of what was written, others having their turn in between."""
        while sum(map(len, self._out)) > SLICE:
            octets = b"".join(self._out)
            self._out = [octets[SLICE:]]  # kept here, so that nothing is lost when this task ends in the middle
            if self._transport is not None and not self._lost and not self._discard:
                self._transport.write(deflate.compress(octets[:SLICE], flush=False))
            await asyncio.sleep(0)

    def _received_trail(self, engine: Engine[object], data: bytes) -> None:
        """The rest of a stream that has ended may stand in front of plain octets: nothing a command begins with."""
        plain = data.lstrip(_NO_COMMAND)
        if plain:
            self._trailing = False
            self._unread += len(plain)
            engine.receive(plain)

    def _received_deflated(self, deflate: Deflate, engine: Engine[object], data: bytes) -> None:
        deflate.receive(data)
        if self._unread < READ_AHEAD and not deflate.paused:
            self._inflate(deflate, engine)
        if deflate.held:
            self._pause_reading()

    def _inflate(self, deflate: Deflate, engine: Engine[object]) -> None:
        """Give the engine what it has room for."""
        if self._fault is not None:
            return
        try:
            octets = deflate.inflate(READ_AHEAD - self._unread)
        except Broken as broken:
            self._fault = broken
            return
        if octets:
            self._unread += len(octets)
            engine.receive(octets)

    async def _inflate_more(self, engine: Engine[object]) -> bool:
        """The engine has run dry: whether there was more to inflate. Raises Broken."""
        if self._fault is not None:
            raise self._fault
        deflate = self._deflate
        if deflate is None or not deflate.held:
            return False
        await asyncio.sleep(0)  # others have their turn: little input may be much to do
        self._unread = 0
        self._inflate(deflate, engine)
        return True

    def _pause_reading(self) -> None:
        if self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    @staticmethod
    def _resume(waiter: "asyncio.Future[None] | None") -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        """Until something happens; TimeoutError at `_until`."""
        self._unread = 0
        self._resume_reading()
        now = self._loop.time()
        if self._until == 0.0:
            self._until = now + self._limit
        if self._timer is None or self._timer.when() > self._until:
            self._arm()
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    # One timer for each link, re-armed when it fires and not at each command: most waits end long before their limit.
    def _arm(self) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_at(self._until, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return  # nobody waits; the next wait arms it again
        if self._loop.time() < self._until:
            self._arm()
            return
        self._until = 0.0
        waiter.set_exception(TimeoutError("the peer was silent for too long"))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait_drained(self) -> None:
        if self._drained is None or self._drained.done():
            self._drained = self._loop.create_future()
        await asyncio.shield(self._drained)

    async def _wait_for_room(self) -> None:
        left = self._held()
        quiet = 0.0
        stall = self._limits.stall_seconds
        pause = min(STALL_CHECK, stall)
        while self._write_paused and not self._lost:
            try:
                async with asyncio.timeout(pause):
                    await self._wait_drained()
            except TimeoutError:
                held = self._held()
                quiet = quiet + pause if held >= left else 0.0
                left = held
            if quiet >= stall:
                self.abort()
                raise ConnectionAbortedError(f"the peer has read nothing for {stall:.0f} seconds")

    def _held(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()


async def open_link(sock: socket.socket, tls: ssl.SSLContext | None = None, limits: LinkLimits = _USUAL) -> Link:
    """A Link over an accepted, connected socket (also one end of `socket.socketpair()`), as the server's side.

    With `tls` the handshake is done before it returns. Raises ConnectionError when that fails. The socket is the
    Link's from now on.
    """
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    link = Link(limits)  # made here: with TLS, uvloop returns a protocol of its own
    try:
        if tls is None:
            await loop.connect_accepted_socket(lambda: link, sock)
        else:
            await loop.connect_accepted_socket(
                lambda: link,
                sock,
                ssl=tls,
                ssl_handshake_timeout=limits.handshake_seconds,
                ssl_shutdown_timeout=TLS_SHUTDOWN,
            )
    except OSError as error:
        raise ConnectionResetError(f"TLS handshake failed: {error}") from error
    return link
