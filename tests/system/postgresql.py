"""A real PostgreSQL: a cluster of its own on loopback and a Unix socket. Debian has it: apt-get install postgresql.

It does not run as root, so its files are outside of pytest's folders, which only their owner may enter.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from freeports import free_ports
from system.running import make_certificate

PATIENCE = 60.0  # seconds until it answers
READER, SECRET = "posthouse", "read me"
SCHEMA = f"""\
CREATE TABLE account (mail varchar(300), hash text, active boolean, note text DEFAULT 'x');
CREATE VIEW person AS SELECT mail, hash, active FROM account;
CREATE TABLE closed (mail text, hash text);
CREATE ROLE {READER} LOGIN PASSWORD '{SECRET}';
GRANT SELECT ON person TO {READER};
"""
_CONF = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
ssl = {ssl}
ssl_cert_file = '{folder}/cert.pem'
ssl_key_file = '{folder}/key.pem'
fsync = off
max_connections = 20
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
"""


class Cluster:
    """One cluster, started and stopped as a test likes."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._programs = folder, programs
        self.data = folder / "data"
        (self.port,) = free_ports(1)
        # What root starts runs as a user of Debian's package.
        owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._owner = owner
        self.ca, _ = make_certificate(folder)
        (folder / "key.pem").chmod(0o600)
        (folder / "word").write_text("of the administrator\n")
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str, text: str = "") -> str:
        """One of PostgreSQL's programs, as the owner of the cluster."""
        done = subprocess.run(
            [self._programs / words[0], *words[1:]],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            **self._as(),
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def _as(self) -> dict[str, object]:
        rights = {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
        return {"cwd": self.folder, **(rights if os.geteuid() == 0 else {})}

    def make(self) -> None:
        self.run(
            *("initdb", "-D", str(self.data), "-U", "admin", "--pwfile", str(self.folder / "word"), "--no-sync"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", "--locale=C", "--encoding=UTF8"),
        )
        self.settle(ssl=True)

    def settle(self, *, ssl: bool) -> None:
        """Its settings; in force with the next start."""
        conf = _CONF.format(port=self.port, folder=self.folder, ssl="on" if ssl else "off")
        (self.data / "conf.d").mkdir(exist_ok=True)
        (self.data / "postgresql.conf").write_text(conf)

    def start(self) -> None:
        command = [self._programs / "postgres", "-D", self.data]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **self._as())
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(self._ask("SELECT 1"), capture_output=True, check=False).returncode:
            assert self._process.poll() is None, self._process.stderr and self._process.stderr.read()
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, with all its connections."""
        if self._process is not None:
            self.go_on()
            self._process.send_signal(signal.SIGINT)
            self._process.communicate(timeout=PATIENCE)
            self._process = None

    def stand_still(self) -> None:
        """Everything waits, as on a machine whose disk does not answer: connections are taken, and no word is said."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):  # some come and go
                process.suspend()

    def go_on(self) -> None:
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children()]
        return []

    def _ask(self, sql: str) -> Sequence[object]:
        words = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", self.port, "-U", "admin")
        return [self._programs / "psql", *map(str, words), "-d", "postgres", "-c", sql]

    def change(self, sql: str) -> str:
        """Ask as the administrator does (psql)."""
        done = subprocess.run(self._ask(sql), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @contextlib.contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Somebody else holds a lock on the table."""
        query = f"BEGIN; LOCK TABLE {table}; SELECT pg_sleep(600)"
        holder = subprocess.Popen(self._ask(query), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        held = f"SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND mode = 'AccessExclusiveLock'"
        try:
            deadline = time.monotonic() + PATIENCE
            while self.change(held) == "0":
                assert time.monotonic() < deadline, "nobody holds the lock"
            yield
        finally:
            self.change("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            holder.wait(PATIENCE)

    def add(self, mail: str, stored: str, active: str = "true") -> None:
        stored = stored.replace("'", "''")
        self.change(f"INSERT INTO account VALUES ('{mail}', '{stored}', {active})")

    def remove(self, mail: str) -> None:
        self.change(f"DELETE FROM account WHERE mail = '{mail}'")

    @property
    def url(self) -> str:
        return f"postgresql://{READER}@localhost:{self.port}/postgres"

    @property
    def socket_url(self) -> str:
        return f"postgresql://{READER}@:{self.port}/postgres?host={self.folder}"


@contextlib.contextmanager
def real_postgresql() -> Iterator[Cluster]:
    """A cluster that answers, with the tables and the user of SCHEMA."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    named = shutil.which("initdb")
    if not (found or named):
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    programs = found[-1] if found else Path(str(named)).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="posthouse-pg-"))
    try:
        cluster = Cluster(folder, programs)
        cluster.make()
        cluster.start()
        try:
            cluster.change(SCHEMA)
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)
