"""`posthouse try` beside its fixed ports: folders, notes, ports that are taken. (The whole of it: tests/system.)"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from freeports import turn
from posthouse import trial
from posthouse.trial import NOTES, PORTS, default_folder, run, screen

PROGRAM = [sys.executable, "-m", "posthouse", "try"]
PATIENCE = 60.0  # seconds for what takes less than two (make bench tells) on a machine that is busy with other tests


@pytest.fixture(autouse=True)
def fixed_ports() -> Iterator[None]:
    """Nobody else has them, or gives them back, in the middle of a test."""
    with turn("trial"):
        yield


class Playground:
    """A running `posthouse try --any-port`."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [*PROGRAM, "--any-port", "--dir", folder, *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.output = ""
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        while "Ctrl-C" not in self.output and self.process.poll() is None:
            assert time.monotonic() - self.begun < PATIENCE, self.output
            time.sleep(0.01)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def send(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, "send", *words, "--dir", self.folder], capture_output=True, text=True, check=False
        )

    def stop(self) -> str:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) == 0, self.output
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.output


def test_it_starts_sends_stops_and_forgets(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    first = Playground(folder)
    assert f"Everything is kept in {folder}" in first.output
    sent = first.send("Hello Anna\nhow are you?", "--from", "ben", "--to", "anna")
    assert sent.returncode == 0, sent.stderr
    assert "ben@work.test -> anna@home.test: 250 2.0.0" in sent.stdout
    words = first.send("Hello", "Ben")
    assert words.returncode == 0, words.stderr
    beyond = first.send("Hello", "--to", "böb@work.test")
    assert "the server said: 550 5.1.1" in beyond.stderr
    refused = first.send("Hello", "--to", "nobody@work.test")
    assert refused.returncode == 1
    assert "the server said: 550 5.1.1" in refused.stderr
    busy = subprocess.run([*PROGRAM, "--dir", folder, "--reset"], capture_output=True, text=True, check=False)
    assert busy.returncode == 1
    assert f"is running already (process {first.process.pid})" in busy.stderr
    assert first.stop().rstrip().endswith("`posthouse try` goes on where you were.")
    assert (folder / "posthouse.db").exists()
    inode = (folder / "posthouse.db").stat().st_ino
    assert "Traceback" not in Playground(folder, "--reset").stop()
    assert (folder / "posthouse.db").stat().st_ino != inode or not list((folder / "blobs").rglob("*.zst"))


def test_taken_ports_are_told_and_others_used(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", PORTS["imap"]))
            other.listen()
        except OSError:
            pass  # somebody has it already: as good
        refused = subprocess.run(
            [*PROGRAM, "--dir", tmp_path / "a"], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        playground = Playground(tmp_path / "b")
        playground.stop()
    assert refused.returncode == 1
    assert "is taken by" in refused.stderr
    assert "is free" in refused.stderr
    assert "posthouse try --any-port" in refused.stderr
    assert f"Port {PORTS['imap']} is taken; imap is on " in playground.output
    ports = json.loads((tmp_path / "b" / NOTES).read_text())["ports"]
    assert ports["imap"] != PORTS["imap"]
    assert len(set(ports.values())) == len(PORTS)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    for reset in (False, True):
        assert run(tmp_path, reset=reset, any_port=True) == 1
        assert "is not empty, and no playground" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_the_screen_names_the_program_and_the_folder_as_they_must_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [".venv/bin/posthouse", "try"])
    assert '     .venv/bin/posthouse try send "Hello Ben"\n' in screen(default_folder(), PORTS, Path("/ca.pem"))
    assert '     .venv/bin/posthouse try send "Hello Ben" --dir /else/where\n' in screen(
        Path("/else/where"), PORTS, Path("/ca.pem")
    )
    monkeypatch.setattr(sys, "argv", ["/x/posthouse/__main__.py", "try"])
    assert f'     {sys.executable} -m posthouse try send "Hello Ben"\n' in screen(default_folder(), PORTS, Path("/a"))


def test_the_screen_quotes_what_a_shell_would_split(tmp_path: Path) -> None:
    shown = screen(Path("/a b"), PORTS, Path("/a b/tls/ca.pem"))
    assert "--cacert '/a b/tls/ca.pem' " in shown
    assert "folder=imaps://ben%40work.test@localhost:1993/' -f imaps://ben%40work.test@localhost:1993/\n" in shown
    for port in PORTS.values():
        assert str(port) in shown


def test_the_usual_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert trial.default_folder() == Path("/somewhere/posthouse/try")
