"""Plays tests/transcripts/imap: against real sessions whole, octet by octet, cut at random; and against real workers.

In clients/ stand the dialogues of known mail programs, from the login on (docs/quirks.md).

`given MAILBOX: NAME.eml:seen+flagged …` puts messages of tests/transcripts/imap/mail there. Clients are logged in as a
user of their own unless the transcript says `given user: none`; `given tls: yes` begins in plain text where STARTTLS is
offered and passwords are not taken before it; with `given administrator: yes` this user may set quotas.
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
from posthouse.serve.imap.session import session
from posthouse.serve.limits import PeerLimits, Peers
from posthouse.serve.login import Door
from posthouse.transport.house import House, QuotaPolicy
from stage import dial, own_user, real_program
from system.running import Running
from transcript import Cut, at_random, octet_by_octet, read_transcript, run_transcript, whole

FOLDER = Path(__file__).parent / "transcripts" / "imap"
TRANSCRIPTS = sorted(FOLDER.rglob("*.txt"))
SEED = 20
OPTIONS = ("user", "tls", "cut", "administrator")
# These numbers come from the clock; everything else is the same however the client's octets are cut.
UIDVALIDITY = re.compile(rb"((?:UIDVALIDITY|APPENDUID|COPYUID)[ =])\d+")
RECEIVED = b'"14-Nov-2023 22:13:20 +0000"'


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server context with a certificate of its own."""
    return load(self_signed(tmp_path_factory.mktemp("tls"), HOSTNAME))


async def no_sleep(seconds: float) -> None:
    """A refusal that does not keep tests waiting."""


@asynccontextmanager
async def home(folder: Path, given: dict[str, str], tls: ssl.SSLContext) -> AsyncIterator[tuple[House, Door]]:
    """A new house for one performance."""
    store = await open_store(folder)
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32, sleep=no_sleep)
    house = House(store, HOSTNAME, lambda: NOW, allow_plaintext_login=True)
    if "administrator" in given:
        house = replace(house, quota=QuotaPolicy(administrators=frozenset({str(ANNA)})))
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
                said.append(await run_transcript(path, await prepared(connect, given, ANNA), cut))
    masked = [{ear: UIDVALIDITY.sub(rb"\1n", octets) for ear, octets in one.items()} for one in said]
    assert masked[1:] == masked[:-1]


def cuts(given: dict[str, str]) -> list[Cut]:
    """What depends on how octets arrive together can be played in one way only, and says so."""
    return [whole] if given.get("cut") == "whole" else [whole, octet_by_octet, at_random(SEED)]


async def prepared(
    connect: Callable[[], Awaitable[Stream]], given: dict[str, str], user: Address
) -> Callable[[], Awaitable[Stream]]:
    """A `connect` whose clients are logged in, with the given messages in place."""
    if given.get("user") == "none":
        return connect

    async def logged_in() -> Stream:
        stream = await connect()
        await answer(stream, b"* OK")
        await stream.write(f'login LOGIN {user} "{PASSWORD}"\r\n'.encode())
        await answer(stream, b"login OK")
        return stream

    stream = await logged_in()
    for mailbox, names in given.items():
        for name in names.split() if mailbox not in OPTIONS else ():
            file, _, flags = name.partition(":")
            await stream.write(append(mailbox, (FOLDER / "mail" / file).read_bytes(), flags))
            await answer(stream, b"append OK")
    await stream.close()
    return logged_in


def append(mailbox: str, message: bytes, flags: str) -> bytes:
    """An APPEND of a file with LF line ends and flags such as `seen+$Forwarded`."""
    octets = message.replace(b"\n", b"\r\n")
    spelled = " ".join(flag if flag.startswith("$") else "\\" + flag for flag in flags.split("+") if flag)
    head = f"append APPEND {mailbox} ({spelled}) {RECEIVED.decode()} {{{len(octets)}+}}\r\n"
    return head.encode() + octets + b"\r\n"


async def answer(stream: Stream, beginning: bytes) -> None:
    """Read up to the end of the line that begins so."""
    heard = b""
    while not any(line.startswith(beginning) for line in heard.split(b"\r\n")[:-1]):
        octets = await stream.read()
        assert octets, heard
        heard += octets
    assert heard.endswith(b"\r\n")


@pytest.fixture(scope="module")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real program."""
    with real_program(tmp_path_factory.mktemp("posthouse"), TRANSCRIPTS) as running:
        yield running


@pytest.mark.xdist_group("transcripts-imap")  # one server for all
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript_against_a_real_worker(path: Path, posthouse: Running) -> None:
    """The same over a socket, under TLS unless the transcript begins without."""
    given = dict(read_transcript(path).given)

    async def connect() -> Stream:
        plain = "tls" in given
        return await dial(posthouse.ports.imap if plain else posthouse.ports.imaps, tls=not plain)

    await run_transcript(path, await prepared(connect, given, own_user(path)), whole)
