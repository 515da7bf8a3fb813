"""The real program, started for a test: its processes, its ports, its people.

Every instance has a folder, a settings file and ports of its own, so that tests can run beside each other.
"""

import contextlib
import dataclasses
import datetime
import imaplib
import ipaddress
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from freeports import free_ports

PROGRAM = Path(sys.executable).parent / "posthouse"
START_WAIT = 120.0  # seconds until every port must answer
STOP_WAIT = 60.0  # seconds until SIGTERM must have ended everything
SETTINGS = """\
hostname = "mail.home.test"
data = "data"
workers = {workers}

[smtp]
listen = ["127.0.0.1:{ports.smtp}"]

[submission]
listen = ["127.0.0.1:{ports.submission}"]
listen_tls = ["127.0.0.1:{ports.submissions}"]

[imap]
listen = ["127.0.0.1:{ports.imap}"]
listen_tls = ["127.0.0.1:{ports.imaps}"]

[pop3]
listen = ["127.0.0.1:{ports.pop3}"]
listen_tls = ["127.0.0.1:{ports.pop3s}"]

[tls]
certificates = [{{ certificate = "cert.pem", key = "key.pem" }}]

[limits.peer]
exempt_loopback = true
"""


@dataclasses.dataclass(frozen=True)
class Ports:
    """Where this instance listens, all on 127.0.0.1."""

    smtp: int
    submission: int
    submissions: int
    imap: int
    imaps: int
    pop3: int
    pop3s: int


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return folder / "cert.pem", folder / "key.pem"


class Running:
    """One Posthouse: `serve` with its own settings, until stop() or kill()."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self.folder, self.workers = folder, workers
        self.ports = Ports(*free_ports(7))
        self.ca, _key = make_certificate(folder)
        self.data = folder / "data"
        self.lmtp = self.data / "run" / "lmtp.sock"
        self.settings = folder / "posthouse.toml"
        self.settings.write_text(SETTINGS.format(workers=workers, ports=self.ports))
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._people = 0

    # life

    def start(self, **environment: str) -> None:
        """Start and wait until every port answers."""
        with self.log.open("ab") as log:
            command = [PROGRAM, "serve", "--config", self.settings]
            env = {**os.environ, **environment}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
        deadline = time.monotonic() + START_WAIT
        while not (len(self.worker_pids()) >= self.workers and self.greets()):
            dead = self.process.poll() is not None
            assert not dead, f"the program ended by itself:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"it does not answer:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.02)

    def greets(self, patience: float = 10.0) -> bool:
        """Whether a worker greets on the SMTP and the IMAP port. The supervisor alone lets a caller wait."""
        for port in (self.ports.smtp, self.ports.imap):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
                    if not connection.recv(1):
                        return False
            except OSError:
                return False
        return True

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_WAIT)

    def family(self) -> list[int]:
        """The supervisor and all below it, by pid, the supervisor first."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.process.pid, *(p.pid for p in psutil.Process(self.process.pid).children(recursive=True))]
        return []

    def worker_pids(self) -> list[int]:
        """The workers below the supervisor."""
        return [pid for pid in self.family()[1:] if _works(pid)]

    def kill(self) -> None:
        """SIGKILL to everything at once: a power cut as far as processes can have one."""
        family = processes(self.family())
        for end in (signal.SIGSTOP, signal.SIGKILL):
            for each in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.send_signal(end)
        assert self.process is not None
        self.process.wait(STOP_WAIT)
        psutil.wait_procs(family, timeout=STOP_WAIT)

    # people and clients

    def command(self, *words: str, text: str = "") -> str:
        """`posthouse WORDS --config FILE`: what it printed. It must succeed."""
        command = [PROGRAM, *words, "--config", self.settings]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"posthouse {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def person(self, domain: str = "home.test") -> "Person":
        """A new user."""
        self._people += 1
        address, password = f"person{self._people}@{domain}", f"a good password {self._people}".replace(" ", "-")
        self.command("user", "add", address, "--password-stdin", text=password + "\n")
        return Person(self, address, password)

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts this instance's certificate and nothing else."""
        return ssl.create_default_context(cafile=str(self.ca))


def processes(pids: Iterable[int]) -> list[psutil.Process]:
    """Those of them that live."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _works(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return "posthouse.worker" in psutil.Process(pid).cmdline()
    return False


@dataclasses.dataclass(frozen=True)
class Person:
    """A user of a running Posthouse."""

    home: Running
    address: str
    password: str

    def device(self, name: str, *more: str) -> "Person":
        """The same person with a device password."""
        said = self.home.command("user", "device", "add", self.address, name, *more)
        found = re.search(r"^    (\S+)$", said, re.MULTILINE)
        assert found is not None, said
        return Person(self.home, self.address, found[1])

    def receive(self, *messages: bytes, sender: str = "eve@far.test") -> None:
        """Mail from outside, by SMTP."""
        with smtplib.SMTP("127.0.0.1", self.home.ports.smtp, timeout=60) as stranger:
            for octets in messages:
                stranger.sendmail(sender, [self.address], octets, mail_options=["BODY=8BITMIME"])

    @contextlib.contextmanager
    def imap(self) -> Iterator[imaplib.IMAP4]:
        """A logged-in IMAP connection, closed whatever happens to the server."""
        client = imaplib.IMAP4_SSL("localhost", self.home.ports.imaps, ssl_context=self.home.trust(), timeout=120)
        try:
            client.login(self.address, self.password)
            yield client
            client.logout()
        finally:
            with contextlib.suppress(OSError):  # closed already by logout, or by the server's end
                client.shutdown()

    def messages(self, mailbox: str = "INBOX") -> list[bytes]:
        """Every message of a mailbox, as octets, in order."""
        with self.imap() as client:
            kind, [count] = client.select(mailbox, readonly=True)
            assert kind == "OK", count
            answers = client.fetch("1:*", "(BODY.PEEK[])")[1] if int(count) else []
        return [answer[1] for answer in answers if isinstance(answer, tuple)]

    def uids(self, mailbox: str = "INBOX") -> tuple[int, dict[int, str]]:
        """UIDVALIDITY, and UID -> Message-ID."""
        with self.imap() as client:
            kind, [count] = client.select(mailbox, readonly=True)
            assert kind == "OK", count
            uidvalidity = int(client.response("UIDVALIDITY")[1][0])
            answers = client.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1] if int(count) else []
        found = {}
        for answer in answers:
            if isinstance(answer, tuple):
                [uid] = re.findall(rb"UID (\d+)", answer[0])
                found[int(uid)] = answer[1].decode().partition(":")[2].strip()
        return uidvalidity, found
