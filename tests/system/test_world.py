"""A small world: three Posthouse systems, a Postfix, a DNS with signed zones and a validating resolver, a web server
with MTA-STS policies. Mail goes by MX, by DANE, by MTA-STS and by a smart host, and comes back where it cannot go.

The systems take mail at port 25 of addresses of their own, 127.0.25.x, so root alone can try this.
"""

import asyncio
import contextlib
import hashlib
import imaplib
import os
import shutil
import smtplib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from freeports import turn
from posthouse.net.authority import authority, issue, self_signed
from posthouse.net.nameservers import Server
from posthouse.net.tls import CertificateFiles
from posthouse.trust.dane import public_key
from system.nameserver import Zone, real_dns
from system.postfix import postfix
from system.running import Person, Running
from webserver import Web, https_server, page

PATIENCE = 60.0  # seconds for a message to arrive
WEB = "127.0.25.9"
SYSTEMS = {"home": "127.0.25.2", "work": "127.0.25.3", "club": "127.0.25.4"}
POLICY = b"version: STSv1\nmode: enforce\nmx: %s\nmax_age: 86400\n"
MORE = """
[dns]
servers = ["127.0.0.1:{dns}"]

[sending]
private_networks = ["127.0.0.0/8"]
authorities = "{authorities}"
probes = ["mx.work.test"]

[queue]
first_retry_seconds = 2

[tls]
certificates = [{{ certificate = "{files.certificate}", key = "{files.key}" }}]
"""
ROUTE = """
[[relay.routes]]
domains = ["work.test"]
host = "127.0.0.1"
port = {port}
tls = "encrypted"
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 25 is for root")


def certificates(folder: Path) -> dict[str, CertificateFiles]:
    """Home and club have theirs of an authority; work has one of its own making, which only the DNS vouches for."""
    root = authority(folder, "The authority of a small world")
    found = {}
    for name in SYSTEMS:
        (folder / name).mkdir()
        host = f"mx.{name}.test"
        found[name] = self_signed(folder / name, host) if name == "work" else issue(root, folder / name, [host])
    return found


def zones(work: CertificateFiles) -> dict[str, Zone]:
    certificate = x509.load_pem_x509_certificate(work.certificate.read_bytes())
    key = public_key(certificate.public_bytes(Encoding.DER))
    assert key is not None
    sts = f'_mta-sts TXT "v=STSv1; id=1"\nmta-sts A {WEB}'
    return {
        "home.test": Zone(f"@ MX 10 mx\nmx A {SYSTEMS['home']}"),
        "work.test": Zone(
            f"@ MX 10 mx\nmx A {SYSTEMS['work']}\n_25._tcp.mx TLSA 3 1 1 {hashlib.sha256(key).hexdigest()}", signed=True
        ),
        "club.test": Zone(f"@ MX 10 mx\nmx A {SYSTEMS['club']}\n{sts}"),
        "stolen.test": Zone(f"@ MX 10 mx\nmx A {SYSTEMS['work']}\n{sts}"),  # the policy names another host
        "forged.test": Zone(f"@ MX 10 mx\nmx A {SYSTEMS['work']}\n_25._tcp.mx TLSA 3 1 1 {'00' * 32}", signed=True),
        "null.test": Zone("@ MX 0 ."),
        "bogus.test": Zone(f"@ MX 10 mx\nmx A {SYSTEMS['work']}", broken=True),
        "loop.test": Zone("@ MX 10 mx.home.test."),
    }


def system(folder: Path, name: str, dns: Server, files: CertificateFiles, more: str = "") -> Running:
    """One Posthouse that is mx.NAME.test, and takes mail for NAME.test."""
    folder.mkdir()
    running = Running(folder, workers=1)
    text = running.settings.read_text().replace("mail.home.test", f"mx.{name}.test")
    smtp = f'listen = ["127.0.0.1:{running.ports.smtp}"'
    text = text.replace(smtp, f'{smtp}, "{SYSTEMS[name]}:25"')
    head, _, rest = text.partition("[tls]")
    tail = rest.partition("\n\n")[2]
    root = files.certificate.parent.parent / "ca.pem"
    running.settings.write_text(f"{head}{MORE.format(dns=dns.port, authorities=root, files=files)}\n{tail}{more}")
    running.command("domain", "add", f"{name}.test")
    return running


class World:
    """All of it, running."""

    def __init__(self, systems: dict[str, Running], web: Web) -> None:
        self.home, self.work, self.club = (systems[name] for name in SYSTEMS)
        self.web = web


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    pki = folder / "pki"
    pki.mkdir()
    files = certificates(pki)
    (folder / "web").mkdir()
    for name in ("ca.pem", "ca.key"):
        shutil.copy(pki / name, folder / "web" / name)
    (folder / "dns").mkdir()
    hosts = ("mta-sts.club.test", "mta-sts.stolen.test")
    async with (
        real_dns(folder / "dns", zones(files["work"])) as dns,
        https_server(folder / "web", *hosts, address=(WEB, 443)) as web,
    ):
        web.pages = {hosts[0]: page(POLICY % b"mx.club.test"), hosts[1]: page(POLICY % b"mx.real.test")}
        systems: dict[str, Running] = {}
        with contextlib.ExitStack() as stack:
            for name in ("home", "work"):
                systems[name] = system(folder / name, name, dns, files[name])
            between = stack.enter_context(postfix(systems["work"].ports.smtp, {"mx": {}}))
            route = ROUTE.format(port=between.ports["mx"])
            systems["club"] = system(folder / "club", "club", dns, files["club"], route)
            try:
                for running in systems.values():
                    await asyncio.to_thread(running.start)
                yield World(systems, web)
            finally:
                statuses = [await asyncio.to_thread(running.stop) for running in systems.values() if running.process]
        assert set(statuses) == {0}


def send(person: Person, to: str, subject: str) -> None:
    """As a mail program does."""
    running = person.home
    with smtplib.SMTP("127.0.0.1", running.ports.submission, timeout=60) as client:
        client.starttls(context=_blind())
        client.login(person.address, person.password)
        head = f"From: {person.address}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n"
        client.sendmail(person.address, [to], head + "hello\r\n")


def _blind() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def messages(person: Person) -> list[bytes]:
    """All of the INBOX; whose certificate the server shows does not matter here."""
    with imaplib.IMAP4_SSL("127.0.0.1", person.home.ports.imaps, ssl_context=_blind(), timeout=60) as client:
        client.login(person.address, person.password)
        [count] = client.select("INBOX", readonly=True)[1]
        answers = client.fetch("1:*", "(BODY.PEEK[])")[1] if int(count or b"0") else []
    return [answer[1] for answer in answers if isinstance(answer, tuple)]


def subjects(person: Person) -> list[str]:
    """What has come, in the order of the alphabet."""
    found = []
    for octets in messages(person):
        head = octets.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").decode()
        found += [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Subject: ")]
    return sorted(found)


def until(wanted: list[str], look: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


async def test_mail_between_three_systems(tmp_path: Path) -> None:
    with turn("world"):
        async with world(tmp_path) as here:
            await asyncio.to_thread(exchange, here)
            assert {request.split(b" ", 2)[1] for request in here.web.requests} == {b"/.well-known/mta-sts.txt"}


def exchange(here: World) -> None:
    anna, carla = here.home.person("home.test"), here.club.person("club.test")
    here.work.command("user", "add", "ben@work.test", "--password-stdin", text="a-good-password\n")
    ben = Person(here.work, "ben@work.test", "a-good-password")

    send(anna, "ben@work.test", "by DANE")
    send(anna, carla.address, "by MTA-STS")
    send(ben, anna.address, "by MX alone")
    send(carla, "ben@work.test", "by Postfix")
    until(["by DANE", "by Postfix"], lambda: subjects(ben))
    until(["by MTA-STS"], lambda: subjects(carla))
    until(["by MX alone"], lambda: subjects(anna))

    for to in ("x@null.test", "x@no.home.test", "x@loop.test", "nobody@work.test"):
        send(anna, to, f"to {to}")
    wanted = [f"Not delivered: to {to}" for to in ("nobody@work.test", "x@loop.test", "x@no.home.test", "x@null.test")]
    until(sorted(["by MX alone", *wanted]), lambda: subjects(anna))

    for to in ("x@stolen.test", "x@forged.test", "x@bogus.test"):
        send(anna, to, "waits")
    waiting = ("DANE of mx.forged.test", "its MTA-STS policy names", "failed (SERVFAIL)")
    until(
        list(waiting),
        lambda: [words for words in waiting if words in here.home.command("queue", "list")],
    )
    assert "gets no mail without it" in here.home.command("tls", "show", "work.test")
    assert "mx: mx.club.test" in here.home.command("tls", "show", "club.test")
    assert subjects(ben) == ["by DANE", "by Postfix"], "nothing that waits has come, and nothing twice"
