"""store/readers.py: each thread is woken for its own work, and for nothing else."""

import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from posthouse.store.readers import Readers

PATIENCE = 60.0  # seconds that a thread may take to do what it was told


class Crew:
    """Threads that write down who did what, and stay at a job until they are told to go on."""

    def __init__(self, count: int) -> None:
        self.readers: Readers[str] = Readers()
        self.begun: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self.gates = {f"thread {number}": threading.Semaphore(0) for number in range(count)}
        self.threads = [threading.Thread(target=self._run, name=name) for name in self.gates]
        for thread in self.threads:
            thread.start()
            while len(self.readers._resting) <= self.threads.index(thread):
                thread.join(0.001)

    def _run(self) -> None:
        self.readers.serve(self._work)

    def _work(self, job: str) -> None:
        name = threading.current_thread().name
        self.begun.put((name, job))
        assert self.gates[name].acquire(timeout=PATIENCE)

    def next(self) -> tuple[str, str]:
        return self.begun.get(timeout=PATIENCE)

    def go_on(self, name: str, resting: int | None = None) -> None:
        """End the job of this thread, and wait until so many rest."""
        self.gates[name].release()
        while resting is not None and len(self.readers._resting) != resting:
            self.threads[0].join(0.001)

    def close(self) -> None:
        self.readers.end()
        for name, gate in self.gates.items():
            gate.release(100)
            next(thread for thread in self.threads if thread.name == name).join(PATIENCE)
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew(2)
    yield crew
    crew.close()


def test_who_rested_last_is_asked_first(crew: Crew) -> None:
    for job in ("a", "b", "c"):
        crew.readers.put(job)
        name, done = crew.next()
        assert (name, done) == ("thread 1", job)
        crew.go_on(name, resting=2)


def test_the_other_one_is_asked_when_one_is_at_work(crew: Crew) -> None:
    crew.readers.put("a")
    assert crew.next() == ("thread 1", "a")
    crew.readers.put("b")
    assert crew.next() == ("thread 0", "b")
    assert crew.readers.waiting == 0


def test_what_nobody_can_begin_waits_in_order(crew: Crew) -> None:
    for job in ("a", "b", "c", "d"):
        crew.readers.put(job)
    assert {crew.next()[1], crew.next()[1]} == {"a", "b"}
    assert crew.readers.waiting == 2
    crew.go_on("thread 0")
    assert crew.next() == ("thread 0", "c")
    crew.go_on("thread 1")
    assert crew.next() == ("thread 1", "d")
    assert crew.readers.waiting == 0


def test_at_the_end_what_was_put_is_done(crew: Crew) -> None:
    for job in ("a", "b", "c"):
        crew.readers.put(job)
    crew.readers.end()
    crew.go_on("thread 0")
    crew.go_on("thread 1")
    assert {crew.next()[1] for _ in range(3)} == {"a", "b", "c"}


def test_a_thread_that_comes_after_the_end_has_nothing_to_do() -> None:
    readers: Readers[str] = Readers()
    readers.put("a")
    readers.end()
    done: list[str] = []
    readers.serve(done.append)
    assert done == ["a"]
