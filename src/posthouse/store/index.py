"""The search index: DIR/search.db, a second database of derived data (decision 0033).

It may be missing, behind, or of another time than the mail: whoever asks is told up to which Email it knows (`mark`)
and of which it is not sure, and looks at the others itself. One process writes it (indexer.py); every worker reads it.

Blocks of one account have ascending numbers and ascending Emails. Emails only ever move to a block of a lower number,
and readers go from the highest to the lowest: none is missed between two pieces of a search.
"""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import apsw
import zstandard

from posthouse.mail.ids import AccountId, EmailId
from posthouse.store.blocks import Block, Found, Pages, Postings, name, needs_cards, postings
from posthouse.store.pages import (
    BLOCK_EMAILS,
    BLOCK_OCTETS,
    CARDS,
    KINDS,
    THUMB,
    Cards,
    Entry,
    Kind,
    Wanted,
    cards_in,
    cards_of,
    entries_of,
    pack,
    page_of,
    unpack,
)
from posthouse.store.script import Row, Script, StoreError, sql
from posthouse.store.signed import Absent, Signer, absent, account_of, bounds
from posthouse.store.sqlite import PRIVATE
from posthouse.store.unpacked import SMALL, Unpacked

T = TypeVar("T")

SEARCH = "search.db"
VERSION = 1  # of the file and of what mail/text.py gives: another one is made anew
PIECE = 32  # blocks looked at in one go where bodies are read: about 10 ms
HEADER_PIECE = 512  # where only headers are
LARGEST = 1 << 62  # octets of texts that nobody looks at: there may be as many as there are
PIECE_OCTETS = 32 << 20  # of texts, packed: what is read before it is looked at
FUZZY_PIECE = 4  # where words are looked for (RFC 6203), each in several forms
SAMPLE = 8  # blocks whose Emails are compared before the index is believed
BUSY_MILLISECONDS = 1_000

_SCHEMA = """
CREATE TABLE state (generation TEXT NOT NULL, mark BIGINT NOT NULL);
CREATE TABLE block (
    id INTEGER PRIMARY KEY,
    count BIGINT NOT NULL,
    octets BIGINT NOT NULL,             -- of its texts
    last BIGINT NOT NULL,               -- the highest Email
    flawed BIGINT NOT NULL              -- 1: some of them are not whole
);
-- page = block << 3 | kind
CREATE TABLE page (id INTEGER PRIMARY KEY, packed BYTEA NOT NULL);
"""


class Sample(NamedTuple):
    """By what an index is known as that of this house's mail."""

    generation: str
    mark: int
    thumbs: dict[int, bytes]  # by Email


def belongs(sample: Sample) -> Script[bool]:
    """Whether the index was made of the mail that is here: after a restore its Emails may be others."""
    rows = yield sql("SELECT seq FROM sqlite_sequence WHERE name = 'email'")
    if sample.mark > (rows[0][0] if rows else 0):
        return False
    for email, thumb in sample.thumbs.items():
        rows = yield sql("SELECT b.digest FROM email e JOIN blob b ON b.id = e.blob WHERE e.id = $1", email)
        if rows and rows[0][0][:THUMB] != thumb:
            return False
    return True


def sample(connection: apsw.Connection) -> Sample:
    """The state and the newest Emails."""
    [(generation, mark)] = _rows(connection, "SELECT generation, mark FROM state")
    thumbs: dict[int, bytes] = {}
    for block, count in _rows(connection, f"SELECT id, count FROM block ORDER BY last DESC LIMIT {SAMPLE}"):
        cards = _cards(connection, block, count)
        for place, email in enumerate(cards.emails):
            thumbs[email] = cards.thumbs[place * THUMB : (place + 1) * THUMB]
    return Sample(generation, mark, thumbs)


def _rows(connection: apsw.Connection, text: str, *args: object) -> list[Row]:
    return connection.execute(text, cast(tuple[None, ...], args)).fetchall()


