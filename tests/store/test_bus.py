"""Hints: to every other worker, never waiting, dead workers forgotten."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from fakes import comes_true
from posthouse.mail.ids import AccountId, ModSeq
from posthouse.store import bus
from posthouse.store.bus import Bus

WATCHED = 1000  # the accounts below this number

Heard = list[tuple[AccountId, ModSeq]]


def opened(directory: Path) -> tuple[Bus, Heard]:
    heard: Heard = []
    made = Bus(directory, lambda account, modseq: heard.append((account, modseq)))
    made.open()
    for number in range(WATCHED):
        made.watch(AccountId(number))
    return made, heard


async def until(heard: Heard, number: int) -> None:
    for _ in range(30_000):
        if len(heard) >= number:
            return
        await asyncio.sleep(0.002)
    pytest.fail(f"only {len(heard)} hints of {number} came")


async def test_every_other_worker_hears_and_the_sender_does_not(tmp_path: Path) -> None:
    workers = [opened(tmp_path) for _ in range(3)]
    workers[0][0].publish({AccountId(1): ModSeq(5), AccountId(2): ModSeq(1 << 60)})
    for _, heard in workers[1:]:
        await until(heard, 2)
        assert sorted(heard) == [(1, 5), (2, 1 << 60)]
    assert workers[0][1] == []
    for worker, _ in workers:
        worker.close()
    assert os.listdir(tmp_path) == []


async def test_a_folder_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    worker = Bus(folder, lambda account, modseq: None)
    folder.rmdir()
    with pytest.raises(FileNotFoundError, match=f"{folder}/.*hint"):
        worker.open()
    worker.close()


async def test_a_dead_workers_socket_is_removed(tmp_path: Path) -> None:
    sender, _ = opened(tmp_path)
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(tmp_path / "1-dead.hint"))
    dead.close()
    (tmp_path / "lmtp.sock").write_text("not ours")
    sender.publish({AccountId(1): ModSeq(1)})
    assert not (tmp_path / "1-dead.hint").exists()
    assert (tmp_path / "lmtp.sock").exists()
    sender.close()


async def test_a_slow_worker_hears_the_newest_later_and_nobody_waits(tmp_path: Path) -> None:
    sender, _ = opened(tmp_path)
    receiver, heard = opened(tmp_path)
    for number in range(5000):  # far more than a socket holds; the receiver's loop does not run meanwhile
        sender.publish({AccountId(number % 700): ModSeq(number)})
    assert heard == []
    for _ in range(6_000):
        if {account for account, _ in heard} == set(range(700)) and max(m for _, m in heard) == 4999:
            break
        await asyncio.sleep(0.01)
    newest: dict[int, int] = {}
    for account, modseq in heard:
        newest[account] = max(modseq, newest.get(account, 0))
    assert newest == {account: max(range(account, 5000, 700)) for account in range(700)}
    receiver.close()
    sender.close()


async def test_a_worker_that_never_reads_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "RETRIES", 3)
    monkeypatch.setattr(bus, "BACKLOG", 50)
    sender, _ = opened(tmp_path)
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deaf.bind(str(tmp_path / "1-deaf.hint"))
    for number in range(2000):
        sender.publish({AccountId(number): ModSeq(number)})
        if number % 100 == 0:
            await asyncio.sleep(0)
    await comes_true(lambda: sender._waiting == {})
    deaf.close()
    sender.close()


async def test_a_long_directory_name_is_no_hindrance(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    sender, _ = opened(deep)
    receiver, heard = opened(deep)
    sender.publish({AccountId(7): ModSeq(8)})
    await until(heard, 1)
    receiver.close()
    sender.close()
    assert list(deep.iterdir()) == []


async def test_hints_on_the_heels_of_one_go_together_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "PACE_SECONDS", 60.0)
    sender, _ = opened(tmp_path)
    receiver, heard = opened(tmp_path)
    sender.publish({AccountId(1): ModSeq(1)})
    await until(heard, 1)
    for number in range(2, 6):
        sender.publish({AccountId(1): ModSeq(number), AccountId(2): ModSeq(number)})
    await asyncio.sleep(0.05)
    assert heard == [(1, 1)]
    sender.close()  # before the time is over
    await until(heard, 3)
    assert heard == [(1, 1), (1, 5), (2, 5)]
    receiver.close()


async def test_hints_that_waited_go_by_themselves(tmp_path: Path) -> None:
    sender, _ = opened(tmp_path)
    receiver, heard = opened(tmp_path)
    sender.publish({AccountId(1): ModSeq(1)})
    sender.publish({AccountId(1): ModSeq(2)})
    await until(heard, 2)
    assert heard == [(1, 1), (1, 2)]
    receiver.close()
    sender.close()


async def test_the_folder_is_read_again_only_when_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, _ = opened(tmp_path)
    os.utime(tmp_path, (1, 1))  # long ago
    sender.publish({AccountId(1): ModSeq(1)})
    monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("it was not changed"))
    sender.publish({AccountId(1): ModSeq(2)})
    monkeypatch.undo()
    receiver, heard = opened(tmp_path)  # a new worker
    sender.publish({AccountId(1): ModSeq(3)})
    await until(heard, 1)
    assert heard == [(1, 3)]
    sender.publish({AccountId(1): ModSeq(4)})  # it has come just now: another could come within the same tick
    os.unlink(tmp_path / receiver._name)
    another, others = opened(tmp_path)
    sender.publish({AccountId(1): ModSeq(5)})
    await until(others, 1)
    for worker in (sender, receiver, another):
        worker.close()


async def test_nonsense_is_passed_over(tmp_path: Path) -> None:
    receiver, heard = opened(tmp_path)
    sender, _ = opened(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for name in os.listdir(tmp_path):
            if name.endswith(bus.SUFFIX):
                stranger.sendto(b"nonsense!", str(tmp_path / name))
    sender.publish({AccountId(1): ModSeq(2)})
    await until(heard, 1)
    assert heard == [(1, 2)]
    receiver.close()
    sender.close()


async def test_a_worker_hears_of_what_it_watches_and_is_not_woken_by_the_rest(tmp_path: Path) -> None:
    sender, _ = opened(tmp_path)
    receiver, heard = opened(tmp_path)
    receiver.watch(AccountId(5000))
    receiver.watch(AccountId(5000))  # a second session
    receiver.unwatch(AccountId(7))
    receiver.unwatch(AccountId(5000))
    sender.publish({AccountId(7): ModSeq(1), AccountId(6000): ModSeq(1)})
    sender.publish({AccountId(5000): ModSeq(2), AccountId(7): ModSeq(2)})
    await until(heard, 1)
    receiver.unwatch(AccountId(5000))
    sender.publish({AccountId(5000): ModSeq(3)})
    assert sender._waiting == {}
    sender.publish({AccountId(8): ModSeq(4)})
    await until(heard, 2)
    assert heard == [(5000, 2), (8, 4)]
    receiver.close()
    receiver.unwatch(AccountId(8))  # a session that ends behind its store
    sender.close()


async def test_a_command_tells_workers_of_what_they_watch(tmp_path: Path) -> None:
    command = Bus(tmp_path, lambda account, modseq: None)
    receiver, heard = opened(tmp_path)
    command.publish({AccountId(5000): ModSeq(1), AccountId(3): ModSeq(2)})
    await until(heard, 1)
    assert heard == [(3, 2)]
    command.close()
    receiver.close()


async def test_a_worker_that_does_not_say_what_it_watches_is_told_of_all(tmp_path: Path) -> None:
    """So is one of a version before this file, until all were started anew."""
    sender, _ = opened(tmp_path)
    old = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    old.bind(str(tmp_path / "1-old.hint"))
    sender.publish({AccountId(70_000): ModSeq(9)})
    assert old.recv(100) == (70_000).to_bytes(8, sys.byteorder) + (9).to_bytes(8, sys.byteorder)
    old.close()
    sender.close()


async def test_what_dead_workers_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(tmp_path / "1-dead.hint"))
    dead.close()
    (tmp_path / "1-dead.watched").write_bytes(b"")
    alive, heard = opened(tmp_path)
    assert not (tmp_path / "1-dead.hint").exists()
    assert not (tmp_path / "1-dead.watched").exists()
    next_one, _ = opened(tmp_path)  # knocks, which is no hint
    next_one.publish({AccountId(1): ModSeq(1)})
    await until(heard, 1)
    assert heard == [(1, 1)]
    next_one.close()
    alive.close()
    assert os.listdir(tmp_path) == []


async def test_a_disk_that_takes_nothing_costs_hints_and_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = opened(tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    worker.watch(AccountId(5000))
    worker.unwatch(AccountId(5000))
    monkeypatch.undo()
    worker.close()


async def test_a_worker_starts_on_a_full_disk_and_is_told_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, _ = opened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 100)  # some octets, and no more
        receiver, heard = opened(tmp_path)
    assert not (tmp_path / bus._file_of(receiver._name)).exists()
    sender.publish({AccountId(5000): ModSeq(1)})
    await until(heard, 1)
    assert heard == [(5000, 1)]
    receiver.close()
    sender.close()
    assert os.listdir(tmp_path) == []
