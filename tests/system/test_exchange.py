"""A Posthouse and a Postfix that asks the same DNS exchange mail by MX; Postfix checks our certificate by DANE.

Each has a loopback address of its own and port 25 there, so this wants root, who may also give Postfix a resolv.conf of
its own; NSD and Unbound are the DNS. Elsewhere it is skipped, and says why. More systems are in test_world.py.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from freeports import turn
from posthouse.net.authority import self_signed
from posthouse.net.tls import CertificateFiles
from posthouse.trust.dane import public_key
from system.nameserver import Zone, find_programs, real_dns
from system.postfix import DAEMONS, MASTER
from system.running import Person, Running

ONE, FOUR, NAMES = "127.7.1.1", "127.7.4.1", "127.7.0.53"
PATIENCE = 60.0  # seconds for a mail to arrive
POSTFIX = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = {daemons}
command_directory = /usr/sbin
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.four.test
mydestination = four.test
mynetworks = 127.7.4.0/24
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_bind_address = {address}
alias_maps =
alias_database =
biff = no
local_recipient_maps =
mailbox_transport = virtual
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {{ dora@four.test = dora/ }} }}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_tls_loglevel = 1
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
"""


@dataclass(frozen=True)
class World:
    """Who is there: anna@one.test at Posthouse, dora@four.test at Postfix."""

    home: Running
    anna: Person
    postfix: Path

    def send(self, sender: str, recipient: str, subject: str) -> None:
        """By submission, as mail programs do; dora by her Postfix."""
        octets = f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\nHow are you?\r\n".encode()
        if sender.endswith("four.test"):
            with smtplib.SMTP(FOUR, 25, timeout=30, source_address=(FOUR, 0)) as client:
                client.sendmail(sender, recipient, octets)
            return
        with smtplib.SMTP("localhost", self.home.ports.submission, timeout=60) as client:
            client.starttls(context=self.home.trust())
            client.login(self.anna.address, self.anna.password)
            client.sendmail(sender, recipient, octets)

    def arrived(self, recipient: str, subject: str) -> bytes:
        """The message with this subject, when it has come."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            found = [octets for octets in self._messages(recipient) if f"Subject: {subject}".encode() in octets]
            if found:
                assert len(found) == 1, "it came twice"
                return found[0]
            time.sleep(0.2)
        logs = self.home.log.read_text()[-3000:] + (self.postfix / "maillog").read_text()[-3000:]
        raise AssertionError(f"nothing came to {recipient}: {logs}")

    def _messages(self, recipient: str) -> list[bytes]:
        if recipient == self.anna.address:
            return self.anna.messages()
        return [file.read_bytes() for file in (self.postfix / "mail" / "dora" / "new").glob("*")]


def home(folder: Path, files: CertificateFiles) -> Running:
    """A Posthouse for one.test, whose MX is at ONE."""
    folder.mkdir()
    one = Running(folder, workers=1)
    text = one.settings.read_text().replace('hostname = "mail.home.test"', 'hostname = "mx.one.test"')
    text = text.replace("[smtp]\nlisten = [", f'[smtp]\nlisten = ["{ONE}:25", ')
    # STARTTLS on port 25 shows the first certificate; mail programs ask for localhost by name.
    shown = f'{{ certificate = "{files.certificate}", key = "{files.key}" }}'
    text = text.replace("certificates = [", f"certificates = [{shown}, ")
    text += f"""
[dns]
servers = ["{NAMES}"]
[sending]
private_networks = ["127.0.0.0/8"]
[[sending.sources]]
domain = "*"
addresses = ["{ONE}"]
[queue]
first_retry_seconds = 1
"""
    one.settings.write_text(text)
    return one


def tlsa(files: CertificateFiles) -> str:
    """The record 3 1 1 of a server's key (RFC 7671 §5.1)."""
    der = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_bytes(Encoding.DER)
    spki = public_key(der)
    assert spki is not None
    return f"_25._tcp.mx TLSA 3 1 1 {hashlib.sha256(spki).hexdigest()}"


