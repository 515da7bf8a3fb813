"""A queue for the tests: messages to send, a clock to push, and short words for what a runner does."""

import itertools
from dataclasses import replace

from posthouse.mail.address import ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import AccountId, Millis, QueueId, Trail
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.store import queue, settlement
from posthouse.store.moment import Moment
from posthouse.store.queue import Claimed, Outgoing, Taken
from posthouse.store.script import Script, sql
from posthouse.store.settlement import Feedback, Rules, Settlement
from posthouse.store.store import SyncStore
from posthouse.store.together import GATHER_MILLIS
from store_rig import NOW, address, message

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_STATUS = {Action.RELAYED: Status(2, 0, 0), Action.DELAYED: Status(4, 4, 1), Action.FAILED: Status(5, 1, 1)}


def recipient(text: str) -> Recipient:
    """A recipient who said nothing of DSNs."""
    return Recipient(ForwardPath(address(text)))


def envelope(*recipients: str, sender: str = "anna@home.test") -> Envelope:
    """From anna, or from somebody else, or from nobody ("")."""
    path = ReversePath(address(sender)) if sender else ReversePath()
    return Envelope(path, tuple(map(recipient, recipients)))


class QueueRig:
    """A store and its queue; the clocks stand still until they are pushed."""

    def __init__(self, store: SyncStore, rules: Rules | None = None) -> None:
        self.store = store
        self.rules = rules or Rules()
        self.now, self.uptime, self.boot = int(NOW), HOUR, "boot one"
        self._tokens = itertools.count(1)

    @property
    def at(self) -> Moment:
        """The moment that it is."""
        return Moment(Millis(self.now), Millis(self.uptime), self.boot)

    def sleep(self, milliseconds: int) -> None:
        """Time goes by."""
        self.now += milliseconds
        self.uptime += milliseconds

    def send(self, *recipients: str, account: AccountId | None = None, **more: object) -> list[QueueId]:
        """Enqueue a new message; more: fields of Outgoing, or `octets`."""
        octets = more.pop("octets", None) or message()
        assert isinstance(octets, bytes)
        outgoing = Outgoing(Trail("trail"), envelope(*recipients), account)
        return self.enqueue(replace(outgoing, **more), octets)  # type: ignore[arg-type]

    def enqueue(self, outgoing: Outgoing, octets: bytes) -> list[QueueId]:
        """Enqueue just this."""
        return self.store.run(queue.enqueue, self.at, self.store.blobs.put_sync(octets), outgoing)

    def take(self, most: int = 100) -> Taken:
        """Claim with a new token."""
        return self.store.run(queue.claim, self.at, next(self._tokens), most, self.rules.lease)

    def claim(self, most: int = 100) -> list[Claimed]:
        """Only what was claimed."""
        return self.take(most).items

    def overdue(self, most: int = 100) -> list[Claimed]:
        """Claim what is late or over."""
        return self.store.run(queue.claim_overdue, self.at, next(self._tokens), most, self.rules.lease)

    def end(
        self,
        claimed: Claimed,
        *actions: Action,
        feedback: Feedback = Feedback.NEUTRAL,
        wait: int = 5 * MINUTE,
        told: bool = False,
    ) -> bool:
        """Settle with these actions, one for each open recipient; one alone stands for all."""
        people = claimed.item.envelope.recipients
        each = actions * len(people) if len(actions) == 1 else actions
        outcomes = tuple(
            Outcome(who, action, _STATUS[action], "it was so", Millis(self.now))
            for who, action in zip(people, each, strict=True)
        )
        ended = Settlement(claimed.lease, outcomes, Millis(self.now + wait), told, feedback)
        return self.store.run(settlement.settle, self.at, ended, self.rules)

    def fail(self, claimed: Claimed, *actions: Action) -> bool:
        """It failed for all, or all but some, and waits to be told with others of its message."""
        people = claimed.item.envelope.recipients
        each = actions or (Action.FAILED,) * len(people)
        outcomes = tuple(
            Outcome(who, action, _STATUS[action], "it was so", Millis(self.now))
            for who, action in zip(people, each, strict=True)
        )
        ended = Settlement(claimed.lease, outcomes, Millis(self.now), gather=GATHER_MILLIS)
        return self.store.run(settlement.settle, self.at, ended, self.rules)

    def relay(self, claimed: Claimed) -> bool:
        """It went out."""
        return self.end(claimed, Action.RELAYED, feedback=Feedback.GOOD)

    def state(self, item: QueueId) -> queue.State | None:
        """Where it stands; None: it is gone."""
        rows = self.store.read(_state, item)
        return queue.State(rows) if rows is not None else None

    def blobs(self) -> int:
        """How many blobs there are."""
        return self.store.read(_blobs)


def _state(item: QueueId) -> Script[int | None]:
    rows = yield sql("SELECT state FROM queue_item WHERE id = $1", item)
    return rows[0][0] if rows else None


def _blobs() -> Script[int]:
    [(count,)] = yield sql("SELECT count(*) FROM blob")
    return int(count)
