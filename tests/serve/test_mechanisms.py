"""Every SASL mechanism over IMAP, POP3 and SMTP submission, under real TLS (RFC 4422, RFC 5802, RFC 7628)."""

import asyncio
import contextlib
import json
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from certificates import Wish, client_context, issue, make_authority
from fakes import ZoneResolver
from household import ANNA
from posthouse.net.binding import Binding, client_binding, end_point
from posthouse.net.connect import Connected
from posthouse.net.https import Https, https_context
from posthouse.net.link import Link, open_link
from posthouse.net.reach import networks
from posthouse.net.tls import CertificateFiles, Certificates, ClientCertificates
from posthouse.serve.imap.session import session as imap_session
from posthouse.serve.limits import PeerLimits, Peers
from posthouse.serve.login import Door
from posthouse.serve.oauth import Provider, Tokens
from posthouse.serve.pop3.session import session as pop3_session
from posthouse.serve.smtp.session import session as smtp_session
from posthouse.store import accounts, devices
from posthouse.store.devices import Hold
from posthouse.store.store import Store
from posthouse.transport.connection import Connection, Sending, begin
from posthouse.transport.house import House, SmtpRole
from posthouse.transport.target import RelayLogin, Target, TlsDemand, TlsLevel
from posthouse.trust.tokens import Rules
from posthouse.wire.sasl import MECHANISMS
from posthouse.wire.scram_client import ScramClient
from provider import ISSUER, Signer, claims, documents
from webserver import https_server

PROTOCOLS = ("imap", "pop3", "smtp")
PASSWORD = "correct horse"
NOW = 1_800_000_000
USUAL = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN"}
SIGNER = Signer("ES256", "one")


async def serve(protocol: str, link: Link, house: House, door: Door) -> None:
    if protocol == "imap":
        await imap_session(link, house, door)
    elif protocol == "pop3":
        await pop3_session(link, house, door)
    else:
        await smtp_session(link, house, door, SmtpRole.SUBMISSIONS)


@dataclass
class Client:
    """One connection under TLS, and how its protocol carries SASL."""

    protocol: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def line(self) -> str:
        return (await asyncio.wait_for(self.reader.readline(), 10)).decode().rstrip("\r\n")

    async def say(self, line: str) -> str:
        self.writer.write(f"{line}\r\n".encode())
        return await self.line()

    async def offered(self) -> set[str]:
        """What is announced."""
        greeting = await self.line()
        if self.protocol == "imap":
            line = await self.say("a CAPABILITY")
            assert line.partition("CAPABILITY ")[2] == greeting.partition("CAPABILITY ")[2].partition("]")[0]
            await self.line()
            return {word.removeprefix("AUTH=") for word in line.split() if word.startswith("AUTH=")}
        first, last = ("CAPA", ".") if self.protocol == "pop3" else ("EHLO client.test", "250 ")
        lines = [await self.say(first)]
        while not lines[-1].startswith(last):
            lines.append(await self.line())
        found = next(line for line in lines if line.startswith(("SASL ", "250-AUTH ", "250 AUTH ")))
        return set(found.partition("SASL " if self.protocol == "pop3" else "AUTH ")[2].split())

    async def auth(self, mechanism: str, initial: bytes | None) -> str:
        verb = {"imap": "a AUTHENTICATE", "pop3": "AUTH", "smtp": "AUTH"}[self.protocol]
        said = "" if initial is None else " " + (b64encode(initial).decode() or "=")
        return await self.say(f"{verb} {mechanism}{said}")

    async def answer(self, octets: bytes) -> str:
        return await self.say(b64encode(octets).decode())

    @staticmethod
    def challenge(line: str) -> bytes:
        code, _, text = line.partition(" ")
        assert code in ("+", "334"), line
        return b64decode(text)

    def good(self, line: str) -> bool:
        return line.startswith({"imap": "a OK", "pop3": "+OK", "smtp": "235 2.7.0"}[self.protocol])

    def wrong(self, line: str) -> bool:
        word = {"imap": "a NO [AUTHENTICATIONFAILED]", "pop3": "-ERR [AUTH]", "smtp": "535 5.7.8"}[self.protocol]
        return line.startswith(word)

    @property
    def tls(self) -> ssl.SSLObject:
        found: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return found


