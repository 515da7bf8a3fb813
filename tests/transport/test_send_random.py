"""transport/send.py against servers that do anything at any step: no copy too many, none promised that is not there.

limits.md P2: sent twice only where the answer to the end of the message was lost.
"""

import asyncio
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from posthouse.mail.outcome import Action, Outcome
from posthouse.transport.result import PERHAPS_TAKEN
from sink import CLOSE, OFFERS, RESET, STALL, After, Answer, Say, Sink, sink
from thorough import examples
from transport.sending import item, rig, seconds

SHORT = 0.06
LIMITS = seconds(hello=SHORT, handshake=SHORT, mail=SHORT, rcpt=SHORT, data=SHORT, block=SHORT, dot=SHORT)
NAMES = ("a", "b", "c")
FINE = {"connect": "220 hi", "mail": "250 ok", "rcpt": "250 ok", "data": "354 go", "dot": "250 ok", "bdat": "250 ok"}

bad: st.SearchStrategy[Answer] = st.sampled_from(
    [
        *("450 4.2.0 later", "550 5.1.1 never", "452 4.5.3 too many", "552 5.5.3 too many", "421 4.3.2 bye"),
        *(
            "what?",
            "354 go",
            "250-half",
            Say("250 ok", After.CLOSE),
            Say("421 x", After.CLOSE),
        ),
        *(STALL, RESET, CLOSE, Say("550 no", After.RESET), Say("250 ok", pause=0.02), Say("250 ok", slow=0.001)),
    ]
)
steps = st.sampled_from(sorted(FINE))
offers = st.sampled_from(
    [OFFERS, tuple(o for o in OFFERS if o != "CHUNKING"), ("CHUNKING",), (), (*OFFERS, "LIMITS RCPTMAX=2 MAILMAX=2")]
)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, list[Answer]]:
    """Mostly good; each step may go wrong, at any time."""
    plan: dict[str, list[Answer]] = {}
    for step in draw(st.sets(steps, max_size=3)):
        answers = draw(st.lists(bad | st.just(FINE[step]), min_size=1, max_size=4))
        plan[step] = [*answers, draw(bad) if draw(st.booleans()) else FINE[step]]
    return plan


def copies(*servers: Sink) -> Counter[str]:
    """How many copies of the message each recipient has."""
    lines = [rcpt for server in servers for one in server.taken for rcpt in one.rcpts]
    return Counter(line.removeprefix("RCPT TO:<").partition("@")[0] for line in lines)


def check(outcomes: tuple[Outcome, ...], before: Counter[str], after: Counter[str]) -> None:
    """What was said of each recipient is true."""
    assert [one.recipient.path.address.local for one in outcomes] == list(NAMES)
    for outcome in outcomes:
        name = outcome.recipient.path.address.local
        new = after[name] - before[name]
        assert new <= 1, (name, outcome)
        if outcome.action is Action.RELAYED:
            assert new == 1, outcome
        elif not outcome.reason.endswith(PERHAPS_TAKEN):
            assert new == 0, outcome
        if outcome.answer is not None and outcome.action is Action.FAILED:
            assert outcome.answer.code >= 500
        assert outcome.status.cls == {Action.RELAYED: 2, Action.FAILED: 5, Action.DELAYED: 4}[outcome.action]


@settings(max_examples=examples(60), deadline=None)
@given(plans(), plans(), offers, offers)
@example({"rcpt": ["250 ok", STALL]}, {}, (), ())  # without PIPELINING, silent after one recipient
def test_outcomes_are_true(
    first: dict[str, list[Answer]], second: dict[str, list[Answer]], one: tuple[str, ...], two: tuple[str, ...]
) -> None:
    async def play() -> None:
        async with sink(first, one) as here, sink(second, two) as there, rig(here, there, limits=LIMITS) as ours:
            for _ in range(2):
                before = copies(here, there)
                outcomes = await ours.send(item(*NAMES))
                await asyncio.sleep(0.01)
                check(outcomes, before, copies(here, there))

    asyncio.run(play())