def _packed(connection: apsw.Connection, block: int, kind: int) -> bytes:
    [(packed,)] = _rows(connection, "SELECT packed FROM page WHERE id = ?", block << 3 | kind)
    assert isinstance(packed, bytes)
    return packed


def _cards(connection: apsw.Connection, block: int, count: int) -> Cards:
    return cards_of(_packed(connection, block, CARDS), count)


class _Search(NamedTuple):
    """One search of an account."""

    account: AccountId
    generation: str
    wanted: Sequence[Wanted]
    absent: Sequence[Absent]
    result: Found

    def left(self, block: Block) -> list[Wanted]:
        """What must be looked for in a block."""
        return [lacking.narrowed(one, block) for one, lacking in zip(self.wanted, self.absent, strict=True)]


def _kinds(wanted: Sequence[Wanted]) -> frozenset[Kind]:
    return frozenset(kind for one in wanted for kind in one.kinds)


def _blocks(
    connection: apsw.Connection, search: _Search, cursor: int, limits: tuple[int, int]
) -> list[tuple[Block, list[Wanted]]]:
    """The next blocks downwards with what must be looked for in each: at most so many in which there is something, and
    of about so many octets of texts; a single larger one alone."""
    most, room = limits
    text = "SELECT id, count, octets, last, flawed FROM block WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT ?"
    blocks: list[tuple[Block, list[Wanted]]] = []
    for row in connection.execute(text, (bounds(search.account)[0], cursor, HEADER_PIECE)):
        block = Block(*cast(Row, row))
        left = search.left(block)
        if _kinds(left):
            most -= 1
            room -= block.octets
        if blocks and (most < 0 or room < 0):
            break
        blocks.append((block, left))
    return blocks


