"""A disk that is too full: what the log says, how room is made, what counts as free (limits.md, durability.md)."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from household import ANNA, HOSTNAME, NOW, open_store
from posthouse import vitals
from posthouse.mail.address import Address
from posthouse.mail.ids import Millis
from posthouse.mail.keyword import DELETED_BIT
from posthouse.store import accounts, emails, gc, mailboxes, removed_users, restore
from posthouse.store.blobs import INLINE_SIZE, keep
from posthouse.store.emails import Column, NewEmail
from posthouse.store.flags import FlagChange, Mode, store_flags
from posthouse.store.mailboxes import Box
from posthouse.store.removed import Removal
from posthouse.store.script import Unavailable
from posthouse.store.store import Store
from posthouse.transport.accept import prepare
from posthouse.transport.house import House, MessageLimits
from posthouse.transport.spool import SPACE_LOG, SPACE_RESERVE, DiskSpace, needed
from posthouse.vitals import ROOM_LOOKS, DiskWatch

DAY = 24 * 3_600_000
SIZE = 1_000  # the largest message of these tests
SMALL = 200_000  # octets that do not compress: a row of the database
WORDS = "the disk is too full: new mail is refused until there is room"
AGAIN = "the disk has room again: new mail is accepted"


class Disk:
    free = 1 << 40


def house_of(store: Store) -> House:
    Disk.free = 1 << 40
    disk = DiskSpace(lambda path: Disk.free)
    return House(store, HOSTNAME, lambda: NOW, limits=MessageLimits(message_size=SIZE), disk=disk)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.name == "posthouse.vitals"]
    caplog.clear()
    return found


async def anna(store: Store) -> Box:
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    row = await store.read(mailboxes.find, login.account, "INBOX")
    assert row is not None
    return Box(login.account, row.id)


async def new(store: Store, size: int) -> NewEmail:
    return await prepare(store, b"Subject: x\r\n\r\n" + os.urandom(size), NOW)


async def test_a_full_disk_is_said_once_and_expunging_makes_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = await open_store(tmp_path)
    house, box = house_of(store), await anna(store)
    watch = DiskWatch(house, first=True)
    await store.run(emails.add, box, [await new(store, SMALL), await new(store, INLINE_SIZE * 2)])
    await watch.look()
    assert said(caplog) == []
    Disk.free = needed(SIZE) - SMALL // 2
    await watch.look()
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert vars(record)["free"] == Disk.free
    assert vars(record)["needed"] == needed(SIZE)
    assert said(caplog) == [WORDS]
    await watch.look()
    assert said(caplog) == []
    assert not house.disk.room(tmp_path, SIZE)
    assert len(list((tmp_path / "blobs").glob("*/*"))) == 1
    await store.run(store_flags, box, emails.ALL, FlagChange(Mode.ADD, DELETED_BIT))
    await store.run(emails.expunge, box)
    await watch.look()
    assert said(caplog) == ["garbage collected, because the disk is too full"]
    assert list((tmp_path / "blobs").glob("*/*")) == []
    await watch.look()
    assert house.disk.reusable > SMALL // 2
    assert house.disk.room(tmp_path, SIZE)
    for _ in range(ROOM_LOOKS):
        await watch.look()
    assert said(caplog) == [AGAIN]
    await store.close()


async def test_other_workers_know_and_leave_it_to_the_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = await open_store(tmp_path)
    house = house_of(store)
    await store.run(keep, (await new(store, SMALL)).blob, 0)
    Disk.free = needed(SIZE) - 1
    await DiskWatch(house, first=False).look()
    assert not house.disk.room(tmp_path, SIZE)
    assert said(caplog) == []
    assert house.disk.reusable < SMALL
    await store.close()


async def test_free_pages_of_the_database_count_but_the_log_needs_the_disk(tmp_path: Path) -> None:
    free = SIZE * 3 // 2 + SPACE_LOG
    disk = DiskSpace(lambda path: free)
    disk.reusable = SPACE_RESERVE - SPACE_LOG
    assert disk.room(tmp_path, SIZE)
    disk.reusable -= 1
    assert not disk.room(tmp_path, SIZE)
    disk.reusable = 1 << 40
    free -= 1
    assert disk.measure(tmp_path) == free
    assert not disk.room(tmp_path, SIZE)


async def test_making_room_spares_what_is_needed_and_what_is_on_its_way(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    box = await anna(store)
    kept = await new(store, SMALL)
    await store.run(emails.add, box, [kept])
    coming = await new(store, INLINE_SIZE * 2)  # its file is there, its row is not yet
    gone = await new(store, INLINE_SIZE * 2)
    await store.run(keep, gone.blob, 0)
    await store.run(gc.mark, Millis(NOW - DAY // 2))
    assert await gc.make_room(store, NOW) == 1
    assert await gc.make_room(store, NOW) == 0
    await store.run(emails.add, box, [coming])
    rows = await store.read(emails.fetch, box, emails.ALL, (Column.BLOB,))
    assert len(await store.blobs.get_many([blob for _, blob in rows])) == 2
    await store.close()


async def test_making_room_comes_back_for_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.store.gc.ROOM_SECONDS", 0.0)
    store = await open_store(tmp_path)
    await store.run(keep, (await new(store, SMALL)).blob, 0)
    assert await gc.make_room(store, NOW) == 0
    monkeypatch.setattr("posthouse.store.gc.ROOM_SECONDS", 5.0)
    assert await gc.make_room(store, NOW) == 1
    await store.close()


async def test_the_log_of_a_nearly_full_disk_is_cut(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    house = house_of(store)
    await store.run(keep, (await new(store, SMALL)).blob, 1)
    log = tmp_path / "posthouse.db-wal"
    assert log.stat().st_size > SMALL
    Disk.free = needed(SIZE) - 1
    await DiskWatch(house, first=True).look()
    async with asyncio.timeout(60):
        while log.stat().st_size:  # noqa: ASYNC110 - a thread's work; nobody says when it is done
            await asyncio.sleep(0.01)
    await store.close()


async def test_a_failure_to_make_room_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(store: Store, now: Millis) -> int:
        raise Unavailable("the disk is full")

    monkeypatch.setattr("posthouse.vitals.make_room", fails)
    store = await open_store(tmp_path)
    house = house_of(store)
    watch = DiskWatch(house, first=True)
    Disk.free = 0
    await watch.look()
    await watch.look()
    assert said(caplog) == [WORDS, "no room could be made on the disk: the disk is full"]
    await store.close()


async def test_recently_deleted_goes_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is nearly full, the oldest first, and no more than is needed."""
    caplog.set_level(logging.INFO)
    store = await open_store(tmp_path)
    house, box = house_of(store), await anna(store)
    room = 4 * SMALL
    watch = DiskWatch(house, first=True, room=room)
    await store.run(emails.add, box, [await new(store, SMALL) for _ in range(6)])
    for uid in range(1, 6):
        kept = Removal(Millis(NOW + uid * DAY), "anna")
        await store.run(emails.expunge, box, ((uid, uid),), marked=False, kept=kept)
    await watch.look()
    assert said(caplog) == []
    Disk.free = needed(SIZE) + room - SMALL // 2
    monkeypatch.setattr(vitals, "GIVE_UP_CHUNK", 1)
    await watch.look()
    assert said(caplog) == ["the disk is nearly full: recently deleted mail is gone for good, the oldest"]
    acts = await store.read(restore.acts, box.account)
    assert [act.at for act in acts] == [NOW + uid * DAY for uid in (5, 4, 3, 2)]
    assert house.disk.room(tmp_path, SIZE)
    await watch.look()
    assert said(caplog) == []
    await DiskWatch(house, first=False, room=1 << 40).look()
    assert len(await store.read(restore.acts, box.account)) == 4
    await DiskWatch(house, first=True, room=1 << 40).look()
    assert await store.read(restore.acts, box.account) == []
    assert len(await store.read(emails.uids, box)) == 1, "what is there stays"
    await store.close()


async def test_removed_users_go_after_that(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One by one, who was removed first, and nobody before the octets of the one before are free."""
    caplog.set_level(logging.INFO)
    store = await open_store(tmp_path)
    house, room = house_of(store), 4 * SMALL
    carl, dora = Address("carl", ANNA.domain), Address("dora", ANNA.domain)
    for at, user in enumerate((dora, carl)):
        account = await store.run(accounts.add_account, user, None)
        row = await store.read(mailboxes.find, account, "INBOX")
        assert row is not None
        await store.run(emails.add, row.box, [await new(store, SMALL) for _ in range(3)])
        await store.run(removed_users.set_aside, user, Millis(NOW + at))
    Disk.free = needed(SIZE) + room - SMALL
    await DiskWatch(house, first=True, room=room).look()
    assert said(caplog) == ["the disk is nearly full: a removed user is gone for good"]
    assert [one.address for one in await store.read(removed_users.list_removed)] == [carl]
    await DiskWatch(house, first=True, room=room).look()
    assert said(caplog) == []
    await DiskWatch(house, first=True, room=1 << 40).look()
    assert await store.read(removed_users.list_removed) == []
    await DiskWatch(house, first=True, room=1 << 40).look()
    await store.close()
