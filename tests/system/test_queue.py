"""Mail leaves the house, by a smart host that is a sink: once each, whatever dies in between (RFC 5321 §4.5.4)."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sink import OFFERS, Answer, Plan, Say, Sink, Taken, sink
from system.running import Person, Running

QUEUE = """
[relay]
host = "127.0.0.1"
port = {port}
tls = "opportunistic"

[queue]
lease_seconds = 2
first_retry_seconds = 1
longest_retry_seconds = 2
first_rest_seconds = 1
longest_rest_seconds = 2
"""
PATIENCE = 120.0  # seconds until the queue must be empty, a dead worker's lease and a retry included
AT_A_TIME = 50  # messages that one worker sends: so many may be in flight when it dies


class SinkThread:
    """A sink for tests that are no coroutines."""

    def __init__(self, plan: Plan | None = None, offers: tuple[str, ...] = OFFERS) -> None:
        self._ready, self._done = threading.Event(), threading.Event()
        self.server: Sink
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(plan, offers)))

    async def _serve(self, plan: Plan | None, offers: tuple[str, ...]) -> None:
        async with sink(plan, offers) as self.server:
            self._ready.set()
            await asyncio.to_thread(self._done.wait)

    def __enter__(self) -> "SinkThread":
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join(60)

    def taken(self) -> list[Taken]:
        return list(self.server.taken)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A store with one user, made once and copied."""
    running = Running(tmp_path_factory.mktemp("outgoing"))
    running.command("domain", "add", "home.test")
    running.person()
    return running


Make = Callable[..., tuple[Running, Person]]


@pytest.fixture
def leaving(template: Running, tmp_path: Path) -> Iterator[Make]:
    """Makes an instance whose mail goes to this port; ended at the end."""
    made: list[Running] = []

    def make(port: int, workers: int = 1) -> tuple[Running, Person]:
        running = Running(tmp_path, workers)
        shutil.copytree(template.data, running.data)
        running.settings.write_text(running.settings.read_text() + QUEUE.format(port=port))
        made.append(running)
        return running, Person(running, "person1@home.test", "a-good-password-1")

    yield make
    for running in made:
        if running.process is not None and running.process.poll() is None:
            running.kill()


def submit(anna: Person, name: str, *recipients: str, octets: bytes = b"Hello\r\n") -> None:
    with smtplib.SMTP("127.0.0.1", anna.home.ports.submission, timeout=60) as client:
        client.starttls(context=anna.home.trust())
        client.login(anna.address, anna.password)
        head = f"From: {anna.address}\r\nMessage-ID: <{name}@home.test>\r\n\r\n".encode()
        client.sendmail(anna.address, recipients, head + octets)


def submit_until_death(anna: Person, count: int) -> tuple[set[str], set[str]]:
    """Names of messages that were accepted, and of those without an answer."""
    accepted, unanswered = set[str](), set[str]()
    for number in range(count):
        name = f"m{number}"
        unanswered.add(name)
        with contextlib.suppress(OSError, smtplib.SMTPException):
            submit(anna, name, f"good{number}@far.test", f"bad{number}@far.test")
            unanswered.discard(name)
            accepted.add(name)
    return accepted, unanswered


def waiting(running: Running) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(running.command("queue", "list", "--json"))
    return found


def empty(running: Running) -> None:
    """Wait until nothing waits."""
    deadline = time.monotonic() + PATIENCE
    while left := waiting(running):
        assert time.monotonic() < deadline, f"{left}\n{running.log.read_text()[-3000:]}"
        time.sleep(0.2)


def name_of(octets: bytes) -> str:
    [name] = re.findall(rb"^Message-ID: <(\w+)@home.test>", octets, re.MULTILINE)
    return name.decode()


def no_bad(line: str) -> Answer:
    return "550 5.1.1 nobody here" if "<bad" in line else "250 2.1.5 ok"


