"""Plays tests/transcripts/smtp against real sessions, whole, octet by octet, and cut at random."""

import ssl
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import memory_link
from household import HOSTNAME, NOW, open_store
from posthouse.net.link import Link
from posthouse.net.tls import load, self_signed
from posthouse.serve.limits import PeerLimits, Peers, SessionLimits
from posthouse.serve.login import Door
from posthouse.serve.smtp import session
from posthouse.transport.house import House, SmtpRole
from transcript import at_random, octet_by_octet, read_transcript, run_transcript, whole

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts" / "smtp").glob("*.txt"))
SEED = 20


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
    offered = tls if role is SmtpRole.SUBMISSION and "plaintext" not in given else None
    house = replace(house, tls=offered, allow_plaintext_login="plaintext" in given)
    # Patience has tests of its own; here every mistake has its answer.
    limits = SessionLimits(soft_errors=1_000, hard_errors=1_000)
    door = Door(house.store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32, sleep=no_sleep)

    def serve(link: Link) -> Coroutine[Any, Any, None]:
        return session(link, house, door, role, limits)

    # What depends on how octets arrive together can be played in one way only, and says so.
    cuts = [whole] if given.get("cut") == "whole" else [whole, octet_by_octet, at_random(SEED)]
    said = []
    try:
        for cut in cuts:
            async with memory_link(serve) as connect:
                said.append(await run_transcript(path, connect, cut))
    finally:
        door.close()
    assert said[1:] == said[:-1]
