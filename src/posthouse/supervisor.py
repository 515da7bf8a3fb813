"""The supervisor: binds every port, starts workers on them, and puts a new worker in the place of a dead one.

It speaks no mail and runs no event loop of asyncio: it waits on pipes. The sockets are its own, so nothing that waits
in their queues is lost when a worker dies. SIGTERM and SIGINT drain everything; SIGHUP starts new workers with new
settings and certificates on the same sockets, and drains the old ones when the new ones listen.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from posthouse.config import ConfigError
from posthouse.config_sections import Settings
from posthouse.orders import CANNOT_START, LEAVING, READY, Orders, print_orders
from posthouse.ports import Bound, CannotListen, bind_all
from posthouse.store.crashpoint import disarm

STABLE_SECONDS = 5.0  # a worker that lived this long is replaced at once; one that dies earlier again and again is not
BACK_OFF = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before the next try, by early deaths in a row
REST = 3  # early deaths in a row after which nobody waits for that worker: the others have its connections
START_SECONDS = 120.0  # until a worker must listen: it may have a large database to migrate or recover
DRAIN_GRACE = 5.0  # seconds beyond the drain time before a worker that does not end is killed
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Worker:
    """One process, as the supervisor sees it."""

    process: "subprocess.Popen[bytes]"
    heartbeat: int
    slot: int
    born: float
    beat: float
    ready: bool = False
    kill_at: float | None = None  # when it must have ended


@dataclass(slots=True)
class Slot:
    """A worker's place: how its tenants have fared."""

    early_deaths: int = 0
    start_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the caller wants to do: give the settings again at SIGHUP (None: SIGHUP ends the program, as it does for
    one that a terminal started), and hear when the first workers listen."""

    reload: Callable[[], Settings] | None = None
    ready: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Supervisor:
    """From `run` to its return: the life of one server. `bound` are the sockets of `settings.listeners()`."""

    settings: Settings
    bound: list[Bound]
    hooks: Hooks = field(default_factory=Hooks)
    workers: list[Worker] = field(default_factory=list)  # those that do the work
    coming: list[Worker] = field(default_factory=list)  # after SIGHUP: their successors, until all listen
    leaving: list[Worker] = field(default_factory=list)  # those that drain
    _slots: dict[int, Slot] = field(default_factory=dict)
    _next: tuple[Settings, list[Bound]] | None = None  # what `coming` works with
    _stopping: bool = False
    _listened: bool = False
    _status: int = 0
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def run(self) -> int:
        """Until a signal ends it. The exit status: 0 after a clean end."""
        with self._signals() as waking:
            self._selector.register(waking, selectors.EVENT_READ)
            self._staff()
            while self.workers or self.coming or self.leaving or not self._stopping:
                self._wait(waking)
                self._look()
            self._selector.close()
        return self._status

    def _wait(self, waking: socket.socket) -> None:
        for key, _ in self._selector.select(self._patience()):
            if key.data is None:
                self._obey(waking.recv(64))
            elif key.data.heartbeat in self._selector.get_map():  # not buried by what came before it
                self._listen_to(key.data)

    # --- signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            ours.close()
            theirs.close()

    def _obey(self, signals: bytes) -> None:
        for number in signals:
            if number == signal.SIGHUP and self.hooks.reload is not None:
                self._reload(self.hooks.reload)
            elif number in SIGNALS:
                self.stop()

    def stop(self) -> None:
        """Drain everything. A second call ends the patience: those that are left are killed."""
        if self._stopping:
            for worker in self.leaving:
                worker.process.kill()
            return
        self._stopping = True
        log.info("stopping; sessions have %.0f s to end", self.settings.drain_seconds)
        for bound in [*self.bound, *(self._next[1] if self._next is not None else ())]:
            bound.close()  # who connects now is refused, instead of waiting for an answer that will not come
        self._drain([*self.workers, *self.coming])
        self.workers, self.coming, self._next = [], [], None

    def _drain(self, workers: Sequence[Worker]) -> None:
        now = time.monotonic()
        for worker in workers:
            worker.kill_at = now + self.settings.drain_seconds + DRAIN_GRACE
            worker.process.terminate()
            self.leaving.append(worker)

    # --- SIGHUP

    def _reload(self, load: Callable[[], Settings]) -> None:
        if self._stopping:
            return
        if self.coming:
            self._give_up_reload("another SIGHUP came")
        try:
            settings = load()
            if settings.folder != self.settings.folder:
                raise ConfigError(["data: the data directory cannot change while the server runs; restart it"])
            bound = bind_all(settings.listeners(), settings.workers, settings.folder, self.bound)
        except (ConfigError, CannotListen) as error:
            for line in str(error).splitlines():
                log.error("not reloaded: %s", line)
            return
        log.info("reloading: %d new workers", settings.workers)
        self._next = settings, bound
        self.coming = [self._spawn(slot, settings, bound, afresh=True) for slot in range(settings.workers)]

    def _give_up_reload(self, reason: str) -> None:
        """The old workers go on, with the old settings."""
        log.error("not reloaded: %s", reason)
        self._drain(self.coming)
        self.coming = []
        if self._next is not None:
            had = {sock for one in self.bound for sock in one.sockets}
            for sock in [sock for one in self._next[1] for sock in one.sockets if sock not in had]:
                sock.close()
        self._next = None

    def _take_over(self) -> None:
        """The new workers listen: the old ones may go, and ports nobody wants any more are closed."""
        assert self._next is not None
        self._drain(self.workers)
        self.workers, self.coming = self.coming, []
        old = self.bound
        (self.settings, self.bound), self._next = self._next, None
        kept = {sock for one in self.bound for sock in one.sockets}
        for sock in [sock for one in old for sock in one.sockets if sock not in kept]:
            sock.close()
        log.info("reloaded")

    # --- workers

    def _staff(self) -> None:
        """A worker for each slot that has none and whose time has come."""
        if self._stopping or self.coming:
            return
        now = time.monotonic()
        for number in {*range(self.settings.workers)} - {worker.slot for worker in self.workers}:
            if self._slots.setdefault(number, Slot()).start_at <= now:
                self.workers.append(self._spawn(number, self.settings, self.bound, afresh=not self._listened))

    def _spawn(self, slot: int, settings: Settings, bound: Sequence[Bound], *, afresh: bool) -> Worker:
        for one in bound:
            one.wake(slot, settings.workers)
        shares = [(one.service, sock.fileno()) for one in bound for sock in one.share(slot, settings.workers)]
        heartbeat, theirs = os.pipe()
        os.set_blocking(heartbeat, False)
        os.set_blocking(theirs, False)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "posthouse.worker"],
            stdin=subprocess.PIPE,
            pass_fds=[theirs, *(descriptor for _, descriptor in shares)],
            process_group=0,  # so that a terminal's Ctrl-C reaches us alone
        )
        os.close(theirs)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # dead already: its heartbeat's end tells us
            process.stdin.write(print_orders(Orders(settings, shares, theirs, slot, afresh)))
            process.stdin.flush()
        now = time.monotonic()
        # It beats when its program is loaded, which takes as long as a busy disk wants: until then START_SECONDS hold.
        worker = Worker(process, heartbeat, slot, now, beat=now + START_SECONDS)
        self._selector.register(heartbeat, selectors.EVENT_READ, worker)
        return worker

    def _listen_to(self, worker: Worker) -> None:
        said = os.read(worker.heartbeat, 4096)
        if not said:
            self._bury(worker)
            return
        worker.beat = time.monotonic()
        if READY in said:
            worker.ready = True
            self._one_is_ready()
        if LEAVING in said and worker in self.workers:
            self._let_go(worker)

    def _let_go(self, worker: Worker) -> None:
        """It ends by itself, for its memory or its store. Its place is another's at once, while its sessions end."""
        self.workers.remove(worker)
        worker.kill_at = time.monotonic() + self.settings.drain_seconds + DRAIN_GRACE
        self.leaving.append(worker)
        self._replace(worker, "it asked to be replaced")

    def _one_is_ready(self) -> None:
        if self.coming and all(worker.ready for worker in self.coming):
            self._take_over()
        if not self._listened and len(self.workers) == self.settings.workers and all(w.ready for w in self.workers):
            self._listened = True
            log.info("ready: %d workers listen on %s", len(self.workers), _ports(self.bound))
            self.hooks.ready()

    def _bury(self, worker: Worker) -> None:
        """Its heartbeat has ended: the process is dead, or will be at once."""
        self._selector.unregister(worker.heartbeat)
        os.close(worker.heartbeat)
        worker.process.kill()
        status = worker.process.wait()
        with contextlib.suppress(BrokenPipeError):
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        if worker in self.leaving:
            self.leaving.remove(worker)
            return
        if worker in self.coming:
            self.coming.remove(worker)
            self._give_up_reload(f"a new worker ended before it listened ({_reason(status)})")
            return
        self.workers.remove(worker)
        if status == CANNOT_START and not self._listened:
            self._status = 1
            self.stop()
            return
        disarm()  # where a test let it die
        self._replace(worker, _reason(status))

    def _replace(self, worker: Worker, reason: str) -> None:
        now = time.monotonic()
        slot = self._slots[worker.slot]
        slot.early_deaths = 0 if now - worker.born >= STABLE_SECONDS else slot.early_deaths + 1
        wait = BACK_OFF[min(max(slot.early_deaths - 1, 0), len(BACK_OFF) - 1)]
        slot.start_at = now + wait
        if slot.early_deaths >= REST and any(other.ready for other in self.workers):
            for one in self.bound:
                one.rest(worker.slot, self.settings.workers)
        log.error("worker %d ended (%s); the next starts in %.0f s", worker.slot, reason, wait)

    def _look(self) -> None:
        """Who has not been heard of, who has not ended in time, who is missing."""
        now = time.monotonic()
        for worker in [*self.workers, *self.coming, *self.leaving]:
            late = worker.kill_at is not None and now >= worker.kill_at
            unready = not worker.ready and now - worker.born > START_SECONDS
            silent = unready or now - worker.beat > self.settings.heartbeat_seconds
            if late or silent:
                log.error("worker %d %s; it is killed", worker.slot, "does not end" if late else "hangs")
                worker.beat = worker.born = now
                worker.kill_at = None
                worker.process.kill()
        self._staff()

    def _patience(self) -> float:
        """Seconds until something must be looked at, when nothing happens."""
        now = time.monotonic()
        missing = {*range(self.settings.workers)} - {worker.slot for worker in self.workers}
        starts = [] if self._stopping else [self._slots.setdefault(number, Slot()).start_at for number in missing]
        kills = [worker.kill_at for worker in self.leaving if worker.kill_at is not None]
        return max(0.0, min([now + 1.0, *starts, *kills]) - now)


def _ports(bound: Sequence[Bound]) -> str:
    """What a person wants to know of it: `smtp 25, imaps 993`."""
    return ", ".join(f"{one.service} {one.where}" for one in bound) or "nothing: every service is turned off"


def _reason(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
