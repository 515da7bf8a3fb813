"""The two sides of a benchmark: starting them, filling them, stopping them."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import apsw
from fill import add_users, fill_mailbox
from settings import PORTS, write_settings

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "out"
PEER_PORTS = {
    "smtp_port": 10025,
    "submission_port": 10587,
    "imap_port": 10143,
    "imaps_port": 10993,
    "lmtp_port": 10024,
    "pop3_port": 10110,
}
START_WAIT = 30.0  # seconds until a started Posthouse must answer
INDEX_WAIT = 900.0  # seconds for the search index to take up what was filled in at once


class Side(Protocol):
    """A server under load, as the harness sees it."""

    name: str
    probe: str
    ports: dict[str, int]

    def fill(self, shared: Path, target: Path, messages: int) -> None:
        """Put `messages` messages into the mailbox "big" of the user u0900."""


class Peer:
    """Postfix + Dovecot with maildir, as Debian ships them, started by the harness's own scripts."""

    name = "postfix+dovecot maildir"
    probe = "cgroup:bench-dovecot,cgroup:bench-postfix"
    ports = PEER_PORTS

    def __init__(self, shared: Path, folder: Path) -> None:
        self.scripts = shared / "peers" / "dovecot-postfix"
        self.folder = folder

    @staticmethod
    def missing() -> str:
        """Why the peer cannot run here, or nothing."""
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        absent = [name for name in ("dovecot", "postfix") if not shutil.which(name, path=path)]
        if absent:
            return f"{' and '.join(absent)} not installed."
        if os.getuid() != 0:
            return "Postfix and Dovecot are started as root only."
        known = {entry.pw_name for entry in pwd.getpwall()}
        return "" if "benchmail" in known else "the user benchmail does not exist."

    def __enter__(self) -> "Peer":
        shutil.rmtree(self.folder, ignore_errors=True)
        stock = dict(os.environ, LOGINMODE="secure", IMAPMODE="stock")  # what Debian's package does
        subprocess.run(["bash", self.scripts / "start.sh", self.folder], env=stock, check=True)
        return self

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["bash", self.scripts / "stop.sh", self.folder], check=True)

    def fill(self, shared: Path, target: Path, messages: int) -> None:
        command = [sys.executable, shared / "workloads" / "imap_big.py", "--target", target, "--out", ""]
        subprocess.run([*command, "--n", str(messages), "--reps", "1", "--stages", "fill"], check=True)


class Posthouse:
    """Two workers of this checkout, serving the users u0001 to u1000 of bench.test."""

    name = "posthouse"
    ports = PORTS

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.probe = ""

    def __enter__(self) -> "Posthouse":
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        settings = write_settings(self.folder)
        add_users(self.folder / "data", 1000)
        log = (self.folder / "log").open("wb")
        program = Path(sys.executable).parent / "posthouse"
        self.process = subprocess.Popen([program, "serve", "--config", settings], stdout=log, stderr=log)
        self.probe = f"pid:{self.process.pid}"
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_WAIT
        for port in (PORTS["smtp_port"], PORTS["imap_port"]):
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                        assert connection.recv(1)
                    break
                except OSError:
                    if time.monotonic() > deadline or self.process.poll() is not None:
                        sys.exit(f"Posthouse did not start: see {self.folder / 'log'}")
                    time.sleep(0.05)

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def fill(self, shared: Path, target: Path, messages: int) -> None:
        fill_mailbox(self.folder / "data", sorted((OUT / "corpus" / "f3072").glob("*.eml")), messages)
        begun = time.monotonic()
        while time.monotonic() < begun + INDEX_WAIT and (behind := indexed_behind(self.folder / "data")):
            time.sleep(1)
        print(f"the search index caught up {time.monotonic() - begun:.0f} s after the fill; {behind} messages behind")


def indexed_behind(data: Path) -> int:
    """How many messages are newer than what the search index knows."""
    mail = apsw.Connection(str(data / "posthouse.db"), flags=apsw.SQLITE_OPEN_READONLY)
    index = apsw.Connection(str(data / "search.db"), flags=apsw.SQLITE_OPEN_READONLY)
    with contextlib.closing(mail), contextlib.closing(index):
        [(mark,)] = index.execute("SELECT mark FROM state")
        [(behind,)] = mail.execute("SELECT count(*) FROM email WHERE id > ?", (mark,))
    return int(str(behind))
