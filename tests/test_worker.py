"""One worker as a process of its own: its orders, its services, its end, what an idle connection costs."""

import imaplib
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec import structs

from household import one_worker
from posthouse.config_sections import Octets, Settings
from posthouse.mail.address import Address, Domain
from posthouse.net.listen import bind, bind_unix
from posthouse.orders import CANNOT_START, READY, Orders, print_orders, read_orders
from posthouse.serve.passwords import make_credential
from posthouse.store import accounts
from posthouse.store.store import open_sync

PATIENCE = 60.0
ANNA = Address("anna", Domain("home.test"))
IDLE_CONNECTION = 24 * 1024  # octets an idle IMAP connection may cost, logged in and with INBOX selected
IDLE_CONNECTIONS = 200
TCP_SERVICES = ("smtp", "submission", "submissions", "imap", "imaps")


def settings_for(folder: Path) -> Settings:
    limits = {"message": {"message_size": "7 MiB"}, "peer": {"exempt_loopback": True}}
    return one_worker(folder, login={"allow_plaintext": True}, limits=limits)


class Work:
    """A worker, and the sockets it got."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.sockets = {
            name: bind("127.0.0.1", 0, 1)[0] for name in ("smtp", "submission", "submissions", "imap", "imaps")
        }
        self.lmtp = folder / "lmtp.sock"
        self.sockets["lmtp"] = bind_unix(self.lmtp)
        heartbeat, theirs = os.pipe()
        given = [(name, sock.fileno()) for name, sock in self.sockets.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "posthouse.worker"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs, *(descriptor for _, descriptor in given)],
        )
        os.close(theirs)
        assert self.process.stdin is not None
        self.process.stdin.write(print_orders(Orders(settings, given, theirs, 0)))
        self.process.stdin.flush()
        self.heartbeat = heartbeat
        self.files = settings.tls.certificates[0]

    def wait_until_ready(self) -> bool:
        """False when it ended instead."""
        said = b""
        while READY not in said:
            more = os.read(self.heartbeat, 100)
            if not more:
                return False
            said += more
        return True

    def port(self, service: str) -> int:
        port: int = self.sockets[service].getsockname()[1]
        return port

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.files.certificate)

    def close(self) -> tuple[int, str]:
        """The supervisor dies: the exit status and the log."""
        _, log = self.process.communicate(timeout=PATIENCE)
        os.close(self.heartbeat)
        for sock in self.sockets.values():
            sock.close()
        return self.process.returncode, log.decode()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    settings = settings_for(tmp_path)
    with open_sync(settings.folder) as store:
        store.run(accounts.add_domain, ANNA.domain)
        store.run(accounts.add_account, ANNA, make_credential("secret"))
    one = Work(tmp_path, settings)
    assert one.wait_until_ready()
    yield one
    status, log = one.close()
    assert status == 0, log
    assert "the supervisor is gone" in log
    assert "Traceback" not in log


def test_orders_arrive_as_they_were_given(tmp_path: Path) -> None:
    orders = Orders(settings_for(tmp_path), [("smtp", 5), ("smtp", 6)], 7, 1)
    reading, writing = os.pipe()
    os.write(writing, print_orders(orders))
    found = read_orders(reading)
    assert found == orders
    assert type(found.settings.limits.message.message_size) is Octets
    os.close(writing)
    with pytest.raises(EOFError):
        read_orders(reading)
    os.close(reading)


def test_each_service_is_what_it_is_called(work: Work) -> None:
    with smtplib.SMTP("127.0.0.1", work.port("smtp")) as client:
        client.ehlo("far.test")
        assert client.esmtp_features["size"] == str(7 << 20)
        assert not client.has_extn("auth")
        client.sendmail("eve@far.test", [str(ANNA)], b"Subject: one\r\n\r\none\r\n")
    with smtplib.SMTP("localhost", work.port("submission")) as client:
        client.starttls(context=work.trust())
        client.login(str(ANNA), "secret")
        client.sendmail(str(ANNA), [str(ANNA)], b"From: anna@home.test\r\nSubject: two\r\n\r\ntwo\r\n")
    with smtplib.SMTP_SSL("localhost", work.port("submissions"), context=work.trust()) as client:
        client.login(str(ANNA), "secret")
        client.sendmail(str(ANNA), [str(ANNA)], b"From: anna@home.test\r\nSubject: three\r\n\r\nthree\r\n")
    with smtplib.LMTP(str(work.lmtp)) as client:
        client.sendmail("eve@far.test", [str(ANNA)], b"Subject: four\r\n\r\nfour\r\n")
    with imaplib.IMAP4("localhost", work.port("imap")) as reader:
        reader.starttls(work.trust())
        reader.login(str(ANNA), "secret")
        assert reader.select() == ("OK", [b"4"])
    with imaplib.IMAP4_SSL("localhost", work.port("imaps"), ssl_context=work.trust()) as reader:
        reader.login(str(ANNA), "secret")
        rows = reader.select() and reader.fetch("1:*", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]")[1]
        assert [row[1].split()[1] for row in rows if isinstance(row, tuple)] == [b"one", b"two", b"three", b"four"]


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    Path(settings.tls.certificates[0].key).write_text("no key")
    one = Work(tmp_path, settings)
    assert not one.wait_until_ready()
    status, log = one.close()
    assert status == CANNOT_START
    assert "cannot start: " in log
    assert "self-signed.key" in log


def test_what_keeps_mail_from_leaving_is_said(tmp_path: Path) -> None:
    """A password that is no text kept all mail here, and nobody heard of it."""
    (tmp_path / "secret").write_bytes(b"gr\xfc\n")
    settings = settings_for(tmp_path)
    relay = structs.replace(settings.relay, host="smtp.test", user="house", password_file=str(tmp_path / "secret"))
    one = Work(tmp_path, structs.replace(settings, relay=relay))
    while os.read(one.heartbeat, 100):
        pass  # until it ends
    status, log = one.close()
    assert status == CANNOT_START
    assert "mail cannot leave: " in log
    assert "it is not UTF-8" in log


def select_inbox(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    assert client.recv(1000).startswith(b"* OK")
    for tag, command in ((b"a", b"LOGIN anna@home.test secret"), (b"b", b"SELECT INBOX"), (b"c", b"IDLE")):
        client.sendall(tag + b" " + command + b"\r\n")
        said = b""
        while b"\r\n" + tag + b" OK" not in b"\r\n" + said and not (tag == b"c" and said.startswith(b"+")):
            said += client.recv(4096)
    return client


def test_an_idle_imap_connection_costs_at_most_24_kib(work: Work) -> None:
    process = psutil.Process(work.process.pid)
    clients = [select_inbox(work.port("imap")) for _ in range(20)]  # what the first ones cost once
    time.sleep(0.2)
    before = process.memory_info().rss
    clients += [select_inbox(work.port("imap")) for _ in range(IDLE_CONNECTIONS)]
    time.sleep(0.2)
    cost = (process.memory_info().rss - before) / IDLE_CONNECTIONS
    print(f"{cost / 1024:.1f} KiB for each idle IMAP connection")
    assert cost < IDLE_CONNECTION
    for client in clients:
        client.close()
