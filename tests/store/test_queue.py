"""store/queue.py and store/settlement.py: in, claimed in turn, settled, fenced (RFC 5321 §4.5.4)."""

from dataclasses import replace

import pytest

from posthouse.mail.address import ReversePath
from posthouse.mail.envelope import BodyType, DeliverBy, DsnReturn, Envelope, Notify, OriginalRecipient, Recipient
from posthouse.mail.ids import Millis, Trail
from posthouse.mail.outcome import Action
from posthouse.store import emails, gc, settlement, waiting
from posthouse.store.queue import FIRST_WIDTH, Outgoing, Patience, State
from posthouse.store.script import Script, sql
from posthouse.store.settlement import Feedback, Rules, rest
from store.queue_rig import DAY, HOUR, MINUTE, QueueRig, envelope, recipient
from store_rig import Rig, message


def test_an_item_for_each_destination_and_its_octets_once(line: QueueRig) -> None:
    items = line.send("a@one.test", "b@two.test", "c@one.test")
    assert len(items) == 2
    claimed = {one.item.destination.name: one for one in line.claim()}
    assert [str(who.path) for who in claimed["one.test"].item.envelope.recipients] == ["a@one.test", "c@one.test"]
    assert [str(who.path) for who in claimed["two.test"].item.envelope.recipients] == ["b@two.test"]
    assert claimed["one.test"].item.blob == claimed["two.test"].item.blob
    assert line.blobs() == 1
    assert line.relay(claimed["one.test"])
    assert line.blobs() == 1
    assert line.relay(claimed["two.test"])
    assert line.blobs() == 0  # not after a day: what was only sent leaves nothing


def test_everything_of_the_envelope_is_kept(line: QueueRig, rig: Rig) -> None:
    who = Recipient(
        recipient("ünï@one.test").path, frozenset({Notify.SUCCESS}), OriginalRecipient("utf-8", "bérénice@old.test")
    )
    never = Recipient(recipient('"with blank"@one.test').path, frozenset())
    whole = Envelope(
        ReversePath(), (who, never), BodyType.EIGHT_BIT_MIME, True, DsnReturn.HEADERS, "id+7", True, 3,
        DeliverBy(line.now + HOUR, False, True),
    )  # fmt: skip
    line.enqueue(Outgoing(Trail("abc"), whole, rig.ben, skip=7), message())
    [claimed] = line.claim()
    assert claimed.item.envelope == whole
    assert (claimed.item.account, claimed.item.trail, claimed.skip) == (rig.ben, "abc", 7)
    assert claimed.item.size + 7 == len(line.store.octets(claimed.item.blob))


def test_shared_octets_outlive_the_queue(line: QueueRig, rig: Rig) -> None:
    octets = message()
    rig.run(emails.deliver, [(rig.box(), rig.email(octets))])
    line.send("a@one.test", octets=octets)
    assert line.blobs() == 1
    [claimed] = line.claim()
    assert line.relay(claimed)
    assert line.store.octets(claimed.item.blob) == octets


def test_large_octets_go_with_the_garbage(line: QueueRig, rig: Rig) -> None:
    line.send("a@one.test", octets=message(2_000_000))
    [claimed] = line.claim()
    assert gc_collects(line) == 0  # it is queued
    line.relay(claimed)
    assert gc_collects(line) == 1


def gc_collects(line: QueueRig) -> int:
    line.store.run(gc.mark, Millis(line.now))
    count, _ = line.store.run(gc.collect, Millis(line.now + 1))
    return count


# --- leases


def test_what_is_leased_is_not_claimed_again(line: QueueRig) -> None:
    line.send("a@one.test")
    assert len(line.claim()) == 1
    assert line.claim() == []


def test_who_wakes_up_late_settles_nothing(line: QueueRig) -> None:
    [item] = line.send("a@one.test")
    [late] = line.claim()
    line.sleep(line.rules.lease - 1)
    assert line.store.run(settlement.recover, line.at, line.rules) == 0
    line.sleep(1)
    assert line.store.run(settlement.recover, line.at, line.rules) == 1
    [again] = line.claim()
    assert again.item == late.item
    assert not line.end(late, Action.FAILED)
    assert line.store.run(settlement.renew, line.at, [late.lease], line.rules.lease) == [item]
    assert line.store.run(settlement.give_back, line.at, [late.lease]) == 0
    assert line.state(item) is State.LEASED
    assert line.relay(again)
    assert not line.relay(again)  # once only
    assert line.state(item) is None


def test_a_lease_of_a_moment_later_holds(line: QueueRig) -> None:
    """Who looks for lost leases may have read the clock before the claim that was written first."""
    line.send("a@one.test")
    before = line.at
    line.sleep(500)
    [claimed] = line.claim()
    assert not line.store.read(settlement.any_lost, before, line.rules)
    assert line.store.run(settlement.recover, before, line.rules) == 0
    assert line.relay(claimed)


