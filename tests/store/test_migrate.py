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
    assert [worker.wait(30) for worker in workers] == [0, 0, 0, 0]
    database = Database(tmp_path)
    assert database.connection.execute("SELECT count(*) FROM counter").fetchall() == [(1,)]
    database.close()
