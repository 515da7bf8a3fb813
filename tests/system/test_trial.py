"""`posthouse try`: a mail system to play with, by one command, without a question.

Its ports are fixed; where one is taken, `--any-port` finds another, which these tests allow except where they ask for
just that. They run one after the other.
"""

import contextlib
import imaplib
import json
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

import psutil
import pytest

from freeports import turn
from system.running import PROGRAM

IMAP = 1143
READY = "Ctrl-C"
LIMIT = 60.0  # seconds for a start or an end


class Trial:
    """A running playground with its screen."""

    def __init__(self, home: Path, *words: str) -> None:
        self.environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "COLUMNS": "120"}
        self.folder = home / "playground"
        command = [str(PROGRAM), "try", "--dir", str(self.folder), *(words or ["--any-port"])]
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
        command = [str(PROGRAM), "try", *words, "--dir", str(self.folder)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=LIMIT, check=False)

    def stop(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(LIMIT)
        self.end()
        return status

    def end(self) -> None:
        """After the process: its screen is complete."""
        self.reader.join(LIMIT)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ca(self) -> Path:
        """The certificate authority's file: the screen says where it is."""
        return next(Path(word) for word in self.screen.split() if word.endswith("ca.pem"))

    def port(self, service: str) -> int:
        return int(json.loads((self.folder / "try.json").read_text())["ports"][service])

    def inbox(self, user: str, password: str) -> list[bytes]:
        context = ssl.create_default_context(cafile=str(self.ca()))
        with imaplib.IMAP4_SSL("localhost", self.port("imaps"), ssl_context=context) as client:
            client.login(user, password)
            count = int(client.select("INBOX", readonly=True)[1][0])
            rows = client.fetch("1:*", "(BODY.PEEK[])")[1] if count else []
        return [row[1] for row in rows if isinstance(row, tuple)]


@pytest.fixture(autouse=True)
def fixed_ports() -> Iterator[None]:
    """Nobody else has them, or gives them back, in the middle of a test."""
    with turn("trial"):
        yield


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    running = Trial(tmp_path)
    assert running.process.poll() is None, running.screen
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0


def test_the_screen_says_what_to_type(trial: Trial) -> None:
    ports = [str(trial.port(name)) for name in ("smtp", "submission", "submissions", "imap", "imaps")]
    for word in ("anna@home.test", "ben@work.test", "posthouse try send", *ports):
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
    with smtplib.SMTP("localhost", trial.port("submission")) as client:
        client.starttls(context=context)
        client.login("ben@work.test", "ben")
        client.sendmail("ben@work.test", "anna@home.test", "From: ben@work.test\r\nSubject: one\r\n\r\none\r\n")
    with smtplib.SMTP_SSL("localhost", trial.port("submissions"), context=context) as client:
        client.login("anna@home.test", "anna")
        client.sendmail("anna@home.test", "ben@work.test", "From: anna@home.test\r\nSubject: two\r\n\r\ntwo\r\n")
    assert [b"Subject: one" in m for m in trial.inbox("anna@home.test", "anna")] == [True]
    assert [b"Subject: two" in m for m in trial.inbox("ben@work.test", "ben")] == [True]


def test_it_listens_on_loopback_only(trial: Trial) -> None:
    family = psutil.Process(trial.process.pid).children(recursive=True)
    listening = [c.laddr.ip for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert set(listening) == {"127.0.0.1"}


def test_it_remembers_and_forgets(tmp_path: Path) -> None:
    first = Trial(tmp_path)
    assert first.command("send", "Remember me").returncode == 0
    assert first.stop() == 0
    second = Trial(tmp_path)
    assert len(second.inbox("ben@work.test", "ben")) == 1
    assert second.stop() == 0
    third = Trial(tmp_path, "--reset", "--any-port")
    assert third.inbox("ben@work.test", "ben") == []
    assert third.stop() == 0


def test_a_taken_port_is_named_with_a_free_one(tmp_path: Path) -> None:
    with socket.socket() as other:
        # Connections of earlier tests may linger on the port: that keeps it from us, but not from a server.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # taken by somebody else: as good
            other.bind(("127.0.0.1", IMAP))
            other.listen()
        blocked = Trial(tmp_path, "--reset")
        assert blocked.process.wait(LIMIT) != 0
        blocked.end()
    assert "--any-port" in blocked.screen
    assert "Traceback" not in blocked.screen


def test_nothing_is_left_running(tmp_path: Path) -> None:
    running = Trial(tmp_path)
    family = psutil.Process(running.process.pid).children(recursive=True)
    assert running.stop() == 0
    assert "Traceback" not in running.screen
    assert not psutil.wait_procs(family, timeout=LIMIT)[1]
