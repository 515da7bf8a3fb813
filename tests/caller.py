"""A client on loopback that talks to one SMTP session, line by line. For the tests of serve."""

import asyncio
import contextlib
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence

from household import ANNA, PASSWORD
from posthouse.net.link import Link, open_link
from posthouse.serve.limits import SessionLimits
from posthouse.serve.login import Door
from posthouse.serve.smtp.session import session
from posthouse.transport.house import House, SmtpRole

MESSAGE = b"From: ben@work.test\r\nTo: anna@home.test\r\nSubject: Hello\r\n\r\nHow are you?"
PATIENCE = 60.0  # seconds for one answer; tests of time-outs use limits of a fraction of a second


class Caller:
    """The client's end. `link` and `task` are the server's."""

    greeting: str
    link: Link
    task: asyncio.Task[None]

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> list[str]:
        """The lines of one reply; [] when the server has closed."""
        lines: list[str] = []
        while True:
            async with asyncio.timeout(PATIENCE):
                line = (await self.reader.readline()).decode("ascii")
            if not line:
                return lines
            assert line.endswith("\r\n"), line
            lines.append(line[:-2])
            if line[3:4] != "-":
                return lines

    async def say(self, *lines: str) -> str:
        """Send lines in one write, and give the reply to the first of them as text."""
        self.write(*lines)
        return "\n".join(await self.reply())

    def write(self, *lines: str) -> None:
        """Send lines in one write."""
        self.octets("".join(line + "\r\n" for line in lines).encode("utf-8"))

    def octets(self, octets: bytes) -> None:
        """Send octets."""
        self.writer.write(octets)

    async def begin(self, sender: str = "ben@work.test", recipients: Sequence[str] = ("anna@home.test",)) -> None:
        """EHLO, MAIL, RCPT; all must be accepted."""
        for line in ("EHLO client.test", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{path}>" for path in recipients)):
            answer = await self.say(line)
            assert answer.startswith("250"), (line, answer)

    async def message(self, octets: bytes) -> str:
        """DATA and a message (dots are the caller's business); the last reply."""
        answer = await self.say("DATA")
        assert answer.startswith("354"), answer
        self.octets(octets + b"\r\n.\r\n")
        return "\n".join(await self.reply())

    async def closed(self) -> bool:
        """Whether the server says nothing more and closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""

    async def start_tls(self) -> None:
        """Do the client's side of the handshake; the certificate is not checked."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await self.writer.start_tls(context)


@contextlib.asynccontextmanager
async def call(
    house: House, door: Door, role: SmtpRole = SmtpRole.MX, limits: SessionLimits | None = None
) -> AsyncIterator[Caller]:
    """A session on loopback and a client that has read its greeting. The session must have ended well."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        accepted, _ = await loop.sock_accept(listener)
    tls = house.tls if role is SmtpRole.SUBMISSIONS else None
    caller = Caller(reader, writer)
    opening = asyncio.create_task(open_link(accepted, tls))
    if tls is not None:
        await caller.start_tls()
    link = await opening
    task = asyncio.create_task(session(link, house, door, role, limits))
    try:
        greeting = await caller.reply()
        assert greeting, "no greeting"
        caller.greeting = greeting[0]
        caller.link = link
        caller.task = task
        yield caller
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([task])
            await link.wait_closed()  # a socket left to the garbage collector is blamed on another test
        if not task.cancelled():
            task.result()


def plain(name: str = str(ANNA), password: str = PASSWORD) -> str:
    return b64encode(f"\0{name}\0{password}".encode()).decode()


async def log_in(caller: Caller, name: str = str(ANNA)) -> None:
    await caller.say("EHLO client.test")
    answer = await caller.say(f"AUTH PLAIN {plain(name)}")
    assert answer.startswith("235 2.7.0"), answer
