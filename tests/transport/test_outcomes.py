"""transport/outcomes.py: what an attempt means for the queue (RFC 5321 §4.5.4.1, RFC 3463 §3.5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import Millis, QueueId, Trail
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Reply, Status, reply
from posthouse.store.blobs import BlobKey
from posthouse.store.queue import Claimed, Lease, QueueItem
from posthouse.store.settlement import Feedback
from posthouse.transport.outcomes import CHANCE, back_off, feedback, judge

WHO = Recipient(ForwardPath(Address("x", Domain("one.test"))))
ITEM = QueueItem(
    QueueId(1), Trail("t"), BlobKey(1), 9, None, Envelope(ReversePath(), (WHO, WHO)), Domain("one.test"), 0,
    Millis(0), Millis(0), Millis(1_000),
)  # fmt: skip
CLAIMED = Claimed(ITEM, Lease(ITEM.id, 1, (0, 1)), 0, Millis(500), b"")


def outcome(action: Action, answer: Reply | None = None, where: str = "rcpt") -> Outcome:
    status = Status({Action.RELAYED: 2, Action.DELAYED: 4, Action.FAILED: 5}[action], 0, 0)
    return Outcome(WHO, action, status, "so it was", Millis(0), answer=answer, where=where)


def test_waits_double_up_to_the_longest() -> None:
    assert [back_off(n, 300, 7_200, 0) for n in range(7)] == [300, 600, 1_200, 2_400, 4_800, 7_200, 7_200]
    assert back_off(10**9, 300, 7_200, 0) == 7_200


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_chance_shortens_by_a_fifth_at_most(attempts: int, chance: float) -> None:
    whole = back_off(attempts, 300_000, 7_200_000, 0)
    assert whole * (1 - CHANCE) - 1 <= back_off(attempts, 300_000, 7_200_000, chance) <= whole


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((outcome(Action.RELAYED, reply(250, "2.0.0", "Ok")),), Feedback.GOOD),
        ((outcome(Action.DELAYED), outcome(Action.RELAYED)), Feedback.GOOD),
        ((outcome(Action.DELAYED, None, "connect"),) * 2, Feedback.BAD),
        ((outcome(Action.DELAYED, None, "dns"),), Feedback.BAD),
        ((outcome(Action.DELAYED, reply(451, "4.3.0", "No"), "connect"),), Feedback.BAD),
        ((outcome(Action.DELAYED, None, "data"),), Feedback.BAD),  # it fell silent
        ((outcome(Action.DELAYED, reply(421, "4.3.2", "Shutting down"), "mail"),), Feedback.BAD),
        ((outcome(Action.DELAYED, reply(450, "4.2.0", "Greylisted")),), Feedback.NEUTRAL),
        ((outcome(Action.FAILED, reply(550, "5.1.1", "Nobody")),), Feedback.NEUTRAL),
        ((outcome(Action.FAILED, None, "dns"),), Feedback.NEUTRAL),
        ((), Feedback.NEUTRAL),
    ],
)
def test_what_it_says_of_the_destination(outcomes: tuple[Outcome, ...], expected: Feedback) -> None:
    assert feedback(outcomes) is expected


@pytest.mark.parametrize(
    ("now", "actions", "news", "late"),
    [
        (499, [Action.DELAYED, Action.RELAYED], [Action.RELAYED], False),
        (499, [Action.DELAYED, Action.DELAYED], [], False),
        (500, [Action.DELAYED, Action.FAILED], [Action.DELAYED, Action.FAILED], True),
        (999, [Action.RELAYED, Action.FAILED], [Action.RELAYED, Action.FAILED], False),
        (1_000, [Action.DELAYED, Action.RELAYED], [Action.FAILED, Action.RELAYED], False),
    ],
)
def test_what_is_news(now: int, actions: list[Action], news: list[Action], late: bool) -> None:
    told = judge(CLAIMED, [outcome(action) for action in actions], Millis(now))
    assert [one.action for one in told.news] == news
    assert told.late is late
    assert len(told.outcomes) == len(actions)


def test_what_is_given_up_keeps_the_status_of_its_last_attempt() -> None:
    [given_up, _] = judge(CLAIMED, [outcome(Action.DELAYED)] * 2, Millis(1_000)).outcomes
    assert (given_up.action, given_up.status.cls) == (Action.FAILED, 4)
