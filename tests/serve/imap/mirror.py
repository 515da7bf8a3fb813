"""What one client believes of its mailbox, worked out from the server's responses alone (RFC 9051 §7, RFC 7162 §3).

A response that a client could not make sense of fails at once: a number without a message, EXISTS that falls, EXPUNGE
where numbers are in use, a keyword that FLAGS never named, EXPUNGE where VANISHED was promised.
"""

import re
from dataclasses import dataclass, field

FETCHED = re.compile(rb"\* (\d+) (UID)?FETCH \((.*)\)\Z", re.DOTALL)
UID = re.compile(rb"(?:^| )UID (\d+)")
FLAGS = re.compile(rb"(?:^| )FLAGS \(([^)]*)\)")
MODSEQ = re.compile(rb"(?:^| )MODSEQ \((\d+)\)")
CODE = re.compile(rb"\* OK \[([A-Z]+) (\d+)\]")
NAMED = re.compile(rb"\* FLAGS \(([^)]*)\)")
GIVEN = re.compile(rb" \[(?:APPENDUID \d+|COPYUID \d+ [\d:,]+) ([\d:,]+)\]")
VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)\Z")
SYSTEM = frozenset({"\\answered", "\\flagged", "\\deleted", "\\seen", "\\draft"})


@dataclass(slots=True)
class Entry:
    """One message as far as the client has been told of it."""

    uid: int | None = None
    flags: frozenset[str] | None = None
    modseq: int = 0


@dataclass(slots=True)
class Heard:
    """What the answer to one command held: flags told by uid, numbers found, whether the mailbox was closed."""

    flags: dict[int, frozenset[str]] = field(default_factory=dict)
    fetched: list[int] = field(default_factory=list)  # places, as they were counted at that moment
    found: "list[int | None] | None" = None  # uids, of a SEARCH
    newest: int | None = None  # MODSEQ of a SEARCH
    earlier: set[int] = field(default_factory=set)  # uids of VANISHED (EARLIER)
    given: set[int] = field(default_factory=set)  # uids of APPENDUID or COPYUID
    closed: bool = False
    bye: bool = False


