"""Users of a table that another program keeps: a query, read and never written, in a SQLite file or in another database
(`net/postgresql.py`).

The query has `:address`, `:local` and `:domain`, and gives one row: the user's own address, the hash of the password,
and whether the user may come in (where there is a third column). Names are parameters and never text of the query.
"""

import time
from dataclasses import dataclass
from urllib.parse import quote

import apsw

from posthouse.mail.address import Address
from posthouse.net.directory import FOUND, NoAnswer, Person, Row, Table, places, wrong_width
from posthouse.store.hashes import belongs

STEPS = 1_000  # of SQLite's machine between two looks at the clock
TEXT = 1024 * 1024  # octets of one value; more is no address and no hash
OFF = (None, 0, "0", "", "n", "no", "false", "f", "off")  # as tables say that a user may not come in


@dataclass(frozen=True, slots=True)
class UserView:
    """The Source that a query is."""

    table: Table

    def find(self, address: Address) -> Person | None:
        """The address of the one row that the query gives. Who may not come in is nobody."""
        row = self._row(address)
        return None if row is None else Person((row[0],))

    def prove(self, address: Address, password: str) -> Person | None:
        """The same, where the password has the row's hash."""
        row = self._row(address) if password else None
        return Person((row[0],)) if row is not None and belongs(password, row[1]) else None

    def close(self) -> None:
        """Give back what the table keeps open."""
        self.table.close()

    def _row(self, address: Address) -> tuple[str, str] | None:
        rows = self.table.rows(places(address))
        if len(rows) > 1:
            raise NoAnswer(f"{self.table} has several users of the address {address}")
        if not rows:
            return None
        # Columns of a fixed width are filled up with blanks.
        own, stored, *rest = (value.strip() if isinstance(value, str) else value for value in rows[0])
        if rest and (rest[0].lower() if isinstance(rest[0], str) else rest[0]) in OFF:
            return None
        return str(own or address), str(stored or "")


@dataclass(frozen=True, slots=True)
class SqliteTable:
    """The Table that a SQLite file is, opened for each question anew."""

    path: str
    query: str
    seconds: float = 5.0

    def __str__(self) -> str:
        return self.path

    def rows(self, named: dict[str, str]) -> list[Row]:
        """What the query gives for these places, two rows at most. Raises NoAnswer."""
        try:
            return self._rows(named)
        except (apsw.Error, ValueError) as error:
            raise NoAnswer(f"{self.path} cannot be asked: {error}"[:500]) from error

    def close(self) -> None:
        """Nothing is kept open."""

    def _rows(self, named: dict[str, str]) -> list[Row]:
        connection = apsw.Connection(
            f"file:{quote(self.path)}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        try:
            until = time.monotonic() + self.seconds
            connection.set_busy_timeout(int(self.seconds * 1000))
            connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
            connection.limit(apsw.SQLITE_LIMIT_LENGTH, TEXT)
            connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
            cursor = connection.execute(self.query, named)
            rows: list[Row] = [row for row, _ in zip(cursor, range(FOUND), strict=False)]
        finally:
            connection.close(True)
        for row in rows:
            if wrong_width(len(row)):
                raise ValueError(wrong_width(len(row)))
        return rows