@dataclass
class Rig:
    house: House
    door: Door
    context: ssl.SSLContext

    @contextlib.asynccontextmanager
    async def client(
        self,
        protocol: str,
        certificate: CertificateFiles | None = None,
        *,
        tls12: bool = False,
        host: str | None = None,
    ) -> AsyncIterator[Client]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            dialling = asyncio.create_task(
                asyncio.open_connection(
                    *listener.getsockname(), ssl=client_context(certificate, tls12=tls12), server_hostname=host
                )
            )
            sock, _ = await asyncio.to_thread(listener.accept)
            link = await open_link(sock, self.context)
            task = asyncio.create_task(serve(protocol, link, replace(self.house, tls=self.context), self.door))
            reader, writer = await dialling
            try:
                yield Client(protocol, reader, writer)
            finally:
                writer.close()
                await asyncio.wait_for(task, 60)
                await link.wait_closed()


@pytest.fixture
def certificate(tmp_path: Path) -> CertificateFiles:
    return issue(make_authority("Servers"), tmp_path / "server", Wish(hosts=("mail.home.test",)))


@pytest.fixture
def rig(house: House, door: Door, certificate: CertificateFiles) -> Rig:
    return Rig(replace(house, allow_plaintext_login=False), door, Certificates([certificate]).context)


# --- SCRAM


async def scram(client: Client, mechanism: str, binding: Binding | None, password: str = PASSWORD) -> str:
    """The last line of the exchange."""
    exchange = ScramClient(mechanism, "anna@home.test", password, "nonce", binding)
    line = await client.auth(mechanism, exchange.first())
    if not line.startswith(("+ ", "334 ")):
        return line
    final = exchange.final(client.challenge(line))
    assert final is not None
    line = await client.answer(final)
    if not line.startswith(("+ ", "334 ")):
        return line
    assert exchange.proves(client.challenge(line))
    return await client.answer(b"")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("tls12", [False, True])
async def test_plus(rig: Rig, protocol: str, tls12: bool) -> None:
    """RFC 5802 §6; RFC 9266 under TLS 1.3, RFC 5929 §3 before it."""
    for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
        async with rig.client(protocol, tls12=tls12) as client:
            assert await client.offered() == USUAL
            binding = client_binding(client.tls)
            assert binding is not None
            assert binding.name == ("tls-unique" if tls12 else "tls-exporter")
            assert client.good(await scram(client, mechanism, binding))


async def test_plus_by_the_certificate(rig: Rig, tmp_path: Path) -> None:
    """RFC 5929 §4; with several certificates the one that this connection was shown."""
    servers = make_authority("Servers")
    files = [issue(servers, tmp_path / host, Wish(hosts=(host,))) for host in ("a.test", "b.test")]
    rig.context = Certificates(files).context
    for host in ("a.test", "b.test"):
        for shown, good in ((host, True), ("a.test" if host == "b.test" else "b.test", False)):
            async with rig.client("imap", host=host) as client:
                await client.offered()
                certificate = ssl.PEM_cert_to_DER_cert((tmp_path / shown / "leaf.pem").read_text())
                binding = Binding("tls-server-end-point", end_point(certificate) or b"")
                line = await scram(client, "SCRAM-SHA-256-PLUS", binding)
                assert client.good(line) is good
                assert client.wrong(line) is not good


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_who_sits_between_is_noticed(rig: Rig, protocol: str) -> None:
    """RFC 5802 §6: a binding to another connection, and a list of mechanisms without -PLUS."""
    refused = {"imap": "a BAD ", "pop3": "-ERR ", "smtp": "501 5.5.2 "}[protocol]
    async with rig.client(protocol) as client:
        await client.offered()
        assert client.wrong(await scram(client, "SCRAM-SHA-256-PLUS", Binding("tls-exporter", b"x" * 32)))
        binding = client_binding(client.tls)
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
            assert (await scram(client, mechanism, binding)).startswith(refused)
        unknown = Binding("tls-unique", b"x" * 12)
        assert (await scram(client, "SCRAM-SHA-256-PLUS", unknown)).startswith(refused)
        assert client.good(await scram(client, "SCRAM-SHA-1", None))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_without_tls_there_is_nothing_to_be_bound_to(house: House, door: Door, protocol: str) -> None:
    ours, theirs = socket.socketpair()
    link = await open_link(theirs)
    role = SmtpRole.SUBMISSION
    running = smtp_session(link, house, door, role) if protocol == "smtp" else serve(protocol, link, house, door)
    task = asyncio.create_task(running)
    client = Client(protocol, *await asyncio.open_connection(sock=ours))
    assert await client.offered() == {"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"}
    refused = {"imap": "a NO ", "pop3": "-ERR ", "smtp": "504 5.5.4 "}[protocol]
    for mechanism in ("SCRAM-SHA-256-PLUS", "EXTERNAL", "OAUTHBEARER", "XOAUTH2"):
        assert (await client.auth(mechanism, b"n,,n=anna@home.test,r=x")).startswith(refused)
    client.writer.close()
    await task
    await link.wait_closed()