class Index:
    """What a worker asks; reached as `store.index`."""

    def __init__(self, directory: Path, believe: Callable[[Sample], Awaitable[bool]]) -> None:
        """`believe` runs `belongs` in a reader thread of the store."""
        self._path = directory / SEARCH
        self._believe = believe
        self._believed = ""  # the generation that was compared with the mail
        self._connection: apsw.Connection | None = None
        self._inode = 0
        self._unpacked = Unpacked()
        self._executor = ThreadPoolExecutor(1, "index-reader")
        self._beside = ThreadPoolExecutor(1, "index-beside")

    async def find(self, account: AccountId, wanted: Sequence[Wanted], most: int) -> Found | None:
        """Look for all of them; None where the index cannot be used, or has more than `most` blocks of the account."""
        try:
            found = await self._run(self._begin, account, most)
            if found is None:
                return None
            generation, mark, highest = found
            more: int | None = highest
            if generation != self._believed:
                if not await self._believe(await self._run(self._sample)):
                    return None
                self._believed = generation
            lacking = await self._run(self._absent, account, wanted)
            result = Found(mark, [set() for _ in wanted], [{} for _ in wanted], set())
            search = _Search(account, generation, wanted, lacking, result)
            while more is not None:
                more = await self._run(self._piece, search, more)
            return result
        except (apsw.Error, zstandard.ZstdError, OSError, ValueError, StoreError):
            return None  # the mail itself is there to be read

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args))

    def _opened(self) -> apsw.Connection | None:
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            return None
        if self._connection is None or inode != self._inode:
            if self._connection is not None:
                self._connection.close()
            self._connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            self._connection.set_busy_timeout(BUSY_MILLISECONDS)
            self._inode = inode
        return self._connection

    def _begin(self, account: AccountId, most: int) -> tuple[str, int, int] | None:
        connection = self._opened()
        if connection is None or _rows(connection, "PRAGMA user_version") != [(VERSION,)]:
            return None
        with connection:
            [(generation, mark)] = _rows(connection, "SELECT generation, mark FROM state")
            first, last = bounds(account)
            [(count,)] = _rows(connection, "SELECT count(*) FROM block WHERE id BETWEEN ? AND ?", first, last)
        return (generation, mark, last) if count <= most else None

    def _sample(self) -> Sample:
        connection = self._opened()
        if connection is None:
            raise ValueError("the index is gone")
        with connection:
            found = sample(connection)
        return found

    def _absent(self, account: AccountId, wanted: Sequence[Wanted]) -> list[Absent]:
        connection = self._opened()
        if connection is None:
            raise ValueError("the index is gone")
        with connection:
            found = absent(connection, account, wanted)
        return found

    def _piece(self, search: _Search, cursor: int) -> int | None:
        """Look at the next blocks, downwards; where to go on."""
        wanted = search.wanted
        kinds = _kinds(wanted)
        most = PIECE if Kind.BODY in kinds else HEADER_PIECE
        if any(one.query is not None for one in wanted):
            most = FUZZY_PIECE
        connection = self._opened()
        if connection is None:
            raise ValueError("the index is gone")
        with connection:
            if _rows(connection, "SELECT generation FROM state") != [(search.generation,)]:
                raise ValueError("the index was made anew")
            self._unpacked.begin(search.account, search.generation)
            blocks = _blocks(connection, search, cursor, (most, LARGEST if kinds <= SMALL else PIECE_OCTETS))
            several = [(self._pages(connection, block, _kinds(left)), left) for block, left in blocks]
            found = self._postings(several, beside=not kinds <= SMALL)
            for (block, _), places in zip(blocks, found, strict=True):
                if needs_cards(block, places, wanted):
                    name(self._cards(connection, block), places, wanted, search.result)
        return blocks[-1][0].id - 1 if blocks else None

    def _pages(self, connection: apsw.Connection, block: Block, kinds: AbstractSet[Kind]) -> Pages:
        """The pages of a block; small ones are kept, unless they were read along with others."""
        if not kinds <= SMALL:
            first, last = block.id << 3 | min(kinds), block.id << 3 | max(kinds)
            rows = _rows(connection, "SELECT id & 7, packed FROM page WHERE id BETWEEN ? AND ?", first, last)
            return Pages(block, dict(cast(list[tuple[int, bytes]], rows)), {})
        return Pages(block, {}, {kind: self._kept(connection, block, kind) for kind in kinds})

    def _kept(self, connection: apsw.Connection, block: Block, kind: int) -> bytes:
        octets = self._unpacked.get(block, kind)
        if octets is None:
            octets = unpack(_packed(connection, block.id, kind))
            self._unpacked.put(block, kind, octets)
        return octets

    def _cards(self, connection: apsw.Connection, block: Block) -> Cards:
        return cards_in(self._kept(connection, block, CARDS), block.emails)

    def _postings(self, several: Sequence[tuple[Pages, list[Wanted]]], *, beside: bool) -> list[list[Postings]]:
        """What stands in these blocks. Half of them are done beside where that is worth it: unpacking takes most of the
        time, and Python serves others meanwhile."""
        if not beside:
            return [postings(*one) for one in several]
        half = self._beside.submit(lambda: [postings(*one) for one in several[1::2]])
        found: list[list[Postings]] = [[]] * len(several)
        found[0::2] = [postings(*one) for one in several[0::2]]
        found[1::2] = half.result()
        return found

    def close(self) -> None:
        """Close; nobody may ask any more."""
        self._executor.shutdown()
        self._beside.shutdown()
        if self._connection is not None:
            self._connection.close()


