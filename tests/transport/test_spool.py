"""transport/spool.py: where a message waits while it is received."""

import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.transport.spool import SPACE_RESERVE, DiskSpace, Spool, copy_to_file, free_octets, kept


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def fill(spool: Spool, *chunks: bytes) -> None:
    for chunk in chunks:
        if spool.add(chunk):
            await spool.write()


async def test_a_small_message_stays_in_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    await fill(spool, b"Subject: a\r\n", b"\r\n", b"body\r\n")
    assert spool.size == 20
    assert await spool.octets() == b"Subject: a\r\n\r\nbody\r\n"
    assert names(tmp_path) == []


async def test_a_large_message_goes_to_a_file_without_a_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000)
    chunks = [bytes([number]) * 300_000 for number in range(1, 12)]
    await fill(spool, *chunks)
    octets = await spool.octets()
    assert isinstance(octets, mmap.mmap)
    assert octets[:] == b"".join(chunks)
    assert spool.size == len(octets)
    assert names(tmp_path) == []
    spool.close()
    assert octets[-1] == 11  # the map outlives the file
    spool.close()


async def test_an_empty_message(tmp_path: Path) -> None:
    assert await Spool(tmp_path, 100).octets() == b""


async def test_a_folder_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "missing", 10)
    with pytest.raises(OSError, match="missing"):
        await fill(spool, b"x" * 100)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_cutting_leaves_the_rest(octets: bytes, marks: list[int]) -> None:
    marks = sorted(min(mark, len(octets)) for mark in marks)
    cuts = list(zip(marks[::2], marks[1::2], strict=False))
    kept_marks = [octet for at, octet in enumerate(octets) if not any(start <= at < stop for start, stop in cuts)]
    assert b"".join(kept(octets, [(*cut, b"") for cut in cuts])) == bytes(kept_marks)


def test_something_else_is_put_in_but_not_into_what_is_gone() -> None:
    changes = [(0, 1, b"X"), (2, 2, b"+"), (3, 6, b""), (4, 4, b"gone"), (6, 6, b"-")]
    assert b"".join(kept(b"abcdefgh", changes)) == b"Xb+c-gh"


async def test_copying_a_large_message(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10)
    await fill(spool, b"Bcc: me\r\nSubject: x\r\n\r\n", b"y" * 3_000_000)
    octets = await spool.octets()
    assert isinstance(octets, mmap.mmap)
    copy = copy_to_file(octets, b"Received: z\r\n", [(0, 9, b"")], tmp_path)
    assert copy[:] == b"Received: z\r\nSubject: x\r\n\r\n" + b"y" * 3_000_000
    assert names(tmp_path) == []
    spool.close()


def test_room_on_the_disk_is_asked_for_once_a_second(tmp_path: Path) -> None:
    asked: list[Path] = []

    def free(path: Path) -> int:
        asked.append(path)
        return 15 + SPACE_RESERVE

    space = DiskSpace(free)
    assert space.room(tmp_path, 10)
    assert not space.room(tmp_path, 11)
    assert asked == [tmp_path]


def test_free_octets(tmp_path: Path) -> None:
    assert free_octets(tmp_path) > 0
