"""store/sending.py: what a user may send in an hour and a day, over workers and restarts."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail.ids import AccountId, Millis
from posthouse.store import sending
from posthouse.store.script import Script, sql
from posthouse.store.sending import SLOT, Allowance, Bound, Charge, TooMuch
from posthouse.store.store import open_sync
from store_rig import Rig
from thorough import examples

ANNA, BEN = AccountId(1), AccountId(2)
NOW = Millis(1_700_000_400_000)  # the beginning of a slot
HOUR, DAY = 3_600_000, 86_400_000
HOUR_ON, DAY_ON = HOUR + SLOT, DAY + SLOT  # when what was sent at NOW counts no more
SMALL = Allowance(messages_hour=2, recipients_day=5, first_recipients_day=3)


def send(
    rig: Rig, after: int, *recipients: str, account: AccountId = ANNA, allowance: Allowance = SMALL
) -> TooMuch | None:
    return rig.run(sending.charge, Charge(account, Millis(NOW + after), recipients, allowance))


def test_messages_in_an_hour(rig: Rig) -> None:
    assert send(rig, 0, "x") is None
    assert send(rig, SLOT, "x") is None
    assert send(rig, 2 * SLOT, "x") == TooMuch(Bound.MESSAGES, 2, Millis(NOW + HOUR_ON))
    assert send(rig, 2 * SLOT, "x", account=BEN) is None
    assert send(rig, HOUR_ON - 1, "x") == TooMuch(Bound.MESSAGES, 2, Millis(NOW + HOUR_ON))
    assert send(rig, HOUR_ON, "x") is None
    assert send(rig, HOUR_ON, "x") == TooMuch(Bound.MESSAGES, 2, Millis(NOW + HOUR_ON + SLOT))


def test_recipients_in_a_day(rig: Rig) -> None:
    assert send(rig, 0, "x", "x", "x") is None
    assert send(rig, HOUR, "x", "x") is None
    assert send(rig, 3 * HOUR, "x") == TooMuch(Bound.RECIPIENTS, 5, Millis(NOW + DAY_ON))
    assert send(rig, DAY_ON, "x", "x", "x") is None
    assert send(rig, DAY_ON, "x") == TooMuch(Bound.RECIPIENTS, 5, Millis(NOW + DAY_ON + HOUR))
    assert send(rig, 3 * DAY, *"xxxxxx") == TooMuch(Bound.RECIPIENTS, 5, None), "more than any day has room for"


def test_recipients_never_written_to_before(rig: Rig) -> None:
    assert send(rig, 0, "a", "b") is None
    assert send(rig, HOUR, "A", "B", "b") is None
    assert send(rig, 2 * HOUR, "c", "d", allowance=Allowance(9, 99, 3)) == TooMuch(
        Bound.FIRSTS, 3, Millis(NOW + DAY_ON)
    )
    assert send(rig, 2 * HOUR, "c", allowance=Allowance(9, 99, 3)) is None
    assert send(rig, 2 * HOUR, "d", allowance=Allowance(9, 99, 3)) is not None
    assert send(rig, 2 * HOUR, *"abcabcabc", allowance=Allowance(9, 99, 3)) is None
    assert send(rig, DAY_ON, "d", "e", allowance=Allowance(9, 99, 3)) is None
    assert send(rig, 2 * DAY, *"fghi", allowance=Allowance(9, 99, 3)) == TooMuch(Bound.FIRSTS, 3, None)


def test_a_refusal_counts_nothing(rig: Rig) -> None:
    assert send(rig, 0, *"abcdef") is not None
    assert rig.read(count) == (0, 0)


def count() -> Script[tuple[int, int]]:
    [(slots,)] = yield sql("SELECT count(*) FROM sending")
    [(known,)] = yield sql("SELECT count(*) FROM written_to")
    return slots, known


def test_what_counts_no_more_is_forgotten(rig: Rig) -> None:
    wide = Allowance(1_000, 10_000, 10_000)
    for slot in range(300):
        assert send(rig, slot * SLOT, "x", f"y{slot}", allowance=wide) is None
    assert rig.read(count)[0] <= 2 * sending.DAY_SLOTS
    assert send(rig, 500 * DAY, "z", allowance=wide) is None
    assert rig.read(count) == (1, 1)
    rig.run(sending.forget, ANNA)
    assert rig.read(count) == (0, 0)


def test_a_thousand_recipients(rig: Rig) -> None:
    many = tuple(f"u{number}" for number in range(1_000))
    wide = Allowance(1_000, 10_000, 1_000)
    assert send(rig, 0, *many, allowance=wide) is None
    assert send(rig, 0, *many, allowance=wide) is None
    assert send(rig, 0, "one more", allowance=wide) == TooMuch(Bound.FIRSTS, 1_000, Millis(NOW + DAY_ON))


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.integers(0, HOUR // 2), max_size=30))
def test_never_more_than_allowed_in_any_hour(gaps: list[int]) -> None:
    """And when it says that it is possible again, it is."""
    allowance = Allowance(3, 1_000, 10)
    with TemporaryDirectory() as folder, open_sync(Path(folder) / "data") as store:
        rig, taken, now = Rig(store), list[int](), 0
        for gap in gaps:
            now += gap
            refused = send(rig, now, "x", allowance=allowance)
            if refused is not None:
                assert refused.again is not None
                assert NOW + now < refused.again <= NOW + now + HOUR_ON
                now = refused.again - NOW
                assert send(rig, now, "x", allowance=allowance) is None
            taken.append(now)
        assert all(len([moment for moment in taken if start <= moment < start + HOUR]) <= 3 for start in taken)
