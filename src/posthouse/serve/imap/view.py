"""View: what one IMAP session has been told of its selected mailbox (RFC 9051 §2.3.1.2, §7.5.1).

A View is a column of uids, one per message, in ascending order: the message sequence number of a message is its place
in that column plus one. It changes only in `sync`, which turns the changes of the store into untagged responses and
renumbers; the session calls it only where RFC 9051 §7.5.1 allows, and says whether EXPUNGE is allowed there.

The column is loaded late: SELECT needs only the counters of the mailbox row. What happened between SELECT and the
loading is put back from the tombstones, so the numbers are those the client counts with.

What it does NOT do: it reads nothing itself, and it never tells the flags of messages the client has not seen yet.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from posthouse.mail.ids import UID, ModSeq
from posthouse.store.emails import Changes

#: Places in the column, as ascending half-open ranges that do not touch.
Ranges = tuple[tuple[int, int], ...]


#: uid, flags, keywords, modseq: as the store gives them.
FlagRow = tuple[UID, int, str, ModSeq]


MANY = 16  # where one message in so many goes, all are looked at in a row; where fewer, each is looked for


class Told(NamedTuple):
    """What `sync` found: numbers that went, the new total, and the rows whose flags are news, with their numbers.

    It is printed in this order: EXPUNGE counts down from the highest number, so each number is right as it stands;
    EXISTS follows when messages came; FETCH uses the numbers after both. `vanished`: the uids of those that went,
    ascending, for who is told so instead (RFC 7162 §3.2.10).
    """

    expunged: tuple[int, ...]
    exists: int | None
    flags: tuple[tuple[int, FlagRow], ...]
    vanished: tuple[int, ...] = ()


class View:
    """The messages of one selected mailbox as its session counts them.

    `total` is the number last told by EXISTS less the EXPUNGEs since; `uidnext` bounds the uids told; `modseq` says up
    to which change the client knows all; `held` are uids that are gone but whose EXPUNGE may not be said yet, and
    `known` the `modseq` before the first of them: what a client may be told as HIGHESTMODSEQ (RFC 7162 §3.2).
    """

    __slots__ = ("_known", "held", "modseq", "total", "uidnext", "uids")

    def __init__(self, total: int, uidnext: int, modseq: int) -> None:
        self.total = total
        self.uidnext = uidnext
        self.modseq = ModSeq(modseq)
        self.uids: array[int] | None = None if total else array("I")
        self.held: set[int] = set()
        self._known = self.modseq

    @property
    def known(self) -> ModSeq:
        """Everything up to this change has been told, removals too."""
        return self._known if self.held else self.modseq

    # --- loading

    def needs_uids(self, changes: Changes) -> bool:
        """Whether `sync` cannot word these changes without the column: flags or removals of messages it counts."""
        return self.uids is None and bool(changes.changed or changes.vanished)

    def load(self, uids: "array[int]", changes: Changes) -> None:
        """Take the column as it stands now, and undo what `changes` (since `self.modseq`, of the same snapshot) says:
        the column becomes what it was when the client was last told. The array is shared: it is not altered."""
        known = uids[: bisect_left(uids, self.uidnext)]
        if changes.vanished:
            known = array("I", sorted({*known, *changes.vanished}))
        self.uids = uids if not changes.vanished and len(known) == len(uids) else known
        self.total = len(known)

    # --- numbers

    @property
    def column(self) -> "array[int]":
        """The uids in order; the column must have been loaded."""
        if self.uids is None:
            raise LookupError("the uids of this mailbox were not loaded")
        return self.uids

    def number(self, uid: int) -> int | None:
        """The message sequence number of a uid; None when the session does not count it (RFC 9051 §2.3.1.2)."""
        uids = self.column
        place = bisect_left(uids, uid)
        return place + 1 if place < len(uids) and uids[place] == uid else None

    def numbers(self, wanted: Sequence[int]) -> list[int]:
        """The same of ascending uids, 0 where the session does not count one. Where its uids follow each other without
        a gap no place is searched for."""
        uids, total = self.column, len(self.column)
        if not wanted:
            return []
        first = bisect_left(uids, wanted[0])
        last = first + wanted[-1] - wanted[0]
        if last < total and uids[first] == wanted[0] and uids[last] == wanted[-1]:
            before = wanted[0] - first - 1
            return [uid - before for uid in wanted]
        found: list[int] = []
        place, last = 0, uids[0] if uids else 0
        for uid in wanted:
            guess = max(place, place + uid - last)
            if guess >= total or uids[guess] != uid:
                guess = bisect_left(uids, uid, place, min(guess, total))
            there = guess < total and uids[guess] == uid
            found.append(guess + 1 if there else 0)
            place, last = (guess, uid) if there else (place, last)
        return found

    def by_number(self, spans: Iterable[tuple[int, int]]) -> Ranges | None:
        """Inclusive spans of message sequence numbers, `*` already resolved to `total`. None when one of them is not
        that of a message: the client should be told so with BAD (RFC 9051 §9, seq-number)."""
        found = []
        for first, last in spans:
            if not 1 <= first <= last <= self.total:
                return None
            found.append((first - 1, last))
        return join(found)

    def by_uid(self, spans: Iterable[tuple[int, int]]) -> Ranges:
        """Inclusive spans of uids, `*` already resolved to `last_uid`. What does not exist is ignored
        (RFC 9051 §6.4.9)."""
        uids = self.column
        found = []
        for first, last in spans:
            start = bisect_left(uids, first)
            stop = bisect_right(uids, last)
            if start < stop:
                found.append((start, stop))
        return join(found)

    @property
    def last_uid(self) -> int:
        """What `*` means in a set of uids: the highest uid, 0 in an empty mailbox."""
        return self.column[-1] if self.column else 0

    def uid_spans(self, ranges: Ranges) -> tuple[tuple[int, int], ...]:
        """Ranges of places as inclusive spans of uids. Nothing outside the ranges lies in a span, because a span
        begins and ends at a message of ours and no uid is ever put between two others (RFC 9051 §2.3.1.1)."""
        uids = self.column
        return tuple((uids[start], uids[stop - 1]) for start, stop in ranges)

    # --- changes

    def sync(self, changes: Changes, *, expunge: bool) -> Told:
        """Take changes (all since `self.modseq`), renumber, and say what the client must be told.

        `expunge`: removals may be told now; otherwise they are held, and their messages keep their numbers.
        """
        self._known = self.known
        self.held.update(changes.vanished)
        expunged, vanished = self._remove() if expunge and self.held else ((), ())
        if changes.arrived:
            self._append([row[0] for row in changes.arrived])
        flags = []
        for row in changes.changed:
            number = self.number(row[0])
            if number is not None:
                flags.append((number, row))
        self.uidnext = max(self.uidnext, changes.uidnext)
        self.modseq = ModSeq(max(self.modseq, changes.modseq))
        return Told(expunged, self.total if changes.arrived else None, tuple(flags), vanished)

    def _append(self, arrived: list[int]) -> None:
        if self.uids is not None:
            self.uids = self.uids + array("I", arrived)  # a new array: the old one may be shared
        self.total += len(arrived)

    def _remove(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Forget the held uids; their numbers, highest first, and the uids themselves, ascending."""
        uids, held = self.column, self.held
        if len(held) * MANY > len(uids):
            places = [place for place, uid in enumerate(uids) if uid in held]
            self._keep(array("I", [uid for uid in uids if uid not in held]))
            return tuple(place + 1 for place in reversed(places)), tuple(uids[place] for place in places)
        places = sorted(place for uid in held if (place := bisect_left(uids, uid)) < len(uids) and uids[place] == uid)
        kept = array("I")
        start = 0
        for place in places:
            kept += uids[start:place]
            start = place + 1
        kept += uids[start:]
        self._keep(kept)
        return tuple(place + 1 for place in reversed(places)), tuple(uids[place] for place in places)

    def _keep(self, kept: "array[int]") -> None:
        self.uids = kept
        self.total = len(kept)
        self.held.clear()


def join(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Half-open ranges in ascending order, overlapping and touching ones made one."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)


def count(ranges: Ranges) -> int:
    """How many messages."""
    return sum(stop - start for start, stop in ranges)


def some(ranges: Ranges, wanted: slice) -> Ranges:
    """The places that come at these positions among all the places of the ranges."""
    found = []
    passed = 0
    for start, stop in ranges:
        first = max(start, start + wanted.start - passed)
        last = min(stop, start + wanted.stop - passed)
        if first < last:
            found.append((first, last))
        passed += stop - start
    return tuple(found)


def chunks(ranges: Ranges, size: int) -> Iterable[Ranges]:
    """The same places in pieces of at most `size` messages, so that a long answer leaves in parts."""
    piece: list[tuple[int, int]] = []
    room = size
    for start, stop in ranges:
        while start < stop:
            end = min(stop, start + room)
            piece.append((start, end))
            room -= end - start
            start = end
            if not room:
                yield tuple(piece)
                piece, room = [], size
    if piece:
        yield tuple(piece)
