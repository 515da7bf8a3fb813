"""Users of a table that another program keeps: a SQLite file and a query, read and never written.

The query has `:address`, `:local` and `:domain`, and gives one row: the user's own address, the hash of the password,
and whether the user may come in (where there is a third column). Names are parameters and never text of the query.
"""

import time
from dataclasses import dataclass
from urllib.parse import quote

import apsw

from posthouse.mail.address import Address
from posthouse.net.directory import NoAnswer, places
from posthouse.store.hashes import belongs

STEPS = 1_000  # of SQLite's machine between two looks at the clock
TEXT = 1024 * 1024  # octets of one value; more is no address and no hash
OFF = (None, 0, "0", "", "n", "no", "false", "f", "off")  # as tables say that a user may not come in


@dataclass(frozen=True, slots=True)
class UserView:
    """The Source that a query is."""

    path: str
    query: str
    seconds: float = 5.0

    def find(self, address: Address) -> tuple[str, ...] | None:
        """The address of the one row that the query gives."""
        row = self._row(address)
        return None if row is None else (row[0],)

    def prove(self, address: Address, password: str) -> tuple[str, ...] | None:
        """The same, where the password has the row's hash."""
        row = self._row(address) if password else None
        return (row[0],) if row is not None and belongs(password, row[1]) else None

    def _row(self, address: Address) -> tuple[str, str] | None:
        try:
            rows = self._rows(places(address))
        except (apsw.Error, ValueError) as error:
            raise NoAnswer(f"{self.path} cannot be asked: {error}"[:500]) from error
        if len(rows) > 1:
            raise NoAnswer(f"{self.path} has several users of the address {address}")
        if not rows:
            return None
        own, stored, *rest = rows[0]
        if rest and (rest[0].lower() if isinstance(rest[0], str) else rest[0]) in OFF:
            return None
        return str(own or address), str(stored or "")

    def _rows(self, named: dict[str, str]) -> list[tuple[object, ...]]:
        """Two rows at most."""
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
            rows = [row for row, _ in zip(cursor, range(2), strict=False)]
            return [row for row in rows if _of_width(row)]
        finally:
            connection.close(True)


def _of_width(row: tuple[object, ...]) -> bool:
    if 2 <= len(row) <= 3:
        return True
    raise ValueError(f"the query gives {len(row)} columns, and address, hash and enabled are wanted")
