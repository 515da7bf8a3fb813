"""store/expiry.py: rules count the time that could be seen to pass, whatever is done to the clock."""

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.ids import MailboxId, Millis
from posthouse.store import emails, expiry, mailboxes
from posthouse.store.expiry import AWAY, DAY, GAPS, Rules, cutoff
from posthouse.store.mailboxes import Box
from posthouse.store.moment import JUMP_MILLIS, Moment
from posthouse.store.script import NotFound, Sql
from posthouse.store.sqlite import rewrite
from store_rig import NOW, Rig

YEAR = 365 * DAY
RULES = Rules(trash=30, junk=7)


class Clock:
    """A machine: its wall clock, the time since its start, and how often it was started."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.now, self.up, self.boot = int(NOW), 0, "first"
        self.gaps: list[tuple[int, int]] = []
        self.look()

    def look(self) -> None:
        self.gaps = self.rig.run(expiry.keep_time, Moment(Millis(self.now), Millis(self.up), self.boot))

    def live(self, days: float) -> None:
        """Time passes and is seen to pass."""
        for _ in range(int(days * 4)):
            self.now += DAY // 4
            self.up += DAY // 4
            self.look()

    def off(self, days: float) -> None:
        """The machine is off."""
        self.now += int(days * DAY)
        self.up, self.boot = 0, self.boot + "'"
        self.look()

    def set(self, millis: int) -> None:
        """Somebody sets the clock."""
        self.now += millis
        self.look()

    def gone(self, saved: int, days: int = 30) -> bool:
        """Whether a message saved then is old enough to go."""
        return saved < cutoff(Millis(self.now), days, self.gaps)


@pytest.fixture
def clock(rig: Rig) -> Clock:
    return Clock(rig)


def test_thirty_days_are_thirty_days(clock: Clock) -> None:
    saved = clock.now
    clock.live(30)
    assert not clock.gone(saved)
    clock.live(1)
    assert clock.gone(saved)


def test_what_was_there_before_the_first_look_is_as_old_as_that_look(clock: Clock) -> None:
    assert not clock.gone(0)
    clock.live(29)
    assert not clock.gone(clock.now - 10 * YEAR)
    clock.live(2)
    assert clock.gone(clock.now - 10 * YEAR)


@pytest.mark.parametrize("jump", [2 * DAY, 31 * DAY, 10 * YEAR])
def test_a_clock_set_forward_empties_nothing(clock: Clock, jump: int) -> None:
    clock.live(40)
    old, young = clock.now - 20 * DAY, clock.now - DAY
    clock.set(jump)
    later = clock.now + 1
    assert not clock.gone(old)
    clock.live(9)
    assert not clock.gone(old)
    clock.live(2)
    assert clock.gone(old)
    assert not clock.gone(young)
    clock.live(18.5)
    assert clock.gone(young)
    assert not clock.gone(later)
    clock.live(1)
    assert clock.gone(later)


@pytest.mark.parametrize("jump", [2 * DAY, 31 * DAY, 10 * YEAR])
def test_a_clock_set_forward_and_back_again(clock: Clock, jump: int) -> None:
    clock.live(40)
    saved = clock.now
    clock.set(jump)
    clock.live(1)
    clock.set(-jump)
    assert not clock.gone(saved)
    clock.live(28)
    assert not clock.gone(saved)
    clock.live(3)
    assert clock.gone(saved)


def test_a_clock_set_back_keeps_what_is_there_longer(clock: Clock) -> None:
    clock.live(40)
    saved = clock.now
    clock.set(-10 * YEAR)
    after = clock.now
    clock.live(31)
    assert clock.gone(after - 1)
    assert not clock.gone(saved)


def test_a_machine_that_was_off_counts_one_day(clock: Clock) -> None:
    clock.live(40)
    saved = clock.now
    clock.off(400)
    assert not clock.gone(saved)
    clock.live(28)
    assert not clock.gone(saved)
    clock.live(2)
    assert clock.gone(saved)


def test_restarts_that_are_short_count_wholly(clock: Clock) -> None:
    saved = clock.now
    for _ in range(16):
        clock.live(1)
        clock.off(0.9)
    assert len(clock.gaps) == 1, "the first look alone"
    assert clock.gone(saved)


def test_where_the_machine_does_not_name_its_starts(rig: Rig) -> None:
    clock = Clock(rig)
    clock.boot = ""
    clock.live(40)
    saved = clock.now
    clock.set(10 * YEAR)
    assert not clock.gone(saved)


def test_gaps_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "GAPS", 5)
    clock = Clock(rig)
    for _ in range(20):
        clock.off(3)
    assert len(clock.gaps) == 5
    assert GAPS == 1_000


class Table:
    """The tables of keep_time, so that a property need not make a store for each example."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        self.connection.execute("CREATE TABLE retention_clock (boot, ahead, seen)")
        self.connection.execute("INSERT INTO retention_clock VALUES ('', 0, 0)")
        self.connection.execute("CREATE TABLE retention_gap (since, until)")
        self.gaps: list[tuple[int, int]] = []

    def look(self, now: int, up: int, boot: int) -> None:
        script = expiry.keep_time(Moment(Millis(now), Millis(up), f"b{boot}"))
        try:
            step = next(script)
            while True:
                assert isinstance(step, Sql)
                step = script.send(self.connection.execute(rewrite(step.text), step.args).fetchall())
        except StopIteration as end:
            self.gaps = end.value


