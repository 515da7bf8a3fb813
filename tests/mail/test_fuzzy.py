"""Words that are looked for nearly (RFC 6203 §3): what finds what, and what it is worth."""

import pytest

from posthouse.mail.fuzzy import ALL_OF, ELSEWHERE, EXACT, PEOPLE, TITLE, WORDS, bit, query, worths
from posthouse.mail.text import Texts, comparable
from posthouse.store.marks import OVERLAP, STRETCH, alone, marks_of
from posthouse.store.pages import Kind, Wanted


def matches(wanted: str, text: str) -> bool:
    asked = query(wanted)
    pages = alone(Texts([], [], [comparable(text)], True))
    return asked is not None and bool(marks_of(Wanted((Kind.BODY,), query=asked), pages))


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("meeting", "Two meetings, one room"),
        ("meetings", "(meeting)"),
        ("planned", "“planning”"),
        ("companies", "a company"),
        ("resume", "mon résumé ici"),
        ("résumé", "RESUME"),
        ("mesage", "the message."),
        ("massage", "the messages"),
        ("recieve", "to receive"),
        ("wierd", "a weird thing"),
        ("messaage", "a message"),
        ("helllo", "hello"),
        ("превет", "ну, привет!"),
        ("Ёлка", "елка"),
        ("IMAP break", "Breaking: my imap"),
        ("invoice march total", "The total of March"),
        ("会議", "明日の会議室"),
        ("会議日程", "会議の日程"),
        ("がっこう", "小学校はがっこうです"),
        ("ประชุม", "การประชุมวันนี้"),
        ("गणित", "आज गणित है"),
        ("a+b (c)", "c, b and a"),
    ],
)
def test_found(wanted, text):
    assert matches(wanted, text)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("meet", "a helpmeet"),
        ("work", "a word"),
        ("IMAP break", "IMAP works"),
        ("invoice march total", "The total"),
        ("message", "massagers, mssge"),
        ("room 12345", "room 12346"),
        ("会議", "明日の議会"),
        ("...", "..."),
        ("", "x"),
    ],
)
def test_not_found(wanted, text):
    assert not matches(wanted, text)


def test_long_texts_are_looked_through_in_stretches():
    """Wherever the word stands, and however often half of it does."""
    for place in (STRETCH - OVERLAP - 3, *range(STRETCH - 14, STRETCH + 3), 2 * STRETCH - OVERLAP):
        before = "meet " * (place // 5) + "x" * (place % 5) + " "
        assert matches("meetign", before + "meeting")
        assert matches("meetings", before + "meeting")
        assert not matches("meetign", before + "meetingly")


def test_many_words_and_long_ones():
    asked = query(" ".join(f"w{number}" for number in range(9_999)))
    assert asked is not None
    assert len(asked.words) == WORDS
    assert asked.needed == WORDS // 2 > ALL_OF
    assert matches("x" * 100_000, "x" * 40)
    assert not matches("\u0301" * 1_000, "\u0301")


def test_worth():
    title, body = bit(0, TITLE, off=False), bit(0, ELSEWHERE, off=False)
    rare, off = bit(1, ELSEWHERE, off=False), bit(0, TITLE, off=True)
    found = worths([title, bit(0, PEOPLE, off=False), body, off, body | EXACT], 2)
    assert found[0] > found[1] > found[3] > found[2]
    assert found[4] > found[2]
    one, two, _ = worths([body, rare, body], 2)
    assert two > one
