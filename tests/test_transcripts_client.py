"""Plays tests/transcripts/smtp-client, what our client says to servers: whole, octet by octet, cut at random.

`given to: ben carl` names recipients at work.test, `given message: eight-bit` a message that is not the usual, `given
tls: encrypted` the TlsLevel, `given login: user password` a login, `given messages: 2` how many are sent. `given
outcome:` stands for each recipient in order, message after message: action, where and status.
"""

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import SocketStream, Stream
from posthouse.mail.address import Address, Domain, ForwardPath
from posthouse.mail.envelope import DsnReturn, Envelope, Notify, Recipient
from posthouse.net.authority import self_signed
from posthouse.net.connect import Connected
from posthouse.net.tls import load
from posthouse.transport import send
from posthouse.transport.target import RelayLogin, Target, TlsDemand, TlsLevel
from transcript import Cut, at_random, octet_by_octet, read_transcript, run_transcript, whole
from transport.sending import ANNA, Item, rig, seconds

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts" / "smtp-client").glob("*.txt"))
SEED = 21
MESSAGES = {
    "usual": b"Subject: hello\r\n\r\n.dot\r\nbye\r\n",
    "eight-bit": b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nEin Gru\xc3\x9f an alle\r\n",
}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What the servers of the transcripts show."""
    return load(self_signed(tmp_path_factory.mktemp("tls"), "mx.test"))


def recipient(name: str, given: dict[str, str]) -> Recipient:
    """A recipient at work.test."""
    notify = frozenset({Notify.SUCCESS, Notify.FAILURE}) if "dsn" in given else None
    return Recipient(ForwardPath(Address(name, Domain("work.test"))), notify)


def item(given: dict[str, str]) -> Item:
    """What is sent."""
    names = given.get("to", "ben").split()
    envelope = Envelope(ANNA, tuple(recipient(name, given) for name in names))
    envelope = replace(envelope, utf8=not all(map(str.isascii, names)), require_tls="requiretls" in given)
    return Item(replace(envelope, ret=DsnReturn.HEADERS, envid="m+1") if "dsn" in given else envelope)


def target(given: dict[str, str]) -> Target:
    """To whom."""
    login = given.get("login", "").split()
    demand = TlsDemand(TlsLevel(given.get("tls", "opportunistic")))
    return Target("mx.test", ("192.0.2.1",), tls=demand, login=RelayLogin(*login, without_tls=True) if login else None)


@pytest.mark.parametrize("cut", [whole, octet_by_octet, at_random(SEED)], ids=["whole", "octet by octet", "at random"])
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_transcript(path: Path, cut: Cut, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client says the same, wherever the server's octets are cut, and draws the same conclusions."""
    transcript = read_transcript(path, mirrored=True)
    given = dict(transcript.given)
    called: asyncio.Queue[socket.socket] = asyncio.Queue()

    async def dial(*_: object) -> Connected:
        ours, theirs = socket.socketpair()
        called.put_nowait(theirs)
        return Connected(ours, "192.0.2.1")

    async def pick_up() -> Stream:
        return SocketStream(await called.get(), tls)

    monkeypatch.setattr(send, "connect", dial)
    async with rig(target(given), limits=seconds()) as ours:
        ours.targets = [target(given)]

        async def client() -> list[str]:
            said = []
            for _ in range(int(given.get("messages", "1"))):
                for one in await ours.send(item(given), MESSAGES[given.get("message", "usual")]):
                    said.append(f"{one.action.value} {one.where} {one.status}")
            await ours.sender.close()
            return said

        sending = asyncio.create_task(client())
        await run_transcript(path, pick_up, cut, mirrored=True)
        assert await sending == [value for key, value in transcript.given if key == "outcome"]
        assert called.empty()
