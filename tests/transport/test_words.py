"""transport/words.py: answers of servers as they are seen, and what people are told."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import Address, Domain, ForwardPath
from posthouse.mail.dsn import parse_reply
from posthouse.mail.envelope import Recipient
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Reply, Status, reply
from posthouse.transport import words
from posthouse.transport.result import PERHAPS_TAKEN

BEN = Recipient(ForwardPath(Address("ben", Domain("work.test"))))

ANSWERS = (Path(__file__).parent / "answers.txt").read_text("utf-8").splitlines()
SEEN = [(line.split()[0], line.split(maxsplit=1)[1]) for line in ANSWERS if not line.startswith("#")]
# Where nobody answered, or all that matters is the text.
NO_STATUS = Status(5, 0, 0)


def outcome(answer: Reply | None, status: Status = NO_STATUS, reason: str = "") -> Outcome:
    return Outcome(BEN, Action.FAILED, status, reason, Millis(0), "mx.work.test", "192.0.2.1", answer)


@pytest.mark.parametrize(("name", "seen"), SEEN)
def test_answers_that_are_seen(name: str, seen: str) -> None:
    answer = parse_reply(seen)
    assert answer is not None
    rule = words.find_rule(answer.code, answer.status, answer.text)
    assert rule is not None
    assert rule.name == name


def test_every_rule_has_an_answer_in_the_table() -> None:
    assert {rule.name for rule in words.RULES} == {name for name, _ in SEEN}


def everything() -> Iterator[words.Words]:
    yield from (rule.words for rule in words.RULES)
    yield from words.GENERAL.values()
    yield words.UNKNOWN


def test_texts_are_whole_sentences_for_people() -> None:
    """HACKING.md, 14: on which the reader can act, without our internals."""
    for happened, advice in everything():
        for text in (happened, advice):
            assert re.match(r"[A-Z{]", text), text
            assert text.endswith("."), text
            assert not re.search(r"\{(?!(address|domain|server|house)\})", text), text


def test_nobody_is_told_that_all_is_well_with_what_was_given_up() -> None:
    assert not [advice for _, advice in everything() if "Nothing" in advice]


def test_patterns_have_no_unbounded_repetition() -> None:
    """However an answer is spelled, looking at it takes one pass for each pattern."""
    for rule in words.RULES:
        assert not re.search(r"(?<!\\)[*+]|\{\d*,\}", rule.text), rule.name


@pytest.mark.parametrize(
    ("status", "happened"),
    [
        ("5.4.4", "No server can be found that takes mail for work.test."),
        ("5.3.5", "Something does not work on their server."),
        ("4.2.9", "The mailbox of ben@work.test takes no mail at present."),
        ("5.0.0", words.UNKNOWN.happened),
        ("5.9.9", words.UNKNOWN.happened),
    ],
)
def test_what_nobody_knows_is_told_by_its_class(status: str, happened: str) -> None:
    """RFC 3463 §3."""
    answer = reply(550, status, "Nix da")
    assert answer.status is not None
    assert words.explain(outcome(answer, answer.status), "mail.home.test").happened == happened


def test_where_nobody_answered_the_reason_is_told() -> None:
    found = words.explain(outcome(None, Status(4, 4, 1), "Nobody answered at mx.work.test"), "mail.home.test")
    assert found.happened == "Nobody answered at mx.work.test."
    assert found.advice == "Their server may be down. Tell them by another way; only they can change it."


def test_names_are_filled_in() -> None:
    found = words.explain(outcome(reply(550, "5.1.1", "{house} no such user")), "mail.home.test")
    assert found.happened == "There is no mailbox called ben@work.test."
    assert "mail.home.test" in words.explain(outcome(reply(550, "5.7.25", "")), "mail.home.test").advice


@given(st.integers(200, 599), st.text(max_size=3_000))
def test_any_text_gets_an_answer(code: int, text: str) -> None:
    answer = Reply(code, None, (text,))
    assert words.explain(outcome(answer), "mail.home.test").happened


def test_what_is_too_large_is_not_sent_again_as_it_is() -> None:
    said = words.explain(outcome(None, Status(5, 3, 4), "the message has 9 octets and the server takes 8"), "us.test")
    assert said.happened == "The message has 9 octets and the server mx.work.test takes 8."
    assert "smaller" in said.advice


@pytest.mark.parametrize("promise", [PERHAPS_TAKEN, "; it is asked again later"])
def test_what_was_given_up_promises_no_other_attempt(promise: str) -> None:
    found = outcome(None, Status(4, 4, 2), f"nobody answered{promise}")
    assert not re.search("again later|twice", words.reason(found) + words.explain(found, "us.test").happened)
    waits = replace(found, action=Action.DELAYED)
    assert words.explain(waits, "us.test").happened == f"nobody answered{promise}."
    if promise is PERHAPS_TAKEN:
        assert "whether it has come" in words.explain(found, "us.test").advice


@pytest.mark.parametrize("status", [Status(5, 7, 30), Status(5, 7, 10), Status(5, 7, 1), Status(5, 6, 7)])
def test_what_nobody_answered_does_not_stand_below(status: Status) -> None:
    assert "stands below" not in words.explain(outcome(None, status, "we refuse"), "us.test").advice


def test_a_server_that_speaks_no_smtp_is_theirs_to_mend() -> None:
    found = outcome(None, reason="the server answered 250 to DATA", status=Status(4, 5, 0))
    said = words.explain(replace(found, action=Action.DELAYED), "us.test")
    assert said.happened == (
        "The server mx.work.test answered 250 to DATA. So mx.work.test does not speak SMTP as it should."
    )
    assert said.advice == (
        "Send it again later, or reach them by another way. Whoever runs mx.work.test must put it right."
    )
    perhaps = words.explain(replace(found, reason=found.reason + PERHAPS_TAKEN), "us.test")
    assert "whether it has come" in perhaps.advice


@pytest.mark.parametrize(
    ("reason", "happened"),
    [
        ("the connection was lost before its greeting", "The connection to mx.work.test was lost before its greeting."),
        ("the server was silent for 9 seconds", "The server mx.work.test was silent for 9 seconds."),
        ("the certificate of the server is old", "The certificate of the server mx.work.test is old."),
        ("nobody answered at mx.work.test: the server", "nobody answered at mx.work.test: the server."),
    ],
)
def test_the_server_has_its_name(reason: str, happened: str) -> None:
    assert words.explain(outcome(None, Status(4, 4, 2), reason), "us.test").happened == happened


def test_the_domain_is_named_as_people_write_it() -> None:
    ben = Recipient(ForwardPath(Address("ben", Domain("xn--bcher-kva.test"))))
    nobody = replace(outcome(None, Status(4, 4, 4), "xn--bcher-kva.test has no server"), recipient=ben, mta="")
    assert words.explain(nobody, "us.test").happened == "bücher.test has no server."