class Mirror:
    """The messages of the selected mailbox as the client counts them.

    `vanishing`: it enabled QRESYNC or UIDONLY; `modseqs`: it enabled CONDSTORE; `uidonly`: it enabled UIDONLY, and
    where a message stands among the others is unknown until its UID is: those without one stand last.
    """

    def __init__(self, *, vanishing: bool = False, modseqs: bool = False, uidonly: bool = False) -> None:
        self.vanishing = vanishing
        self.modseqs = modseqs
        self.uidonly = uidonly
        self.entries: list[Entry] = []
        self.named: set[str] = set()
        self.codes: dict[str, int] = {}
        self.highest = 0
        self.told: int | None = None  # HIGHESTMODSEQ since the last tagged answer
        self.recent = 0  # the highest MODSEQ of a FETCH since then
        self.resync: int | None = None  # EXISTS of a SELECT with QRESYNC, until its end

    # --- looking

    def place(self, uid: int) -> int | None:
        """Where a message is counted."""
        return next((place for place, entry in enumerate(self.entries) if entry.uid == uid), None)

    @property
    def uids(self) -> list[int | None]:
        """In order."""
        return [entry.uid for entry in self.entries]

    def differs(self, truth: dict[int, frozenset[str]]) -> str:
        """What it believes that is not so; "" when all is well."""
        real = sorted(truth)
        if len(real) != len(self.entries):
            return f"{len(self.entries)} messages, but there are {real}"
        for place, (entry, uid) in enumerate(zip(self._in_order(real), real, strict=True)):
            if entry.uid not in (None, uid):
                return f"message {place + 1} has UID {entry.uid}, not {uid}"
            if entry.flags is not None and entry.flags != truth[uid]:
                return f"UID {uid} has {sorted(entry.flags)}, not {sorted(truth[uid])}"
        return ""

    def _in_order(self, real: list[int]) -> list[Entry]:
        """The entries; with UIDONLY those without a UID wherever there is room."""
        if not self.uidonly or not {uid for uid in self.uids if uid is not None} <= set(real):
            return self.entries
        known = {entry.uid: entry for entry in self.entries}
        return [known.get(uid) or Entry() for uid in real]

    # --- believing

    def believe(self, line: bytes, heard: Heard, *, numbers: bool) -> None:
        """Take one untagged response in. `numbers`: the command in progress uses sequence numbers."""
        word = line.split()[1:3]
        if word[-1:] == [b"EXISTS"]:
            self._exists(int(word[0]))
        elif word[-1:] == [b"EXPUNGE"]:
            assert not numbers, f"EXPUNGE while numbers are in use: {line!r}"
            assert not self.vanishing, f"EXPUNGE where VANISHED was enabled: {line!r}"
            del self.entries[self._counted(int(word[0]), line)]
        elif found := VANISHED.match(line):
            assert self.vanishing, line
            assert found[1] or not numbers, f"VANISHED while numbers are in use: {line!r}"
            heard.earlier |= spelled(found[2]) if found[1] else set()
            self._vanished(spelled(found[2]), earlier=bool(found[1]))
        elif found := FETCHED.match(line):
            assert bool(found[2]) == self.uidonly, f"FETCH or UIDFETCH (RFC 9586 §3.3): {line!r}"
            number = self._by_uid(int(found[1])) if found[2] else int(found[1])
            self._fetched(number, (b"UID %b " % found[1] if found[2] else b"") + found[3], heard)
        elif found := NAMED.match(line):
            self.named = {flag.lower().decode() for flag in found[1].split()}
        elif found := CODE.match(line):
            self.codes[found[1].decode()] = int(found[2])
            if found[1] == b"HIGHESTMODSEQ":
                self.told = int(found[2])

    def _counted(self, number: int, line: bytes) -> int:
        assert 1 <= number <= len(self.entries), f"no message has that number of {len(self.entries)}: {line!r}"
        return number - 1

    def _by_uid(self, uid: int) -> int:
        """The number of a message that UIDFETCH names, if need be one of those without a UID."""
        if self.place(uid) is None and self.resync is None:
            assert None in self.uids, f"UIDFETCH {uid}, but EXISTS was not told"
            self.entries[self.uids.index(None)].uid = uid
            self._sort()
        return (self.place(uid) or 0) + 1

    def _sort(self) -> None:
        self.entries.sort(key=lambda entry: entry.uid or 1 << 32)

    def _exists(self, count: int) -> None:
        if self.resync is not None:
            self.resync = count
            return
        assert count >= len(self.entries), f"EXISTS {count} falls below {len(self.entries)}"
        self.entries += [Entry() for _ in range(count - len(self.entries))]

    def _vanished(self, uids: set[int], *, earlier: bool) -> None:
        known = {uid for uid in self.uids if uid is not None}
        assert earlier or uids <= known or None in self.uids, f"VANISHED {uids - known} was never told of"
        # what the client counts goes by VANISHED without EARLIER, which changes its numbers (RFC 7162 §3.2.10)
        assert not earlier or self.resync is not None or not uids & known, f"{uids & known} are still counted"
        if not earlier and None in self.uids:
            uids = self._any(uids, known) if self.uidonly else self._unknown(uids, known)
        self.entries = [entry for entry in self.entries if entry.uid not in uids]

    def _any(self, uids: set[int], known: set[int]) -> set[int]:
        """With UIDONLY uids that were not told go to any messages without one."""
        for uid in uids - known:
            assert None in self.uids, f"VANISHED {uid} fits no message"
            self.entries[self.uids.index(None)].uid = uid
        return uids

    def _unknown(self, uids: set[int], known: set[int]) -> set[int]:
        """Give uids that are about to go to messages whose uid was not told: which of them does not matter here,
        because the order of uids is the order of numbers and only a place between two known uids is free."""
        for uid in sorted(uids - known):
            above = [entry.uid for entry in self.entries]
            for place, entry in enumerate(self.entries):
                before = max((u for u in above[:place] if u is not None), default=0)
                after = min((u for u in above[place:] if u is not None), default=1 << 32)
                if entry.uid is None and before < uid < after:
                    entry.uid = uid
                    break
            else:
                raise AssertionError(f"VANISHED {uid} fits no message")
        return uids

    def _fetched(self, number: int, items: bytes, heard: Heard) -> None:
        uid, flags, modseq = UID.search(items), FLAGS.search(items), MODSEQ.search(items)
        if self.resync is not None:
            assert uid, f"FETCH without UID in answer to QRESYNC: {items!r}"
            self._resynced(int(uid[1]))
            entry = self.entries[self.place(int(uid[1])) or 0]
        else:
            entry = self.entries[self._counted(number, items)]
            heard.fetched.append(number - 1)
        if uid:
            assert entry.uid in (None, int(uid[1])), (number, items, self.uids)
            entry.uid = int(uid[1])
        if flags:
            self._flags(entry, frozenset(flags[1].lower().decode().split()), heard)
            # no MODSEQ is asked for here: a FETCH that did not name it is answered without (RFC 7162 §3.2.4)
        if modseq:
            assert int(modseq[1]) >= entry.modseq, f"MODSEQ falls: {items!r}"
            entry.modseq = int(modseq[1])
            self.recent = max(self.recent, entry.modseq)

    def _flags(self, entry: Entry, flags: frozenset[str], heard: Heard) -> None:
        unnamed = flags - SYSTEM - self.named
        assert not unnamed, f"{unnamed} stands in no FLAGS response"
        entry.flags = flags
        if entry.uid is not None:
            heard.flags[entry.uid] = flags

    # --- QRESYNC

    def return_after(self) -> "Mirror":
        """The same, about to come back by SELECT with QRESYNC."""
        self.resync = len(self.entries)
        self.named = set()
        self.codes = {}
        return self

    def _resynced(self, uid: int) -> None:
        if self.place(uid) is None:
            self.entries.append(Entry(uid))
            self._sort()

    def returned(self) -> None:
        """The SELECT with QRESYNC is answered: numbers count again."""
        assert self.resync == len(self.entries), f"EXISTS {self.resync}, but {self.uids} are known"
        self.resync = None

    def settle(self) -> None:
        """A command is over: all changes up to HIGHESTMODSEQ are known, even where a higher MODSEQ was seen; else all
        up to the highest MODSEQ (RFC 7162 §6)."""
        self.highest = max(self.highest, self.recent) if self.told is None else self.told
        self.told, self.recent = None, 0


def spelled(octets: bytes) -> set[int]:
    """The numbers of a set without `*`."""
    found: set[int] = set()
    for part in octets.split(b",") if octets else []:
        first, _, last = part.partition(b":")
        found.update(range(int(first), int(last or first) + 1))
    return found
