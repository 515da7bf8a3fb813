"""`posthouse serve` as processes: death, hanging, SIGTERM, SIGHUP, taken ports. The real program, on free ports."""

import contextlib
import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from freeports import free_ports
from posthouse import ports, supervisor
from posthouse.config_sections import Listen, Settings
from posthouse.net import authority
from posthouse.net.tls import CertificateFiles
from posthouse.orders import READY, read_orders
from posthouse.ports import CannotListen, bind_all
from posthouse.supervisor import Supervisor

PROGRAM = [sys.executable, "-m", "posthouse"]
PATIENCE = 60.0  # seconds for what takes one, on a busy machine


class Served:
    """One `posthouse serve`."""

    def __init__(self, folder: Path, workers: int = 2, more: str = "") -> None:
        self.folder, self.workers, self.more = folder, workers, more
        self.smtp, self.imaps = free_ports(2)
        (folder / "tls").mkdir()
        self.files = self.certify(1)
        self.files.key.chmod(0o644)  # a server that is no longer root must read it
        self.settings = folder / "posthouse.toml"
        self.log = folder / "log"
        self.write_settings()
        self.process = self.launch()
        self.wait_until("220")
        self.wait_for_log("ready: ")  # one worker may greet while another still reads its certificate

    def certify(self, number: int) -> CertificateFiles:
        ca = authority.authority(self.folder / "tls" / f"ca{number}", f"Authority {number}")
        return authority.issue(ca, self.folder / "tls", ("localhost", "127.0.0.1"))

    def write_settings(self) -> None:
        self.settings.write_text(f"""
            data = "data"
            hostname = "mail.home.test"
            workers = {self.workers}
            {self.more}
            [smtp]
            listen = ["127.0.0.1:{self.smtp}"]
            [submission]
            listen = []
            listen_tls = []
            [pop3]
            listen = []
            listen_tls = []

            [imap]
            listen = []
            listen_tls = ["127.0.0.1:{self.imaps}"]
            [[tls.certificates]]
            certificate = "{self.files.certificate}"
            key = "{self.files.key}"
            [limits.peer]
            exempt_loopback = true
        """)

    def launch(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*PROGRAM, "serve", "--config", self.settings], stdout=log, stderr=log, start_new_session=True
            )

    def greeting(self) -> str:
        with socket.create_connection(("127.0.0.1", self.smtp), timeout=PATIENCE) as client:
            return client.recv(100).decode()

    def wait_until(self, said: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if said in self.greeting():
                    return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def wait_for_log(self, words: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.log.read_text().count(words) < times:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def worker_pids(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def wait_for_workers(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(self.worker_pids()) != count:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    one = Served(tmp_path)
    yield one
    if one.process.poll() is None:
        assert one.stop() == 0, one.log.read_text()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def test_a_killed_worker_is_back_at_once_and_its_queue_is_served(tmp_path: Path) -> None:
    one = Served(tmp_path, workers=1)
    time.sleep(5)  # a worker that has lived for a while; see STABLE_SECONDS
    held = connect(one.smtp)
    assert held.recv(3) == b"220"
    [victim] = one.worker_pids()
    os.kill(victim, signal.SIGSTOP)
    waiting = [connect(one.smtp) for _ in range(20)]
    os.kill(victim, signal.SIGKILL)
    for client in waiting:
        assert client.recv(3) == b"220"
        client.close()
    one.wait_for_log("ended (SIGKILL); the next starts in 0 s")  # how soon it answers: make bench
    with contextlib.suppress(ConnectionError):
        while held.recv(1000):  # the rest of the greeting, then the end
            pass
    held.close()
    assert one.stop() == 0


def test_who_connects_while_the_server_stops_is_refused(tmp_path: Path) -> None:
    one = Served(tmp_path)
    held = connect(one.smtp)
    for line in (b"EHLO client.test\r\n", b"MAIL FROM:<>\r\n"):
        held.recv(1000)
        held.sendall(line)
    one.process.terminate()
    one.wait_for_log("stopping")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:  # until the workers have closed theirs, too
        try:
            connect(one.smtp).close()
        except ConnectionRefusedError:
            break
        except ConnectionResetError:  # it closed in the middle of the handshake
            continue
    else:
        raise AssertionError("connections are still taken")
    held.close()
    assert one.process.wait(PATIENCE) == 0


def test_a_worker_that_dies_at_once_again_and_again_waits_longer_each_time(served: Served) -> None:
    for times in (1, 2, 3):
        [*_, newest] = served.worker_pids()
        os.kill(newest, signal.SIGKILL)
        served.wait_for_log("ended (SIGKILL)", times)
        served.wait_for_workers(2)
    waits = [line.rpartition("starts in ")[2] for line in served.log.read_text().splitlines() if "SIGKILL" in line]
    assert waits == ["0 s", "1 s", "2 s"] or sorted(waits) == ["0 s", "0 s", "1 s"]  # the newest, or one of each slot


def test_nobody_waits_for_a_worker_that_does_not_start(served: Served) -> None:
    """The kernel would go on giving it half of the connections."""
    for times in itertools.count(1):  # the first may have lived too long to count
        newest = max(served.worker_pids(), key=lambda pid: psutil.Process(pid).create_time())
        os.kill(newest, signal.SIGKILL)
        served.wait_for_log("ended (SIGKILL)", times)
        if "the next starts in 8 s" in served.log.read_text():
            break
        served.wait_for_workers(2)
    answered = 0
    while answered < 30 and len(served.worker_pids()) == 1:
        assert "220" in served.greeting()
        answered += 1
    assert answered > 10  # whoever waits does so until the other has started
    served.wait_for_workers(2)
    deadline = time.monotonic() + PATIENCE
    while len({answered_by(served) for _ in range(30)} - {0}) < 2:  # and when it works, it has its share again
        assert time.monotonic() < deadline, served.log.read_text()


def answered_by(served: Served) -> int:
    """Which worker has a new connection; 0 where the system did not show it."""
    with connect(served.smtp) as client:
        assert client.recv(3) == b"220"
        ours = client.getsockname()[1]
        for pid in served.worker_pids():
            with contextlib.suppress(psutil.Error):
                if any(c.raddr and c.raddr.port == ours for c in psutil.Process(pid).net_connections("tcp")):
                    return pid
    return 0


class Pretended:
    """A process that is none: it has its orders, and its heartbeat goes on until `end`."""

    def __init__(self, _: object, *, pass_fds: list[int], **__: object) -> None:
        self.heartbeat = os.dup(pass_fds[0])
        reading, writing = os.pipe()
        self.stdin = os.fdopen(writing, "wb")
        self.orders = os.fdopen(reading, "rb")

    def end(self) -> None:
        os.close(self.heartbeat)

    def terminate(self) -> None:
        pass

    def kill(self) -> None:
        self.orders.close()

    def wait(self) -> int:
        return -signal.SIGKILL


def test_only_a_start_and_a_reload_are_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rests of smart hosts are lifted when settings may have been mended: not for a worker in the place of another."""
    monkeypatch.setattr(supervisor.subprocess, "Popen", Pretended)
    monkeypatch.setattr(supervisor, "bind_all", lambda *_: [])
    settings = Settings("mail.home.test", str(tmp_path), workers=2)
    one = Supervisor(settings, [])

    def afresh(workers: list[supervisor.Worker]) -> list[bool]:
        return [read_orders(worker.process.orders.fileno()).afresh for worker in workers]  # type: ignore[attr-defined]

    one._staff()
    assert afresh(one.workers) == [True, True]
    for worker in one.workers:
        os.write(worker.process.heartbeat, READY)  # type: ignore[attr-defined]
        one._listen_to(worker)
    one.workers[0].process.end()  # type: ignore[attr-defined]
    one._listen_to(one.workers[0])
    one._staff()
    assert afresh(one.workers[1:]) == [False]
    one._reload(lambda: settings)
    assert afresh(one.coming) == [True, True]
    for worker in [*one.coming, *one.workers]:
        worker.process.end()  # type: ignore[attr-defined]
        one._listen_to(worker)


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    one = Served(tmp_path, workers=1, more="heartbeat_seconds = 8")
    [victim] = one.worker_pids()
    os.kill(victim, signal.SIGSTOP)
    one.wait_for_log("hangs; it is killed")
    one.wait_until("220")
    assert one.worker_pids() != [victim]
    assert one.stop() == 0


def test_a_worker_may_need_long_to_load_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than one that works may be silent: a busy disk is no reason to begin again and again."""
    (tmp_path / "slow").mkdir()
    slow = "import sys, time\nif 'posthouse.worker' in sys.orig_argv:\n    time.sleep(6)\n"
    (tmp_path / "slow" / "sitecustomize.py").write_text(slow)
    paths = [str(tmp_path / "slow"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    one = Served(tmp_path, workers=1, more="heartbeat_seconds = 4")
    assert "hangs" not in one.log.read_text().partition("ready: ")[0]
    assert one.stop() == 0


def test_a_worker_that_asks_for_it_is_replaced_while_its_sessions_end(tmp_path: Path) -> None:
    """Its memory is too small for it, so it asks as soon as it works; its successor will too."""
    one = Served(tmp_path, workers=1, more="[limits.worker]\nmemory = '1 MiB'")
    one.wait_for_log("this worker ends: it has taken ")
    one.wait_for_log("worker 0 ended (it asked to be replaced); the next starts in 0 s")
    one.wait_until("220")
    assert one.stop() == 0
    assert "Traceback" not in one.log.read_text()


def test_sigterm_says_goodbye_to_idle_sessions_at_once(served: Served) -> None:
    with connect(served.smtp) as client:
        assert client.recv(3) == b"220"
        served.process.terminate()
        told = b""
        while more := client.recv(1000):
            told += more
    assert b"\r\n421 " in told
    assert served.process.wait(PATIENCE) == 0
    with pytest.raises(ConnectionError):
        connect(served.smtp)
    assert "Traceback" not in served.log.read_text()


def test_workers_end_when_the_supervisor_is_killed_and_a_new_one_takes_their_ports(served: Served) -> None:
    workers = [psutil.Process(pid) for pid in served.worker_pids()]
    served.process.kill()
    served.process.wait()
    served.process = served.launch()  # at once, as systemd would
    served.wait_until("220")
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert not alive


def presented(served: Served, ca: int) -> bool:
    context = ssl.create_default_context(cafile=str(served.folder / "tls" / f"ca{ca}" / "ca.pem"))
    try:
        with context.wrap_socket(connect(served.imaps), server_hostname="localhost") as client:
            return client.recv(4) == b"* OK"
    except ssl.SSLCertVerificationError:
        return False


def wait_for_certificate(served: Served, ca: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not presented(served, ca):
        assert time.monotonic() < deadline, served.log.read_text()
        time.sleep(0.05)


def test_sighup_takes_new_settings_and_certificates_and_loses_no_connection(served: Served) -> None:
    assert presented(served, 1)
    before = served.worker_pids()
    served.certify(2)
    served.settings.write_text(served.settings.read_text().replace("mail.home.test", "new.home.test"))
    served.process.send_signal(signal.SIGHUP)
    greetings = set()
    deadline = time.monotonic() + PATIENCE
    while "reloaded" not in served.log.read_text() and time.monotonic() < deadline:
        greetings.add(served.greeting().split()[1])  # any refusal would raise
    wait_for_certificate(served, 2)
    assert greetings <= {"mail.home.test", "new.home.test"}
    assert "new.home.test" in served.greeting()
    served.wait_for_workers(2)
    assert not set(before) & set(served.worker_pids())


def test_sighup_with_a_mistake_changes_nothing(served: Served) -> None:
    before = served.worker_pids()
    good = served.settings.read_text()
    served.settings.write_text(good + "\n[smpt]\n")
    served.process.send_signal(signal.SIGHUP)
    served.wait_for_log("smpt: unknown setting; did you mean smtp?")
    served.settings.write_text(good)
    served.files.certificate.write_text("nonsense")
    served.process.send_signal(signal.SIGHUP)
    served.wait_for_log("not reloaded", 2)
    assert served.worker_pids() == before
    assert "220" in served.greeting()


def test_sighup_changes_ports_and_the_number_of_workers(served: Served) -> None:
    old, [new] = served.smtp, free_ports(1)
    served.smtp, served.workers = new, 3
    served.write_settings()
    served.process.send_signal(signal.SIGHUP)
    served.wait_until("220")
    served.wait_for_log(" reloaded")
    served.wait_for_workers(3)
    with pytest.raises(ConnectionError):
        connect(old)
    served.workers = 1
    served.write_settings()
    served.process.send_signal(signal.SIGHUP)
    served.wait_for_log(" reloaded", 2)
    served.wait_for_workers(1)
    for _ in range(20):  # sockets of workers that are gone are served by the one that is left
        assert "220" in served.greeting()


def test_a_taken_port_names_who_has_it_and_a_free_one(tmp_path: Path, served: Served) -> None:
    other = tmp_path / "other"
    other.mkdir()
    settings = other / "posthouse.toml"
    settings.write_text(served.settings.read_text().replace('data = "data"', f'data = "{other}"'))
    done = subprocess.run([*PROGRAM, "serve", "--config", settings], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"port {served.smtp} (smtp) is taken by another Posthouse (process {served.process.pid})" in done.stderr
    assert "is free" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_data_directory_has_one_server(served: Served) -> None:
    done = subprocess.run([*PROGRAM, "serve", "--config", served.settings], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"already running on {served.folder / 'data'} (process {served.process.pid})" in done.stderr


def test_what_cannot_start_ends_with_the_reason(tmp_path: Path) -> None:
    settings = tmp_path / "posthouse.toml"
    data = tmp_path / "data"
    data.mkdir()
    (data / "posthouse.db").write_bytes(b"this is no database" * 100)
    settings.write_text(f"""
        data = "data"
        smtp = {{listen = ["127.0.0.1:{free_ports(1)[0]}"]}}
        submission = {{listen = [], listen_tls = []}}
        imap = {{listen = [], listen_tls = []}}
        pop3 = {{listen = [], listen_tls = []}}
    """)
    done = subprocess.run(
        [*PROGRAM, "serve", "--config", settings], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert "cannot start" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_the_user_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    if not readable_by_others(Path(os.__file__)):  # root's own Python, as pyenv makes it; Debian's does as well
        monkeypatch.setattr(f"{__name__}.PROGRAM", ["/usr/bin/python3.11", "-m", "posthouse"])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if readable_by_others(Path(path))))
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        os.chmod(folder, 0o755)
        become(Path(folder))


def readable_by_others(path: Path) -> bool:
    return path.exists() and all(folder.stat().st_mode & 0o005 == 0o005 for folder in path.resolve().parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_cannot_read_the_program_is_told_so(tmp_path: Path) -> None:
    if readable_by_others(Path(os.__file__)):
        pytest.skip("this Python is for everybody")
    settings = tmp_path / "posthouse.toml"
    settings.write_text(f"""
        data = "data"
        user = "nobody"
        smtp = {{listen = ["127.0.0.1:{free_ports(1)[0]}"]}}
        submission = {{listen = [], listen_tls = []}}
        imap = {{listen = [], listen_tls = []}}
        pop3 = {{listen = [], listen_tls = []}}
    """)
    done = subprocess.run([*PROGRAM, "serve", "--config", settings], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "user: nobody cannot read" in done.stderr
    assert "Traceback" not in done.stderr


def become(tmp_path: Path) -> None:
    one = Served(tmp_path, workers=1, more='user = "nobody"')
    users = {psutil.Process(pid).username() for pid in (one.process.pid, *one.worker_pids())}
    assert users == {"nobody"}
    assert (tmp_path / "data").owner() == "nobody"
    add = subprocess.run(
        [*PROGRAM, "domain", "add", "home.test", "--config", one.settings], capture_output=True, text=True, check=False
    )
    assert add.returncode == 0, add.stderr
    assert {path.owner() for path in (tmp_path / "data").rglob("*")} == {"nobody"}
    assert one.stop() == 0
    one.files.key.chmod(0o600)
    refused = subprocess.run(
        [*PROGRAM, "serve", "--config", one.settings], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert refused.returncode == 1
    assert f"tls.certificates: {one.files.key}: the user nobody may not read it" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_words_for_ports_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"port {port} \(imap\) is taken by .*process {os.getpid()}"):
            bind_all({"imap": [Listen("127.0.0.1", port)]}, 1, tmp_path)
        monkeypatch.setattr(ports, "who_listens", lambda _: None)
        with pytest.raises(CannotListen, match=rf"`sudo ss -ltnp 'sport = :{port}'` names it"):
            bind_all({"imap": [Listen("127.0.0.1", port)]}, 1, tmp_path)
    with pytest.raises(CannotListen, match=r"this machine has no address 192\.0\.2\.1"):
        bind_all({"smtp": [Listen("192.0.2.1", free_ports(1)[0])]}, 1, tmp_path)
