"""`posthouse quota`: sentences a beginner understands, JSON for programs, and what may be said."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthouse.cli import main
from posthouse.store import emails
from posthouse.store.script import Script, sql
from posthouse.store.store import open_sync
from store_rig import Rig

Run = Callable[..., tuple[object, str, str]]
SIZE = 300 * 1024


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A store in which Anna has one message of 300 KiB."""
    with open_sync(tmp_path) as store:
        rig = Rig(store)
        rig.run(emails.add, rig.box(), [rig.email(b"Subject: x\r\n\r\n" + b"y" * (SIZE - 14))])
        yield rig


@pytest.fixture
def run(rig: Rig, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    def command(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as exited:
            main(["quota", *words, "--data", str(tmp_path)])
        return (exited.value.code, *capsys.readouterr())

    return command


def test_how_a_user_stands(run: Run) -> None:
    assert run("show", "Anna@home.test") == (
        0,
        "anna@home.test uses 300 KiB, without a limit\n  1 message\n  6 mailboxes of 5,000 (0 %)\n"
        "  INBOX: 300 KiB in 1 message\n",
        "",
    )
    code, out, _ = run("set", "anna@home.test", "--storage", "400KiB", "--messages", "10")
    assert code == 0
    assert out.startswith("anna@home.test uses 300 KiB of 400 KiB (75 %)\n  1 messages of 10 (10 %)\n")
    assert json.loads(run("show", "anna@home.test", "--json")[1]) == {
        "user": "anna@home.test",
        "used": {"storage": SIZE, "messages": 1, "mailboxes": 6},
        "limits": {"storage": 400 * 1024, "messages": 10, "mailboxes": 5_000},
        "percent": 75,
        "own": {"storage": 400 * 1024, "messages": 10, "mailboxes": None},
        "warned": 0,
    }


def test_everybody_a_domain_a_user(run: Run) -> None:
    assert run("show", "default")[1] == "For everybody: nothing is set.\nThe settings say: no limit.\n"
    assert run("set", "default", "--storage", "1 MiB")[1].startswith("For everybody: 1 MiB.\n")
    code, out, _ = run("set", "home.test", "--storage", "200 KiB", "--mailboxes", "50")
    assert (code, out) == (
        0,
        "For every user of home.test: 200 KiB, 50 mailboxes.\n"
        "1 of them has no room for new mail now: posthouse quota list\n",
    )
    assert run("set", "ben@home.test", "--storage", "none")[1].startswith("ben@home.test uses 0 octets, without")
    assert run("list")[1].splitlines() == [
        "USER            FULL   STORAGE   OF       MESSAGES  OF   MAILBOXES",
        "anna@home.test  150 %  300 KiB   200 KiB  1         -    6",
        "ben@home.test   -      0 octets  -        0         -    6",
    ]
    assert [user["percent"] for user in json.loads(run("list", "--json")[1])] == [150, 0]
    assert json.loads(run("show", "home.test", "--json")[1]) == {
        "whose": "home.test",
        "storage": 204_800,
        "messages": None,
        "mailboxes": 50,
    }
    assert run("clear", "home.test")[1] == "For every user of home.test: nothing is set.\n"
    assert run("show", "anna@home.test")[1].startswith("anna@home.test uses 300 KiB of 1 MiB (29 %)\n")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show", "nobody@home.test"), "there is no user nobody@home.test"),
        (("show", "hom.test"), "did you mean home.test?"),
        (("set", "home.test"), "say --storage, --messages or --mailboxes"),
        (("set", "home.test", "--storage", "much"), "'much' is no size; they look like 500MiB, 2GiB or none"),
        (("set", "home.test", "--storage", "-5"), "no size"),
        (("set", "home.test", "--storage", "9" * 30), "more than can be counted"),
        (("set", "home.test", "--storage", "9" * 18 + " TiB"), "more than can be counted"),
        (("set", "home.test", "--messages", "1.5"), "'1.5' is no number of messages"),
        (("set", "home.test", "--mailboxes", "9" * 30), "no number of mailboxes"),
        (("recount", "home.test"), "home.test is no user"),
    ],
)
def test_what_cannot_be_meant(run: Run, words: tuple[str, ...], why: str) -> None:
    code, out, said = run(*words)
    assert (code, out) == (1, "")
    assert why in said
    assert run("show", "home.test")[1] == "For every user of home.test: nothing is set.\n"


def test_another_name_has_no_limits_of_its_own(run: Run, tmp_path: Path) -> None:
    """Of a domain or a user; which one is meant is said."""
    for words in (
        ["domain", "alias", "haus.test", "home.test"],
        ["user", "rename", "ben@home.test", "benno@home.test"],
    ):
        with pytest.raises(SystemExit) as exited:
            main([*words, "--data", str(tmp_path)])
        assert exited.value.code == 0
    for said, other in (
        ("haus.test", "home.test"),
        ("ben@home.test", "benno@home.test"),
        ("anna@haus.test", "anna@home.test"),
    ):
        code, _, reason = run("set", said, "--storage", "1 MiB")
        assert code == 1
        assert f"{said} is another name of {other}; say that one" in reason


def test_a_limit_of_nothing_can_be_said(run: Run) -> None:
    assert "uses 300 KiB of 0 octets (100 %)" in run("set", "anna@home.test", "--storage", "0")[1]


def spoil() -> Script[None]:
    """What no script does."""
    yield sql("UPDATE account SET octets = octets + 7 WHERE local = 'anna'")


def test_a_recount_says_what_was_wrong(run: Run, rig: Rig) -> None:
    assert run("recount") == (0, "Counted 2 users: all counters are right.\n", "")
    rig.run(spoil)
    assert run("recount", "ben@home.test")[1] == "Counted 1 user: all counters are right.\n"
    assert run("recount", "anna@home.test")[1] == (
        "anna@home.test: octets was 307,207, and is 307,200\nCounted 1 user: 1 counter was wrong and is right now.\n"
    )
    assert run("recount")[1] == "Counted 2 users: all counters are right.\n"
