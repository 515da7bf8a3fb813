"""Octets come back as they went in, whole or in part, or not at all."""

import hashlib
import mmap
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail.ids import Millis
from posthouse.store import emails, gc, mailboxes
from posthouse.store.blobs import (
    FRAME_SIZE,
    INLINE_SIZE,
    BlobKey,
    NewBlob,
    keep,
    pack,
    read_file,
    unpack_many,
    write_file,
)
from posthouse.store.emails import ALL, Column, FlagChange, Mode
from posthouse.store.script import NotFound, Script, Unavailable, sql
from posthouse.store.store import Store, open_sync
from store.fsck import blob_keys, damaged
from store_rig import Rig, furnish, message, new_email
from thorough import examples

HOUR = 3_600_000


def large(size: int = INLINE_SIZE + 300_000) -> bytes:
    head = message(400)
    return head + os.urandom(size - len(head))


@given(st.binary(max_size=2000))
def test_pack_makes_one_frame_any_zstd_reads(octets: bytes) -> None:
    assert zstandard.ZstdDecompressor().decompress(pack(octets)) == octets
    assert zstandard.get_frame_parameters(pack(octets)).content_size == len(octets)


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 3 * FRAME_SIZE), st.data())
def test_a_file_gives_every_range(tmp_path_factory: pytest.TempPathFactory, size: int, data: st.DataObject) -> None:
    octets = os.urandom(size)
    path = tmp_path_factory.mktemp("blobs") / "ab" / "file.zst"
    write_file(path, octets)
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    assert read_file(path, start, stop) == octets[start:stop]
    with zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True) as reader:
        assert reader.read() == octets  # any zstd reads it, and skips the table


def test_sources_of_every_kind(rig: Rig, tmp_path: Path) -> None:
    octets = large()
    (tmp_path / "spool").write_bytes(octets)
    with (tmp_path / "spool").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for source in (octets, bytearray(octets), memoryview(octets), mapped):
            new = rig.store.blobs.put_sync(source)
            assert new.size == len(octets)
            assert new.packed is None
            key = rig.run(keep, new, 0)
            assert rig.store.octets(key) == octets


async def test_get_reads_parts_and_many(store: Store) -> None:
    bodies = [message(), large(), b"", message(INLINE_SIZE - 100)]
    keys = [await store.run(keep, await store.blobs.put(body), 0) for body in bodies]
    assert await store.blobs.get_many(keys) == bodies
    for key, body in zip(keys, bodies, strict=True):
        assert await store.blobs.get(key) == body
        assert await store.blobs.get(key, 10, 20) == body[10:20]
        assert await store.blobs.get(key, len(body) - 5, 1 << 40) == body[-5:]
        assert await store.blobs.get(key, len(body) + 5) == b""
    assert await store.blobs.get_many([]) == []
    assert await store.blobs.get_many([keys[0]] * 150) == [bodies[0]] * 150
    with pytest.raises(NotFound):
        await store.blobs.get(BlobKey(99))
    with pytest.raises(NotFound):
        await store.blobs.get_many([keys[0], BlobKey(99)])


def test_the_same_octets_are_kept_once(rig: Rig) -> None:
    octets = message()
    keys = {rig.run(keep, rig.store.blobs.put_sync(octets), 0) for _ in range(3)}
    assert len(keys) == 1


def spoil(key: BlobKey, packed: bytes) -> Script[None]:
    yield sql("UPDATE octets SET packed = $2 WHERE blob = $1", key, packed)


def test_damage_is_never_served(rig: Rig) -> None:
    octets = message()
    key = rig.run(keep, rig.store.blobs.put_sync(octets), 0)
    whole = pack(octets)
    for packed in (pack(octets[:-1] + b"!"), whole[:-3], b"", os.urandom(50), pack(octets[:-1])):
        rig.run(spoil, key, packed)
        with pytest.raises(Unavailable, match="octets of a message"):
            rig.store.octets(key)
    assert rig.read(damaged, rig.store.blobs, rig.read(blob_keys, BlobKey(0))) == [key]
    rig.run(spoil, key, whole)
    assert rig.store.octets(key) == octets