# --- EXTERNAL


def asking(rig: Rig, certificate: CertificateFiles, folder: Path, pem: bytes) -> Rig:
    file = folder / "clients.pem"
    file.write_bytes(pem)
    return replace(rig, context=Certificates([certificate], ClientCertificates(file)).context)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_external(rig: Rig, certificate: CertificateFiles, tmp_path: Path, protocol: str) -> None:
    """RFC 4422 Appendix A."""
    clients = make_authority()
    ours = asking(rig, certificate, tmp_path, clients.pem)
    anna = issue(clients, tmp_path / "anna", Wish(("anna@home.test",)))
    for initial in (b"", b"anna@home.test", b"ANNA@home.test", None):
        async with ours.client(protocol, anna) as client:
            assert await client.offered() == USUAL | {"EXTERNAL"}
            line = await client.auth("EXTERNAL", initial)
            if initial is None:
                assert client.challenge(line) == b""
                line = await client.answer(b"")
            assert client.good(line)
    async with ours.client(protocol, anna) as client:
        await client.offered()
        assert client.wrong(await client.auth("EXTERNAL", b"ben@work.test"))
        assert client.good(await client.auth("EXTERNAL", b""))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_external_without_a_good_certificate(
    rig: Rig, certificate: CertificateFiles, tmp_path: Path, protocol: str
) -> None:
    """It is not offered, and a password opens the door all the same."""
    clients = make_authority()
    ours = asking(rig, certificate, tmp_path, clients.pem)
    expired = issue(clients, tmp_path / "old", Wish(("anna@home.test",), days=(-9, -1)))
    strange = issue(make_authority(), tmp_path / "strange", Wish(("anna@home.test",)))
    refused = {"imap": "a NO ", "pop3": "-ERR ", "smtp": "504 5.5.4 "}[protocol]
    for shown in (expired, strange, None):
        async with ours.client(protocol, shown) as client:
            assert await client.offered() == USUAL
            assert (await client.auth("EXTERNAL", b"")).startswith(refused)
            assert client.good(await client.auth("PLAIN", f"\0anna@home.test\0{PASSWORD}".encode()))


async def test_a_certificate_for_nobody(rig: Rig, certificate: CertificateFiles, tmp_path: Path) -> None:
    clients = make_authority()
    ours = asking(rig, certificate, tmp_path, clients.pem)
    nobody = issue(clients, tmp_path / "nobody", Wish(("nobody@home.test",)))
    async with ours.client("imap", nobody) as client:
        assert "EXTERNAL" in await client.offered()
        assert client.wrong(await client.auth("EXTERNAL", b""))