@contextlib.contextmanager
def running_postfix(folder: Path, files: CertificateFiles) -> Iterator[None]:
    """Postfix for four.test, which asks our DNS: in a mount namespace of its own, with a resolv.conf of its own."""
    for name in ("etc", "spool", "data", "mail"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    shutil.chown(folder / "mail", "nobody")
    (folder / "resolv.conf").write_text(f"nameserver {NAMES}\noptions trust-ad edns0\n")
    main = POSTFIX.format(folder=folder, daemons=DAEMONS, address=FOUR, certificate=files.certificate, key=files.key)
    (folder / "etc" / "main.cf").write_text(main)
    local = "local unix - n n - - local\nvirtual unix - n n - - virtual\n"
    (folder / "etc" / "master.cf").write_text(f"{FOUR}:25 inet n - n - - smtpd\n{local}{MASTER}")
    program = f"postfix -c {folder}/etc"
    inside = f"mount --bind {folder}/resolv.conf /etc/resolv.conf && exec {program} start"
    done = subprocess.run(["unshare", "-m", "sh", "-c", inside], check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        subprocess.run(["sh", "-c", f"{program} stop"], check=False, capture_output=True, timeout=60)


def why_not() -> str:
    """Why this machine cannot do it; "" where it can."""
    if os.getuid() != 0:
        return "port 25 and mount namespaces are root's"
    if shutil.which("postfix", path="/usr/sbin:/sbin") is None:
        return "needs Postfix: apt-get install postfix"
    with socket.socket() as probe:
        try:
            probe.bind((ONE, 25))
        except OSError as error:
            return f"port 25 at {ONE}: {error.strerror}"
    done = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
    return "" if done.returncode == 0 else "mount namespaces are not allowed here"


def _open_folder() -> Path:
    """A folder for Postfix, whose daemons are not root."""
    folder = Path(tempfile.mkdtemp(prefix="posthouse-exchange-"))
    folder.chmod(0o755)
    return folder


@contextlib.asynccontextmanager
async def running_world(folder: Path) -> AsyncIterator[World]:
    """All of them, running."""
    outside = _open_folder()
    shown = self_signed(folder / "certificate", "mx.one.test")
    zones = {
        "one.test": Zone(f"@ MX 10 mx\nmx A {ONE}\n{tlsa(shown)}", signed=True),
        "four.test": Zone(f"@ MX 10 mx\nmx A {FOUR}"),
    }
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, outside, ignore_errors=True)
        (folder / "dns").mkdir()
        await stack.enter_async_context(real_dns(folder / "dns", zones, NAMES, 53))
        one = home(folder / "one", shown)
        one.command("domain", "add", "one.test")
        one.command("user", "add", "anna@one.test", "--password-stdin", text="secret password\n")
        await asyncio.to_thread(one.start)
        stack.callback(one.kill)
        await asyncio.to_thread(stack.enter_context, running_postfix(outside, self_signed(outside, "mx.four.test")))
        yield World(one, Person(one, "anna@one.test", "secret password"), outside)


async def to_postfix(world: World) -> None:
    """By MX, over TLS that nobody can verify; the journey says so."""
    await asyncio.to_thread(world.send, "anna@one.test", "dora@four.test", "out")
    assert b"using TLS" in await asyncio.to_thread(world.arrived, "dora@four.test", "out")
    told = world.home.command("trace", "dora@four.test")
    assert "handed over for dora@four.test at mx.four.test" in told
    assert "unverified" in told


async def from_postfix_by_dane(world: World) -> None:
    """Postfix finds our certificate in the DNS (RFC 7672 §2.2), and says so."""
    await asyncio.to_thread(world.send, "dora@four.test", "anna@one.test", "in")
    assert b"TLSv1.3" in await asyncio.to_thread(world.arrived, "anna@one.test", "in")
    assert "Verified TLS connection established to mx.one.test" in (world.postfix / "maillog").read_text()


async def a_wrong_address_comes_back_with_words(world: World) -> None:
    """Postfix refuses at RCPT; Anna is told why, in words and in its own."""
    await asyncio.to_thread(world.send, "anna@one.test", "nobody@elsewhere.four.test", "lost")
    octets = await asyncio.to_thread(world.arrived, "anna@one.test", "Not delivered")
    assert b"multipart/report" in octets
    assert b"nobody@elsewhere.four.test" in octets


async def test_exchange(tmp_path: Path) -> None:
    """One test, because port 25 of these addresses is there once."""
    find_programs()
    with turn("exchange"):
        if reason := why_not():
            pytest.skip(reason)
        async with running_world(tmp_path) as world:
            await to_postfix(world)
            await from_postfix_by_dane(world)
            await a_wrong_address_comes_back_with_words(world)