def test_a_lease_of_another_run_of_the_machine_is_lost(line: QueueRig) -> None:
    """Also where the system does not say which run it is."""
    line.boot = ""
    line.uptime = 1_000 * HOUR
    [item] = line.send("a@one.test")
    line.claim()
    line.uptime = MINUTE
    assert line.store.read(settlement.any_lost, line.at, line.rules)
    assert line.store.run(settlement.recover, line.at, line.rules) == 1
    assert line.state(item) is State.READY


def test_a_renewed_lease_holds(line: QueueRig) -> None:
    [item] = line.send("a@one.test")
    [claimed] = line.claim()
    for _ in range(5):
        line.sleep(line.rules.lease - 1)
        assert line.store.run(settlement.renew, line.at, [claimed.lease], line.rules.lease) == []
        assert line.store.run(settlement.recover, line.at, line.rules) == 0
    assert line.relay(claimed)
    assert line.state(item) is None


def test_what_kills_its_runner_again_and_again_must_wait(line: QueueRig) -> None:
    [item] = line.send("a@one.test")
    for state in (State.READY, State.READY, State.LATER):
        assert len(line.claim()) == 1
        line.sleep(line.rules.lease)
        line.store.run(settlement.recover, line.at, line.rules)
        assert line.state(item) is state
    assert line.claim() == []
    line.sleep(line.rules.first_rest)
    assert len(line.claim()) == 1


def test_an_item_that_cannot_be_read_stops_nobody(line: QueueRig, caplog: pytest.LogCaptureFixture) -> None:
    """It waits like one that kills its runner."""
    [bad] = line.send("a@one.test")
    line.store.run(spoil)
    [good] = line.send("b@one.test")
    assert [one.item.id for one in line.claim()] == [good]
    assert f"Q{bad} cannot be read" in caplog.text
    assert line.state(bad) is State.LEASED
    line.sleep(line.rules.lease)
    assert line.store.run(settlement.recover, line.at, line.rules) == 2
    assert line.store.run(waiting.cancel, line.at, [bad]) == {bad: State.READY}


def spoil() -> Script[None]:
    yield sql("UPDATE queue_item SET envelope = CAST('{}' AS BLOB)")


def test_given_back_it_is_as_before(line: QueueRig) -> None:
    [item] = line.send("a@one.test")
    [claimed] = line.claim()
    assert line.store.run(settlement.give_back, line.at, [claimed.lease]) == 1
    assert line.state(item) is State.READY
    [again] = line.claim()
    assert again.item == claimed.item


# --- settled


def test_each_recipient_has_an_outcome_of_its_own(line: QueueRig) -> None:
    [item] = line.send("a@one.test", "b@one.test", "c@one.test")
    [claimed] = line.claim()
    assert line.end(claimed, Action.RELAYED, Action.DELAYED, Action.FAILED)
    assert line.state(item) is State.LATER
    taken = line.take()
    assert taken.items == []
    assert taken.due == line.now + 5 * MINUTE
    line.sleep(5 * MINUTE)
    [again] = line.claim()
    assert [str(who.path) for who in again.item.envelope.recipients] == ["b@one.test"]
    assert again.item.attempts == 1
    assert line.relay(again)
    assert line.state(item) is None


def test_future_release_waits_for_its_moment(line: QueueRig) -> None:
    """RFC 4865 §4: not before; and the time until it is given up begins then."""
    [item] = line.send("a@one.test", release=line.now + DAY)
    assert line.state(item) is State.LATER
    assert line.take().due == line.now + DAY
    line.sleep(DAY)
    [claimed] = line.claim()
    assert claimed.item.expires == line.now + Patience().lifetime


def test_deliver_by_shortens_what_it_says(line: QueueRig) -> None:
    """RFC 2852 §4: R comes back, N is told."""
    for give_back in (True, False):
        by = replace(envelope("a@one.test"), deliver_by=DeliverBy(line.now + HOUR, give_back, False))
        line.enqueue(Outgoing(Trail("t"), by), message())
    back, told = sorted(line.claim(), key=lambda one: one.item.expires)
    assert back.item.expires == back.attention == line.now + HOUR
    assert told.item.expires == line.now + Patience().lifetime
    assert told.attention == line.now + HOUR


def test_the_late_and_the_overdue_are_found_though_they_rest(line: QueueRig) -> None:
    [item] = line.send("a@one.test")
    [claimed] = line.claim()
    line.end(claimed, Action.DELAYED, wait=DAY)
    assert line.take().attention == line.now + 4 * HOUR
    line.sleep(4 * HOUR)
    [late] = line.overdue()
    assert late.attention < late.item.expires
    assert line.end(late, Action.DELAYED, wait=DAY, told=True)
    assert line.take().attention == late.item.expires
    line.now, line.uptime = late.item.expires, line.uptime + late.item.expires - line.now
    [over] = line.overdue()
    assert over.attention == over.item.expires
    assert line.end(over, Action.FAILED)
    assert line.state(item) is None


