"""A state machine: removing, bringing back and ending against a model of a few lines."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from posthouse.mail.ids import Millis
from posthouse.mail.keyword import DELETED_BIT
from posthouse.store import emails, gc, mailboxes, removed, restore
from posthouse.store.emails import ALL, Column, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.removed import Removal
from posthouse.store.store import open_sync
from store.fsck import consistency
from store_rig import NOW, Rig
from thorough import examples

NAMES = ("INBOX", "a", "b")
name_of = st.sampled_from(NAMES)
spans_of = st.tuples(st.integers(1, 8), st.integers(0, 4)).map(lambda pair: ((pair[0], sum(pair)),))


class Keeping(RuleBasedStateMachine):
    """`places` has the Email of each mailbox and UID, `kept` the mailbox, time and keyword of what may come back."""

    @initialize()
    def begin(self) -> None:
        """A store in a new directory."""
        self.directory = tempfile.TemporaryDirectory()
        self.rig = Rig(open_sync(Path(self.directory.name)))
        self.time = int(NOW)
        self.places: dict[tuple[str, int], int] = {}
        self.words: dict[int, str] = {}
        self.kept: dict[int, tuple[str, int]] = {}
        self.ended: set[int] = set()

    def box(self, name: str) -> Box:
        return self.rig.box(name)

    def placed(self, name: str) -> dict[int, int]:
        return dict(self.rig.read(emails.fetch, self.box(name), ALL, [Column.EMAIL]))

    def took(self, name: str, uids: list[int], *, keep: bool) -> None:
        """These have left; what has no other place is kept, or has ended."""
        left = {self.places.pop((name, uid)) for uid in uids}
        for email in left - set(self.places.values()):
            if keep:
                self.kept[email] = (name, self.time)
            else:
                self.ended.add(email)

    @rule(name=name_of, number=st.integers(1, 3))
    def add(self, name: str, number: int) -> None:
        """APPEND."""
        new = [self.rig.email() for _ in range(number)]
        given = self.rig.run(emails.add, self.box(name), new)
        there = self.placed(name)
        for uid in given.uids:
            self.places[name, uid] = there[uid]
            self.words[there[uid]] = ""

    @rule(name=name_of, spans=spans_of, word=st.sampled_from(["k", "l"]))
    def flag(self, name: str, spans: emails.Spans, word: str) -> None:
        """STORE."""
        self.rig.run(emails.store_flags, self.box(name), spans, FlagChange(Mode.SET, DELETED_BIT, (word,)))
        for uid in self.pick(name, spans):
            self.words[self.places[name, uid]] = word

    @rule(name=name_of, spans=spans_of, where=name_of)
    def copy(self, name: str, spans: emails.Spans, where: str) -> None:
        """COPY."""
        copied = self.rig.run(emails.copy, self.box(name), spans, self.box(where).mailbox, NOW)
        for source, target in zip(copied.source, copied.target, strict=True):
            self.places[where, target] = self.places[name, source]

    def pick(self, name: str, spans: emails.Spans) -> list[int]:
        [(first, last)] = spans
        return [uid for there, uid in self.places if there == name and first <= uid <= last]

    @rule(name=name_of, spans=spans_of, keep=st.booleans())
    def expunge(self, name: str, spans: emails.Spans, keep: bool) -> None:
        """UID EXPUNGE."""
        self.time += 10
        kept = Removal(Millis(self.time), "x") if keep else None
        gone = self.rig.run(emails.expunge, self.box(name), spans, marked=False, kept=kept)
        assert sorted(gone.uids) == sorted(self.pick(name, spans))
        self.took(name, list(gone.uids), keep=keep)

    @rule(name=st.sampled_from(NAMES[1:]), keep=st.booleans())
    def delete(self, name: str, keep: bool) -> None:
        """DELETE, all purged in small pieces."""
        self.box(name)
        self.time += 10
        self.rig.run(mailboxes.delete, self.rig.anna, name, Removal(Millis(self.time), "x") if keep else None)
        while self.rig.run(gc.purge, 2):
            assert self.rig.read(consistency) == []
        self.took(name, [uid for there, uid in self.places if there == name], keep=keep)

    @rule(choice=st.data())
    def restore(self, choice: st.DataObject) -> None:
        """Bring back some of one act, and what is no longer there."""
        acts = self.rig.read(restore.acts, self.rig.anna)
        if not acts:
            return
        act = choice.draw(st.sampled_from(acts))
        uids = [row.uid for row in self.rig.read(restore.kept, act.id, 1 << 32)]
        wanted = choice.draw(st.sets(st.sampled_from(uids), min_size=1))
        back = self.rig.run(restore.restore, self.rig.anna, act.id, [*wanted, 99], NOW)
        assert back is not None
        assert sorted(wanted) == list(back.uids)
        there = self.placed(back.place.name)
        for uid in range(back.first, back.first + len(wanted)):
            assert self.kept.pop(there[uid])[0] == back.place.name
            self.places[back.place.name, uid] = there[uid]

    @rule(age=st.integers(0, 60), limit=st.integers(1, 3))
    def end(self, age: int, limit: int) -> None:
        """A step of the end: the oldest first."""
        before = self.time - age
        due = sorted(at for _, at in self.kept.values() if at < before)
        step = self.rig.run(removed.end, Millis(before), limit)
        assert step.emails == min(limit, len(due))
        left = self.still_kept()
        gone = {email: at for email, (_, at) in self.kept.items() if email not in left}
        assert sorted(gone.values()) == due[: step.emails]
        self.ended |= set(gone)
        self.kept = {email: one for email, one in self.kept.items() if email in left}

    def still_kept(self) -> set[int]:
        acts = self.rig.read(restore.acts, self.rig.anna)
        return {row.email for act in acts for row in self.rig.read(restore.kept, act.id, 1 << 32)}

    @invariant()
    def agrees(self) -> None:
        """The store shows what the model says, and is consistent."""
        if not hasattr(self, "rig"):
            return
        assert self.rig.read(consistency) == []
        assert self.still_kept() == set(self.kept)
        assert not self.ended & (set(self.kept) | set(self.places.values()))
        for name in NAMES:
            rows = self.rig.read(emails.fetch, self.box(name), ALL, [Column.EMAIL, Column.KEYWORDS])
            assert {(name, uid): email for uid, email, _ in rows} == {
                place: email for place, email in self.places.items() if place[0] == name
            }
            assert all(words == self.words[email] for _, email, words in rows)

    def teardown(self) -> None:
        """The directory goes."""
        if hasattr(self, "rig"):
            self.rig.store.close()
            self.directory.cleanup()


TestKeeping = Keeping.TestCase
TestKeeping.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
