"""A mail server for tests that takes everything, or does at each step what it is told: stalls, resets, lies.

    async with sink() as server:                                    # a good one, with all extensions
        ... deliver to server.host, server.port ...
        assert server.taken[0].octets == message

    async with sink({"rcpt": ["250 ok", "550 5.1.1 no such user"], "dot": Say("451 later", After.CLOSE)}) as server:

A plan names what is said at a step; steps are connect, ehlo, helo, starttls, auth (for each line of it), mail, rcpt,
data, dot, bdat, rset, noop, quit and other. Several answers are given in turn, over all connections, the last for ever;
a function is given the line. What the plan does not name is answered as a good server would. `Say` tells what comes
after the words: go on, close, reset, stall (say nothing and read nothing more), or say the words without end. A 220 to
STARTTLS of a server without `tls` is followed by garbage: a handshake that fails.

`server.heard` has every line of every connection, in order; `server.connections` counts them.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

LINE = 65_536  # octets of a line that is read
OFFERS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES")


class After(Enum):
    """What comes after the words."""

    GO_ON = "go on"
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"
    ENDLESS = "the words again and again"


@dataclass(frozen=True, slots=True)
class Say:
    """Words (line ends are added unless they are octets), after a pause, octet by octet if `slow` seconds are named."""

    words: str | bytes = b""
    after: After = After.GO_ON
    pause: float = 0.0
    slow: float = 0.0

    @property
    def octets(self) -> bytes:
        """What goes over the wire."""
        if isinstance(self.words, bytes):
            return self.words
        return "".join(line + "\r\n" for line in self.words.splitlines()).encode()


STALL = Say(after=After.STALL)
RESET = Say(after=After.RESET)
CLOSE = Say(after=After.CLOSE)

Answer = str | bytes | Say
Plan = Mapping[str, Answer | Sequence[Answer] | Callable[[str], Answer]]


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was taken: its MAIL and RCPT lines (accepted ones), its content, how it came."""

    mail: str
    rcpts: tuple[str, ...]
    octets: bytes
    tls: bool
    connection: int
    chunks: int  # BDAT commands; 0 for DATA


@dataclass(slots=True)
class Sink:
    """A running server."""

    plan: dict[str, Answer | Sequence[Answer] | Callable[[str], Answer]]
    offers: tuple[str, ...]
    tls: ssl.SSLContext | None
    host: str = "127.0.0.1"
    port: int = 0
    connections: int = 0
    open: int = 0  # connections right now
    heard: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    given: dict[str, int] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrivals(self, count: int, patience: float = 60.0) -> list[Taken]:
        """The messages that were taken since, when so many are there."""
        async with asyncio.timeout(patience):
            while len(self.taken) < count:
                self.came.clear()
                await self.came.wait()
        found, self.taken = self.taken, []
        return found

    def answer(self, step: str, line: str, usual: str) -> Say:
        """What the plan says of this step, or what is usual."""
        planned = self.plan.get(step, usual)
        if callable(planned):
            planned = planned(line)
        elif not isinstance(planned, str | bytes | Say):
            at = self.given.get(step, 0)
            self.given[step] = at + 1
            planned = planned[min(at, len(planned) - 1)]
        return planned if isinstance(planned, Say) else Say(planned)


class _Gone(Exception):
    """This connection is over."""


