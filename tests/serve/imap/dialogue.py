"""A client on loopback that talks to one IMAP session. For the tests of serve/imap."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator

from posthouse.net.link import Link, LinkLimits, open_link
from posthouse.serve.imap.session import session
from posthouse.serve.limits import ImapSessionLimits
from posthouse.serve.login import Door
from posthouse.transport.house import House

PATIENCE = 60.0  # seconds for one line
LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")

MESSAGE = (
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\r\nFrom: Fred Foobar <foobar@Blurdybloop.example>\r\n"
    b"Subject: afternoon meeting\r\nTo: mooch@owatagu.siam.edu.example\r\n"
    b"Message-Id: <B27397-0100000@Blurdybloop.example>\r\n\r\nHello Joe, do you think we can meet at 3:30?\r\n"
)


class Client:
    """The client's end. `link` and `task` are the server's; `last` is the tagged line of the last command."""

    link: Link
    task: "asyncio.Task[None]"
    greeting: bytes

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.count = 0
        self.last = b""

    async def response(self) -> bytes:
        """One whole response with its literals, without the last CRLF; b"" when the server has closed."""
        async with asyncio.timeout(PATIENCE):
            line = await self.reader.readline()
            while found := LITERAL.search(line):
                line += await self.reader.readexactly(int(found[1])) + await self.reader.readline()
        return line.removesuffix(b"\r\n")

    async def until(self, tag: bytes) -> list[bytes]:
        """The untagged responses before the tagged one, which goes to `last`."""
        untagged = []
        while (line := await self.response()).partition(b" ")[0] != tag:
            assert line, (tag, untagged)
            untagged.append(line)
        self.last = line.removeprefix(tag + b" ")
        return untagged

    def write(self, command: bytes | str) -> bytes:
        """Send a command; its tag."""
        self.count += 1
        tag = b"t%d" % self.count
        octets = command.encode() if isinstance(command, str) else command
        self.writer.write(tag + b" " + octets + b"\r\n")
        return tag

    async def do(self, command: bytes | str) -> list[bytes]:
        """Send a command; its untagged responses. It must be OK."""
        untagged = await self.until(self.write(command))
        assert self.last.startswith(b"OK"), self.last
        return untagged

    async def fails(self, command: bytes | str) -> bytes:
        """Send a command; the tagged NO or BAD."""
        await self.until(self.write(command))
        assert self.last.startswith((b"NO", b"BAD")), self.last
        return self.last

    async def append(self, message: bytes = MESSAGE, mailbox: str = "INBOX", flags: str = "") -> None:
        """APPEND with a non-synchronizing literal."""
        options = f"({flags}) " if flags else ""
        await self.do(b"APPEND %b %b{%d+}\r\n%b" % (mailbox.encode(), options.encode(), len(message), message))

    async def closed(self) -> bool:
        """Whether the server says nothing more and closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""


@contextlib.asynccontextmanager
async def connect(
    house: House,
    door: Door,
    *,
    user: str | None = "anna@home.test",
    limits: ImapSessionLimits | None = None,
    link: LinkLimits | None = None,
) -> AsyncIterator[Client]:
    """A session on loopback and a client that has read its greeting, and has logged in unless `user` is None."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        accepted, _ = await loop.sock_accept(listener)
    client = Client(reader, writer)
    client.link = await open_link(accepted, limits=link or LinkLimits())
    client.task = asyncio.create_task(session(client.link, house, door, limits))
    try:
        client.greeting = await client.response()
        if user is not None:
            await client.do(f'LOGIN {user} "correct horse"')
        yield client
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([client.task])
            await client.link.wait_closed()  # a socket left to the garbage collector is blamed on another test
        if not client.task.cancelled():
            client.task.result()
