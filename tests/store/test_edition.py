"""store/edition.py: the number that moves on with every change of who is who (decision 0130)."""

import ast
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from posthouse.mail.address import Domain
from posthouse.mail.ids import Millis
from posthouse.store import accounts, aliases, devices, emails, logins, quota
from posthouse.store.devices import Asked
from posthouse.store.edition import OCTETS, PASSING, WHO_IS_WHO, Edition, alters
from posthouse.store.logins import Batch, Times, Visit
from posthouse.store.quota import Limits, Whose
from posthouse.store.script import Exists, Script, sql
from posthouse.store.sqlite import LOCK, Call, Database
from posthouse.store.store import open_sync
from store_rig import CREDENTIAL, NOW, Rig, address

SOURCE = Path(accounts.__file__).parent.parent
WRITES = re.compile(
    r"(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|DELETE\s+FROM|UPDATE)\s+(\w+)(?:\s+SET\s+(.*))?", re.S
)


@pytest.fixture
def edition(rig: Rig) -> Iterator[Callable[[], int | None]]:
    """As another process reads it."""
    file = os.open(rig.store.directory / LOCK, os.O_RDONLY)
    yield lambda: Edition(file).settled
    os.close(file)


def test_it_moves_on_with_every_change_of_people(rig: Rig, edition: Callable[[], int | None]) -> None:
    seen, anna, info = [edition()], address("anna@home.test"), address("info@home.test")
    for change in (
        lambda: rig.run(accounts.add_account, address("carl@home.test"), CREDENTIAL),
        lambda: rig.run(aliases.add_alias, info, [anna]),
        lambda: rig.run(accounts.set_password, anna, CREDENTIAL._replace(password_hash="$another")),
        lambda: rig.run(devices.set_devices_only, anna, only=False),
        lambda: rig.run(aliases.remove_alias, info),
        lambda: rig.run(quota.set_limits, Whose(rig.anna), Limits(messages=3)),
        lambda: rig.run(quota.set_limits, Whose(), Limits(messages=3)),
        lambda: rig.run(logins.record, Batch(guesses=[(1, NOW, 3)])),
        lambda: rig.run(accounts.remove_account, address("ben@home.test")),
    ):
        change()
        seen.append(edition())
    assert None not in seen
    assert len(set(seen)) == len(seen)


def test_it_stays_while_mail_comes_and_goes(rig: Rig, edition: Callable[[], int | None]) -> None:
    box = rig.box("Work")
    before = edition()
    rig.run(emails.add, box, [rig.email()])
    rig.run(emails.expunge, box, marked=False)
    rig.run(logins.record, Batch([(Visit(rig.anna, "192.0.2.1", "imap", "LOGIN", "", "", "", ""), Times(NOW, NOW, 1))]))
    assert edition() == before


def test_nothing_can_be_kept_while_it_changes(rig: Rig, edition: Callable[[], int | None]) -> None:
    def change() -> Script[list[int | None]]:
        before = edition()
        yield sql("INSERT INTO domain (name) VALUES ($1)", "one.test")
        between = edition()
        yield sql("INSERT INTO domain (name) VALUES ($1)", "two.test")
        return [before, between, edition()]

    before, *during = rig.run(change)
    assert before is not None
    assert during == [None, None]
    after = edition()
    assert after is not None
    assert after > before


def test_a_change_that_was_refused_leaves_it_settled(rig: Rig, edition: Callable[[], int | None]) -> None:
    def change() -> Script[None]:
        yield sql("INSERT INTO domain (name) VALUES ($1)", "one.test")
        raise Exists("no")

    with pytest.raises(Exists):
        rig.run(change)
    assert edition() is not None
    assert not rig.read(accounts.is_local, Domain("one.test"))


def test_who_was_killed_inside_leaves_no_answer_good(rig: Rig, edition: Callable[[], int | None]) -> None:
    before = edition()
    file = os.open(rig.store.directory / LOCK, os.O_RDWR)
    Edition(file).begin()
    odd = os.pread(file, OCTETS, 0)
    assert edition() is None
    Edition(file).begin()  # the next change, whose process did not see the end of the first
    assert os.pread(file, OCTETS, 0) not in (odd, bytes(OCTETS))
    assert edition() is None
    Database(rig.store.directory).close()  # whoever opens it has the turn, so nobody is changing anything
    after = edition()
    assert after is not None
    assert before is not None
    assert after > before
    os.close(file)


