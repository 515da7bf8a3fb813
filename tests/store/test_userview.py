"""store/userview.py and store/hashes.py: users in a table of another program."""

from pathlib import Path

import apsw
import pytest

from foreign_hashes import digest, foreign
from posthouse.mail.address import Address, Domain
from posthouse.net.directory import NoAnswer, Person
from posthouse.store import hashes
from posthouse.store.hashes import belongs
from posthouse.store.userview import SqliteTable, UserView

HOME = Domain("home.test")
ANNA = Address("anna", HOME)
QUERY = "SELECT mail, hash, active FROM person WHERE mail = :address"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "users of ours.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE person (mail TEXT, hash TEXT, active)")
    rows = [
        ("anna@home.test", digest("sha1", "SSHA"), 1),
        ("ben@home.test", digest("sha512", "SSHA512"), 0),
        ("twin@home.test", "x", 1),
        ("twin@home.test", "x", 1),
        ("carl@home.test", None, 1),
        (None, "x", 1),
    ]
    connection.executemany("INSERT INTO person VALUES (?, ?, ?)", rows)
    connection.close()
    return path


def test_users_of_a_table(table: Path) -> None:
    view = UserView(SqliteTable(str(table), QUERY))
    assert view.find(ANNA) == Person(("anna@home.test",))
    assert view.prove(ANNA, "secret") == Person(("anna@home.test",))
    for wrong in ("", "Secret", "\0", "x" * 65_536):
        assert view.prove(ANNA, wrong) is None
    assert view.find(Address("nobody", HOME)) is None
    assert view.find(Address("ben", HOME)) is None  # not active
    assert view.prove(Address("ben", HOME), "secret") is None
    assert view.prove(Address("carl", HOME), "secret") is None
    with pytest.raises(NoAnswer, match="several users"):
        view.find(Address("twin", HOME))


@pytest.mark.parametrize("local", ["' OR 1=1 --", "%", "_nna", "x" * 65_536, "an\0na"])
def test_a_name_is_a_parameter(table: Path, local: str) -> None:
    assert UserView(SqliteTable(str(table), QUERY)).find(Address(local, HOME)) is None


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM person WHERE mail = :address",
        "SELECT 1",
        "SELECT 1, 2, 3, 4 WHERE :address <> ''",
        "SELECT nothing FROM person WHERE mail = :address",
        "no SQL with :address",
        "ATTACH '/tmp/x' AS other",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i), :address FROM n",
    ],
)
def test_what_is_no_question(table: Path, query: str) -> None:
    view = UserView(SqliteTable(str(table), query, seconds=0.2))
    with pytest.raises(NoAnswer, match="cannot be asked"):
        view.find(ANNA)
    assert UserView(SqliteTable(str(table), QUERY)).find(ANNA) is not None


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="cannot be asked"):
        UserView(SqliteTable(str(tmp_path / "none.db"), QUERY)).find(ANNA)
    assert not (tmp_path / "none.db").exists()


def test_hashes_of_other_programs() -> None:
    """RFC 2307 §5.3 and the forms that people have."""
    for stored in foreign():
        assert belongs("secret", stored), stored
        for wrong in ("", "Secret", "secret\0", "x" * 4_096):
            assert not belongs(wrong, stored), stored


@pytest.mark.parametrize(
    "stored",
    [
        "secret",
        "{PLAIN}secret",
        "{SSHA}?",
        "{SSHA}c2hvcnQ=",
        "x" * 1_025,
        "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ",
        "$argon2id$v=19$m=1024,t=9999,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ",
        "$argon2id$v=19$m=262144,t=20,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ",
        "$6$rounds=999999999$salt$" + "a" * 86,
        "$2b$31$" + "a" * 53,
        "$1$old$md5",
    ],
)
def test_hashes_that_are_unknown_or_too_much_work(stored: str) -> None:
    with pytest.raises(NoAnswer):
        belongs("secret", stored)


@pytest.mark.parametrize("stored", ["", "!", "*", "!$6$salt$x"])
def test_locked(stored: str) -> None:
    assert not belongs("secret", stored)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("bcrypt", "passlib.hash"):
        monkeypatch.setitem(sys.modules, name, None)
    for stored in ("$2b$04$" + "a" * 53, "$6$salt$" + "a" * 86):
        with pytest.raises(NoAnswer, match=r"posthouse\[hashes\]"):
            belongs("secret", stored)
    assert "hashes" in hashes.INSTALL


def test_a_hash_that_is_no_ascii_is_nobodys() -> None:
    import argon2

    assert not belongs("secret", argon2.PasswordHasher(1, 8, 1).hash("secret") + "é")
