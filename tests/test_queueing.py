"""`posthouse queue`: sentences a beginner understands, JSON for programs, and what may be done."""

import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from posthouse import people, removing, trace
from posthouse.cli import main
from posthouse.mail.address import Domain
from posthouse.mail.ids import Millis, Trail
from posthouse.mail.outcome import Action
from posthouse.store import accounts, journal, settlement, waiting
from posthouse.store.moment import boot, uptime
from posthouse.store.queue import Outgoing
from posthouse.store.settlement import Feedback, Rules
from posthouse.store.store import open_sync
from posthouse.trace import Period
from posthouse.transport import journey
from store.queue_rig import HOUR, MINUTE, QueueRig, envelope
from store_rig import CREDENTIAL, address, message

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[QueueRig]:
    """A queue at this very moment."""
    with open_sync(tmp_path) as store:
        rig = QueueRig(store)
        rig.now, rig.uptime, rig.boot = time.time_ns() // 1_000_000, uptime(), boot()
        yield rig


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        with pytest.raises(SystemExit) as exited:
            main(["queue", *words, "--data", str(tmp_path)])
        return (exited.value.code, *capsys.readouterr())

    return command


def test_nothing_waits(line: QueueRig, run: Run) -> None:
    assert run("list") == (0, "Nothing waits.\n", "")
    assert run("list", "--domain", "one.test") == (0, "Nothing of that kind waits.\n", "")
    assert run("list", "--json") == (0, "[]\n", "")
    code, _, why = run("show", "Q1")
    assert code == 1
    assert "posthouse trace Q1" in why


def test_the_sentence_of_each_state(line: QueueRig, run: Run) -> None:
    line.send("soon@one.test")
    line.send("failed@two.test")
    line.send("sent@three.test")
    line.send("wished@four.test", release=line.now + 2 * HOUR)
    [held] = line.send("held@five.test")
    line.store.run(waiting.hold, line.at, [held])
    for one in line.claim():
        name = one.item.destination.name
        if name == "two.test":
            line.end(one, Action.DELAYED, wait=12 * MINUTE + 5_000)
        if name == "one.test":
            line.store.run(settlement.give_back, line.at, [one.lease])
    code, text, _ = run("list")
    assert code == 0
    said = dict(zip(text.splitlines()[::2], (row.strip() for row in text.splitlines()[1::2]), strict=True))
    assert [head.partition("  ")[0] for head in said] == ["Q1", "Q2", "Q3", "Q4", "Q5"]
    first, second, third, fourth, fifth = said.values()
    assert first == "has its turn soon"
    assert second == "waits for two.test: it was so; next try in 12 min"
    assert third == "is being sent to three.test now"
    assert re.fullmatch(r"waits until \d{4}-\d\d-\d\d \d\d:\d\d, as its sender wished", fourth)
    assert fifth == "is held; `posthouse queue release Q5` lets it go on"
    assert "Q2  anna@home.test -> failed@two.test  (" in text


