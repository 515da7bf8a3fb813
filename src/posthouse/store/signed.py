"""The signs of the search index (signs.py) as rows of search.db: made block by block, written
group by group, and read before a search looks at blocks (decision 0064).

Signs of a block stay true while its highest Email is not above the one it had: Emails only leave a block, or
higher ones come to it. So nothing is written when they leave. Blocks without signs are looked at, as is a file of
a version that knew none.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import apsw
import zstandard

from posthouse.store.blocks import Block
from posthouse.store.pages import LEVEL, Kind, Wanted, page_of, unpack
from posthouse.store.script import Row
from posthouse.store.signs import GROUP, SIDES, SLICE, SLICES, askable, blank, possible, put, side_of, sign_of, slices

OPEN = 8  # last blocks of an account that may still become one with others
LEAST = GROUP // 4  # blocks of a group that are left: signs of fewer are removed, and made anew with others
ENOUGH = 1_024  # Emails that came to an account, an eighth of a group, before its blocks are looked at once more
ACCOUNTS = 10_000  # to which fewer came; where there are more, all accounts are gone through again
WANTED = 16  # things of one search that are asked for: what is known of each takes 200 octets a block
LOOKED = 100  # accounts in one go
_SHIFT = 32  # block = account << 32 | number
_LAST = (1 << _SHIFT) - 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS signed (
    id INTEGER PRIMARY KEY,
    first BIGINT NOT NULL,              -- block
    generation TEXT NOT NULL,
    blocks BYTEA NOT NULL,
    lasts BYTEA NOT NULL                -- the highest Email of each
);
CREATE INDEX IF NOT EXISTS signed_first ON signed (first);
CREATE TABLE IF NOT EXISTS sign (id INTEGER PRIMARY KEY, packed BYTEA NOT NULL);
"""

#: By block up to which Email signs say that something is not there.
Lasts = dict[int, int]


class Absent(NamedTuple):
    """Where one thing wanted is not: among the header fields, among the bodies."""

    heads: Lasts
    bodies: Lasts

    def narrowed(self, one: Wanted, block: Block) -> Wanted:
        """What is left to look at in this block."""
        gone = [block.last <= lasts.get(block.id, -1) for lasts in self]
        return one._replace(kinds=tuple(kind for kind in one.kinds if not gone[side_of(kind)])) if any(gone) else one


class _Group(NamedTuple):
    id: int
    blocks: "array[int]"
    lasts: "array[int]"


def bounds(account: int) -> tuple[int, int]:
    """The numbers that blocks of an account may have."""
    return account << _SHIFT, account << _SHIFT | _LAST


def account_of(block: int) -> int:
    """Whose block this is."""
    return block >> _SHIFT


def _rows(connection: apsw.Connection, text: str, *args: object) -> list[Row]:
    return connection.execute(text, cast(tuple[None, ...], args)).fetchall()


def _groups(connection: apsw.Connection, account: int) -> list[_Group]:
    """The groups of an account. Those of another generation are of other mail."""
    text = (
        "SELECT s.id, s.blocks, s.lasts FROM signed s JOIN state USING (generation)"
        " WHERE s.first BETWEEN ? AND ? ORDER BY s.first"
    )
    rows = _rows(connection, text, *bounds(account))
    return [_Group(number, array("q", blocks), array("q", lasts)) for number, blocks, lasts in rows]


def absent(connection: apsw.Connection, account: int, wanted: Sequence[Wanted]) -> list[Absent]:
    """Where each of the things wanted is not."""
    found = [Absent({}, {}) for _ in wanted]
    asked = [(one, lacking) for one, lacking in zip(wanted, found, strict=True) if askable(one)][:WANTED]
    if not asked or not _rows(connection, "SELECT 1 FROM sqlite_master WHERE name = 'sign'"):
        return found
    for group in _groups(connection, account):
        having = _having(connection, group.id)
        for one, lacking in asked:
            for bits, lasts in zip(possible(one, having), lacking, strict=True):
                _put(group, bits, lasts)
    return found


def _put(group: _Group, bits: int, lasts: Lasts) -> None:
    """The blocks of a group that these bits do not name."""
    for place, (block, last) in enumerate(zip(group.blocks, group.lasts, strict=True)):
        if not bits >> place & 1:
            lasts[block] = max(last, lasts.get(block, -1))


def _having(connection: apsw.Connection, group: int) -> Callable[[int, int], int]:
    """Of a group, which blocks have a gram. Every slice is read once."""
    read: dict[int, array[int]] = {}

    def having(side: int, gram: int) -> int:
        number = (group * len(SIDES) + side) * SLICES + gram // SLICE
        if number not in read:
            [(packed,)] = _rows(connection, "SELECT packed FROM sign WHERE id = ?", number)
            read[number] = array("Q", unpack(packed))
        return read[number][gram % SLICE]

    return having