def test_where_it_cannot_be_written_nothing_changes(rig: Rig) -> None:
    database = Database(rig.store.directory)
    full = os.open("/dev/full", os.O_RDWR)
    database.edition = Edition(full)
    call = Call(accounts.add_domain, (Domain("new.test"),), {})
    database.write([call])
    assert "lock file" in str(call.error)
    assert not rig.read(accounts.is_local, Domain("new.test"))
    database.close()
    os.close(full)


def texts() -> list[str]:
    """Every text in the source that writes to one of the tables, as it stands there."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            text = literal(node)
            match = WRITES.search(text)
            if match is not None and match[1] in WHO_IS_WHO:
                found.append(text)
    return found


def literal(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return ""


def test_every_statement_that_changes_who_is_who_is_known_as_such() -> None:
    found = texts()
    assert len(found) > 30
    for text in found:
        match = WRITES.search(text)
        assert match is not None
        assert WRITES.match(text), f"it begins otherwise, and is not seen: {text}"
        columns = re.findall(r"(\w+) = ", (match[2] or "").partition("WHERE")[0])
        passing = bool(columns) and all(each in LEFT_OUT.get(match[1], ()) for each in columns)
        assert alters(text) != passing, text


# What no question reads whose answer is kept, or what it reads anew.
LEFT_OUT = {
    "account": {"modseq", "warned", "octets", "messages", "mailboxes"},
    "device": {"used", "used_ip", "used_service", "used_program"},
    "totp": {"step"},
}


def test_the_columns_left_out_are_those_named() -> None:
    assert {(table, column) for table, columns in LEFT_OUT.items() for column in columns} >= PASSING


def test_what_the_kept_questions_read_is_watched(rig: Rig) -> None:
    """Every table that they read moves the edition on, and no column that is left out matters to them; but for the
    usage of a mailbox, which Routes looks at anew."""
    anna, info = address("anna@home.test"), address("info@home.test")
    rig.run(aliases.add_alias, info, [anna])
    read: set[tuple[str, str]] = set()
    database = Database(rig.store.directory)

    def note(action: int, table: str | None, column: str | None, *_: Any) -> int:
        if action == apsw.SQLITE_READ and table and column:
            read.add((table, column))
        return apsw.SQLITE_OK

    database.connection.authorizer = note
    asked = Asked(anna, (1, 2, 3), "192.0.2.0/24")
    for call in (
        Call(accounts.resolve, (info,), {}),
        Call(accounts.resolve, (address("nobody@home.test"),), {}),
        Call(accounts.resolve_postmaster, (Domain("home.test"),), {}),
        Call(accounts.is_local, (Domain("home.test"),), {}),
        Call(accounts.may_send_as, (rig.anna, info), {}),
        Call(devices.look, (asked, Millis(NOW)), {}),
        Call(quota.quotas_of, ([rig.anna],), {}),
    ):
        database.read(call)
        assert call.error is None
    database.close()
    tables = {table for table, _ in read}
    assert {"account", "alias", "domain", "guess"} <= tables <= WHO_IS_WHO
    left_out = {(table, column) for table, column in read if column in LEFT_OUT.get(table, ())}
    assert left_out <= {("account", name) for name in ("octets", "messages", "mailboxes")}


def test_a_file_without_a_number_is_an_edition_too(tmp_path: Path) -> None:
    file = os.open(tmp_path / "empty", os.O_RDWR | os.O_CREAT)
    assert Edition(file).settled == 0
    Edition(file).mend()
    assert Edition(file).settled == 2
    os.close(file)
    assert Edition(file).settled is None  # it cannot be read


def test_an_older_store_gets_its_number_when_it_is_opened(tmp_path: Path) -> None:
    open_sync(tmp_path).close()
    os.truncate(tmp_path / LOCK, 0)
    with open_sync(tmp_path):
        assert (tmp_path / LOCK).stat().st_size == OCTETS
