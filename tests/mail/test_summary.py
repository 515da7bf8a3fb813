"""The summary of a message (RFC 5256 §2, RFC 5957 §3)."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.casemap import casemap
from posthouse.mail.ids import Millis
from posthouse.mail.summary import PARENTS, TEXT, base_subject, sent_date, summarize

RECEIVED = Millis(7)


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        (b"", "", False),
        (b" hello  \tworld", "HELLO WORLD", False),
        (b" folded\r\n\t subject", "FOLDED SUBJECT", False),
        (b"Re: a", "A", True),
        (b"RE  : a", "A", True),
        (b"re: fw: Fwd: a", "A", True),
        (b"Re[2]: a", "A", True),
        (b"re [x] : a", "A", True),
        (b"[list] Re: a", "A", True),
        (b"Re: [list] a", "A", True),
        (b"[a][b] [c] d", "D", False),
        (b"[a][b]", "[B]", False),
        (b"Re: [a] [b]", "[B]", True),
        (b"[a] Re: [b] Re: c", "C", True),
        (b"a (fwd)", "A", True),
        (b"a (FWD) (fwd)(fwd) ", "A", True),
        (b"(fwd)", "", True),
        (b"[fwd: a]", "A", True),
        (b"[Fwd: Re: [x] a (fwd)]", "A", True),
        (b"[fwd: [fwd: a]]", "A", True),
        (b"[fwd: a] b", "B", False),
        (b"[fwd:a", "[FWD:A", False),
        (b"Re:", "", True),
        (b"Re a", "RE A", False),
        (b"Ref: a", "REF: A", False),
        (b"Fwdd: a", "FWDD: A", False),
        (b"AW: a", "AW: A", False),  # translations are not removed (RFC 5256 §7)
        (b"[[a]] b", "[[A]] B", False),
        (b"=?utf-8?q?Re=3A_=C3=A4?=", "A\u0308", True),
    ],
)
def test_base_subject(subject: bytes, base: str, reply: bool) -> None:
    assert base_subject(subject) == (base, reply)


def steps(text: str) -> str:
    """The steps of RFC 5256 §2.1 one by one, as slowly as they are written."""
    blob = r"\[[^\[\]]*\] *"
    text = re.sub(" +", " ", text)
    while True:
        while True:
            shorter = re.sub(r"(\(fwd\)| )\Z", "", text, flags=re.I)
            if shorter == text:
                break
            text = shorter
        while True:
            before = text
            text = re.sub(rf"\A(({blob})*(re|fwd?) *({blob})?:| )", "", text, flags=re.I)
            if text == before:
                text = re.sub(rf"\A{blob}(?=[^ ])", "", text)
            if text == before:
                break
        if not (text.lower().startswith("[fwd:") and text.endswith("]")):
            return text.upper()
        text = text[5:-1]


@given(
    st.lists(st.sampled_from(["re", "Fwd", "fw", ":", "[", "]", " ", "(fwd)", "[fwd:", "a", "b", "x]"]), max_size=14)
)
def test_base_subject_is_that_of_the_steps(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert base_subject(text.encode())[0] == steps(text)


@pytest.mark.parametrize(
    ("date", "sent"),
    [
        (b"31 Dec 2000 16:01:33 -0800", 978_307_293_000),
        (b"Mon, 1 Jan 2001 00:01:33 +0000", 978_307_293_000),
        (b"1 Jan 2001 00:01:33 +9999", 978_307_293_000),  # an invalid zone is UTC
        (b"1 Jan 2001 00:01:33 XYZ", 978_307_293_000),
        (b"1 Jan 2001 29:01:33 +0000", 978_307_200_000),  # an invalid time is midnight
        (b"1 Jan 2001", 978_307_200_000),
        (b"99 Jan 2001 00:00:00 +0000", 7),
        (b"yesterday", 7),
        (b"", 7),
        (None, 7),
    ],
)
def test_sent_date(date: bytes | None, sent: int) -> None:
    assert sent_date(date, RECEIVED) == sent


def summary_of(text: str) -> dict[str, object]:
    return summarize(text.replace("\n", "\r\n").encode(), RECEIVED)._asdict()


def test_addresses() -> None:
    found = summary_of('From: "Anna B." <anna@home.test>, x@y\nTo: bert@home.test\nCc: Friends: a@b, c@d;\n\n')
    assert (found["sender"], found["recipient"], found["cc"]) == ("ANNA", "BERT", "FRIENDS")
    assert (found["display_from"], found["display_to"]) == ("ANNA B.", "BERT@HOME.TEST")
    found = summary_of("From: =?utf-8?q?=C3=84?= <a@b>\nTo: only\n\n")
    assert (found["display_from"], found["recipient"], found["cc"]) == ("A\u0308", "ONLY", "")
    assert summary_of("From: \nTo: ,,\n\n")["display_from"] == ""


def test_message_ids() -> None:
    found = summary_of('Message-ID: <"1 2"@x>\nReferences: <a@b> phrase <"q\\d"@x>\n <c@\n d>\nIn-Reply-To: <z@z>\n\n')
    assert found["message_id"] == "12@x"
    assert found["parents"] == "a@b qd@x c@d"
    found = summary_of("Message-ID: none\nReferences: nothing <valid>\nIn-Reply-To: your message <y@z> <w@z>\n\n")
    assert (found["message_id"], found["parents"]) == ("", "y@z")
    many = " ".join(f"<{number}@x>" for number in range(1_000))
    kept = str(summary_of(f"References: {many}\n\n")["parents"]).split(" ")
    assert len(kept) == PARENTS
    assert (kept[0], kept[1], kept[-1]) == ("0@x", f"{1_001 - PARENTS}@x", "999@x")


@pytest.mark.parametrize(
    "field",
    [
        b"Subject: " + b"[x]" * 50_000,
        b"Subject: " + b"[fwd:" * 25_000 + b"]" * 25_000,
        b"Subject: " + b"re:" * 60_000,
        b"Subject: " + b"(fwd)" * 40_000,
        b"Subject: " + "\ufdfa".encode() * 50_000,
        b"From: " + b"(" * 200_000,
        b"To: " + b"a:" * 100_000,
        b"Cc: " + b'"' * 200_001,
        b"References: " + b"<" * 200_000,
        b"References: " + b"<a@b>" * 50_000,
        b"Date: " + b"1 " * 100_000,
    ],
)
def test_hostile_fields_are_quick_and_bounded(field: bytes) -> None:
    began = time.process_time()
    found = summarize(field + b"\r\n\r\n", RECEIVED)
    assert time.process_time() - began < 10
    assert max(len(text) for text in found if isinstance(text, str)) <= 2 * TEXT + 1


@given(st.lists(st.sampled_from([b"a", b"@", b"<", b">", b'"', b" ", b"\r\n ", b"\xff", b"\0", b"<a@b>"]), max_size=9))
def test_the_usual_msg_id_is_read_as_any_other(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    own = summarize(b"Message-ID:" + value + b"\r\n\r\n", Millis(0)).message_id
    several = summarize(b"References:" + value + b"\r\n\r\n", Millis(0)).parents.split(" ")
    assert own == several[0]


_IDS = [
    b"<a@b>",
    b"<a.b+c@[::1]>",
    b"<@>",
    b" ",
    b"\t",
    b"\r\n ",
    b"<a @b>",
    b"<a>",
    b'<"a"@b>',
    b"<\xff@b>",
    b"x",
    b"<",
]


@given(st.lists(st.sampled_from(_IDS), max_size=9))
def test_the_usual_references_are_read_as_any_other(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    plain, behind_a_word = (
        summarize(b"References:" + word + value + b"\r\n\r\n", Millis(0)).parents for word in (b"", b"word")
    )
    assert plain == behind_a_word


def test_many_short_references() -> None:
    found = summarize(b"References:" + b"<@>" * (PARENTS + 1) + b"\r\n\r\n", RECEIVED)
    assert found.parents == " ".join(["@"] * PARENTS)


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    for name in (b"Subject", b"From", b"Date", b"References", b"Message-ID", b"In-Reply-To"):
        for text in summarize(name + b": " + octets + b"\r\n\r\n", RECEIVED):
            if isinstance(text, str):
                text.encode()
                assert casemap(text) is not None
