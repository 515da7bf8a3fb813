"""`posthouse serve` and the commands beside it: a server that is managed while it runs."""

import contextlib
import imaplib
import os
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from system.running import PROGRAM, START_WAIT, Person, Running, make_certificate, processes

NewPerson = Callable[..., Person]


def posthouse_says(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAM), *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class TestCommands:
    def test_a_user_lives_and_dies(self, posthouse: Running) -> None:
        anna = posthouse.person("work.test")
        assert anna.address in posthouse.command("user", "list")
        anna.receive(b"Subject: hello\r\n\r\nhello\r\n")
        posthouse.command("user", "password", anna.address, "--password-stdin", text="another-one\n")
        with pytest.raises(imaplib.IMAP4.error):
            anna.messages()
        assert len(Person(posthouse, anna.address, "another-one").messages()) == 1
        posthouse.command("user", "remove", anna.address, "--yes")
        assert anna.address not in posthouse.command("user", "list")
        with smtplib.SMTP("127.0.0.1", posthouse.ports.smtp) as stranger:
            stranger.ehlo("client.test")
            stranger.mail("eve@far.test")
            code, text = stranger.rcpt(anna.address)
        assert (code, text[:5]) == (550, b"5.1.1")

    def test_a_domain_comes_and_goes(self, posthouse: Running) -> None:
        posthouse.command("domain", "add", "new.test")
        assert "new.test" in posthouse.command("domain", "list")
        posthouse.command("domain", "remove", "new.test")
        assert "new.test" not in posthouse.command("domain", "list")

    def test_an_alias_comes_and_goes(self, posthouse: Running, person: NewPerson) -> None:
        anna = person()
        posthouse.command("alias", "add", "sales@home.test", anna.address)
        assert "sales@home.test" in posthouse.command("alias", "list")
        posthouse.command("alias", "remove", "sales@home.test")
        assert "sales@home.test" not in posthouse.command("alias", "list")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["user", "add", "not-an-address", "--password-stdin"], "address"),
            (["user", "add", "x@nowhere.test", "--password-stdin"], "nowhere.test"),
            (["domain", "add", "home.test"], "home.test"),
            (["user", "remove", "nobody@home.test", "--yes"], "nobody@home.test"),
        ],
    )
    def test_refusals_are_sentences(self, posthouse: Running, words: list[str], said: str) -> None:
        command = [PROGRAM, *words, "--config", posthouse.settings]
        done = subprocess.run(command, input="a-password\n", capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert said in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


class TestCheck:
    def test_a_good_file(self, posthouse: Running) -> None:
        assert posthouse_says("check", "--config", posthouse.settings).returncode == 0

    def test_an_unknown_key_gets_a_suggestion(self, posthouse: Running, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong.toml"
        wrong.write_text("hostnam = 'mail.home.test'\n" + posthouse.settings.read_text())
        for command in ("check", "serve"):
            done = posthouse_says(command, "--config", wrong)
            assert done.returncode != 0
            assert "hostnam" in done.stdout + done.stderr
            assert "did you mean" in (done.stdout + done.stderr).lower()
            assert "Traceback" not in done.stderr

    def test_a_missing_file(self, tmp_path: Path) -> None:
        done = posthouse_says("check", "--config", tmp_path / "nowhere.toml")
        assert done.returncode != 0
        assert "nowhere.toml" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def ask_until(client: imaplib.IMAP4, deadline: float) -> None:
    while time.monotonic() < deadline:
        client.noop()


class TestProcesses:
    def test_no_waiting_connection_is_lost(self, fresh: Running) -> None:
        """A worker stands still, connections queue up, it is killed: all of them are served by its successor."""
        victim, *others = fresh.worker_pids()
        for pid in (victim, *others):
            os.kill(pid, signal.SIGSTOP)
        waiting = [socket.create_connection(("127.0.0.1", fresh.ports.smtp), timeout=60) for _ in range(20)]
        os.kill(victim, signal.SIGKILL)
        for pid in others:
            os.kill(pid, signal.SIGCONT)
        for connection in waiting:
            with connection:
                assert connection.recv(3) == b"220"

    def test_sigterm_drains(self, fresh: Running) -> None:
        anna = fresh.person()
        client = smtplib.SMTP("127.0.0.1", fresh.ports.smtp, timeout=60)
        client.ehlo("client.test")
        client.mail("eve@far.test")
        client.rcpt(anna.address)
        assert client.docmd("DATA")[0] == 354
        assert fresh.process is not None
        fresh.process.terminate()
        time.sleep(0.3)
        client.send(b"Subject: last\r\n\r\nlast\r\n.\r\n")
        code, _text = client.getreply()
        client.close()
        assert fresh.process.wait(60) == 0
        fresh.start()
        assert len(anna.messages()) == (1 if code == 250 else 0)
        assert code in (250, 421)

    def test_sighup_takes_a_new_certificate(self, fresh: Running) -> None:
        anna = fresh.person()
        with contextlib.suppress(imaplib.IMAP4.abort), anna.imap() as held:  # its own goodbye finds nobody
            make_certificate(fresh.folder)
            with pytest.raises(OSError, match="certificate verify failed"):
                anna.messages()
            assert fresh.process is not None
            fresh.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + START_WAIT
            while True:
                try:
                    assert anna.messages() == []
                    break
                except OSError:
                    assert time.monotonic() < deadline, "the old certificate is still in use"
                    time.sleep(0.1)
            with pytest.raises(imaplib.IMAP4.abort, match="connect again"):
                ask_until(held, deadline)  # the old workers are told when all new ones listen

    def test_the_supervisor_gone_ends_the_workers(self, fresh: Running) -> None:
        workers = processes(fresh.worker_pids())
        assert fresh.process is not None
        fresh.process.kill()
        fresh.process.wait(60)
        _gone, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive

    def test_many_connections_are_spread(self, fresh: Running) -> None:
        anna = fresh.person()

        def send(number: int) -> None:
            anna.receive(b"Subject: %d\r\n\r\n%d\r\n" % (number, number))

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(send, range(64)))
        assert len(anna.messages()) == 64
