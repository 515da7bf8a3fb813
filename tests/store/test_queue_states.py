"""Each transition of the table in docs/operate/queue.md, one by one; and that the table has all of them."""

import re
from pathlib import Path

from posthouse.mail.ids import QueueId
from posthouse.mail.outcome import Action
from posthouse.store import settlement, waiting
from posthouse.store.queue import State
from posthouse.store.settlement import LOST_LEASES
from store.queue_rig import DAY, HOUR, MINUTE, QueueRig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operate" / "queue.md"


def ready(line: QueueRig) -> QueueId:
    [item] = line.send("x@one.test")
    assert line.state(item) is State.READY
    return item


def later(line: QueueRig) -> QueueId:
    [item] = line.send("x@one.test", release=line.now + HOUR)
    assert line.state(item) is State.LATER
    return item


def lapse(line: QueueRig, count: int = 1) -> None:
    line.sleep(line.rules.lease)
    assert line.store.run(settlement.recover, line.at, line.rules) == count


def test_taken_it_is_ready(line: QueueRig) -> None:
    ready(line)


def test_taken_for_later_it_is_later(line: QueueRig) -> None:
    later(line)


def test_ready_it_is_claimed(line: QueueRig) -> None:
    item = ready(line)
    line.claim()
    assert line.state(item) is State.LEASED


def test_later_it_is_claimed_when_its_time_has_come(line: QueueRig) -> None:
    item = later(line)
    line.claim()
    assert line.state(item) is State.LATER
    line.sleep(HOUR)
    line.claim()
    assert line.state(item) is State.LEASED


def test_late_it_is_claimed_to_tell_so(line: QueueRig) -> None:
    item = ready(line)
    [claimed] = line.claim()
    line.end(claimed, Action.DELAYED, wait=DAY)
    line.sleep(4 * HOUR)
    assert line.claim() == []
    [late] = line.overdue()
    assert (late.item.id, line.state(item)) == (item, State.LEASED)


def test_later_it_is_ready_when_there_is_no_room_for_all(line: QueueRig) -> None:
    items = [later(line) for _ in range(3)]
    line.sleep(HOUR)
    line.claim(1)
    line.claim(1)
    assert sorted(line.state(item) or 0 for item in items) == [State.LATER, State.LEASED, State.LEASED]


def test_settled_for_all_it_is_gone(line: QueueRig) -> None:
    for action in (Action.RELAYED, Action.FAILED):
        item = ready(line)
        [claimed] = line.claim()
        assert line.end(claimed, action)
        assert line.state(item) is None


def test_somebody_must_wait_it_is_later(line: QueueRig) -> None:
    [item] = line.send("x@one.test", "y@one.test")
    [claimed] = line.claim()
    line.end(claimed, Action.RELAYED, Action.DELAYED)
    assert line.state(item) is State.LATER


def test_failed_while_others_are_tried_it_is_later(line: QueueRig) -> None:
    line.send("x@one.test", "y@one.test", "x@two.test")
    one, two = line.claim()
    line.fail(one, Action.FAILED, Action.RELAYED)
    assert line.state(one.item.id) is State.LATER
    assert line.claim() == line.overdue() == []
    line.relay(two)
    assert line.state(two.item.id) is None
    [ended] = line.overdue()
    assert [str(who.path) for who in ended.item.envelope.recipients] == ["x@one.test"]
    assert line.end(ended, Action.FAILED)
    assert line.state(one.item.id) is None


def test_its_lease_ran_out_while_it_was_told_it_is_later(line: QueueRig) -> None:
    line.send("x@one.test", "x@two.test")
    for one in line.claim():
        line.fail(one)
    both = line.overdue()
    assert len(both) == 2
    lapse(line, 2)
    assert [line.state(one.item.id) for one in both] == [State.LATER] * 2
    assert line.claim() == []
    assert [one.item.id for one in line.overdue()] == [one.item.id for one in both]


def test_given_back_it_is_ready(line: QueueRig) -> None:
    item = ready(line)
    [claimed] = line.claim()
    line.store.run(settlement.give_back, line.at, [claimed.lease])
    assert line.state(item) is State.READY


def test_given_back_before_its_time_it_is_later(line: QueueRig) -> None:
    item = ready(line)
    [claimed] = line.claim()
    line.end(claimed, Action.DELAYED, wait=DAY)
    line.sleep(4 * HOUR)
    [late] = line.overdue()
    line.store.run(settlement.give_back, line.at, [late.lease])
    assert line.state(item) is State.LATER


def test_its_lease_ran_out_it_is_ready(line: QueueRig) -> None:
    item = ready(line)
    line.claim()
    lapse(line)
    assert line.state(item) is State.READY


def test_its_lease_ran_out_again_and_again_it_is_later(line: QueueRig) -> None:
    item = ready(line)
    for _ in range(LOST_LEASES):
        line.claim()
        lapse(line)
    assert line.state(item) is State.LATER


def test_held_from_ready_and_later(line: QueueRig) -> None:
    items = [ready(line), later(line)]
    line.store.run(waiting.hold, line.at, items)
    assert {line.state(item) for item in items} == {State.HELD}


def test_held_when_its_attempt_has_ended(line: QueueRig) -> None:
    item = ready(line)
    [claimed] = line.claim()
    line.store.run(waiting.hold, line.at, [item])
    assert line.state(item) is State.LEASED
    line.end(claimed, Action.DELAYED)
    assert line.state(item) is State.HELD


def test_released_it_is_ready_or_later(line: QueueRig) -> None:
    items = [ready(line), later(line)]
    line.store.run(waiting.hold, line.at, items)
    line.store.run(waiting.release, line.at, items)
    assert [line.state(item) for item in items] == [State.READY, State.LATER]


def test_tried_now_it_is_due(line: QueueRig) -> None:
    item = ready(line)
    [claimed] = line.claim()
    line.end(claimed, Action.DELAYED, wait=5 * MINUTE)
    assert line.claim() == []
    line.store.run(waiting.retry, line.at, [item])
    [claimed] = line.claim()
    assert claimed.item.id == item


def test_cancelled_from_every_state_it_is_gone(line: QueueRig) -> None:
    leased = ready(line)
    line.claim()
    held = ready(line)
    line.store.run(waiting.hold, line.at, [held])
    items = [ready(line), later(line), leased, held]
    assert list(line.store.run(waiting.cancel, line.at, items).values()) == list(State)
    assert {line.state(item) for item in items} == {None}


def test_the_table_has_every_transition() -> None:
    named = set(re.findall(r"`test_queue_states\.py::(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    here = {name for name in globals() if name.startswith("test_")} - {"test_the_table_has_every_transition"}
    assert named == here
