"""Edition: a number that moves on with every change of who is who, for all processes to see (decision 0130).

Who is a user and comes in by what, where an address leads and who may write as it: every session asks, and it changes
rarely. Whoever took the edition, asked, and finds the same edition later has the answer that the database would give.

It stands in the file of the writers' turn, which every process has open, and is written by whoever has the turn: odd
from before the first such statement of a transaction until after its end. So no answer is kept that was read meanwhile,
and none is used any more from the moment in which the change may be seen. A process that is killed in between leaves it
odd; the next that opens the database mends that.
"""

import os
import re
from functools import lru_cache

OCTETS = 8  # of the number
# What the questions read whose answers are kept: of people, their names and passwords, and limits; failed logins too,
# because a login that nobody had tried before is kept.
WHO_IS_WHO = frozenset(
    {
        "account",
        "alias",
        "credential",
        "device",
        "directory_user",
        "domain",
        "former",
        "grouping",
        "guess",
        "house_quota",
        "scram_sha1",
        "totp",
    }
)
# Columns that change with each message or login, and that are read anew, or by nobody who keeps the answer.
PASSING = frozenset(
    {("account", "modseq"), ("account", "octets"), ("account", "warned"), ("device", "used"), ("totp", "step")}
)

_CHANGE = re.compile(r"\s*(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|DELETE\s+FROM|UPDATE)\s+(\w+)(?:\s+SET\s+(\w+))?")


@lru_cache(1024)
def alters(text: str) -> bool:
    """Whether a statement may change who is who."""
    found = _CHANGE.match(text)
    return found is not None and found[1] in WHO_IS_WHO and found.groups() not in PASSING


class Edition:
    """The number in an open file. `begin`, `settle` and `mend` are for who has the turn of the writers."""

    __slots__ = ("_changing", "_file")

    def __init__(self, file: int) -> None:
        self._file = file
        self._changing = False

    @property
    def settled(self) -> int | None:
        """The edition; None while it changes, or where it cannot be read: then no answer can be kept."""
        try:
            number = self._read()
        except OSError:
            return None
        return None if number % 2 else number

    def begin(self) -> None:
        """A transaction is about to change who is who. Raises OSError: then it must not."""
        if not self._changing:
            number = self._read()
            self._write(number + 1 + number % 2)  # another odd one also where somebody was killed
            self._changing = True

    def settle(self) -> None:
        """The transaction has ended. An edition that cannot be written stays odd."""
        if self._changing:
            self._changing = False
            self.mend()

    def mend(self) -> None:
        """Nobody is changing anything, as who has the turn knows."""
        try:
            number = self._read()
            if number % 2 or not number:  # a file without a number gets one while the disk has room for it
                self._write((number + 2) // 2 * 2)
        except OSError:
            return

    def _read(self) -> int:
        return int.from_bytes(os.pread(self._file, OCTETS, 0))

    def _write(self, number: int) -> None:
        os.pwrite(self._file, number.to_bytes(OCTETS), 0)
