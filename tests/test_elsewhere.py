"""`posthouse user password` of a user of a directory: who is gone from it becomes a user of this server."""

import json
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from commands import Said, answer
from posthouse.mail.address import Address, Domain
from posthouse.store import accounts, devices, emails, expiry, mailboxes, renaming
from posthouse.store.store import open_sync
from store_rig import new_email

Run = Callable[..., Said]
HOME = Domain("home.test")
CARL, KARL = Address("carl", HOME), Address("karl", HOME)
WORD = ("user", "password", str(CARL), "--password-stdin")


@pytest.fixture
def table(tmp_path: Path) -> apsw.Connection:
    """The directory: a table of another program, which knows Carl."""
    connection = apsw.Connection(str(tmp_path / "people.db"))
    connection.execute("CREATE TABLE person (mail TEXT, hash TEXT)")
    connection.execute("INSERT INTO person VALUES ('carl@home.test', 'x')")
    return connection


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: object) -> Run:
    """Commands with the settings file; Carl has a mailbox with one message and a rule."""
    settings(tmp_path, directory=True)

    def command(*words: str, text: str = "new\n") -> Said:
        place = () if "--data" in words else ("--config", str(tmp_path / "posthouse.toml"))
        return answer([*words, *place], text, capsys, monkeypatch)

    assert command("domain", "add", "home.test").status == 0
    with open_sync(tmp_path / "data") as store:
        account = store.run(accounts.add_account, CARL, None)
        row = store.read(mailboxes.find, account, "INBOX")
        assert row is not None
        store.run(emails.add, row.box, [new_email(store, b"Subject: here\r\n\r\n", flags=1)])
        store.run(expiry.set_rule, row.box, 9)
    return command


def settings(folder: Path, *, directory: bool) -> None:
    text = f'data = "{folder}/data"\nhostname = "home.test"\n'
    if directory:
        query = "SELECT mail, hash FROM person WHERE mail = :address"
        text += f'[directory]\nurl = "sqlite:people.db"\nquery = "{query}"\n'
    (folder / "posthouse.toml").write_text(text)


def logs_in(folder: Path) -> bool:
    with open_sync(folder / "data") as store:
        return store.read(accounts.find_login, CARL) is not None


def test_while_the_directory_knows_him_it_has_the_password(run: Run, tmp_path: Path) -> None:
    said = run(*WORD)
    assert said.status == 1
    assert "is a user of the directory, and the password is changed there" in said.err
    assert (
        "becomes a user of this server by: posthouse user password carl@home.test" in run("user", "add", str(CARL)).err
    )
    assert not logs_in(tmp_path)


DEVICE = ("user", "device", "add", str(CARL))


def test_device_passwords_of_its_users(run: Run, tmp_path: Path, table: apsw.Connection) -> None:
    """Beside the password that only the directory has (decision 0138)."""
    said = run(*DEVICE, "Laptop", "--protocols", "imap", "--expires", "90d")
    assert said.status == 0, said.err
    assert said.out.endswith("It counts as long as the directory knows carl@home.test and does not lock it.\n")
    [row] = json.loads(run("user", "device", "list", str(CARL), "--json").out)
    assert (row["device"], row["protocols"], row["last_use"]) == ("Laptop", ["imap"], None)
    assert "only a device password" in run("user", "device", "only", str(CARL)).out
    table.execute("DELETE FROM person")
    said = run(*DEVICE, "Phone")
    assert said.out.endswith("Beware: the directory has no user carl@home.test now. Until it has, it opens nothing.\n")
    table.execute("ALTER TABLE person RENAME TO people")
    assert "Beware: the directory cannot be asked now" in run(*DEVICE, "Tablet").out
    settings(tmp_path, directory=False)
    assert "Beware: no directory is in the settings" in run(*DEVICE, "Watch").out
    with open_sync(tmp_path / "data") as store:
        entrance = store.read(devices.find_entrance, CARL)
    assert entrance is not None
    assert len({device.scram.salt for device in entrance.devices}) == 1  # RFC 5802 §7
    assert run("user", "device", "revoke", str(CARL), "--all").out.startswith("Revoked 4 device passwords")


def test_a_device_password_for_who_has_no_mailbox_yet(run: Run, table: apsw.Connection) -> None:
    table.execute("INSERT INTO person VALUES ('dora@home.test', 'x')")
    add = ("user", "device", "add", "dora@home.test", "Phone")
    assert run(*add).status == 0
    assert "dora@home.test" in run("user", "list").out
    said = run("user", "device", "add", "eve@home.test", "Phone")
    assert (said.status, said.err) == (1, "posthouse: there is no user eve@home.test, here or in the directory\n")
    assert "there is no user eve@far.test" in run("user", "device", "add", "eve@far.test", "Phone").err
    run("group", "add", "team@home.test", "dora@home.test")
    table.execute("INSERT INTO person VALUES ('team@home.test', 'x')")
    assert "no address that is free here" in run("user", "device", "add", "team@home.test", "Phone").err
    table.execute("DROP TABLE person")
    assert "the directory cannot be asked" in run("user", "device", "add", "eve@home.test", "Phone").err
    assert run("user", "device", "revoke", "eve@home.test", "--all").status == 1


def test_who_becomes_a_user_of_this_server_keeps_device_passwords(
    run: Run, tmp_path: Path, table: apsw.Connection
) -> None:
    assert run(*DEVICE, "Phone").status == 0
    table.execute("DELETE FROM person")
    assert run(*WORD).status == 0
    with open_sync(tmp_path / "data") as store:
        entrance = store.read(devices.find_entrance, CARL)
    assert entrance is not None
    assert entrance.login.credential.scram_sha256.salt == entrance.devices[0].scram.salt


