"""transport/send.py hands mail over to a real Postfix, which passes it on to a sink: every octet arrives."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from freeports import free_ports
from posthouse.mail.address import Address, Domain, ForwardPath
from posthouse.mail.envelope import Envelope, Notify, Recipient
from posthouse.mail.outcome import Action, Outcome
from posthouse.net.chain import dane_verified
from posthouse.transport.connection import Sending, SendLimits
from posthouse.transport.target import Target, TlsDemand, TlsLevel
from posthouse.trust.resolver import Tlsa
from sink import Sink, sink
from system.postfix import Postfix, postfix
from transport.sending import ANNA, Item, brief, item, rig, to

SERVICES = {
    "mx": {"smtpd_tls_security_level": "none"},
    "tls": {},
    "one by one": {"smtpd_tls_security_level": "none", "smtpd_discard_ehlo_keywords": "chunking, pipelining"},
    "old": {"smtpd_discard_ehlo_keywords": "chunking, 8bitmime, smtputf8, dsn, starttls"},
    "hasty": {"smtpd_timeout": "3s", "smtpd_tls_security_level": "none"},
    "few": {"smtpd_recipient_limit": "2", "smtpd_tls_security_level": "none"},
    "refusing": {"smtpd_client_restrictions": "reject", "smtpd_delay_reject": "no"},
}
RELAYED = Action.RELAYED
ANY_TLS = TlsDemand()
MESSAGES = {
    "small": b"Subject: small\r\n\r\n.dot\r\n..\r\nbye\r\n",
    "eight bit": b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    b"\r\n\xc3\xbc\r\n",
    "large": b"Subject: large\r\n\r\n" + (b"." * 60 + b"\r\n") * 80_000,
}


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Postfix, int]]:
    """One Postfix for all, and the port that it passes mail on to."""
    [onward] = free_ports(1)
    with postfix(onward, SERVICES) as server:
        yield server, onward


@pytest.fixture
async def world(running: tuple[Postfix, int]) -> AsyncIterator[tuple[Postfix, Sink]]:
    """Postfix, and the sink behind it."""
    async with sink(port=running[1]) as behind:
        yield running[0], behind


async def arrived(behind: Sink, count: int) -> list[bytes]:
    """What Postfix has passed on, without the trace field that it puts in front."""
    octets = [one.octets for one in await behind.arrivals(count)]
    return [one[one.index(b"\r\n", one.index(b";")) + 2 :] for one in octets]


def at(server: Postfix, service: str, demand: TlsDemand = ANY_TLS) -> Target:
    """One of its ports."""
    return Target("postfix.test", ("127.0.0.1",), server.ports[service], tls=demand)


async def sent(target: Target, one: Item, octets: bytes = MESSAGES["small"]) -> tuple[Outcome, ...]:
    """One attempt."""
    async with rig(target, limits=SendLimits()) as ours:
        return await ours.send(one, octets)


@pytest.mark.parametrize("service", ["mx", "tls", "one by one"])
@pytest.mark.parametrize("name", MESSAGES)
async def test_every_octet_arrives(world: tuple[Postfix, Sink], service: str, name: str) -> None:
    server, behind = world
    async with rig(at(server, service), limits=SendLimits()) as ours:
        for _ in range(3):  # the first alone, the next over a connection that is used again
            outcome = await ours.outcome(MESSAGES[name])
            assert brief([outcome]) == [(RELAYED, "dot", "2.0.0")], outcome
            assert outcome.tls.startswith("TLSv1.3") == (service == "tls")
            assert outcome.dsn
    assert await arrived(behind, 3) == [MESSAGES[name]] * 3


async def test_each_recipient_for_itself(world: tuple[Postfix, Sink]) -> None:
    server, behind = world
    for service in ("mx", "one by one", "old"):
        outcomes = await sent(at(server, service), item("ben", "nobody", "dora", "carl"))
        assert brief(outcomes) == [
            (RELAYED, "dot", "2.0.0"),
            (Action.FAILED, "rcpt", "5.1.1"),
            (Action.DELAYED, "rcpt", "4.2.0"),
            (RELAYED, "dot", "2.0.0"),
        ]
        await arrived(behind, 1)


async def test_nobody_is_taken(world: tuple[Postfix, Sink]) -> None:
    server, _ = world
    async with rig(at(server, "mx"), limits=SendLimits()) as ours:
        for _ in range(3):
            assert brief(await ours.send(item("nobody"))) == [(Action.FAILED, "rcpt", "5.1.1")]
    assert server.log().count("disconnect from") >= 1


async def test_a_server_that_takes_seven_bits(world: tuple[Postfix, Sink]) -> None:
    """RFC 6152 §3."""
    server, behind = world
    [outcome] = await sent(at(server, "old"), item(), MESSAGES["eight bit"])
    assert outcome.action is RELAYED
    assert not outcome.dsn
    [octets] = await arrived(behind, 1)
    assert octets.endswith(b"\r\nContent-Transfer-Encoding: base64\r\n\r\nw7wNCg==\r\n")


async def test_addresses_outside_ascii(world: tuple[Postfix, Sink]) -> None:
    """RFC 6531 §3.5."""
    server, behind = world
    juergen = Recipient(ForwardPath(Address("jürgen", Domain("work.test"))), frozenset({Notify.FAILURE}))
    envelope = Envelope(ANNA, (juergen, to("ben")), utf8=True)
    assert [one.action for one in await sent(at(server, "mx"), Item(envelope))] == [RELAYED, RELAYED]
    await arrived(behind, 1)
    assert brief(await sent(at(server, "old"), Item(envelope)))[0] == (Action.FAILED, "rcpt", "5.6.7")
    await arrived(behind, 1)


async def test_more_recipients_than_it_takes_at_once(world: tuple[Postfix, Sink]) -> None:
    """RFC 5321 §4.5.3.1.10."""
    server, behind = world
    twice = Item(Envelope(ANNA, tuple(map(to, ("ben", "carl", "ben", "carl", "ben")))))
    assert {one.action for one in await sent(at(server, "few"), twice)} == {RELAYED}
    await arrived(behind, 3)


async def test_too_large(world: tuple[Postfix, Sink]) -> None:
    server, _ = world
    big = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 150_000
    assert brief(await sent(at(server, "mx"), item(), big)) == [(Action.FAILED, "mail", "5.3.4")]


async def test_a_connection_that_was_idle_for_too_long_there(world: tuple[Postfix, Sink]) -> None:
    """It says 421 and closes; the next message goes over a new connection, and nobody notices."""
    server, behind = world
    async with rig(at(server, "hasty"), limits=SendLimits(idle_seconds=60)) as ours:
        assert (await ours.outcome(MESSAGES["small"])).action is RELAYED
        for _ in range(600):
            if "timeout after END-OF-MESSAGE" in server.log():
                break
            await asyncio.sleep(0.1)
        assert (await ours.outcome(MESSAGES["small"])).action is RELAYED
    await arrived(behind, 2)


async def test_it_does_not_want_to_talk(world: tuple[Postfix, Sink]) -> None:
    server, behind = world
    async with rig(at(server, "refusing"), at(server, "mx"), limits=SendLimits()) as ours:
        assert (await ours.outcome()).action is RELAYED
        await arrived(behind, 1)
        ours.targets.pop()
        outcome = await ours.outcome()
        assert (outcome.action, outcome.where) == (Action.FAILED, "greeting")


async def test_dane_and_a_certificate_that_nobody_knows(world: tuple[Postfix, Sink]) -> None:
    """RFC 7672 §3.1.1: the certificate is made by the server itself, and the DNS vouches for it."""
    server, behind = world
    der = ssl.PEM_cert_to_DER_cert(server.files.certificate.read_text())

    def judge(chain: Sequence[bytes], demand: TlsDemand) -> bool:
        return dane_verified(chain, demand.tlsa, demand.names, datetime.now(UTC))

    record = Tlsa(3, 0, 1, hashlib.sha256(der).digest())
    demand = TlsDemand(TlsLevel.DANE, ("postfix.test",), (record,), "DANE of postfix.test")
    sending = Sending("us.test", dane=judge)
    async with rig(at(server, "tls", demand), limits=SendLimits(), sending=sending) as ours:
        outcome = await ours.outcome()
        assert outcome.action is RELAYED
        assert outcome.tls.endswith(" dane")
        await arrived(behind, 1)
        wrong = replace(demand, tlsa=(record._replace(association=b"x" * 32),))
        ours.targets = [at(server, "tls", wrong)]
        assert brief([await ours.outcome()]) == [(Action.DELAYED, "tls", "4.7.5")]
        ours.targets = [at(server, "tls", TlsDemand(TlsLevel.VERIFIED, ("postfix.test",)))]
        assert brief([await ours.outcome()]) == [(Action.DELAYED, "tls", "4.7.5")]
        ours.targets = [at(server, "mx", TlsDemand(TlsLevel.ENCRYPTED))]
        assert brief([await ours.outcome()]) == [(Action.DELAYED, "tls", "4.7.4")]