async def test_who_is_vouched_for_needs_no_device_password(
    rig: Rig, certificate: CertificateFiles, tmp_path: Path, store: Store
) -> None:
    """A certificate is no password that a program could give away."""
    clients = make_authority()
    ours = asking(rig, certificate, tmp_path, clients.pem)
    anna = issue(clients, tmp_path / "anna", Wish(("anna@home.test",)))
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    vouched = login._replace(vouched=True)
    now = ours.door.logbook.clock()
    assert await store.read(devices.still, vouched, now, totp_demands=True) is Hold.YES
    async with ours.client("imap", anna) as client:
        await client.offered()
        assert client.good(await client.auth("EXTERNAL", b""))
        assert (await client.say("b NOOP")).startswith("b OK")


# --- tokens


@pytest.fixture
async def provided(rig: Rig, tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig whose tokens are those of a provider on loopback."""
    async with https_server(tmp_path, "id.home.test") as web:
        documents(web, SIGNER)
        resolver = ZoneResolver("id.home.test. A 127.0.0.1")
        https = Https(resolver, https_context(web.authority), networks(["127.0.0.1"]), web.port)
        rules = Rules(ISSUER, frozenset({"posthouse"}), scope="mail")
        rig.door.tokens = Tokens([Provider(rules, https, asyncio.get_running_loop().time)], lambda: NOW)
        yield rig
        await rig.door.tokens.close()


def token(**changes: Any) -> str:
    return SIGNER.sign(claims(NOW, scope="mail", **changes))


def oauthbearer(text: str, user: str = "") -> bytes:
    return f"n,{f'a={user}' if user else ''},\x01host=x\x01port=1\x01auth=Bearer {text}\x01\x01".encode()


def xoauth2(text: str, user: str = "anna@home.test") -> bytes:
    return f"user={user}\x01auth=Bearer {text}\x01\x01".encode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tokens(provided: Rig, protocol: str) -> None:
    """RFC 7628 §4.1."""
    for message in (oauthbearer(token()), oauthbearer(token(), "Anna@home.test"), xoauth2(token())):
        async with provided.client(protocol) as client:
            assert await client.offered() == USUAL | {"OAUTHBEARER", "XOAUTH2"}
            mechanism = "XOAUTH2" if message.startswith(b"user") else "OAUTHBEARER"
            assert client.good(await client.auth(mechanism, message))
    async with provided.client(protocol) as client:
        await client.offered()
        assert client.challenge(await client.auth("XOAUTH2", None)) == b""
        assert client.good(await client.answer(xoauth2(token())))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("after", [b"\x01", b""])
async def test_tokens_that_are_not_good(provided: Rig, protocol: str, after: bytes) -> None:
    """RFC 7628 §3.2.2, §3.2.3, §4.3."""
    messages = [
        oauthbearer(token(exp=NOW - 100)),
        oauthbearer(token(), "ben@work.test"),
        xoauth2(token(email="nobody@home.test"), "nobody@home.test"),
    ]
    for message in messages:
        async with provided.client(protocol) as client:
            await client.offered()
            google = message.startswith(b"user")
            said = json.loads(client.challenge(await client.auth("XOAUTH2" if google else "OAUTHBEARER", message)))
            assert said["status"] == ("401" if google else "invalid_token")
            assert said["scope"] == "mail"
            assert google or said["openid-configuration"] == f"{ISSUER}/.well-known/openid-configuration"
            assert client.wrong(await client.answer(after))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_client_may_cancel_after_the_refusal(provided: Rig, protocol: str) -> None:
    """RFC 7628 §3.2.3: it has failed all the same, and is counted."""
    async with provided.client(protocol) as client:
        await client.offered()
        client.challenge(await client.auth("OAUTHBEARER", oauthbearer("x")))
        assert client.wrong(await client.say("*"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_large_token(provided: Rig, protocol: str) -> None:
    """Microsoft's have 2,000 to 4,000 octets; with base64 on top they are longer than a line of commands."""
    groups = [f"group-{number:04}" for number in range(350)]
    large = token(groups=groups)
    assert 5_000 < len(large) < 8_000
    async with provided.client(protocol) as client:
        await client.offered()
        if protocol == "imap":  # a line before the login has 8,192 octets; the answer to a challenge as well
            large = token(groups=groups[:200])
        assert client.challenge(await client.auth("XOAUTH2", None)) == b""
        assert client.good(await client.answer(xoauth2(large)))


async def test_a_provider_that_is_down(provided: Rig, tmp_path: Path) -> None:
    """Later it may be better; a password is still one."""
    assert provided.door.tokens is not None
    rules = Rules("https://down.home.test", frozenset({"posthouse"}))
    down = Provider(rules, Https(ZoneResolver("")), asyncio.get_running_loop().time)
    provided.door.tokens = Tokens([down], lambda: NOW)
    async with provided.client("smtp") as client:
        await client.offered()
        said = await client.auth("OAUTHBEARER", oauthbearer(token(iss="https://down.home.test")))
        assert said == "454 4.7.0 The provider of the token does not answer; try again later"
        assert client.good(await client.auth("PLAIN", f"\0anna@home.test\0{PASSWORD}".encode()))


async def test_failures_are_counted_for_tokens_too(store: Store, certificate: CertificateFiles, house: House) -> None:
    """limits.md: whoever tries tokens of others is as who tries passwords."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    door = Door(store, Peers(PeerLimits(login_failures_minute=2)), secret=b"s" * 32, sleep=sleep)
    door.tokens = Tokens([Provider(Rules(ISSUER, frozenset({"x"})), Https(ZoneResolver("")), lambda: 0.0)], lambda: NOW)
    rig = Rig(replace(house, allow_plaintext_login=False), door, Certificates([certificate]).context)
    for _ in range(2):
        async with rig.client("imap") as client:
            await client.offered()
            client.challenge(await client.auth("OAUTHBEARER", oauthbearer(token())))
            assert client.wrong(await client.answer(b"\x01"))
    async with rig.client("imap") as client:
        await client.offered()
        assert "Too many failed logins" in await client.auth("OAUTHBEARER", oauthbearer(token()))
    assert len(slept) == 3
    assert min(slept) > 1.5
    door.close()


# --- our own client of smart hosts


@pytest.mark.parametrize("binding", [True, False])
async def test_a_smart_host_is_logged_in_to_by_plus(
    rig: Rig, certificate: CertificateFiles, monkeypatch: pytest.MonkeyPatch, binding: bool
) -> None:
    """RFC 5802 §6: transport/connection.py against our own submission, bound to the connection where that is wanted."""
    seen: list[str] = []
    authenticate = rig.door.authenticate

    async def watched(mechanism: str, *rest: Any) -> Any:
        seen.append(mechanism)
        return await authenticate(mechanism, *rest)

    monkeypatch.setattr(rig.door, "authenticate", watched)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
    opening = asyncio.create_task(open_link(sock, rig.context))
    login = RelayLogin("anna@home.test", PASSWORD, channel_binding=binding)
    target = Target("localhost", ("127.0.0.1",), 465, tls=TlsDemand(TlsLevel.ENCRYPTED), implicit_tls=True, login=login)
    beginning = asyncio.create_task(begin(Connected(theirs, "127.0.0.1"), target, Sending("client.test")))
    link = await opening
    task = asyncio.create_task(serve("smtp", link, replace(rig.house, tls=rig.context), rig.door))
    connection = await beginning
    assert isinstance(connection, Connection)
    assert seen == ["SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256"]
    connection.leave()
    await connection.link.wait_closed()
    await task
    await link.wait_closed()


async def test_pop3_says_nothing_of_sasl_where_all_is_withheld(rig: Rig) -> None:
    """RFC 5034 §3: SASL is followed by at least one mechanism."""
    rig.door.withheld = frozenset(MECHANISMS)
    async with rig.client("pop3") as client:
        lines = [await client.line(), await client.say("CAPA")]
        while lines[-1] != ".":
            lines.append(await client.line())
    assert "USER" in lines
    assert not [line for line in lines if line.startswith("SASL")]