# --- turns


def test_destinations_take_turns(line: QueueRig) -> None:
    for number in range(50):
        line.send(f"a{number}@much.test")
    for number in range(3):
        line.send(f"b{number}@few.test", f"c{number}@some.test")
    for _ in range(3):
        claimed = line.claim(3)
        assert {one.item.destination.name for one in claimed} == {"much.test", "few.test", "some.test"}
        for one in claimed:
            line.relay(one)
    assert {one.item.destination.name for one in line.claim(3)} == {"much.test"}


def test_one_at_a_time_they_take_turns_too(line: QueueRig) -> None:
    for name in ("one", "two", "three"):
        for number in range(4):
            line.send(f"a{number}@{name}.test")
    order = []
    for _ in range(12):
        line.sleep(1)
        [claimed] = line.claim(1)
        order.append(claimed.item.destination.name)
        line.relay(claimed)
    assert all(set(order[first : first + 3]) == {"one.test", "two.test", "three.test"} for first in range(0, 12, 3))


def test_senders_take_turns_within_a_destination(line: QueueRig, rig: Rig) -> None:
    for number in range(30):
        line.send(f"a{number}@one.test", account=rig.anna)
    line.send("b@one.test", account=rig.ben)
    order = []
    for _ in range(4):
        [claimed] = line.claim(1)
        order.append(claimed.item.account)
        line.relay(claimed)
    assert rig.ben in order[:2]
    assert order.count(rig.anna) == 3


def test_the_urgent_go_first(line: QueueRig) -> None:
    """MT-PRIORITY (RFC 6710 §5)."""
    for priority in (0, -3, 4):
        line.enqueue(Outgoing(Trail("t"), replace(envelope("a@one.test"), priority=priority)), message())
    found = []
    for _ in range(3):
        [claimed] = line.claim(1)
        found.append(claimed.item.envelope.priority)
        line.relay(claimed)
    assert found == [4, 0, -3]


# --- what is learnt of a destination


def test_width_grows_with_success_and_shrinks_with_failure(line: QueueRig) -> None:
    for number in range(100):
        line.send(f"a{number}@one.test")
    sizes = []
    for _ in range(3):
        claimed = line.claim()
        sizes.append(len(claimed))
        for one in claimed:
            line.relay(one)
    assert sizes == [FIRST_WIDTH, 2 * FIRST_WIDTH, line.rules.width]
    claimed = line.claim()
    assert len(claimed) == line.rules.width
    line.end(claimed[0], Action.DELAYED, feedback=Feedback.BAD)
    for one in claimed[1:]:
        line.store.run(settlement.give_back, line.at, [one.lease])
    assert len(line.claim()) == line.rules.width // 2


def test_a_dead_destination_rests_and_is_probed_by_one(line: QueueRig) -> None:
    for number in range(50):
        line.send(f"a{number}@dead.test")
    for one in line.claim():  # those under way when it began to rest say nothing new
        line.end(one, Action.DELAYED, feedback=Feedback.BAD)
    failures = line.rules.failures
    for _ in range(4):
        assert line.take().due == line.now + rest(failures, line.rules)
        line.sleep(rest(failures, line.rules))
        [probe] = line.claim()
        assert line.claim() == []
        line.end(probe, Action.DELAYED, feedback=Feedback.BAD)
        failures += 1


def test_rests_double_up_to_the_longest() -> None:
    rules = Rules()
    assert [rest(number, rules) for number in (0, 2, 3, 4, 5)] == [0, 0, 60_000, 120_000, 240_000]
    assert rest(1_000, rules) == rules.longest_rest
    assert rest(1_000, rules, 0.8) == int(rules.longest_rest * 0.8)


def test_one_success_ends_the_rest(line: QueueRig) -> None:
    for number in range(10):
        line.send(f"a{number}@one.test")
    first = line.claim()
    for one in first[:4]:
        line.end(one, Action.DELAYED, feedback=Feedback.BAD)
    assert line.claim() == []
    line.relay(first[4])
    assert len(line.claim()) == 2


def test_destinations_are_forgotten_when_nothing_is_left(line: QueueRig) -> None:
    line.send("a@one.test", "b@two.test")
    one, _ = sorted(line.claim(), key=lambda each: each.item.destination.name)
    line.relay(one)
    line.sleep(2 * DAY)
    assert line.store.run(settlement.forget_destinations, Millis(line.now)) == 1
    assert line.store.run(settlement.forget_destinations, Millis(line.now)) == 0
