"""Versions of the schema: numbered steps, each in one transaction, safe to interrupt and to start several times.

`PRAGMA user_version` is the number of steps taken. It changes in the transaction of the step itself.
"""

import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TypeVar

import apsw

from posthouse.mail.summary import Summary, summarize
from posthouse.store import threads
from posthouse.store.crashpoint import crashpoint
from posthouse.store.namespace import OTHERS
from posthouse.store.script import Row, Script, Sql, Unavailable
from posthouse.store.sqlite import Database, rewrite, unavailable

SUMMARIZED = 200  # header blocks, of 1 MiB at most, held at once while mail of an older version is read again

_NAMES_OF = "SELECT name FROM mailbox WHERE account ="

T = TypeVar("T")
Step = Callable[[apsw.Connection], None]


def _run(connection: apsw.Connection, file: str) -> None:
    connection.execute(files("posthouse.store").joinpath(file).read_text("utf-8")).fetchall()


def _first(connection: apsw.Connection) -> None:
    _run(connection, "schema.sql")
    # The only clock in the store: see the table counter in schema.sql. Later values are counted, never taken from it.
    connection.execute("INSERT INTO counter VALUES ('uidvalidity', ?)", (int(time.time()),))


def _second(connection: apsw.Connection) -> None:
    _run(connection, "step2.sql")
    _clear_namespace(connection)
    _summarize(connection)
    _thread(connection)


def _third(connection: apsw.Connection) -> None:
    _run(connection, "step3.sql")


def _fourth(connection: apsw.Connection) -> None:
    _run(connection, "step4.sql")
    _run(connection, "journal.sql")
    _run(connection, "tls.sql")
    _run(connection, "sending.sql")


def _fifth(connection: apsw.Connection) -> None:
    _run(connection, "quota.sql")
    _run(connection, "retained.sql")
    _run(connection, "signin.sql")
    _run(connection, "directory.sql")


def _sixth(connection: apsw.Connection) -> None:
    _run(connection, "dkim.sql")


def _clear_namespace(connection: apsw.Connection) -> None:
    """A mailbox of one's own whose name is where those of others are now gets another, with all below it."""
    below = f"(name = '{OTHERS}' OR (name >= '{OTHERS}/' AND name < '{OTHERS}0'))"
    having = f"SELECT account FROM mailbox WHERE {below} UNION SELECT account FROM subscription WHERE {below}"
    for (account,) in _rows(connection, having):
        taken = {name.partition("/")[0] for (name,) in _rows(connection, f"{_NAMES_OF} ?", account)}
        names = (f"Others {number}" if number else "Others" for number in range(len(taken) + 1))
        free = next(name for name in names if name not in taken)
        for table in ("mailbox", "subscription"):
            text = f"UPDATE OR IGNORE {table} SET name = ? || substr(name, ?) WHERE account = ? AND {below}"
            connection.execute(text, (free, len(OTHERS) + 1, account))


def _summarize(connection: apsw.Connection) -> None:
    """The summaries of mail that is there already, SUMMARIZED headers at a time in memory."""
    read = "SELECT h.email, h.block, e.received FROM header h JOIN email e ON e.id = h.email WHERE h.email > ?"
    insert = "INSERT INTO summary VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    last = 0
    while rows := _rows(connection, f"{read} ORDER BY h.email LIMIT ?", last, SUMMARIZED):
        connection.executemany(insert, [(email, *summarize(block, received)) for email, block, received in rows])
        last = rows[-1][0]


def _thread(connection: apsw.Connection) -> None:
    """The threads of mail that is there already, as if it arrived once more in the order in which it came."""
    read = "SELECT e.account, s.* FROM summary s JOIN email e ON e.id = s.email WHERE s.email > ?"
    last = 0
    while rows := _rows(connection, f"{read} ORDER BY s.email LIMIT ?", last, SUMMARIZED):
        for account, email, *columns in rows:
            found = _drive(connection, threads.find(account, threads.keys(Summary(*columns))))
            if found.thread is not None:
                connection.execute("UPDATE email SET thread = ? WHERE id = ?", (found.thread, email))
            _drive(connection, threads.keep(account, found, email))
        last = rows[-1][1]


def _drive(connection: apsw.Connection, script: Script[T]) -> T:
    """Run a script inside the transaction of a step."""
    try:
        step = next(script)
        while True:
            rows = connection.execute(rewrite(step.text), step.args).fetchall() if isinstance(step, Sql) else []
            step = script.send(rows)
    except StopIteration as end:
        value: T = end.value
        return value


def _rows(connection: apsw.Connection, text: str, *parameters: int) -> list[Row]:
    found: list[Row] = connection.execute(text, parameters).fetchall()
    return found


STEPS: tuple[Step, ...] = (_first, _second, _third, _fourth, _fifth, _sixth)


def migrate(database: Database, steps: Sequence[Step] = STEPS) -> None:
    """Take the steps that are missing. Several workers may call this at once: the turn makes them wait, and who
    comes later finds nothing to do. Raises Unavailable, also when the file is of a newer Posthouse."""
    try:
        with database.turn():
            for number in range(_version(database.connection), len(steps)):
                _take(database.connection, steps[number], number + 1)
            version = _version(database.connection)
    except apsw.Error as error:
        raise unavailable(error) from error
    if version > len(steps):
        raise Unavailable(f"the database is of a newer Posthouse (schema {version}, this one knows {len(steps)})")


def behind(database: Database) -> bool:
    """There is a database, and it is of an older Posthouse. Raises Unavailable."""
    try:
        return 0 < _version(database.connection) < len(STEPS)
    except apsw.Error as error:
        raise unavailable(error) from error


def _version(connection: apsw.Connection) -> int:
    version: int = connection.pragma("user_version")
    return version


def _take(connection: apsw.Connection, step: Step, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        step(connection)
        crashpoint("store.inside_migration")
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
