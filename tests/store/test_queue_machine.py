"""The queue against a small model: whatever happens in whatever order, items are where they should be."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from posthouse.mail.ids import QueueId
from posthouse.mail.outcome import Action
from posthouse.store import settlement, waiting
from posthouse.store.queue import Claimed, Patience, State
from posthouse.store.script import Script, sql
from posthouse.store.settlement import Feedback
from posthouse.store.store import SyncStore, open_sync
from store.fsck import consistency
from store.queue_rig import DAY, HOUR, MINUTE, QueueRig
from thorough import examples

DOMAINS = st.sampled_from(["one.test", "two.test", "three.test"])
ACTIONS = st.sampled_from([Action.RELAYED, Action.DELAYED, Action.FAILED])


class Model:
    """One item as simply as can be: who is open, whether somebody has it, whether it is held, when it may be tried,
    and when it is given up."""

    def __init__(self, recipients: set[str], due: int, wished: int, lifetime: int) -> None:
        self.open, self.due, self.wished = recipients, due, wished
        self.expires = due + lifetime
        self.leased = 0  # until when, by uptime
        self.ended = False  # failed, and not told
        self.held = False


def empty() -> Script[None]:
    """As in the beginning, also after a run that failed."""
    for table in ("queue_item", "queue_recipient", "queue_destination", "octets", "blob"):
        yield sql(f"DELETE FROM {table}")
    yield sql("UPDATE queue_clock SET boot = '', ahead = 0, seen = 0")


class QueueMachine(RuleBasedStateMachine):
    items = Bundle("items")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.store = TestQueue.store
        self.line = QueueRig(self.store)
        self.store.run(empty)
        self.model: dict[QueueId, Model] = {}
        self.current: dict[QueueId, int] = {}  # the token that may settle it

    @rule(target=items, names=st.sets(DOMAINS, min_size=1), people=st.integers(1, 3), wait=st.booleans())
    def send(self, names: set[str], people: int, wait: bool) -> object:
        to = [f"{who}@{name}" for name in names for who in "abc"[:people]]
        release = self.line.now + HOUR if wait else 0
        found = self.line.send(*to, release=release)
        for item, name in zip(found, sorted(names), strict=True):
            whom = {one for one in to if one.endswith(name)}
            self.model[item] = Model(whom, max(release, self.line.now), release, Patience().lifetime)
        return multiple(*found)

    @rule(target=leases, most=st.integers(1, 30))
    def claim(self, most: int) -> object:
        found = self.line.claim(most)
        for one in found:
            model = self.model[one.item.id]
            assert not model.held
            assert not model.leased
            assert model.due <= self.line.now
            self.lease(one)
        return multiple(*found)

    @rule(target=leases)
    def overdue(self) -> object:
        found = self.line.overdue()
        for one in found:
            assert one.attention <= self.line.now or self.model[one.item.id].ended
            self.lease(one)
        return multiple(*found)

    def lease(self, one: Claimed) -> None:
        model = self.model[one.item.id]
        assert not model.leased
        assert {str(who.path) for who in one.item.envelope.recipients} == model.open
        model.leased = self.line.uptime + self.line.rules.lease
        self.current[one.item.id] = one.lease.token

    def mine(self, one: Claimed) -> Model | None:
        """Whether this lease is still the one."""
        model = self.model.get(one.item.id)
        fits = model is not None and model.leased and self.current.get(one.item.id) == one.lease.token
        return model if fits else None

    @rule(one=consumes(leases), actions=st.lists(ACTIONS, min_size=3, max_size=3), bad=st.booleans())
    def settle(self, one: Claimed, actions: list[Action], bad: bool) -> None:
        people = [str(who.path) for who in one.item.envelope.recipients]
        used = actions[: len(people)]
        model = self.mine(one)
        told = one.attention <= self.line.now
        feedback = Feedback.BAD if bad else Feedback.GOOD
        assert self.line.end(one, *used, feedback=feedback, told=told) == (model is not None)
        if model is None:
            return
        model.leased, model.ended = 0, False
        model.open = {who for who, action in zip(people, used, strict=True) if action is Action.DELAYED}
        model.due = self.line.now + 5 * MINUTE
        if not model.open:
            del self.model[one.item.id]

    @rule(one=consumes(leases))
    def fail(self, one: Claimed) -> None:
        """All of them failed, which is told with what fails of the same message meanwhile."""
        model = self.mine(one)
        assert self.line.fail(one) == (model is not None)
        if model is not None:
            model.leased, model.ended, model.due = 0, True, model.expires

    @rule(one=consumes(leases))
    def give_back(self, one: Claimed) -> None:
        model = self.mine(one)
        assert self.line.store.run(settlement.give_back, self.line.at, [one.lease]) == (model is not None)
        if model is not None:
            model.leased = 0

    @rule(one=leases)
    def renew(self, one: Claimed) -> None:
        model = self.mine(one)
        lost = self.line.store.run(settlement.renew, self.line.at, [one.lease], self.line.rules.lease)
        assert lost == ([] if model is not None else [one.item.id])
        if model is not None:
            model.leased = self.line.uptime + self.line.rules.lease

    @rule()
    def recover(self) -> None:
        gone = [model for model in self.model.values() if model.leased and model.leased <= self.line.uptime]
        assert self.line.store.run(settlement.recover, self.line.at, self.line.rules) == len(gone)
        for model in gone:
            model.leased = 0

    @rule(item=items)
    def hold(self, item: QueueId) -> None:
        model = self.model.get(item)
        expected = [item] if model is not None and not model.held else []
        assert self.line.store.run(waiting.hold, self.line.at, [item]) == expected
        if model is not None:
            model.held = True

    @rule(item=items)
    def release(self, item: QueueId) -> None:
        model = self.model.get(item)
        expected = [item] if model is not None and model.held else []
        assert self.line.store.run(waiting.release, self.line.at, [item]) == expected
        if model is not None:
            model.held = False

    @rule(item=items)
    def retry(self, item: QueueId) -> None:
        done = self.line.store.run(waiting.retry, self.line.at, [item])
        if done:
            assert not self.model[item].held
            self.model[item].due = self.line.now

    @rule(item=items)
    def cancel(self, item: QueueId) -> None:
        assert bool(self.line.store.run(waiting.cancel, self.line.at, [item])) == (item in self.model)
        self.model.pop(item, None)

    @rule(milliseconds=st.sampled_from([1, 30_000, 6 * MINUTE, 2 * HOUR, 6 * DAY]))
    def sleep(self, milliseconds: int) -> None:
        self.line.sleep(milliseconds)

    @rule(jump=st.sampled_from([-10 * 365 * DAY, -HOUR, HOUR, 10 * 365 * DAY]))
    def set_clock(self, jump: int) -> None:
        """What its sender wished by the wall clock stays; all else moves along."""
        self.line.now += jump
        self.line.store.run(waiting.hold, self.line.at, [])  # whatever the queue does next sees it
        for model in self.model.values():
            if model.due != model.wished or model.wished <= self.line.now - jump:
                model.due += jump
                model.expires += jump

    @invariant()
    def agree(self) -> None:
        for item, model in self.model.items():
            state = self.line.state(item)
            if model.leased:
                assert state is State.LEASED
            elif model.held:
                assert state is State.HELD
            else:
                assert state in (State.READY, State.LATER)
        assert self.store.read(waiting.chosen, waiting.Choice()) == sorted(self.model)

    def teardown(self) -> None:
        """In the end everything leaves: nothing is stuck, nothing is forgotten."""
        assert self.store.read(consistency) == []
        self.store.run(waiting.release, self.line.at, list(self.model))
        self.line.sleep(max(0, *(model.due - self.line.now for model in self.model.values()), 0))  # as it was wished
        for _ in range(200):
            self.line.sleep(2 * HOUR)
            self.store.run(settlement.recover, self.line.at, self.line.rules)
            for one in self.line.claim():
                assert self.line.relay(one)
            if not self.store.read(waiting.chosen, waiting.Choice()):
                break
        assert self.store.read(waiting.chosen, waiting.Choice()) == []
        assert self.line.blobs() == 0
        assert self.store.read(consistency) == []


class TestQueue(QueueMachine.TestCase):  # type: ignore[name-defined, misc] # made by hypothesis
    """One store for all runs: each of them leaves it empty."""

    settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
    store: SyncStore

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.store = open_sync(Path(cls.folder.name))

    @classmethod
    def tearDownClass(cls) -> None:
        cls.store.close()
        cls.folder.cleanup()