ACTS = st.lists(st.tuples(st.sampled_from(["live", "off", "set"]), st.floats(-100, 100)), max_size=12)


@given(acts=ACTS, days=st.integers(1, 60))
def test_nothing_goes_early(acts: list[tuple[str, float]], days: int) -> None:
    """A message that has been here for less time than its rule says stays, whatever happens to the clock: `lived` is
    the time that a stop-watch beside the running machine shows."""
    now, up, boot, lived = int(NOW), 0, 0, 0
    table = Table()
    saved: list[tuple[int, int]] = []  # wall clock, stop-watch
    table.look(now, up, boot)
    for what, amount in acts:
        saved.append((now, lived))
        if what == "live":
            for _ in range(int(abs(amount))):
                now, up, lived = now + DAY, up + DAY, lived + DAY
                table.look(now, up, boot)
        elif what == "off":
            away = int(abs(amount) * DAY)
            now, up, boot, lived = now + away, 0, boot + 1, lived + min(AWAY, away)
        else:
            now += int(amount * DAY)
        table.look(now, up, boot)
        edge = cutoff(Millis(now), days, table.gaps)
        slack = JUMP_MILLIS * len(saved)  # smaller jumps are none
        early = [at for at, then in saved if at < edge and lived - then < days * DAY - slack]
        assert not early, (edge, now, table.gaps)


# --- rules


def put(rig: Rig, name: str, *saved: int) -> Box:
    box = rig.box(name)
    rig.run(emails.add, box, [rig.email()._replace(saved=Millis(at)) for at in saved])
    return box


def test_which_mailboxes_have_a_rule(rig: Rig) -> None:
    for name in ("INBOX", "Trash", "Junk", "Archive"):
        put(rig, name, NOW)
    found = rig.read(expiry.ruled, RULES, MailboxId(0))
    assert [(one.account, one.name, one.days, one.own) for one in found] == [
        (rig.anna, "Junk", 7, False), (rig.anna, "Trash", 30, False),
    ]  # fmt: skip
    assert rig.read(expiry.ruled, RULES, found[-1].mailbox) == []


def test_rules_of_a_mailbox_of_its_own(rig: Rig) -> None:
    for name in ("Trash", "Junk", "Lists"):
        put(rig, name, NOW)
    rig.run(expiry.set_rule, rig.box("Lists"), 90)
    rig.run(expiry.set_rule, rig.box("Trash"), 0)
    rig.run(expiry.set_rule, rig.box("Junk"), 5)
    rig.run(expiry.set_rule, rig.box("Junk"), 3)
    found = rig.read(expiry.rules_of, rig.anna, RULES)
    assert [(one.name, one.days, one.own) for one in found] == [
        ("Junk", 3, True), ("Lists", 90, True), ("Trash", 0, True),
    ]  # fmt: skip
    rig.run(expiry.set_rule, rig.box("Junk"), None)
    assert [one.days for one in rig.read(expiry.rules_of, rig.anna, RULES)] == [7, 90, 0]
    rig.run(mailboxes.delete, rig.anna, "Lists")
    assert [one.name for one in rig.read(expiry.rules_of, rig.anna, RULES)] == ["Junk", "Trash"]
    with pytest.raises(NotFound):
        rig.run(expiry.set_rule, Box(rig.ben, rig.box("Trash").mailbox), 5)


def test_what_is_overdue(rig: Rig) -> None:
    box = put(rig, "Trash", NOW, NOW + 1, NOW - 1, NOW)
    assert rig.read(expiry.overdue, box, Millis(NOW)) == [3]
    assert rig.read(expiry.overdue, box, Millis(NOW + 1)) == [1, 3, 4]
    assert rig.read(expiry.overdue, box, Millis(NOW + 1), 2) == [1, 3]
