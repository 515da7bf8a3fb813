"""`posthouse user remove`, `restore` and `list --removed`: a mistake can be undone (decision 0139)."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Said, answer
from posthouse import removing
from posthouse.mail.address import Address, Domain
from posthouse.store import accounts, emails, gc, mailboxes
from posthouse.store.store import open_sync
from store_rig import new_email

Run = Callable[..., Said]
ANNA = "anna@home.test"
MESSAGE = b"Subject: x\r\n\r\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    settings(tmp_path, 30)

    def command(*words: str, text: str = "secret\n") -> Said:
        place = () if "--data" in words else ("--config", str(tmp_path / "posthouse.toml"))
        return answer([*words, *place], text, capsys, monkeypatch)

    assert command("domain", "add", "home.test").status == 0
    anna(command, tmp_path)
    return command


def settings(folder: Path, days: int) -> None:
    text = f'data = "{folder}/data"\nhostname = "home.test"\n[retention]\nremoved_days = {days}\n'
    (folder / "posthouse.toml").write_text(text)


def anna(run: Run, folder: Path, messages: int = 1) -> None:
    """A user with some mail."""
    assert run("user", "add", ANNA, "--password-stdin").status == 0
    with open_sync(folder / "data") as store:
        found = store.read(accounts.find, Address("anna", Domain("home.test")))
        assert found is not None
        inbox = store.read(mailboxes.find, found.account, "INBOX")
        assert inbox is not None
        store.run(emails.add, inbox.box, [new_email(store, MESSAGE + b"%d" % n) for n in range(messages)])


def octets(folder: Path) -> int:
    """Messages in the store, whosever they are."""
    with open_sync(folder / "data") as store:
        gc.purge_all(store)
        rows = [store.read(mailboxes.some, range(1, 100))]
        return sum(row.total for some in rows for row in some)


def test_a_mistake_is_undone(run: Run, tmp_path: Path) -> None:
    said = run("user", "remove", ANNA, "--yes").out.splitlines()
    assert said[0] == f"Removed the user {ANNA}: nobody signs in, and mail for it is refused."
    assert re.match(r"Kept until \d{4}-\d\d-\d\d, and on the disk: 1 message \(15 octets\), 0 recently", said[1])
    assert said[2:] == [
        f"To bring it back: posthouse user restore {ANNA}",
        f"To remove it for ever, at once: posthouse user remove {ANNA} --now",
    ]
    [row] = json.loads(run("user", "list", "--removed", "--json").out)
    assert (row["user"], row["messages"], row["octets"]) == (ANNA, 1, 15)
    assert row["kept_until"] in said[1]
    table = run("user", "list", "--removed").out.splitlines()
    assert table[0].split() == ["NUMBER", "USER", "REMOVED", "KEPT-UNTIL", "MESSAGES", "OCTETS"]
    assert run("user", "list").out == "There are none.\n"
    for command in (("user", "password"), ("restore",), ("user", "remove"), ("user", "logins")):
        gone = run(*command, ANNA)
        assert f"it was removed at {table[1].split()[2]}" in gone.err
        assert f"comes back by: posthouse user restore {ANNA}" in gone.err
    assert run("user", "restore", ANNA).out.splitlines() == [
        f"{ANNA} is a user again, with 1 message, 15 octets; mail, UIDs, rights and settings are as they were.",
        "Passwords are as they were, device passwords too.",
    ]
    assert run("user", "restore", ANNA).err.startswith(f"posthouse: there is no removed user {ANNA}")
    assert octets(tmp_path) == 1


def test_the_name_was_given_again(run: Run, tmp_path: Path) -> None:
    run("user", "remove", ANNA, "--yes")
    anna(run, tmp_path, 2)
    said = run("user", "restore", ANNA)
    assert said.err == (
        f"posthouse: there is a user {ANNA} again; bring this one back under another name: --as NAME@home.test\n"
    )
    said = run("user", "restore", ANNA, "--as", "anna.old@home.test")
    assert said.status == 0, said.err
    assert len(said.out.splitlines()) == 2, "mail for the old name is somebody else's"
    assert [row["user"] for row in json.loads(run("user", "list", "--json").out)] == [ANNA, "anna.old@home.test"]


def test_another_name_of_ones_own_choice(run: Run) -> None:
    run("user", "remove", ANNA, "--yes")
    said = run("user", "restore", ANNA, "--as", "anne@home.test")
    assert said.out.splitlines()[2] == (
        f"Mail for {ANNA} does not come here; `posthouse alias add {ANNA} anne@home.test` leads it here."
    )
    assert run("alias", "add", ANNA, "anne@home.test").status == 0


def test_several_of_one_name(run: Run, tmp_path: Path) -> None:
    run("user", "remove", ANNA, "--yes")
    anna(run, tmp_path, 2)
    run("user", "remove", ANNA, "--yes")
    said = run("user", "restore", ANNA)
    assert said.status == 1
    numbers = re.findall(r"(R\d+) of [^(]+\((\d) messages?", said.err)
    assert [count for _, count in numbers] == ["2", "1"]
    assert run("user", "restore", numbers[1][0].lower()).status == 0
    assert json.loads(run("user", "list", "--json").out)[0]["messages"] == 1
    assert "is removed already" in run("user", "remove", numbers[0][0]).err
    assert "no removed user R99" in run("user", "restore", "R99").err
    said = run("user", "remove", numbers[0][0], "--now", "--yes")
    assert said.out == f"Removed what was kept of {ANNA}, 2 messages (30 octets), for ever.\n"
    assert octets(tmp_path) == 1


@pytest.mark.parametrize("again", [False, True])
def test_for_ever_is_all_of_the_name(run: Run, tmp_path: Path, again: bool) -> None:
    run("user", "remove", ANNA, "--yes")
    if again:
        anna(run, tmp_path)
    assert run("user", "remove", ANNA, "--now").err == (
        "posthouse: there is no terminal to ask on; say --yes if you are sure\n"
    )
    assert run("user", "remove", ANNA, "--now", "--yes").status == 0
    assert run("user", "list", "--removed").out == "There are none.\n"
    assert octets(tmp_path) == 0


def test_where_nothing_is_kept(run: Run, tmp_path: Path) -> None:
    settings(tmp_path, 0)
    assert run("user", "remove", ANNA, "--yes").out.startswith(f"Removed the user {ANNA}, with 1 message")
    assert run("user", "list", "--removed").out == "There are none.\n"
    assert octets(tmp_path) == 0


def test_where_the_settings_are_not_known(run: Run, tmp_path: Path) -> None:
    here = ("--data", str(tmp_path / "data"))
    assert "Kept as long as retention.removed_days says" in run("user", "remove", ANNA, "--yes", *here).out
    [row] = json.loads(run("user", "list", "--removed", "--json", *here).out)
    assert row["kept_until"] is None


def test_a_domain_that_has_another_name_by_now(run: Run) -> None:
    run("user", "remove", ANNA, "--yes")
    run("domain", "rename", "home.test", "house.test")
    assert "anna@house.test is a user again" in run("user", "restore", ANNA).out
    run("user", "remove", "anna@house.test", "--yes")
    assert run("domain", "remove", "home.test").status == 0
    assert run("domain", "remove", "house.test").status == 0
    said = run("user", "restore", "anna@house.test")
    assert said.status == 1
    assert "house.test is not a domain of this server; add it first" in said.err


def test_what_hinders_is_said_before_anybody_is_asked(run: Run) -> None:
    run("group", "add", "team@home.test", ANNA)
    said = run("user", "remove", ANNA)
    assert said.err == f"posthouse: the group team@home.test leads to {ANNA}; change or remove it first\n"


def test_what_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with monkeypatch.context() as typing:
        typing.setattr(removing, "confirmed", asked.append)
        run("user", "remove", ANNA)
    assert asked[0].endswith("It can be brought back for 30 days.")