class Writer:
    """The one who writes the index. All methods are called in one thread."""

    def __init__(self, directory: Path) -> None:
        """Open, or make it. Raises apsw.Error, OSError."""
        path = directory / SEARCH
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE))
        self._path, self._inode = path, path.stat().st_ino
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(BUSY_MILLISECONDS)
        _rows(self._connection, "PRAGMA journal_mode = WAL")
        _rows(self._connection, "PRAGMA synchronous = NORMAL")
        if _rows(self._connection, "PRAGMA user_version") != [(VERSION,)]:
            with self._connection as connection:
                names = _rows(connection, "SELECT name FROM sqlite_master WHERE type = 'table'")
                for (name,) in names:
                    connection.execute(f'DROP TABLE "{name}"')
                connection.execute(_SCHEMA)
                connection.execute("INSERT INTO state VALUES (?, 0)", (secrets.token_hex(8),))
                connection.execute(f"PRAGMA user_version = {VERSION}")
        self._signer = Signer(self._connection)

    def there(self) -> bool:
        """Whether the file has not been removed meanwhile."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def sample(self) -> Sample:
        """To be compared with the mail."""
        with self._connection:
            found = sample(self._connection)
        return found

    def clear(self) -> None:
        """Begin anew."""
        with self._connection as connection:
            connection.execute("DELETE FROM block; DELETE FROM page")
            self._signer.clear()
            connection.execute("UPDATE state SET generation = ?, mark = 0", (secrets.token_hex(8),))

    def mark(self) -> int:
        """The highest Email that is in the index, or gone."""
        [(mark,)] = _rows(self._connection, "SELECT mark FROM state")
        assert isinstance(mark, int)
        return mark

    def add(self, several: dict[AccountId, list[Entry]], mark: EmailId) -> None:
        """Take up the entries of the Emails after the mark, by account and ascending; `mark` is the last of them."""
        with self._connection as connection:
            for account, entries in several.items():
                self._append(account, entries)
            connection.execute("UPDATE state SET mark = ?", (mark,))
        self._signer.added({account: len(entries) for account, entries in several.items()})

    def sign(self) -> bool:
        """Sign the next block (signed.py); False where there is nothing to sign."""
        return self._signer.step()

    def _append(self, account: AccountId, entries: list[Entry]) -> None:
        """Put them behind the others; small blocks become one, so that there are few, and each is rewritten seldom."""
        first, last = bounds(account)
        number = first
        rows = _rows(
            self._connection,
            "SELECT id, count, octets FROM block WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 8",
            first,
            last,
        )
        for block, count, octets in rows:
            fits = count + len(entries) <= BLOCK_EMAILS and octets < BLOCK_OCTETS and count <= 2 * len(entries)
            if not fits:
                number = block + 1
                break
            cards = _cards(self._connection, block, count)
            pages = [page_of(_packed(self._connection, block, kind), count) for kind in KINDS]
            entries = entries_of(cards, pages) + entries
            self._remove(block)
            number = block
        self._put(number, entries)

    def _put(self, block: int, entries: Sequence[Entry]) -> None:
        octets = sum(len(text) for one in entries for text in one.texts)
        flawed = int(any(one.flaw for one in entries))
        row = (block, len(entries), octets, entries[-1].email, flawed)
        self._connection.execute("INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?)", row)
        for kind, packed in enumerate(pack(entries)):
            self._connection.execute("INSERT OR REPLACE INTO page VALUES (?, ?)", (block << 3 | kind, packed))

    def _remove(self, block: int) -> None:
        self._connection.execute("DELETE FROM block WHERE id = ?", (block,))
        self._connection.execute("DELETE FROM page WHERE id BETWEEN ? AND ?", (block << 3, block << 3 | CARDS))

    def blocks(self, after: int, most: int) -> list[tuple[int, list[int]]]:
        """The next blocks with their Emails, to see which of them are still there."""
        with self._connection as connection:
            rows = _rows(connection, "SELECT id, count FROM block WHERE id > ? ORDER BY id LIMIT ?", after, most)
            found = [(block, list(_cards(connection, block, count).emails)) for block, count in rows]
        return found

    def forget(self, block: int, gone: set[int]) -> None:
        """Take the texts of Emails that are gone out of a block."""
        with self._connection as connection:
            rows = _rows(connection, "SELECT count FROM block WHERE id = ?", block)
            if not rows:
                return
            count = rows[0][0]
            pages = [page_of(_packed(connection, block, kind), count) for kind in KINDS]
            left = [one for one in entries_of(_cards(connection, block, count), pages) if one.email not in gone]
            self._remove(block)
            if left:
                self._put(block, left)
            self._signer.left(account_of(block))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