def test_out_it_goes(leaving: Make) -> None:
    """As it came, with one Received field of ours and no Return-Path (RFC 5321 §4.4)."""
    with SinkThread() as far:
        running, anna = leaving(far.server.port, 2)
        running.start()
        submit(anna, "m1", "ben@far.test", "eva@far.test", "zoe@other.test")
        submit(anna, "m2", "ben@far.test", octets=b"0123456789\r\n" * 200_000)
        empty(running)
    sent = far.taken()
    assert sorted((name_of(one.octets), len(one.rcpts)) for one in sent) == [("m1", 1), ("m1", 2), ("m2", 1)]
    for one in sent:
        assert one.octets.startswith(b"Received: from ")
        assert b"Return-Path" not in one.octets
        assert one.mail.startswith(f"MAIL FROM:<{anna.address}>")
    assert running.stop() == 0


def test_each_recipient_for_itself_and_a_bounce(leaving: Make) -> None:
    with SinkThread({"rcpt": no_bad}) as far:
        running, anna = leaving(far.server.port)
        running.start()
        submit(anna, "m1", "good@far.test", "bad@far.test")
        empty(running)
        [bounce] = anna.messages()
    assert b"bad@far.test" in bounce
    assert b"nobody here" in bounce
    assert bounce.startswith(b"Return-Path: <>\r\n")
    assert b"good@far.test" not in bounce.partition(b"message/delivery-status")[2].partition(b"\r\n--")[0]


def test_looked_at_held_released_and_cancelled(leaving: Make) -> None:
    """The commands work while the server runs, and it goes on at once."""
    with SinkThread({"rcpt": ["450 4.2.0 come back later"] * 3 + ["250 ok"]}) as far:
        running, anna = leaving(far.server.port)
        text = running.settings.read_text().replace("_retry_seconds = ", "_retry_seconds = 999")
        running.settings.write_text(text)
        running.start()
        submit(anna, "m1", "ben@far.test")
        deadline = time.monotonic() + PATIENCE
        while "come back later" not in (text := running.command("queue", "list")):
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        assert "waits for far.test" in text
        assert "450 4.2.0 come back later" in running.command("queue", "show", "Q1")
        assert running.command("queue", "hold", "--domain", "far.test") == "1 message: held.\n"
        running.command("queue", "release", "Q1")
        for attempts in (2, 3):
            running.command("queue", "retry", "Q1")
            while waiting(running)[0]["attempts"] != attempts:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        running.command("queue", "retry", "--all")
        empty(running)
        assert len(far.taken()) == 1


def until_a_worker_died(running: Running, before: list[int]) -> None:
    """Wait until the workers are no longer those that were `before`."""
    deadline = time.monotonic() + PATIENCE
    while running.worker_pids() == before:
        assert time.monotonic() < deadline, "the crash point was never reached"
        time.sleep(0.02)


AT_ONCE = ["queue.inside_claim", "queue.claimed", "queue.before_settle", "queue.inside_settle", "queue.before_letter"]


@pytest.mark.parametrize(
    ("name", "n"), [*((name, 1) for name in AT_ONCE), ("queue.before_settle", 3), ("queue.before_letter", 3)]
)
def test_killed_at(leaving: Make, name: str, n: int) -> None:
    """The worker dies; another goes on. Nothing is lost, what was in flight may come twice, a bounce comes once."""
    with SinkThread({"rcpt": no_bad}) as far:
        running, anna = leaving(far.server.port)
        running.start(POSTHOUSE_CRASH=f"{name}:{n}")
        before = running.worker_pids()
        accepted, unanswered = submit_until_death(anna, 8)
        until_a_worker_died(running, before)
        running.kill()
        running.start()
        empty(running)
        verify(far, anna, accepted, unanswered, deaths=8 + 1)


def verify(far: SinkThread, anna: Person, accepted: set[str], unanswered: set[str], deaths: int) -> None:
    counts = Counter(name_of(one.octets) for one in far.taken())
    assert accepted <= set(counts), "lost"
    assert set(counts) <= accepted | unanswered
    assert all(count <= 1 + deaths for count in counts.values())
    bounced = Counter(re.findall(rb"Final-Recipient: rfc822; ?bad(\d+)@far.test", b"".join(anna.messages())))
    assert set(bounced.values()) == {1}, "a bounce came twice"
    assert {f"m{number.decode()}" for number in bounced} >= accepted


