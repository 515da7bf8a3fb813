"""store/journal.py: what happened is written, found by its keys, and forgotten by its age."""

from posthouse.mail.ids import Millis
from posthouse.store import journal
from posthouse.store.journal import DAY, Entry, key
from store_rig import NOW, Rig

EVER = (Millis(0), Millis(NOW + 400 * DAY))


def entry(text: bytes, *keys: str, at: Millis = NOW, kind: str = "taken") -> Entry:
    return Entry(at, kind, text, tuple(key("test", word) for word in keys))


def found(rig: Rig, *words: str, since: Millis = EVER[0], until: Millis = EVER[1], limit: int = 100) -> list[bytes]:
    keys = [key("test", word) for word in words]
    return [told.story for told in rig.read(journal.find, keys, since, until, limit)]


def test_found_by_any_key_once_and_in_order(rig: Rig) -> None:
    rig.run(journal.record, [entry(b"1", "a", "b"), entry(b"2", "b", "b"), entry(b"3", "c")])
    assert found(rig, "a") == [b"1"]
    assert found(rig, "b") == [b"1", b"2"]
    assert found(rig, "a", "b", "c") == [b"1", b"2", b"3"]
    assert found(rig, "d") == []


def test_found_before_and_after_keys_are_put_in_order(rig: Rig) -> None:
    for number in range(50):
        rig.run(journal.record, [entry(b"%d" % number, "all", f"{number % 7}", at=Millis(NOW + number * DAY // 10))])
    assert rig.run(journal.sort_keys, 20) == 20
    assert len(found(rig, "all")) == 50
    assert found(rig, "3") == [b"%d" % number for number in range(3, 50, 7)]
    assert rig.run(journal.sort_keys, 100) == 30
    assert rig.run(journal.sort_keys, 100) == 0
    assert len(found(rig, "all")) == 50
    assert found(rig, "3") == [b"%d" % number for number in range(3, 50, 7)]


def test_sorts_of_keys_are_apart() -> None:
    assert key("address", "x") != key("id", "x")
    assert key("addre", "ssx") != key("address", "x")
    assert all(0 <= key("id", str(number)) < 1 << 63 for number in range(1_000))


def test_of_a_period_and_of_too_many_the_newest(rig: Rig) -> None:
    for day in range(10):
        rig.run(journal.record, [entry(b"%d" % day, "a", at=Millis(NOW + day * DAY))])
    assert found(rig, "a", since=Millis(NOW + 3 * DAY), until=Millis(NOW + 5 * DAY)) == [b"3", b"4", b"5"]
    assert found(rig, "a", since=Millis(NOW + 3 * DAY + 1), until=Millis(NOW + 5 * DAY)) == [b"4", b"5"]
    assert found(rig, "a", limit=2) == [b"8", b"9"]


def test_recent_ones_of_some_kinds(rig: Rig) -> None:
    rig.run(journal.record, [entry(b"1"), entry(b"2", kind="did"), entry(b"3", at=Millis(NOW + 5), kind="refused")])
    told = rig.read(journal.recent, NOW, ("taken", "refused"))
    assert [(each.kind, each.story) for each in told] == [("taken", b"1"), ("refused", b"3")]
    assert [each.story for each in rig.read(journal.recent, Millis(NOW + 1), ("taken", "refused"))] == [b"3"]
    assert [each.story for each in rig.read(journal.recent, NOW, ("taken", "refused"), 1)] == [b"3"]


def test_forgotten_by_age_piece_by_piece_with_their_keys(rig: Rig) -> None:
    for day in range(4):
        rig.run(journal.record, [entry(b"%d" % day, "a", "b", at=Millis(NOW + day * DAY)) for _ in range(3)])
    rig.run(journal.sort_keys)
    pieces = 0
    while rig.run(journal.forget, Millis(NOW + 2 * DAY), 2):
        pieces += 1
    assert pieces > 3
    assert found(rig, "a") == [b"2"] * 3 + [b"3"] * 3

    def left():  # type: ignore[no-untyped-def]
        return (yield journal.sql("SELECT count(*) FROM journal_key"))

    assert rig.read(left) == [(12,)]


def test_conversations_go_sooner(rig: Rig) -> None:
    rig.run(journal.record, [entry(b"w", "a", kind="wire"), entry(b"t", "a")])
    assert rig.run(journal.forget_wire, NOW) == 0
    assert rig.run(journal.forget_wire, Millis(NOW + 1)) == 1
    assert found(rig, "a") == [b"t"]
