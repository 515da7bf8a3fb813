"""A client on loopback that talks to one POP3 session. For the tests of serve/pop3."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from posthouse.net.link import Link, LinkLimits, open_link
from posthouse.serve.limits import Pop3SessionLimits
from posthouse.serve.login import Door
from posthouse.serve.pop3.session import session
from posthouse.store import accounts, emails, mailboxes
from posthouse.store.mailboxes import Box
from posthouse.store.script import Script
from posthouse.store.store import Store
from posthouse.transport.house import House
from store_rig import address, new_email

PATIENCE = 60.0  # seconds for one answer
USUAL = LinkLimits()
LETTER = b"From: eve@far.test\r\nSubject: number %d\r\n\r\nHello.\r\n"


class Client:
    """The client's end. `link` and `task` are the server's."""

    link: Link
    task: "asyncio.Task[None]"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, octets: bytes) -> None:
        """Send."""
        self.writer.write(octets)

    async def line(self) -> bytes:
        """The next line without its end; b"" when the server has closed."""
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readline()).removesuffix(b"\r\n")

    async def say(self, command: str) -> bytes:
        """Send a command; the first line of the answer."""
        self.write(command.encode() + b"\r\n")
        return await self.line()

    async def lines(self, command: str) -> bytes:
        """The rest of a multi-line answer, as it came, without its dot."""
        first = await self.say(command)
        assert first.startswith(b"+OK"), first
        return await self.rest()

    async def rest(self) -> bytes:
        """What follows up to the dot."""
        got = b""
        while (line := await self.line()) != b".":
            got += line.removeprefix(b".") + b"\r\n"
        return got

    async def closed(self) -> bool:
        """Whether the server says nothing more and closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""


@contextlib.asynccontextmanager
async def connect(
    house: House,
    door: Door,
    user: str | None = "anna@home.test",
    limits: Pop3SessionLimits | None = None,
    link_limits: LinkLimits = USUAL,
    greeted: bool = True,
) -> AsyncIterator[Client]:
    """A client that is greeted and, unless `user` is None, logged in; neither where it is not `greeted`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    link = await open_link(theirs, limits=link_limits)
    task = asyncio.create_task(session(link, house, door, limits))
    client = Client(*await asyncio.open_connection(sock=ours, limit=1 << 24))
    client.link, client.task = link, task
    try:
        if greeted:
            assert (await client.line()).startswith(b"+OK")
        if greeted and user is not None:
            assert (await client.say(f"USER {user}")).startswith(b"+OK")
            answer = await client.say("PASS correct horse")
            assert answer.startswith(b"+OK"), answer
        yield client
    finally:
        client.writer.close()
        async with asyncio.timeout(PATIENCE):
            await task
            await link.wait_closed()


async def inbox_of(store: Store, user: str = "anna@home.test") -> Box:
    """Somebody's INBOX."""
    login = await store.read(accounts.find_login, address(user))
    assert login is not None
    row = await store.read(mailboxes.find, login.account, "INBOX")
    assert row is not None
    return row.box


async def fill(store: Store, *octets: bytes) -> Box:
    """Put messages into Anna's INBOX."""
    box = await inbox_of(store)
    await store.run(emails.add, box, [new_email(store, one) for one in octets])
    return box


def uids(box: Box) -> Script[list[int]]:
    """What is there."""
    return list((yield from emails.uids(box)))