@pytest.mark.parametrize("crash", ["", "queue.before_letter:1", "queue.inside_settle:9", "queue.inside_settle:17"])
def test_one_notice_of_many_failures(leaving: Make, crash: str) -> None:
    """One message to 16 domains, half of them bad. A worker that dies while it gathers or tells loses nothing, and
    nobody is told of twice."""
    with SinkThread({"rcpt": no_bad}) as far:
        running, anna = leaving(far.server.port)
        running.start(**({"POSTHOUSE_CRASH": crash} if crash else {}))
        before = running.worker_pids()
        submit(anna, "m1", *[f"{'bad' if number % 2 else 'good'}{number}@d{number}.test" for number in range(16)])
        if crash:
            until_a_worker_died(running, before)
            running.kill()
            running.start()
        empty(running)
        notices = anna.messages()
    bounced = [re.findall(rb"Final-Recipient: rfc822; ?bad(\d+)@d", notice) for notice in notices]
    assert sorted(int(number) for each in bounced for number in each) == list(range(1, 16, 2))
    if crash != "queue.inside_settle:9":  # in the middle: some had another attempt afterwards
        assert len(notices) == 1
    went = Counter(one.rcpts[0] for one in far.taken())
    assert len(went) == 8
    assert crash or set(went.values()) == {1}


@pytest.mark.parametrize("step", ["ehlo", "mail", "rcpt", "data", "dot", "bdat"])
def test_killed_while_it_talks(leaving: Make, step: str) -> None:
    """SIGKILL between the server's hearing a step and its answer: it goes again, once; twice only where the whole
    message was there already."""
    victims: list[int] = []

    def kill(line: str) -> Answer:
        while victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victims.pop(), signal.SIGKILL)
        return {"data": "354 go ahead", "ehlo": "250 sink.test"}.get(step, "250 ok")

    with SinkThread({step: kill}, ("PIPELINING",) if step in ("data", "dot") else OFFERS) as far:
        running, anna = leaving(far.server.port)
        running.start()
        victims += running.worker_pids()
        before = list(victims)
        submit(anna, "m1", "ben@far.test")
        deadline = time.monotonic() + PATIENCE
        while set(before) & set(running.worker_pids()) or not running.greets():
            assert time.monotonic() < deadline, "nobody died"
            time.sleep(0.05)
        empty(running)
        sent = [name_of(one.octets) for one in far.taken()]
        assert sent == (["m1", "m1"] if step in ("dot", "bdat") else ["m1"])


def test_a_hung_worker_settles_nothing(leaving: Make) -> None:
    """SIGSTOP for longer than its lease: another goes on, and the first one finds that it has lost it."""
    with SinkThread({"mail": Say("250 ok", pause=1.0)}) as far:
        running, anna = leaving(far.server.port, 2)
        running.start()
        for number in range(20):
            submit(anna, f"m{number}", f"ben{number}@far.test")
        stopped = running.worker_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        time.sleep(5)
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGCONT)
        empty(running)
        counts = Counter(name_of(one.octets) for one in far.taken())
    assert set(counts) == {f"m{number}" for number in range(20)}
    assert max(counts.values()) <= 2


@pytest.mark.timeout(300)
def test_random_kills(leaving: Make) -> None:
    """Workers and everything die at moments of chance while mail goes out."""
    with SinkThread({"rcpt": no_bad}) as far:
        running, anna = leaving(far.server.port, 2)
        accepted, unanswered, deaths = set[str](), set[str](), 0
        for round_ in range(6):
            running.start()
            killer = threading.Timer(0.2 + 0.17 * round_, _kill_one, (running, round_))
            killer.start()
            for number in range(round_ * 10, round_ * 10 + 10):
                name = f"m{number}"
                unanswered.add(name)
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    submit(anna, name, f"good{number}@far.test", f"bad{number}@far.test")
                    unanswered.discard(name)
                    accepted.add(name)
            killer.join()
            deaths += 1
            running.kill()
        running.start()
        empty(running)
        verify(far, anna, accepted, unanswered, deaths)
        twice = sum(count - 1 for count in Counter(name_of(one.octets) for one in far.taken()).values())
        print(f"accepted {len(accepted)}, lost 0, twice {twice} in {2 * deaths} deaths")


def _kill_one(running: Running, number: int) -> None:
    pids = running.worker_pids()
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[number % len(pids)], signal.SIGKILL)
