"""What the outcomes of an attempt mean for the queue: when the next one is, what is given up, what is told to whom.

Pure: time and chance are handed in.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from posthouse.mail.envelope import Envelope
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.store.queue import Claimed
from posthouse.store.settlement import Feedback, waits
from posthouse.transport.bounce import wanted

CHANCE = 0.2  # of a wait, taken off by chance, so that what failed together is not tried together
DOUBLED = 30  # times at most that a wait is doubled: it is long beyond any limit then
SHUT_DOWN = 421  # RFC 5321 §3.8: the answer of a server that will not go on, whatever is asked
# An Outcome's `where` before anything was said about mail
UNREACHED = frozenset({"dns", "connect", "greeting", "hello", "tls", "login"})
TOO_OLD = Status(4, 4, 7)  # RFC 3463 §3.5: delivery time expired; the status of the last attempt says more where known


class Told(NamedTuple):
    """The outcomes as they are written down, and those of them that a sender may have to be told of; `late` when a
    delay is among these."""

    outcomes: tuple[Outcome, ...]
    news: tuple[Outcome, ...]
    late: bool


def back_off(attempts: int, first: int, longest: int, chance: float) -> int:
    """How long to wait after so many attempts before this one: by powers of two up to the longest (RFC 5321 §4.5.4.1).
    `chance` is from 0 to 1."""
    return int(min(first << min(attempts, DOUBLED), longest) * (1 - CHANCE * chance))


def feedback(outcomes: Sequence[Outcome]) -> Feedback:
    """Good where mail was taken, bad where no server would speak about it; a refusal of one recipient or message, even
    for now, says nothing of the destination."""
    if any(outcome.action in (Action.RELAYED, Action.DELIVERED) for outcome in outcomes):
        return Feedback.GOOD
    return Feedback.BAD if outcomes and all(map(_unreached, outcomes)) else Feedback.NEUTRAL


def _unreached(outcome: Outcome) -> bool:
    if not waits(outcome):
        return False
    return outcome.answer is None or outcome.answer.code == SHUT_DOWN or outcome.where in UNREACHED


def judge(claimed: Claimed, outcomes: Sequence[Outcome], now: Millis) -> Told:
    """Give up what has waited long enough, and choose what is news: every end, and a delay when it is time to tell it.

    What is given up has failed with the status of its last attempt, which begins with 4 (RFC 3463 §3.5).
    """
    if now >= claimed.item.expires:
        outcomes = [replace(one, action=Action.FAILED) if waits(one) else one for one in outcomes]
    late = now >= claimed.attention and any(map(waits, outcomes))
    return Told(tuple(outcomes), tuple(one for one in outcomes if late or not waits(one)), late)


def only_failures(envelope: Envelope, told: Told) -> bool:
    """Whether all that the sender is to hear are failures, and nothing is left to be done for anybody."""
    news = [one for one in told.news if wanted(envelope, one)]
    if envelope.sender.address is None or not news or any(map(waits, told.outcomes)):
        return False
    return all(one.action is Action.FAILED for one in news)