class Signer:
    """The one who writes signs, with the connection of the index's writer (index.py)."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._connection.execute(SCHEMA)
        self.begin()

    def begin(self) -> None:
        """Look through all accounts, from now on."""
        self._account = -1  # up to where
        self._came: dict[int, int] = {}  # Emails since, by account
        self._touched: set[int] = set()  # accounts to look at once more
        self._todo: list[int] = []  # blocks, and of those done
        self._blocks: list[int] = []
        self._lasts: list[int] = []
        self._signs: list[array[int]] = []  # of each side

    def clear(self) -> None:
        """Forget all signs. The caller has begun a transaction."""
        self._connection.execute("DELETE FROM signed; DELETE FROM sign")
        self.begin()

    def added(self, several: Mapping[int, int]) -> None:
        """So many Emails came to these accounts. The blocks of one are looked at when many came, for there are many."""
        for account, count in several.items():
            self._came[account] = self._came.get(account, 0) + count
            if self._came[account] >= ENOUGH:
                del self._came[account]
                self._touched.add(account)
        if len(self._came) > ACCOUNTS:
            self._came.clear()
            self._account = -1

    def step(self) -> bool:
        """Sign the next block, or look for some; False where there is nothing to sign."""
        with self._connection:
            if not self._todo:
                return self._find()
            self._sign(self._todo.pop(0))
            if not self._todo:
                self._write()
        return True

    def _find(self) -> bool:
        """Find blocks that have no signs, enough for a group; False where no account has."""
        for _ in range(LOOKED):
            account = next(iter(self._touched), None)
            if account is None:
                rows = _rows(self._connection, "SELECT id FROM block WHERE id > ? LIMIT 1", bounds(self._account)[1])
                if not rows:
                    return False
                account = self._account = account_of(rows[0][0])
            self._todo = self._unsigned(account)
            if self._todo:
                self._touched.add(account)  # there may be more
                self._signs = [blank() for _ in SIDES]
                return True
            self._touched.discard(account)
        return True

    def _unsigned(self, account: int) -> list[int]:
        lasts: Lasts = {}
        for group in _groups(self._connection, account):
            for block, last in zip(group.blocks, group.lasts, strict=True):
                lasts[block] = max(last, lasts.get(block, -1))
        rows = _rows(
            self._connection, "SELECT id, last FROM block WHERE id BETWEEN ? AND ? ORDER BY id", *bounds(account)
        )
        unsigned = [block for block, last in rows[:-OPEN] if last > lasts.get(block, -1)]
        return unsigned[:GROUP] if len(unsigned) >= GROUP else []

    def _sign(self, block: int) -> None:
        rows = _rows(self._connection, "SELECT count, last FROM block WHERE id = ?", block)
        if not rows:
            return  # gone meanwhile
        [(count, last)] = rows
        sides: list[list[bytes]] = [[] for _ in SIDES]
        text = "SELECT id & 7, packed FROM page WHERE id BETWEEN ? AND ?"
        for kind, packed in _rows(self._connection, text, block << 3, block << 3 | max(Kind)):
            sides[side_of(Kind(kind))].append(packed)
        for signs, several in zip(self._signs, sides, strict=True):
            put(signs, len(self._blocks), sign_of(page_of(packed, count) for packed in several))
        self._blocks.append(block)
        self._lasts.append(last)

    def _write(self) -> None:
        blocks, lasts, signs = self._blocks, self._lasts, self._signs
        self._blocks, self._lasts, self._signs = [], [], []
        if not blocks:
            return
        row = (blocks[0], array("q", blocks).tobytes(), array("q", lasts).tobytes())
        self._connection.execute(
            "INSERT INTO signed (first, generation, blocks, lasts) SELECT ?, generation, ?, ? FROM state", row
        )
        number = self._connection.last_insert_rowid() * len(SIDES) * SLICES
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        for several in signs:
            for octets in slices(several):
                self._connection.execute("INSERT INTO sign VALUES (?, ?)", (number, compressor.compress(octets)))
                number += 1

    def left(self, account: int) -> None:
        """Emails left blocks of this account: signs of groups of which little is left are removed. The caller has
        begun a transaction."""
        rows = _rows(self._connection, "SELECT id, last FROM block WHERE id BETWEEN ? AND ?", *bounds(account))
        now = dict(cast(list[tuple[int, int]], rows))
        for group in _groups(self._connection, account):
            there = zip(group.blocks, group.lasts, strict=True)
            if sum(block in now and now[block] <= last for block, last in there) < LEAST:
                number = group.id * len(SIDES) * SLICES
                self._connection.execute("DELETE FROM signed WHERE id = ?", (group.id,))
                self._connection.execute(
                    "DELETE FROM sign WHERE id BETWEEN ? AND ?", (number, number + len(SIDES) * SLICES - 1)
                )
                self._touched.add(account)
