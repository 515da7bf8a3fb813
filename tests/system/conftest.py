"""Fixtures of the system tests: a running Posthouse that tests share, and ones of a test's own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from system.running import Person, Running

ROOT = Path(__file__).resolve().parents[2]
CORPUS_MESSAGES = 1950


@pytest.fixture(scope="session")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers, the domains home.test and work.test; shared, so each test uses people of its own."""
    running = Running(tmp_path_factory.mktemp("posthouse"))
    yield from lifetime(running)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    """An instance for one test, which may kill it."""
    yield from lifetime(Running(tmp_path))


def lifetime(running: Running) -> Iterator[Running]:
    for domain in ("home.test", "work.test"):
        running.command("domain", "add", domain)
    running.start()
    yield running
    if running.process is not None and running.process.poll() is None:
        assert running.stop() == 0, running.log.read_text()[-4000:]


@pytest.fixture
def person(posthouse: Running) -> Callable[..., Person]:
    return posthouse.person


@pytest.fixture(scope="session")
def corpus() -> list[bytes]:
    """The 1,950 real messages, with the line ends that SMTP has."""
    folder = Path(os.environ.get("POSTHOUSE_CORPUS", ROOT.parent / "shared" / "data" / "mail"))
    files = sorted(folder.glob("*/*.eml"))
    assert len(files) == CORPUS_MESSAGES, (
        f"{len(files)} messages in {folder}, not {CORPUS_MESSAGES}: name the folder of real mail in POSTHOUSE_CORPUS"
    )
    return [as_sent(file.read_bytes()) for file in files]


def as_sent(octets: bytes) -> bytes:
    """CRLF for every line end, and one at the end."""
    lines = octets.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    return b"\r\n".join(lines) + b"\r\n"
