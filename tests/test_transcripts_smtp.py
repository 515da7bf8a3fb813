"""Plays tests/transcripts/smtp against sessions, whole, octet by octet and cut at random, and against real workers."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import SocketStream, Stream, memory_link
from household import HOSTNAME, NOW, everybody, open_store
from posthouse.net.authority import self_signed
from posthouse.net.link import Link
from posthouse.net.tls import load
from posthouse.serve.limits import PeerLimits, Peers, SessionLimits
from posthouse.serve.login import Door
from posthouse.serve.smtp.session import session
from posthouse.store.store import open_sync
from posthouse.transport.house import House, SmtpRole
from system.running import Running
from transcript import Cut, at_random, octet_by_octet, read_transcript, run_transcript, whole

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts" / "smtp").glob("*.txt"))
SEED = 20
# Patience has tests of its own; here every mistake has its answer, at once. (The settings end with [limits.peer].)
PATIENT = """
refusal_seconds = 0.1

[limits.session]
soft_errors = 1000
hard_errors = 1000
"""


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server context with a certificate of its own."""
    return load(self_signed(tmp_path_factory.mktemp("tls"), HOSTNAME))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house with anna@home.test and ben@work.test in it."""
    store = await open_store(tmp_path / "store")
    yield House(store, HOSTNAME, lambda: NOW)
    await store.close()


async def no_sleep(seconds: float) -> None:
    """A refusal that does not keep tests waiting."""


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript(path: Path, house: House, tls: ssl.SSLContext) -> None:
    """The session says the same, wherever the client's octets are cut."""
    given = dict(read_transcript(path).given)
    role = SmtpRole(given.get("role", "mx"))
    house = replace(house, tls=tls)
    if role is SmtpRole.SUBMISSIONS:  # under TLS, but the link of a test has none
        house = replace(house, tls=None, allow_plaintext_login=True)
    limits = SessionLimits(soft_errors=1_000, hard_errors=1_000)
    door = Door(house.store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32, sleep=no_sleep)

    def serve(link: Link) -> Coroutine[Any, Any, None]:
        return session(link, house, door, role, limits)

    said = []
    try:
        for cut in cuts(given):
            async with memory_link(serve) as connect:
                said.append(await run_transcript(path, connect, cut))
    finally:
        door.close()
    assert said[1:] == said[:-1]


def cuts(given: dict[str, str]) -> list[Cut]:
    """What depends on how octets arrive together can be played in one way only, and says so."""
    return [whole] if given.get("cut") == "whole" else [whole, octet_by_octet, at_random(SEED)]


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real program with two workers, and the same people in it."""
    running = Running(tmp_path_factory.mktemp("posthouse"))
    running.settings.write_text(running.settings.read_text() + PATIENT)
    with open_sync(running.data) as store:
        store.run(everybody)
    running.start()
    yield running
    assert running.stop() == 0, running.log.read_text()[-4000:]


@pytest.mark.xdist_group("transcripts-smtp")  # one server for all
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript_against_a_real_worker(path: Path, posthouse: Running) -> None:
    """The same over a socket, with TLS where the port has it."""
    role = SmtpRole(dict(read_transcript(path).given).get("role", "mx"))
    await run_transcript(path, dial(posthouse, role), whole)


def dial(posthouse: Running, role: SmtpRole) -> Callable[[], Awaitable[Stream]]:
    """How to reach a role of the running program."""
    ports = {
        SmtpRole.MX: posthouse.ports.smtp,
        SmtpRole.SUBMISSION: posthouse.ports.submission,
        SmtpRole.SUBMISSIONS: posthouse.ports.submissions,
    }

    async def connect() -> Stream:
        sock = socket.socket(socket.AF_UNIX if role is SmtpRole.LMTP else socket.AF_INET)
        sock.setblocking(False)
        where = str(posthouse.lmtp) if role is SmtpRole.LMTP else ("127.0.0.1", ports[role])
        await asyncio.get_running_loop().sock_connect(sock, where)
        stream = SocketStream(sock)
        if role is SmtpRole.SUBMISSIONS:
            await stream.starttls()
        return stream

    return connect
