"""Plays tests/transcripts/pop3: against real sessions whole, octet by octet, cut at random; and against real workers.

`given INBOX: NAME.eml …` puts messages of tests/transcripts/imap/mail or pop3/mail there. Clients are logged in as a
user of their own unless the transcript says `given user: none`; `given tls: yes` begins in plain text where STLS is
offered and passwords are not taken before it.
"""

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import Stream, memory_link
from household import ANNA, HOSTNAME, NOW, PASSWORD, open_store
from posthouse.mail.address import Address
from posthouse.net.authority import self_signed
from posthouse.net.link import Link
from posthouse.net.tls import load
from posthouse.serve.limits import PeerLimits, Peers
from posthouse.serve.login import Door
from posthouse.serve.pop3.session import session
from posthouse.store import accounts, emails, mailboxes
from posthouse.store.accounts import Login
from posthouse.store.emails import NewEmail
from posthouse.store.script import Script
from posthouse.store.store import SyncStore
from posthouse.transport.house import House
from stage import dial, own_user, real_program
from store_rig import new_email
from system.running import Running
from transcript import Cut, at_random, octet_by_octet, read_transcript, run_transcript, whole

FOLDER = Path(__file__).parent / "transcripts"
TRANSCRIPTS = sorted((FOLDER / "pop3").glob("*.txt"))
SEED = 20
# UIDVALIDITY comes from the clock; everything else is the same however the client's octets are cut.
UIDVALIDITY = re.compile(rb"(\+OK \d+|^\d+) \d+\.(\d+)\r$", re.MULTILINE)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server context with a certificate of its own."""
    return load(self_signed(tmp_path_factory.mktemp("tls"), HOSTNAME))


async def no_sleep(seconds: float) -> None:
    """A refusal that does not keep tests waiting."""


def messages(given: dict[str, str]) -> list[bytes]:
    """The octets of the given messages."""
    places = (FOLDER / "pop3" / "mail", FOLDER / "imap" / "mail")
    paths = [next(p / name for p in places if (p / name).exists()) for name in given.get("INBOX", "").split()]
    return [path.read_bytes().replace(b"\n", b"\r\n") for path in paths]


def deliver(login: Login, news: list[NewEmail]) -> Script[None]:
    """Put them into somebody's INBOX."""
    row = yield from mailboxes.find(login.account, "INBOX")
    assert row is not None
    yield from emails.add(row.box, news)


@asynccontextmanager
async def home(folder: Path, given: dict[str, str], tls: ssl.SSLContext) -> AsyncIterator[tuple[House, Door]]:
    """A new house for one performance, with the given messages in it."""
    store = await open_store(folder)
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    if news := [new_email(store, octets) for octets in messages(given)]:
        await store.run(deliver, login, news)
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32, sleep=no_sleep)
    house = House(store, HOSTNAME, lambda: NOW, allow_plaintext_login=True)
    try:
        yield (replace(house, tls=tls, allow_plaintext_login=False) if "tls" in given else house), door
    finally:
        door.close()
        await store.close()


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript(path: Path, tmp_path: Path, tls: ssl.SSLContext) -> None:
    """The session says the same, wherever the client's octets are cut."""
    given = dict(read_transcript(path).given)
    said = []
    for number, cut in enumerate(cuts(given)):
        async with home(tmp_path / str(number), given, tls) as (house, door):

            def serve(link: Link, house: House = house, door: Door = door) -> Coroutine[Any, Any, None]:
                return session(link, house, door)

            async with memory_link(serve) as connect:
                said.append(await run_transcript(path, prepared(connect, given, ANNA), cut))
    masked = [{ear: UIDVALIDITY.sub(rb"\1 n.\2", octets) for ear, octets in one.items()} for one in said]
    assert masked[1:] == masked[:-1]


def cuts(given: dict[str, str]) -> list[Cut]:
    """What depends on how octets arrive together can be played in one way only, and says so."""
    return [whole] if given.get("cut") == "whole" else [whole, octet_by_octet, at_random(SEED)]


def prepared(
    connect: Callable[[], Awaitable[Stream]], given: dict[str, str], user: Address
) -> Callable[[], Awaitable[Stream]]:
    """A `connect` whose clients are logged in."""
    if given.get("user") == "none":
        return connect

    async def logged_in() -> Stream:
        stream = await connect()
        for line in ("", f"USER {user}\r\n", f"PASS {PASSWORD}\r\n"):
            await stream.write(line.encode())
            heard = b""
            while not heard.endswith(b"\r\n"):
                heard += (octets := await stream.read())
                assert octets, heard
            assert heard.startswith(b"+OK"), heard
        return stream

    return logged_in


def deliver_all(store: SyncStore) -> None:
    """What the transcripts are given."""
    for path in TRANSCRIPTS:
        login = store.read(accounts.find_login, own_user(path))
        assert login is not None
        if news := [new_email(store, one) for one in messages(dict(read_transcript(path).given))]:
            store.run(deliver, login, news)


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real program, with the messages that the transcripts are given."""
    with real_program(tmp_path_factory.mktemp("posthouse"), TRANSCRIPTS, deliver_all) as running:
        yield running


@pytest.mark.xdist_group("transcripts-pop3")  # one server for all
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript_against_a_real_worker(path: Path, posthouse: Running) -> None:
    """The same over a socket, under TLS unless the transcript begins without."""
    given = dict(read_transcript(path).given)

    async def connect() -> Stream:
        plain = "tls" in given
        return await dial(posthouse.ports.pop3 if plain else posthouse.ports.pop3s, tls=not plain)

    await run_transcript(path, prepared(connect, given, own_user(path)), whole)