class _Session:
    """One connection."""

    def __init__(self, server: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        self.number = server.connections
        self.server, self.reader, self.writer = server, reader, writer
        self.secure = writer.get_extra_info("ssl_object") is not None
        self.forget()

    def forget(self) -> None:
        """No transaction."""
        self.sender, self.rcpts, self.content, self.chunks = "", list[str](), b"", 0

    async def run(self) -> None:
        """From the greeting to the end."""
        await self.say("connect", "", "220 sink.test ESMTP")
        while True:
            line = await self.line()
            await _STEPS.get(line.split(" ")[0].upper(), _Session.other)(self, line)

    async def line(self) -> str:
        """The next line."""
        octets = await self.reader.readline()
        if not octets:
            raise _Gone
        line = octets.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
        self.server.heard.append(line)
        return line

    async def say(self, step: str, line: str, usual: str) -> bytes:
        """Answer as planned or as usual; the first digit of it."""
        said = self.server.answer(step, line, usual)
        await self.speak(said)
        return said.octets[:1]

    async def speak(self, said: Say) -> None:
        """Say it, and do what comes after."""
        await asyncio.sleep(said.pause)
        size = 1 if said.slow else max(1, len(said.octets))
        for at in range(0, len(said.octets), size):
            self.writer.write(said.octets[at : at + size])
            await self.writer.drain()
            await asyncio.sleep(said.slow)
        match said.after:
            case After.CLOSE:
                raise _Gone
            case After.RESET:
                sock = self.writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.writer.transport.abort()
                raise _Gone
            case After.STALL:
                await asyncio.sleep(3600)
        while said.after is After.ENDLESS:
            self.writer.write(said.octets * 100)
            await self.writer.drain()

    async def ehlo(self, line: str) -> None:
        """The offers."""
        starttls = ["STARTTLS"] if self.server.tls is not None and not self.secure else []
        lines = ["sink.test", *self.server.offers, *starttls]
        last = len(lines) - 1
        await self.say("ehlo", line, "\n".join(f"250{' ' if at == last else '-'}{t}" for at, t in enumerate(lines)))
        self.forget()

    async def starttls(self, line: str) -> None:
        """TLS begins, or garbage where it belongs."""
        said = self.server.answer("starttls", line, "220 2.0.0 go ahead" if self.server.tls else "502 5.5.1 no")
        await self.speak(said)
        if said.octets[:1] != b"2":
            return
        if self.server.tls is None:
            await self.speak(Say(b"this is no TLS\r\n" * 10, After.CLOSE))
            return
        try:
            await self.writer.start_tls(self.server.tls)
        except OSError:
            raise _Gone from None
        self.secure = True
        self.forget()

    async def auth(self, line: str) -> None:
        """As long as the answers are challenges."""
        while await self.say("auth", line, "235 2.7.0 welcome") == b"3":
            line = await self.line()

    async def mail(self, line: str) -> None:
        """The sender."""
        if await self.say("mail", line, "250 2.1.0 sender ok") == b"2":
            self.sender = line

    async def rcpt(self, line: str) -> None:
        """A recipient."""
        usual = "250 2.1.5 recipient ok" if self.sender else "503 5.5.1 no sender"
        if await self.say("rcpt", line, usual) == b"2" and self.sender:
            self.rcpts.append(line)

    async def data(self, line: str) -> None:
        """The content, to the final dot."""
        if await self.say("data", line, "354 go ahead" if self.rcpts else "503 5.5.1 no valid recipients") != b"3":
            return
        lines = list[bytes]()
        while not lines or lines[-1] != b".\r\n":
            lines.append(await self.reader.readline())
            if not lines[-1]:
                raise _Gone
        self.content = b"".join(line.removeprefix(b".") for line in lines[:-1])
        await self.end("dot", ".")

    async def bdat(self, line: str) -> None:
        """A chunk."""
        words = line.split()
        self.content += await self.reader.readexactly(int(words[1]))
        self.chunks += 1
        if words[-1].upper() == "LAST":
            await self.end("bdat", line)
        elif await self.say("bdat", line, "250 2.0.0 chunk taken") != b"2":
            self.forget()

    async def end(self, step: str, line: str) -> None:
        """The message is here. It is taken unless the words refuse it, also when the answer is lost."""
        said = self.server.answer(step, line, "250 2.0.0 taken" if self.rcpts else "503 5.5.1 no valid recipients")
        if self.rcpts and said.octets[:1] not in (b"4", b"5"):
            message = Taken(self.sender, tuple(self.rcpts), self.content, self.secure, self.number, self.chunks)
            self.server.taken.append(message)
            self.server.came.set()
        self.forget()
        await self.speak(said)

    async def rset(self, line: str) -> None:
        """No transaction."""
        self.forget()
        await self.say("rset", line, "250 2.0.0 ok")

    async def helo(self, line: str) -> None:
        """No offers."""
        await self.say("helo", line, "250 sink.test")

    async def noop(self, line: str) -> None:
        """Nothing."""
        await self.say("noop", line, "250 2.0.0 ok")

    async def quit(self, line: str) -> None:
        """Goodbye."""
        await self.say("quit", line, "221 2.0.0 bye")
        raise _Gone

    async def other(self, line: str) -> None:
        """No command."""
        await self.say("other", line, "500 5.5.2 what?")


_STEPS: dict[str, Callable[[_Session, str], Coroutine[Any, Any, None]]] = {
    "EHLO": _Session.ehlo,
    "HELO": _Session.helo,
    "STARTTLS": _Session.starttls,
    "AUTH": _Session.auth,
    "MAIL": _Session.mail,
    "RCPT": _Session.rcpt,
    "DATA": _Session.data,
    "BDAT": _Session.bdat,
    "RSET": _Session.rset,
    "NOOP": _Session.noop,
    "QUIT": _Session.quit,
}


@contextlib.asynccontextmanager
async def sink(
    plan: Plan | None = None,
    offers: Sequence[str] = OFFERS,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    *,
    implicit: bool = False,
    port: int = 0,
) -> AsyncIterator[Sink]:
    """A server on a free port, if none is named. `tls` makes it offer STARTTLS; `implicit` begins with TLS instead."""
    server = Sink(dict(plan or {}), tuple(offers), tls, host)
    sessions: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        sessions.add(task)
        server.open += 1
        try:
            await _Session(server, reader, writer).run()
        except (_Gone, OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            pass
        finally:
            server.open -= 1
            sessions.discard(task)
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 0.5)

    listener = await asyncio.start_server(serve, host, port, limit=LINE, ssl=tls if implicit else None)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(sessions):
            task.cancel()
        if sessions:
            await asyncio.wait(sessions, timeout=5)
        await listener.wait_closed()
