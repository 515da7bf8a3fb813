"""`posthouse try`: a mail system to play with, by one command, without a question.

Its ports are fixed, so these tests run one after the other (a group of pytest-xdist), and need them to be free.
"""

import contextlib
import imaplib
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.running import PROGRAM

pytestmark = pytest.mark.xdist_group("trial")

SMTP, SUBMISSION, SUBMISSIONS, IMAP, IMAPS = 2525, 1587, 1465, 1143, 1993
READY = "Ctrl-C"
LIMIT = 20.0  # seconds for a start or an end


class Trial:
    """A running playground with its screen."""

    def __init__(self, home: Path, *words: str) -> None:
        self.environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "COLUMNS": "120"}
        command = [str(PROGRAM), "try", *words]
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.screen = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        deadline = time.monotonic() + LIMIT
        while READY not in self.screen and self.process.poll() is None:
            assert time.monotonic() < deadline, self.screen
            time.sleep(0.02)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.screen += line

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(PROGRAM), "try", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=LIMIT, check=False)

    def stop(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(LIMIT)
        self.reader.join(LIMIT)
        return status

    def ca(self) -> Path:
        """The certificate authority's file: the screen says where it is."""
        [path] = {Path(word) for word in self.screen.split() if word.endswith(".pem")}
        return path

    def inbox(self, user: str, password: str) -> list[bytes]:
        context = ssl.create_default_context(cafile=str(self.ca()))
        with imaplib.IMAP4_SSL("localhost", IMAPS, ssl_context=context) as client:
            client.login(user, password)
            count = int(client.select("INBOX", readonly=True)[1][0])
            rows = client.fetch("1:*", "(BODY.PEEK[])")[1] if count else []
        return [row[1] for row in rows if isinstance(row, tuple)]


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    running = Trial(tmp_path)
    assert running.process.poll() is None, running.screen
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0


def test_the_screen_says_what_to_type(trial: Trial) -> None:
    for word in ("anna@home.test", "ben@work.test", "1143", "1993", "1587", "1465", "2525", "posthouse try send"):
        assert word in trial.screen, trial.screen


def test_send_goes_through_the_submission_port(trial: Trial) -> None:
    done = trial.command("send", "Hello Ben")
    assert done.returncode == 0, done.stdout + done.stderr
    [octets] = trial.inbox("ben@work.test", "ben")
    assert b"Subject: Hello Ben" in octets
    assert b" with ESMTPSA" in octets
    assert octets.startswith(b"Return-Path: <anna@home.test>\r\n")


def test_two_people_write_to_each_other(trial: Trial) -> None:
    context = ssl.create_default_context(cafile=str(trial.ca()))
    with smtplib.SMTP("localhost", SUBMISSION) as client:
        client.starttls(context=context)
        client.login("ben@work.test", "ben")
        client.sendmail("ben@work.test", "anna@home.test", "From: ben@work.test\r\nSubject: one\r\n\r\none\r\n")
    with smtplib.SMTP_SSL("localhost", SUBMISSIONS, context=context) as client:
        client.login("anna@home.test", "anna")
        client.sendmail("anna@home.test", "ben@work.test", "From: anna@home.test\r\nSubject: two\r\n\r\ntwo\r\n")
    assert [b"Subject: one" in m for m in trial.inbox("anna@home.test", "anna")] == [True]
    assert [b"Subject: two" in m for m in trial.inbox("ben@work.test", "ben")] == [True]


def test_it_listens_on_loopback_only(trial: Trial) -> None:
    for port in (SMTP, SUBMISSION, SUBMISSIONS, IMAP, IMAPS):
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    others = {a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others - {a for a in others if a.startswith("127.")}:
        with pytest.raises(OSError), socket.create_connection((address, SMTP), timeout=2):  # noqa: PT011 - refused or unreachable, by the system
            pass


def test_it_remembers_and_forgets(tmp_path: Path) -> None:
    first = Trial(tmp_path)
    assert first.command("send", "Remember me").returncode == 0
    assert first.stop() == 0
    second = Trial(tmp_path)
    assert len(second.inbox("ben@work.test", "ben")) == 1
    assert second.stop() == 0
    third = Trial(tmp_path, "--reset")
    assert third.inbox("ben@work.test", "ben") == []
    assert third.stop() == 0


def test_a_taken_port_is_named_with_a_free_one(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", IMAP))
        other.listen()
        blocked = Trial(tmp_path)
        assert blocked.process.wait(LIMIT) != 0
        blocked.reader.join(LIMIT)
    assert str(IMAP) in blocked.screen
    assert "Traceback" not in blocked.screen


def test_nothing_is_left_running(tmp_path: Path) -> None:
    running = Trial(tmp_path)
    assert running.stop() == 0
    assert "Traceback" not in running.screen
    for port in (SMTP, IMAP):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=2):
            raise AssertionError(f"somebody still listens on {port}")
