"""A state machine: the verbs on messages against a model of a few lines."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from posthouse.mail.ids import MailboxId, ModSeq
from posthouse.mail.keyword import DELETED_BIT
from posthouse.store import emails, gc, mailboxes
from posthouse.store.emails import ALL, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.store import open_sync
from store.fsck import consistency
from store_rig import NOW, Rig
from thorough import examples

NAMES = ("INBOX", "a", "a/b")
name_of = st.sampled_from(NAMES)
bits_of = st.integers(0, 31)
words_of = st.sets(st.sampled_from(["k", "l", "m"]), max_size=2)


@st.composite
def spans_of(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    """Up to two spans, ascending, not overlapping."""
    ends = sorted(draw(st.sets(st.integers(1, 12), min_size=2, max_size=4)))
    spans = [(ends[0], ends[1])]
    if len(ends) == 4:
        spans.append((ends[2], draw(st.sampled_from([ends[3], 0xFFFFFFFF]))))
    return tuple(spans)


@dataclass(eq=False)
class Message:
    """An Email of the model."""

    bits: int
    words: frozenset[str]


@dataclass
class Folder:
    """A mailbox of the model: uid to (Email, \\Deleted)."""

    box: Box
    validity: int
    uidnext: int = 1
    messages: dict[int, tuple[Message, bool]] = field(default_factory=dict)

    def pick(self, spans: tuple[tuple[int, int], ...]) -> list[int]:
        """The UIDs in the spans, ascending."""
        return [uid for uid in sorted(self.messages) if any(first <= uid <= last for first, last in spans)]

    def put(self, message: Message, deleted: bool) -> int:
        """One more."""
        self.messages[self.uidnext] = (message, deleted)
        self.uidnext += 1
        return self.uidnext - 1


class Watcher:
    """Somebody who knows a mailbox by changes() alone, as an IMAP session does."""

    def __init__(self) -> None:
        self.since, self.uidnext = ModSeq(0), 1
        self.known: dict[int, tuple[int, str]] = {}

    def look(self, rig: Rig, box: Box) -> None:
        """Take in what has changed."""
        found = rig.read(emails.changes, box, self.since, self.uidnext)
        assert found.modseq >= self.since
        for uid in found.vanished:
            del self.known[uid]
        for uid, bits, words, _ in (*found.changed, *found.arrived):
            self.known[uid] = (bits, words)
        assert len(self.known) == found.total
        self.since, self.uidnext = found.modseq, found.uidnext


class Placements(RuleBasedStateMachine):
    """The store and the model, changed by the same rules."""

    @initialize()
    def begin(self) -> None:
        """A store in a new directory."""
        self.directory = tempfile.TemporaryDirectory()
        self.rig = Rig(open_sync(Path(self.directory.name)))
        self.folders: dict[str, Folder] = {}
        self.watchers: dict[MailboxId, Watcher] = {}
        self.validities: set[int] = set()
        self.modseqs: dict[MailboxId, ModSeq] = {}
        for name in NAMES:
            self.make(name)

    def make(self, name: str) -> None:
        """The mailbox, new."""
        row = self.rig.read(mailboxes.find, self.rig.anna, name) or self.rig.run(mailboxes.create, self.rig.anna, name)
        if row.noselect:
            row = self.rig.run(mailboxes.create, self.rig.anna, name)
        assert row.uidvalidity not in self.validities
        self.validities.add(row.uidvalidity)
        self.folders[name] = Folder(row.box, row.uidvalidity)
        self.watchers[row.id] = Watcher()

    @rule(name=name_of, number=st.integers(1, 3), bits=bits_of, words=words_of)
    def add(self, name: str, number: int, bits: int, words: set[str]) -> None:
        """APPEND."""
        folder = self.folders[name]
        new = [self.rig.email(flags=bits, keywords=tuple(words)) for _ in range(number)]
        given = self.rig.run(emails.add, folder.box, new)
        assert given.uidvalidity == folder.validity
        message = [Message(bits & ~DELETED_BIT, frozenset(words)) for _ in new]
        assert list(given.uids) == [folder.put(one, bool(bits & DELETED_BIT)) for one in message]

    @rule(name=name_of, spans=spans_of(), mode=st.sampled_from(Mode), bits=bits_of, words=words_of)
    def store_flags(
        self, name: str, spans: tuple[tuple[int, int], ...], mode: Mode, bits: int, words: set[str]
    ) -> None:
        """STORE."""
        folder = self.folders[name]
        self.rig.run(emails.store_flags, folder.box, spans, FlagChange(mode, bits, tuple(words)))
        for uid in folder.pick(spans):
            message, deleted = folder.messages[uid]
            have = message.bits | (DELETED_BIT if deleted else 0)
            new = {Mode.SET: bits, Mode.ADD: have | bits, Mode.REMOVE: have & ~bits}[mode]
            message.words = {Mode.SET: frozenset(words), Mode.ADD: message.words | words}.get(
                mode, message.words - words
            )
            message.bits = new & ~DELETED_BIT
            folder.messages[uid] = (message, bool(new & DELETED_BIT))

    @rule(name=name_of, spans=spans_of(), where=name_of, moving=st.booleans())
    def copy(self, name: str, spans: tuple[tuple[int, int], ...], where: str, moving: bool) -> None:
        """COPY and MOVE."""
        folder, there = self.folders[name], self.folders[where]
        source = folder.pick(spans)
        verb = emails.move if moving else emails.copy
        copied = self.rig.run(verb, folder.box, spans, there.box.mailbox, NOW)
        taken = [folder.messages[uid] for uid in source]
        if moving:
            for uid in source:
                del folder.messages[uid]
        placed = [there.put(*one) for one in taken]
        assert (list(copied.source), list(copied.target)) == (source, placed)
        assert copied.uidvalidity == there.validity

    @rule(name=name_of, spans=st.none() | spans_of())
    def expunge(self, name: str, spans: tuple[tuple[int, int], ...] | None) -> None:
        """EXPUNGE and UID EXPUNGE."""
        folder = self.folders[name]
        gone = [uid for uid in folder.pick(spans or tuple(ALL)) if folder.messages[uid][1]]
        assert list(self.rig.run(emails.expunge, folder.box, spans).uids) == gone
        for uid in gone:
            del folder.messages[uid]

    @rule(name=st.sampled_from(NAMES[1:]), purging=st.booleans())
    def delete(self, name: str, purging: bool) -> None:
        """DELETE, and the name made anew."""
        self.rig.run(mailboxes.delete, self.rig.anna, name)
        if purging:
            gc.purge_all(self.rig.store)
        self.make(name)

    @rule()
    def rename_inbox(self) -> None:
        """RENAME INBOX to a name that is deleted first."""
        if "a/b" in self.folders:
            self.rig.run(mailboxes.delete, self.rig.anna, "a/b")
        self.rig.run(mailboxes.rename, self.rig.anna, "INBOX", "a/b", NOW)
        inbox = self.folders["INBOX"]
        self.make("a/b")
        self.folders["a/b"].messages, self.folders["a/b"].uidnext = inbox.messages, inbox.uidnext
        inbox.messages = {}

    @rule(name=name_of)
    def look(self, name: str) -> None:
        """A session synchronises."""
        folder = self.folders[name]
        watcher = self.watchers[folder.box.mailbox]
        watcher.look(self.rig, folder.box)
        assert watcher.known == shown(folder)

    @rule()
    def purge(self) -> None:
        """A piece of the purge."""
        self.rig.run(gc.purge, 2)

    @invariant()
    def agrees(self) -> None:
        """The store shows what the model says, and is consistent."""
        if not hasattr(self, "rig"):
            return
        assert self.rig.read(consistency) == []
        for folder in self.folders.values():
            row = self.rig.read(mailboxes.get, folder.box)
            rows = self.rig.read(emails.flags, folder.box, ALL)
            assert {uid: (bits, words) for uid, bits, words, _ in rows} == shown(folder)
            assert (row.uidnext, row.uidvalidity) == (folder.uidnext, folder.validity)
            assert row.modseq >= self.modseqs.get(row.id, 0)
            self.modseqs[row.id] = row.modseq

    def teardown(self) -> None:
        """The directory goes."""
        if hasattr(self, "rig"):
            self.rig.store.close()
            self.directory.cleanup()


def shown(folder: Folder) -> dict[int, tuple[int, str]]:
    """What flags() should show."""
    return {
        uid: (message.bits | (DELETED_BIT if deleted else 0), " ".join(sorted(message.words)))
        for uid, (message, deleted) in folder.messages.items()
    }


TestPlacements = Placements.TestCase
TestPlacements.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
