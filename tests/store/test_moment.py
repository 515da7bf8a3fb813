"""store/moment.py: the wall clock is set while mail waits, and nothing is lost, given up early or tried in a storm."""

import pytest

from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action
from posthouse.store import settlement
from posthouse.store.moment import JUMP_MILLIS, Moment, boot, jumped, moment, uptime
from posthouse.store.queue import State
from store.queue_rig import DAY, HOUR, MINUTE, QueueRig

YEAR = 365 * DAY
JUMPS = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR]


def test_uptime_only_grows_and_is_the_same_for_all() -> None:
    first = uptime()
    assert first <= uptime()
    assert moment(Millis(7)).now == 7
    assert moment(Millis(7)).boot == boot()


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_is_set_moves_what_waits(line: QueueRig, jump: int) -> None:
    """Neither earlier nor later than without it, for the next attempt, the notice of delay and the end."""
    [item] = line.send("a@one.test")
    [claimed] = line.claim()
    line.end(claimed, Action.DELAYED, wait=HOUR)
    line.now += jump
    taken = line.take()
    assert taken.items == []
    assert line.overdue() == []
    assert taken.attention == line.now + 4 * HOUR
    line.sleep(HOUR - 1)
    assert line.claim() == []
    line.sleep(1)
    [again] = line.claim()
    assert again.item.expires == line.now + 5 * DAY - HOUR
    assert again.item.created == line.now - HOUR
    assert line.state(item) is State.LEASED


@pytest.mark.parametrize("jump", JUMPS)
def test_leases_do_not_feel_it(line: QueueRig, jump: int) -> None:
    line.send("a@one.test")
    [claimed] = line.claim()
    line.now += jump
    assert line.store.run(settlement.recover, line.at, line.rules) == 0
    assert line.relay(claimed)


@pytest.mark.parametrize("jump", JUMPS)
def test_mail_that_comes_after_it_is_not_moved(line: QueueRig, jump: int) -> None:
    line.send("a@one.test")
    line.now += jump
    line.send("b@one.test")
    line.send("c@two.test")
    assert {one.item.created for one in line.claim()} == {line.now}


@pytest.mark.parametrize("jump", JUMPS)
def test_a_rest_is_as_long_as_it_was(line: QueueRig, jump: int) -> None:
    for number in range(10):
        line.send(f"a{number}@dead.test")
    for one in line.claim():
        line.end(one, Action.DELAYED, feedback=settlement.Feedback.BAD)
    line.now += jump
    assert line.claim() == []
    line.sleep(line.rules.first_rest - 1)
    assert line.claim() == []
    line.sleep(1)
    assert len(line.claim()) == 1


def test_what_was_asked_for_by_the_wall_clock_stays(line: QueueRig) -> None:
    """FUTURERELEASE (RFC 4865 §4)."""
    release = line.now + 2 * HOUR
    line.send("a@one.test", release=release)
    line.now += HOUR
    assert line.claim() == []
    assert line.take().due == release
    line.sleep(HOUR)
    assert len(line.claim()) == 1


def test_what_was_released_stays_so(line: QueueRig) -> None:
    [item] = line.send("a@one.test", release=line.now + HOUR)
    line.sleep(HOUR)
    [claimed] = line.claim()
    line.store.run(settlement.give_back, line.at, [claimed.lease])
    line.now -= DAY
    assert [one.item.id for one in line.claim()] == [item]


def test_a_clock_that_stands_still(line: QueueRig) -> None:
    line.send("a@one.test")
    [claimed] = line.claim()
    line.end(claimed, Action.DELAYED, wait=HOUR)
    for _ in range(60):
        line.uptime += MINUTE + 1
        line.take()
    line.uptime += JUMP_MILLIS
    assert line.state(claimed.item.id) is State.LEASED


def test_small_corrections_are_no_jump() -> None:
    at = Moment(Millis(100 * DAY + JUMP_MILLIS), Millis(10 * DAY), "x")
    assert jumped(at, 90 * DAY, 100 * DAY, started=False) == 0
    assert jumped(at, 90 * DAY - 1, 100 * DAY, started=False) == JUMP_MILLIS + 1
    for moment_, started in ((at, True), (at._replace(boot=""), False)):  # without a clock to compare with
        assert jumped(moment_, 0, at.now + JUMP_MILLIS, started=started) == 0
        assert jumped(moment_, 0, at.now + JUMP_MILLIS + 1, started=started) == -JUMP_MILLIS - 1
        assert jumped(moment_, 0, at.now - 10 * DAY, started=started) == 0


def test_after_a_night_everything_is_due(line: QueueRig) -> None:
    """The machine was off: time went by, and nobody set a clock. Whoever had a lease is no more."""
    line.send("a@one.test")
    line.send("b@two.test")
    claimed = line.claim()
    line.end(claimed[0], Action.DELAYED, wait=HOUR)
    line.now, line.uptime, line.boot = line.now + 12 * HOUR, MINUTE, "boot two"
    assert line.store.run(settlement.recover, line.at, line.rules) == 1
    assert len(line.claim()) == 2
    assert not line.relay(claimed[1])


def test_a_machine_that_starts_in_the_past(line: QueueRig) -> None:
    """Without a battery it begins in 1970, and learns the time later: nothing is given up, nothing waits for ever."""
    line.send("a@one.test")
    [claimed] = line.claim()
    line.end(claimed, Action.DELAYED, wait=HOUR)
    true, line.now, line.uptime, line.boot = line.now, MINUTE, MINUTE, "boot two"
    taken = line.take()
    assert taken.items == []
    assert taken.attention == line.now + 4 * HOUR
    line.sleep(HOUR)
    line.now = true + HOUR
    [again] = line.claim()
    assert abs(again.item.expires - (true + 5 * DAY)) <= MINUTE
