"""store/waiting.py: what waits as people see it, and holding, releasing, trying now, cancelling."""

from dataclasses import replace

import pytest

from posthouse.mail.ids import QueueId, Trail
from posthouse.mail.outcome import Action
from posthouse.store import settlement, waiting
from posthouse.store.queue import Outgoing, State
from posthouse.store.settlement import Feedback
from posthouse.store.waiting import Choice
from store.queue_rig import DAY, HOUR, MINUTE, QueueRig, envelope
from store_rig import message


def test_choosing(line: QueueRig) -> None:
    [one, two] = line.send("X@one.test", "y@two.test")
    [three] = line.send("z@one.test")
    [four] = line.enqueue(Outgoing(Trail("t"), envelope("x@one.test", sender="Ben@home.test")), message())

    def chosen(**choice: object) -> list[QueueId]:
        return line.store.read(waiting.chosen, Choice(**choice))  # type: ignore[arg-type]

    assert chosen() == [one, two, three, four]
    assert chosen(domain="one.test") == [one, three, four]
    assert chosen(recipient="x@ONE.test") == [one, four]
    assert chosen(sender="ben@home.test") == [four]
    assert chosen(ids=frozenset({two, four, QueueId(99)})) == [two, four]
    assert chosen(ids=frozenset({two, four}), domain="two.test") == [two]
    assert line.store.read(waiting.chosen, Choice(), two, 1) == [three]


def test_what_is_seen(line: QueueRig) -> None:
    [item] = line.send("x@one.test", "y@one.test")
    [claimed] = line.claim()
    line.end(claimed, Action.RELAYED, Action.DELAYED)
    [row] = line.store.read(waiting.look, line.at.now, [item, QueueId(99)])
    assert (row.recipients, row.state, row.attempts, row.reason) == (("y@one.test",), State.LATER, 1, "it was so")
    assert (row.next_attempt, row.expires) == (line.now + 5 * MINUTE, line.now + 5 * DAY)
    people = line.store.read(waiting.recipients, item)
    assert [(one.path, one.settled) for one in people] == [("x@one.test", True), ("y@one.test", False)]
    assert [one.outcome.action for one in people if one.outcome] == [Action.RELAYED, Action.DELAYED]


def test_a_resting_destination_is_seen_on_what_was_never_tried(line: QueueRig) -> None:
    items = [line.send(f"x{number}@dead.test")[0] for number in range(6)]
    for one in line.claim():
        line.end(one, Action.DELAYED, feedback=Feedback.BAD)
    row = line.store.read(waiting.look, line.at.now, items)[-1]
    assert (row.state, row.attempts, row.reason) == (State.READY, 0, "it was so")
    assert row.next_attempt == line.now + line.rules.first_rest
    [tally] = line.store.read(waiting.count)
    assert tally[:5] == ("dead.test", 1, 5, 0, 0)


# --- holding


def test_held_it_waits_and_grows_no_older(line: QueueRig) -> None:
    [item] = line.send("x@one.test")
    assert line.store.run(waiting.hold, line.at, [item, QueueId(99)]) == [item]
    assert line.store.run(waiting.hold, line.at, [item]) == []
    assert line.state(item) is State.HELD
    line.sleep(6 * DAY)
    assert line.claim() == line.overdue() == []
    assert line.store.run(waiting.retry, line.at, [item]) == []
    assert line.store.run(waiting.release, line.at, [item]) == [item]
    assert line.store.run(waiting.release, line.at, [item]) == []
    [claimed] = line.claim()
    assert claimed.item.expires == line.now + 5 * DAY
    assert claimed.attention == line.now + 4 * HOUR


@pytest.mark.parametrize("later", [True, False])
def test_released_it_is_where_it_was(line: QueueRig, *, later: bool) -> None:
    [item] = line.send("x@one.test", release=line.now + HOUR if later else 0)
    line.store.run(waiting.hold, line.at, [item])
    line.store.run(waiting.release, line.at, [item])
    assert line.state(item) is (State.LATER if later else State.READY)


def test_held_while_it_is_sent_it_is_held_afterwards(line: QueueRig) -> None:
    """A success ends it all the same; a failure, a lost lease and one given back leave it held."""
    endings = (
        lambda one: line.end(one, Action.DELAYED),
        lambda one: line.store.run(settlement.give_back, line.at, [one.lease]),
        lambda one: (line.sleep(line.rules.lease), line.store.run(settlement.recover, line.at, line.rules)),
    )
    for end in endings:
        [item] = line.send("x@one.test")
        [claimed] = line.claim()
        assert line.store.run(waiting.hold, line.at, [item]) == [item]
        assert line.state(item) is State.LEASED
        end(claimed)
        assert line.state(item) is State.HELD
    [item] = line.send("x@one.test")
    [claimed] = line.claim()
    line.store.run(waiting.hold, line.at, [item])
    assert line.relay(claimed)
    assert line.state(item) is None


def test_released_while_it_is_sent_nothing_happened(line: QueueRig) -> None:
    [item] = line.send("x@one.test")
    [claimed] = line.claim()
    line.store.run(waiting.hold, line.at, [item])
    line.store.run(waiting.release, line.at, [item])
    assert line.state(item) is State.LEASED
    line.end(claimed, Action.DELAYED)
    assert line.state(item) is State.LATER


# --- trying now


def test_tried_now_and_its_destination_rests_no_longer(line: QueueRig) -> None:
    items = [line.send(f"x{number}@dead.test")[0] for number in range(6)]
    for one in line.claim():
        line.end(one, Action.DELAYED, feedback=Feedback.BAD)
    assert line.claim() == []
    assert line.store.run(waiting.retry, line.at, items[:1]) == items[:1]
    assert len(line.claim()) == 1


def test_nobody_is_tried_before_the_moment_the_sender_wished(line: QueueRig) -> None:
    """RFC 4865 §4."""
    [item] = line.send("x@one.test", release=line.now + HOUR)
    assert line.store.run(waiting.retry, line.at, [item]) == []
    assert line.claim() == []


# --- cancelling


def test_cancelled_it_is_gone_with_its_octets(line: QueueRig) -> None:
    one, two = line.send("x@one.test", "x@two.test")
    assert line.store.run(waiting.cancel, line.at, [one, QueueId(99)]) == {one: State.READY}
    assert line.blobs() == 1
    assert line.store.run(waiting.cancel, line.at, [two]) == {two: State.READY}
    assert line.blobs() == 0
    assert line.take().due is None


def test_cancelled_while_it_is_sent_nothing_is_settled(line: QueueRig) -> None:
    [item] = line.send("x@one.test")
    [claimed] = line.claim()
    assert line.store.run(waiting.cancel, line.at, [item]) == {item: State.LEASED}
    assert not line.relay(claimed)
    assert line.store.run(settlement.renew, line.at, [claimed.lease], line.rules.lease) == [item]


def test_urgency_is_seen_as_priority(line: QueueRig) -> None:
    [item] = line.enqueue(Outgoing(Trail("t"), replace(envelope("x@one.test"), priority=5)), message())
    [row] = line.store.read(waiting.look, line.at.now, [item])
    assert row.priority == 5
