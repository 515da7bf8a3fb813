"""Mail to a server that is found and judged by a real DNS: NSD, Unbound that validates, TLSA (RFC 7672 §2, §3)."""

import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fakes import START
from posthouse.mail.address import Domain
from posthouse.mail.outcome import Action, Outcome
from posthouse.net.authority import self_signed
from posthouse.net.dns import NetworkResolver
from posthouse.net.reach import networks
from posthouse.net.tls import load
from posthouse.outgoing import dane
from posthouse.transport.connection import Sending
from posthouse.transport.mailhosts import Lookup
from posthouse.transport.send import Sender
from posthouse.transport.targets import Routing, find_targets
from posthouse.trust.dane import public_key
from sink import Sink, sink
from system.nameserver import Zone, real_dns
from transport.sending import MESSAGE, Item, item, seconds


def own_certificate(folder: Path) -> tuple[ssl.SSLContext, bytes]:
    """A server's context, and the certificate in it, DER."""
    files = self_signed(folder, "mx.test")
    pem = files.certificate.read_bytes()
    return load(files), x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def zones(server: Sink, certificate: bytes) -> dict[str, Zone]:
    key = public_key(certificate)
    assert key is not None
    good, bad = hashlib.sha256(key).hexdigest(), "00" * 32
    text = "@ MX 10 mx\nmx A 127.0.0.1\n"
    tlsa = f"_{server.port}._tcp.mx TLSA 3 1 1 "
    return {
        "good.test": Zone(text + tlsa + good, signed=True),
        "wrong.test": Zone(text + tlsa + bad, signed=True),
        "rolling.test": Zone(f"{text}{tlsa}{bad}\n{tlsa}{good}", signed=True),
        "useless.test": Zone(f"{text}_{server.port}._tcp.mx TLSA 0 0 1 {bad}", signed=True),
        "none.test": Zone(text, signed=True),
        "plain.test": Zone(text + tlsa + bad),
        "bogus.test": Zone(text + tlsa + good, broken=True),
    }


@contextlib.asynccontextmanager
async def house(folder: Path, server: Sink, certificate: bytes) -> AsyncIterator[Sender]:
    async with real_dns(folder, zones(server, certificate)) as nameserver:
        resolver = NetworkResolver(lambda: (nameserver,))
        routing = Routing(Lookup(resolver, allowed=networks(["127.0.0.0/8"])), port=server.port)
        sending = Sending("us.test", seconds(), dane(lambda: START))
        sender = Sender(partial(find_targets, routing=routing), sending, lambda: START)
        yield sender
        await sender.close()
        await resolver.close()


async def mail_to(sender: Sender, domain: str) -> Outcome:
    [outcome] = await sender.attempt(Item(item().envelope, Domain(domain)), MESSAGE)
    return outcome


async def test_mail_by_dane(tmp_path: Path) -> None:
    context, certificate = own_certificate(tmp_path)
    async with sink(tls=context) as server, house(tmp_path, server, certificate) as sender:
        for domain, worth in [
            ("good.test", "dane"),
            ("rolling.test", "dane"),
            ("useless.test", "unverified"),
            ("none.test", "unverified"),
            ("plain.test", "unverified"),
        ]:
            outcome = await mail_to(sender, domain)
            assert outcome.action is Action.RELAYED, (domain, outcome)
            assert outcome.tls.endswith(worth), (domain, outcome)
        wrong = await mail_to(sender, "wrong.test")
        assert (wrong.action, wrong.where) == (Action.DELAYED, "tls")
        assert "DANE of mx.wrong.test" in wrong.reason
        bogus = await mail_to(sender, "bogus.test")
        assert (bogus.action, bogus.where, str(bogus.status)) == (Action.DELAYED, "dns", "4.4.3")
        missing = await mail_to(sender, "no.good.test")
        assert (missing.action, str(missing.status)) == (Action.FAILED, "5.1.2")
        assert len(server.taken) == 5


@pytest.mark.parametrize("domain", ["good.test", "useless.test"])
async def test_no_tls_where_records_ask_for_it(tmp_path: Path, domain: str) -> None:
    """RFC 7672 §2.2: also records that cannot be used ask for encryption."""
    _, certificate = own_certificate(tmp_path)
    async with sink() as server, house(tmp_path, server, certificate) as sender:
        outcome = await mail_to(sender, domain)
        assert (outcome.action, outcome.where) == (Action.DELAYED, "tls")
        assert server.taken == []
        assert (await mail_to(sender, "none.test")).action is Action.RELAYED