def test_who_is_gone_becomes_a_user_of_this_server(run: Run, tmp_path: Path, table: apsw.Connection) -> None:
    table.execute("DELETE FROM person")
    assert run(*WORD, text="").err.endswith("the password is empty; nothing was changed\n")
    assert not logs_in(tmp_path)
    [row] = json.loads(run("user", "list", "--json").out)
    assert row == {"user": "carl@home.test", "messages": 1, "octets": 17, "directory": True}
    said = run(*WORD)
    assert said.status == 0, said.err
    assert said.out.startswith("carl@home.test is a user of this server now, and logs in with this password.\n")
    with open_sync(tmp_path / "data") as store:
        login = store.read(accounts.find_login, CARL)
        assert login is not None
        inbox = store.read(mailboxes.find, login.account, "INBOX")
        assert inbox is not None
        assert (inbox.total, inbox.unseen, inbox.uidnext) == (1, 0, 2)
        assert store.read(expiry.inbox_days, login.account) == 9
    [row] = json.loads(run("user", "list", "--json").out)
    assert not row["directory"]
    assert run("user", "device", "add", str(CARL), "Laptop").status == 0
    table.execute("INSERT INTO person VALUES ('carl@home.test', 'x')")
    assert run(*WORD, text="again\n").out == "Changed the password of carl@home.test.\n"


def test_a_directory_that_cannot_be_asked_decides_nothing(run: Run, tmp_path: Path, table: apsw.Connection) -> None:
    table.execute("DROP TABLE person")
    said = run(*WORD)
    assert said.status == 1
    assert "cannot be asked whether it still knows carl@home.test" in said.err
    assert "take [directory] out of the settings" in said.err
    said = run(*WORD, "--data", str(tmp_path / "data"))
    assert said.status == 1
    assert "say --config FILE" in said.err
    assert not logs_in(tmp_path)


def test_two_entries_for_one_address_decide_nothing(run: Run, tmp_path: Path, table: apsw.Connection) -> None:
    table.execute("INSERT INTO person VALUES ('carl@home.test', 'y')")
    assert "several users" in run(*WORD).err
    assert not logs_in(tmp_path)


def test_without_a_directory_in_the_settings(run: Run, tmp_path: Path) -> None:
    settings(tmp_path, directory=False)
    assert run(*WORD).status == 0
    assert logs_in(tmp_path)


def test_a_former_name_that_the_directory_knows(run: Run, tmp_path: Path) -> None:
    with open_sync(tmp_path / "data") as store:
        store.run(renaming.rename_user, CARL, KARL, keep=True)
    word = ("user", "password", str(KARL), "--password-stdin")
    said = run(*word)
    assert said.status == 1
    assert "the directory knows karl@home.test by the former name carl@home.test" in said.err
    assert run("alias", "remove", str(CARL)).status == 0
    assert run(*word).status == 0
    assert logs_in(tmp_path) is False  # by the old name


def test_a_new_name_waits_for_the_directory(run: Run) -> None:
    said = run("user", "rename", str(CARL), str(KARL)).out
    assert "password" not in said.splitlines()[0]
    assert "until it knows karl@home.test, neither name logs in, and mail for karl@home.test is refused" in said
    assert "Mail for carl@home.test still arrives, and the old name will log in as the new one does" in said
    said = run("user", "rename", str(KARL), "carlo@home.test", "--no-keep-alias").out
    assert "as long as the directory knows karl@home.test, the next mail or login makes a new mailbox" in said
    said = run("domain", "rename", "home.test", "work.test").out
    assert "The directory has the passwords of 1 of them: until it knows their addresses in work.test" in said


ASK = ("user", "directory")


def test_what_the_directory_has_of_an_address(run: Run, tmp_path: Path, table: apsw.Connection) -> None:
    assert run(*ASK, str(CARL)).out.splitlines() == [
        "The directory has one user of carl@home.test.",
        "The mailbox here is that of carl@home.test.",
    ]
    assert run(*ASK, "eve@home.test").out == "The directory has no user eve@home.test, or none who may come in.\n"
    table.execute("INSERT INTO person VALUES ('dora@home.test', 'x'), ('anna@home.test', 'x')")
    assert run(*ASK, "dora@home.test").out.splitlines()[1] == "There is no mailbox here yet."
    run("user", "add", "anna@home.test", "--password-stdin")
    assert "is a user of this server, so what the directory has of it does not" in run(*ASK, "anna@home.test").out
    run("alias", "add", "dora@home.test", "anna@home.test")
    assert "is an alias or a group here" in run(*ASK, "dora@home.test").out
    run("user", "rename", str(CARL), str(KARL))
    assert run(*ASK, str(CARL)).out.splitlines()[0] == "carl@home.test is karl@home.test here."
    assert "other.test is not a domain of this server" in run(*ASK, "a@other.test").err
    settings(tmp_path, directory=False)
    assert "no directory is in the settings" in run(*ASK, str(CARL)).err


def test_two_entries_for_one_address_are_said(run: Run, table: apsw.Connection) -> None:
    """Mail programs hear only that the directory does not answer."""
    table.execute("INSERT INTO person VALUES ('carl@home.test', 'y')")
    said = run(*ASK, str(CARL))
    assert said.status == 1
    assert "several users" in said.err
    assert "Until this is mended, nobody logs in by this address" in said.err
