"""What the queue costs, without any protocol: `python bench/micro_queue.py [items]`.

Processor time of the whole process, and the same beside 100,000 messages for a destination that is dead.
"""

import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from micro_store import message

from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import Millis, Trail
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.store import queue, settlement
from posthouse.store.moment import Moment
from posthouse.store.queue import Claimed, Outgoing
from posthouse.store.settlement import Feedback, Rules, Settlement
from posthouse.store.sqlite import Call
from posthouse.store.store import SyncStore, open_sync

SIZE, TOGETHER, ROUNDS, DEAD = 4_096, 20, 9, 100_000
RULES = Rules()


class Bench:
    """A queue, and a clock that is pushed."""

    def __init__(self, store: SyncStore) -> None:
        self.store = store
        self.now = 1_700_000_000_000
        self.tokens = itertools.count(1)
        self.number = itertools.count(1)

    @property
    def at(self) -> Moment:
        return Moment(Millis(self.now), Millis(self.now - 1_600_000_000_000), "bench")

    def together(self, calls: Iterable[tuple[Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
        """In one transaction, as the writer does it under load."""
        made = [Call(verb, args, {}) for verb, args in calls]
        self.store._database.write(made)
        for call in made:
            if call.error is not None:
                raise call.error
        return [call.value for call in made]

    def enqueue(self, domain: str, count: int, size: int = SIZE) -> float:
        """Processor seconds."""
        to = Envelope(
            ReversePath(Address("anna", Domain("home.test"))), (Recipient(ForwardPath(Address("x", Domain(domain)))),)
        )
        blobs = [self.store.blobs.put_sync(message(next(self.number), size)) for _ in range(count)]
        begun = time.process_time()
        for first in range(0, count, TOGETHER):
            some = blobs[first : first + TOGETHER]
            self.together((queue.enqueue, (self.at, blob, Outgoing(Trail("t"), to))) for blob in some)
        return time.process_time() - begun

    def claim(self, most: int = TOGETHER) -> list[Claimed]:
        [taken] = self.together([(queue.claim, (self.at, next(self.tokens), most, RULES.lease))])
        return taken.items

    def settle(self, items: Sequence[Claimed], action: Action, feedback: Feedback) -> None:
        def ended(one: Claimed) -> Settlement:
            [who] = one.item.envelope.recipients
            outcome = Outcome(who, action, Status(2, 0, 0), "it was so", Millis(self.now), "mx.test")
            return Settlement(one.lease, (outcome,), Millis(self.now + 300_000), feedback=feedback)

        self.together((settlement.settle, (self.at, ended(one), RULES)) for one in items)

    def send(self, count: int) -> tuple[float, float]:
        """Claim and settle so many; processor seconds of each."""
        claiming = settling = 0.0
        done = 0
        while done < count:
            begun = time.process_time()
            items = self.claim()
            claimed = time.process_time()
            good = [one for one in items if one.item.destination.name == "good.test"]
            bad = [one for one in items if one.item.destination.name != "good.test"]
            self.settle(good, Action.RELAYED, Feedback.GOOD)
            self.settle(bad, Action.DELAYED, Feedback.BAD)
            claiming, settling = claiming + claimed - begun, settling + time.process_time() - claimed
            done += len(good)
            self.now += 20  # a thousand messages a second
        return claiming, settling


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    folder = Path(tempfile.mkdtemp(prefix="posthouse-queue-"))
    try:
        with open_sync(folder / "alone") as one, open_sync(folder / "beside") as two:
            alone, beside = Bench(one), Bench(two)
            beside.enqueue("dead.test", DEAD, 300)
            rounds = [(measure(alone, count), measure(beside, count)) for _ in range(ROUNDS)]
    finally:
        shutil.rmtree(folder)
    for words, side in ((f"alone, {count} at a time", 0), (f"beside {DEAD:,} for a dead destination", 1)):
        entering, claiming, settling = (median(column) for column in zip(*(pair[side] for pair in rounds), strict=True))
        print(
            f"{words}: enqueue {entering:.0f}, claim {claiming:.0f}, settle {settling:.0f}, in all"
            f" {entering + claiming + settling:.0f} microseconds of processor time a message of {SIZE} octets"
        )
    print(f"median of the ratios of rounds: {median(sum(two) / sum(one) for one, two in rounds):.3f}")


def measure(bench: Bench, count: int) -> tuple[float, float, float]:
    """Microseconds of processor time a message: enqueued, claimed, settled."""
    entering = bench.enqueue("good.test", count)
    claiming, settling = bench.send(count)
    return entering / count * 1e6, claiming / count * 1e6, settling / count * 1e6


if __name__ == "__main__":
    main()
