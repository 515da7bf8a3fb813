"""Steps of the schema: each whole or not at all, in order, once, however many start at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from posthouse.store.migrate import STEPS, migrate
from posthouse.store.script import Unavailable
from posthouse.store.sqlite import Database
from posthouse.store.store import open_sync


def add_table(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE second (a BIGINT)")
    connection.execute("INSERT INTO second VALUES (1)")


def fill_table(connection: apsw.Connection) -> None:
    connection.execute("UPDATE second SET a = a + 1")


def fails(connection: apsw.Connection) -> None:
    connection.execute("UPDATE second SET a = 100")
    connection.execute("SELECT nonsense FROM nowhere")


def test_steps_are_taken_once_and_in_order(tmp_path: Path) -> None:
    database = Database(tmp_path)
    for steps, more in ((STEPS, 0), ((*STEPS, add_table, fill_table), 2), ((*STEPS, add_table, fill_table), 2)):
        migrate(database, steps)
        assert database.connection.pragma("user_version") == len(STEPS) + more
    assert database.connection.execute("SELECT a FROM second").fetchall() == [(2,)]
    with pytest.raises(Unavailable, match="newer Posthouse"):
        migrate(database, STEPS)
    database.close()


def test_a_failing_step_changes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path)
    migrate(database, (*STEPS, add_table))
    with pytest.raises(Unavailable):
        migrate(database, (*STEPS, add_table, fails))
    assert database.connection.execute("SELECT a FROM second").fetchall() == [(1,)]
    migrate(database, (*STEPS, add_table, fill_table))
    assert database.connection.execute("SELECT a FROM second").fetchall() == [(2,)]
    database.close()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path)
    migrate(database, (*STEPS, add_table))
    database.close()
    with pytest.raises(Unavailable, match="newer Posthouse"):
        open_sync(tmp_path)


def test_a_mailbox_where_those_of_others_are_now_gets_another_name(tmp_path: Path) -> None:
    database = Database(tmp_path)
    migrate(database, STEPS[:1])
    columns = "account, noselect, uidnext, total, unseen, deleted, size, created, modseq, flags_modseq, expunged_modseq"
    for number, name in enumerate(["Others", "Other Users", "Other Users/a", "Other Users2"]):
        values = "1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1"
        database.connection.execute(
            f"INSERT INTO mailbox (name, uidvalidity, {columns}) VALUES (?, ?, {values})", (name, number)
        )
    database.connection.execute("INSERT INTO subscription (account, name) VALUES (1, 'Other Users/a')")
    migrate(database)
    found = database.connection.execute("SELECT name FROM mailbox ORDER BY uidvalidity").fetchall()
    assert found == [("Others",), ("Others 1",), ("Others 1/a",), ("Other Users2",)]
    assert database.connection.execute("SELECT name FROM subscription").fetchall() == [("Others 1/a",)]
    database.close()


START = (
    "import sys; from pathlib import Path; from posthouse.store.store import open_sync; open_sync(Path(sys.argv[1]))"
)


def test_killed_inside_a_step_it_is_taken_again(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "POSTHOUSE_CRASH": "store.inside_migration:1"}
    done = subprocess.run([sys.executable, "-c", START, str(tmp_path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    database = Database(tmp_path)
    assert database.connection.pragma("user_version") == 0
    assert database.connection.execute("SELECT count(*) FROM sqlite_master").fetchall() == [(0,)]
    migrate(database)
    assert database.connection.pragma("user_version") == len(STEPS)
    database.close()


def test_several_workers_start_at_once(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [subprocess.Popen([sys.executable, "-c", START, str(tmp_path)], env=environment) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0, 0]
    database = Database(tmp_path)
    assert database.connection.execute("SELECT count(*) FROM counter WHERE name = 'uidvalidity'").fetchall() == [(1,)]
    database.close()


def test_mail_of_version_1_is_saved_and_threaded(tmp_path: Path) -> None:
    """RFC 8514 §3, RFC 8474 §5.2: what is known of it is when it came."""
    database = Database(tmp_path)
    migrate(database, STEPS[:1])
    execute = database.connection.execute
    for email, account, headers in (
        (1, 1, b"Message-ID: <1@a>\r\nSubject: x\r\n\r\n"),
        (2, 2, b"Message-ID: <2@a>\r\nReferences: <1@a>\r\nSubject: x\r\n\r\n"),
        (3, 1, b"Message-ID: <3@a>\r\nReferences: <1@a>\r\nSubject: Re: x\r\n\r\n"),
    ):
        execute("INSERT INTO email VALUES (?, ?, 1, 0, ?, 0, x'', x'')", (email, account, 1000 + email))
        execute("INSERT INTO header VALUES (?, ?)", (email, headers))
        execute("INSERT INTO placement VALUES (?, 1, ?, 0, '', 0, 1, 1)", (email, email))
    migrate(database)
    assert execute("SELECT id, thread FROM email").fetchall() == [(1, 0), (2, 0), (3, 1)]
    assert execute("SELECT saved FROM placement ORDER BY email").fetchall() == [(1001,), (1002,), (1003,)]
    assert execute("SELECT count(*) FROM thread_key").fetchall() == [(4,)]
    database.close()