def test_a_damaged_or_missing_file_is_never_served(rig: Rig) -> None:
    new = rig.store.blobs.put_sync(large())
    key = rig.run(keep, new, 0)
    path = rig.store.directory / "blobs" / str(new.file)
    good = path.read_bytes()
    for bad in (good[:1000] + b"\x00" * 8 + good[1008:], good[:-1], good[:20], b"", good[:-9] + b"\xff" * 9):
        path.write_bytes(bad)
        with pytest.raises(Unavailable):
            rig.store.octets(key)
    path.unlink()
    with pytest.raises(Unavailable):
        rig.store.octets(key)


def test_a_full_disk_is_unavailable(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        rig.store.blobs.put_sync(large())
    assert list((rig.store.directory / "blobs").glob("*/*")) == []


async def test_garbage_goes_after_a_day_and_not_before(tmp_path: Path) -> None:
    """The keys of threads, the fifth number, have an hour of the day: test_threads.py."""
    with open_sync(tmp_path) as first:
        anna, _ = furnish(first)
        box = first.read(mailboxes.find, anna, "INBOX").box  # type: ignore[union-attr]  # a new account has it
        first.run(emails.add, box, [new_email(first, large(), 16), new_email(first, message(), 16)])
        orphan = first.blobs.put_sync(large())
    store = await Store.open(tmp_path)
    try:
        now = int((tmp_path / "blobs" / str(orphan.file)).stat().st_mtime * 1000)
        rows = await store.read(emails.fetch, box, ALL, [Column.BLOB])
        keys = [BlobKey(key) for _, key in rows]
        assert (await gc.collect_garbage(store, Millis(now)))[:4] == (0, 0, 0, 0)
        await store.run(emails.expunge, box)
        assert (await gc.collect_garbage(store, Millis(now)))[:4] == (0, 0, 0, 0)
        assert (await gc.collect_garbage(store, Millis(now + 23 * HOUR)))[:4] == (0, 0, 0, 0)
        assert len(await store.blobs.get_many(keys)) == 2
        assert (await gc.collect_garbage(store, Millis(now + 25 * HOUR)))[:4] == (0, 2, 0, 0)
        with pytest.raises(NotFound):
            await store.blobs.get(keys[0])
        assert (tmp_path / "blobs" / str(orphan.file)).exists()
        (tmp_path / "spool" / "1-dead").write_bytes(b"x")
        assert (await gc.collect_garbage(store, Millis(now + 37 * HOUR)))[:4] == (0, 0, 1, 1)
        assert list((tmp_path / "blobs").glob("*/*")) == []
        assert not store.blobs.spool().exists()
    finally:
        await store.close()


def test_what_is_kept_again_is_no_garbage(rig: Rig) -> None:
    octets = message()
    box = rig.box()
    rig.run(emails.add, box, [rig.email(octets, 16)])
    rig.run(emails.expunge, box)
    rig.run(gc.mark, Millis(0))
    rig.run(emails.add, box, [rig.email(octets)])
    assert rig.run(gc.collect, Millis(1)) == (0, [])
    rig.run(emails.store_flags, box, ALL, FlagChange(Mode.ADD, 16))
    rig.run(emails.expunge, box)
    assert rig.run(gc.collect, Millis(1)) == (0, [])
    rig.run(gc.mark, Millis(5))
    assert rig.run(gc.collect, Millis(6)) == (1, [])


def test_too_large_for_the_seek_table(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.store.blobs.SIZE_LIMIT", INLINE_SIZE)
    with pytest.raises(Unavailable, match="too large"):
        rig.store.blobs.put_sync(large())
    assert isinstance(rig.store.blobs.put_sync(b""), NewBlob)


def test_unpack_never_gives_wrong_octets() -> None:
    octets = message(400)
    digest = hashlib.sha256(octets).digest()
    assert unpack_many([], []) == []
    assert unpack_many([pack(octets)] * 20, [digest] * 20) == [octets] * 20
    assert unpack_many([pack(octets), pack(b"")], [digest, hashlib.sha256(b"").digest()]) == [octets, b""]
    for packed, wanted in ((pack(octets + b"!"), digest), (b"no frame", digest), (pack(octets)[:-3], digest)):
        with pytest.raises(Unavailable):
            unpack_many([pack(octets), packed], [digest, wanted])
        with pytest.raises(Unavailable):
            unpack_many([pack(octets)] * 20 + [packed], [digest] * 20 + [wanted])