def test_who_is_renamed_hears_what_waits(line: QueueRig, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that waits for a name that is given up is lost without a word."""
    home = Domain("home.test")
    line.store.run(accounts.add_domain, home)
    line.store.run(accounts.add_account, address("ben@home.test"), CREDENTIAL)
    for who in ("ben@home.test", "ben@home.test", "anna@home.test"):
        line.send(who)
    people.rename_user(line.store, "ben@home.test", "benno@home.test", keep=False)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "Beware: 2 messages wait in the queue for ben@home.test, and will go back to the senders."
        " To let such mail arrive: posthouse alias add ben@home.test benno@home.test"
    )
    people.rename_user(line.store, "benno@home.test", "ben@home.test", keep=True)
    assert "Beware" not in capsys.readouterr().out
    people.rename_domain(line.store, "home.test", "work.test", keep=False)
    assert "Beware: 3 messages wait in the queue for home.test, and will go where" in capsys.readouterr().out


def test_what_has_failed_is_told_in_a_moment(line: QueueRig, run: Run) -> None:
    line.send("x@one.test", "y@one.test", "x@two.test")
    claimed, _ = line.claim()
    line.fail(claimed, Action.FAILED, Action.RELAYED)
    text = run("list", "--domain", "one.test")[1]
    assert text.endswith("could not be delivered: it was so; its sender is told in a moment\n")


def test_one_of_them(line: QueueRig, run: Run) -> None:
    line.send("x@one.test", "y@one.test", "z@one.test")
    [claimed] = line.claim()
    line.end(claimed, Action.RELAYED, Action.DELAYED, Action.FAILED)
    code, text, _ = run("show", "q1")
    assert code == 0
    for words in (
        "Q1: anna@home.test writes to 3 at one.test", "tried     once", "x@one.test: done: it was so; ",
        "y@one.test: it was so; ", "id trail",
    ):  # fmt: skip
        assert words in text
    found = json.loads(run("show", "1", "--json")[1])
    assert [(one["address"], one["done"], one["action"]) for one in found["recipients"]] == [
        ("x@one.test", True, "relayed"), ("y@one.test", False, "delayed"), ("z@one.test", True, "failed"),
    ]  # fmt: skip
    assert found["state"] == "later"


def test_json_of_all(line: QueueRig, run: Run) -> None:
    for number in range(5):
        line.send(f"x{number}@one.test")
    assert len(json.loads(run("list", "--limit", "2", "--json")[1])) == 5
    found = json.loads(run("list", "--recipient", "X3@one.test", "--json")[1])
    assert [one["id"] for one in found] == ["Q4"]
    assert found[0] | {"created": "", "next_attempt": "", "expires": "", "size": 0} == {
        "id": "Q4", "trail": "trail", "sender": "anna@home.test", "domain": "one.test", "recipients": ["x3@one.test"],
        "size": 0, "priority": 0, "state": "ready", "attempts": 0, "created": "", "next_attempt": "", "expires": "",
        "reason": "",
    }  # fmt: skip


def test_a_long_list_says_what_it_leaves_out(line: QueueRig, run: Run) -> None:
    for number in range(5):
        line.send(f"x{number}@one.test")
    text = run("list", "--limit", "2")[1]
    assert "These are the first 2; 5 messages wait in all." in text
    assert "  one.test  5\n" in text
    assert run("list", "--limit", "0")[0] == 1


def test_a_bounce_is_from_this_server(line: QueueRig, run: Run) -> None:
    line.enqueue(Outgoing(Trail("t"), replace(envelope("a@one.test", sender=""))), message(20_000))
    assert "Q1  this server -> a@one.test  (" in run("list")[1]


def test_hold_release_retry(line: QueueRig, run: Run) -> None:
    line.send("x@one.test")
    line.send("x@two.test")
    assert run("hold", "Q1", "Q9") == (0, "1 message: held.\n", "Q9 does not wait\n")
    assert run("hold", "Q1") == (1, "", "Q1: it is held already\nposthouse: nothing was changed\n")
    assert run("retry", "--domain", "one.test")[0] == 1
    assert run("release", "--all") == (0, "1 message: released.\n", "")
    for one in line.claim():
        line.end(one, Action.DELAYED, feedback=Feedback.BAD)
    assert run("retry", "--sender", "Anna@home.test") == (0, "2 messages: tried as soon as may be.\n", "")
    line.sleep(5_000)
    assert len(line.claim()) == 2
    code, _, why = run("retry", "Q1")
    assert (code, why.startswith("Q1: it is held, is being sent just now, or")) == (1, True)


def test_cancel(line: QueueRig, run: Run) -> None:
    line.send("x@one.test", "x@two.test")
    one, _ = line.claim(), line.send("y@three.test")
    assert run("cancel", "--all")[2] == "posthouse: there is no terminal to ask on; say --yes if you are sure\n"
    assert run("cancel", "Q3", "--yes") == (0, "1 message: cancelled.\n", "")
    code, text, _ = run("cancel", "--all", "--yes")
    assert (code, text) == (
        0, "2 messages: cancelled.\n2 of them were being sent just now, and may have arrived.\n"
    )  # fmt: skip
    assert not line.relay(one[0])
    assert run("cancel", "--all", "--yes")[0] == 1


def test_the_journey_tells_what_was_done_with_it(line: QueueRig, run: Run) -> None:
    line.send("x@one.test", "y@one.test")
    for words in (("hold", "Q1"), ("retry", "Q1"), ("release", "Q1"), ("cancel", "Q1", "--yes")):
        run(*words)
    found = trace.find(line.store, "Q1", Period(Millis(0), Millis(2**53)))
    told = [text for one in found for entry in one.entries for text in trace.sentences(entry)]
    assert told == [
        "held back in the queue for x@one.test, y@one.test, by `posthouse queue hold`; it stays until it is released",
        "no longer held back in the queue for x@one.test, y@one.test, by `posthouse queue release`",
        "thrown out of the queue for x@one.test, y@one.test, by `posthouse queue cancel`; its sender was not told",
    ]
    assert trace.find(line.store, "y@one.test", Period(Millis(0), Millis(2**53)))


def test_the_journey_knows_that_a_destination_rests(line: QueueRig) -> None:
    """What was written down after the attempt may be too early since then."""
    line.send("x@one.test")
    line.send("y@one.test")
    [first, second] = line.claim()
    line.store.run(journal.record, [journey.attempted(line.at.now, first.item, [], Millis(line.now + MINUTE))])
    line.end(first, Action.DELAYED, wait=MINUTE)
    line.rules = Rules(failures=1, first_rest=HOUR)
    line.end(second, Action.DELAYED, feedback=Feedback.BAD)
    [one] = trace.find(line.store, "Q1", Period(Millis(0), Millis(2**53)))
    [text] = trace.sentences(one.entries[-1])
    [shown] = line.store.read(waiting.look, line.at.now, [first.item.id])
    assert shown.next_attempt > line.now + MINUTE
    assert text == f"it stays in the queue; the next try is at {trace.clock(shown.next_attempt)}"


def test_who_is_removed_hears_what_will_still_leave(line: QueueRig, capsys: pytest.CaptureFixture[str]) -> None:
    line.store.run(accounts.add_domain, Domain("home.test"))
    line.store.run(accounts.add_account, address("anna@home.test"), CREDENTIAL)
    for who in ("x@one.test", "x@two.test"):
        line.send(who)
    removing.remove_user(line.store, "anna@home.test", 30, sure=True)
    assert capsys.readouterr().out.endswith(
        "2 messages from anna@home.test wait in the queue and will still be sent;\n"
        "`posthouse queue cancel --sender anna@home.test` stops them.\n"
    )


def test_the_journey_says_that_what_was_cancelled_may_have_arrived(line: QueueRig, run: Run) -> None:
    line.send("x@one.test")
    line.claim()
    run("cancel", "Q1", "--yes")
    [one] = trace.find(line.store, "Q1", Period(Millis(0), Millis(2**53)))
    [text] = trace.sentences(one.entries[-1])
    assert text.endswith("its sender was not told; it was being sent just then, and may have arrived")


@pytest.mark.parametrize("command", ["retry", "hold", "release", "cancel"])
def test_somebody_must_say_which(line: QueueRig, run: Run, command: str) -> None:
    chosen = "posthouse: say which: ids such as Q12, --sender, --recipient, --domain, or --all\n"
    alone = "posthouse: --all means every message that waits: say it alone, or leave it out\n"
    for words, sentence in (((), chosen), (("Q1", "--all"), alone), (("--all", "--domain", "one.test"), alone)):
        code, _, why = run(command, *words)
        assert (code, why) == (1, sentence)
    assert "'12Q' is not the id" in run(command, "12Q")[2]
    assert "is not a domain" in run(command, "--domain", "a..b")[2]
