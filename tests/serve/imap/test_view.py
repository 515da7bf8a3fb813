"""The View against tables and against a model that keeps plain lists (RFC 9051 §7.5.1)."""

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from posthouse.mail.ids import UID, ModSeq
from posthouse.serve.imap.view import MANY, FlagRow, Told, View, chunks, count, join, some
from posthouse.store.emails import Changes
from thorough import examples
from wire.imap.client_form import parse_number_set


def loaded(*uids: int, modseq: int = 1) -> View:
    view = View(len(uids), max(uids, default=0) + 1, modseq)
    view.load(array("I", uids), changes(modseq, view.uidnext))
    return view


@pytest.mark.parametrize(
    ("numbers", "places"),
    [
        (b"1", [(0, 1)]),
        (b"1:*", [(0, 4)]),
        (b"*", [(3, 4)]),
        (b"4:2", [(1, 4)]),  # RFC 9051 §9: 4:2 and 2:4 are equivalent
        (b"3:4,1", [(0, 1), (2, 4)]),
        (b"1:2,2:3", [(0, 3)]),
        (b"5", None),
        (b"1:5", None),
        (b"9:*", None),
    ],
)
def test_numbers_to_places(numbers, places):
    view = loaded(10, 20, 30, 40)
    found = view.by_number(parse_number_set(numbers).resolve(view.total))
    assert found == (None if places is None else tuple(places))


@pytest.mark.parametrize(
    ("numbers", "places"),
    [
        (b"10", [(0, 1)]),
        (b"1:9", []),
        (b"11:19", []),
        (b"11:30", [(1, 3)]),
        (b"*", [(3, 4)]),
        (b"559:*", [(3, 4)]),  # RFC 9051 §6.4.9: always includes the last message
        (b"*:20", [(1, 4)]),
        (b"1:4294967295", [(0, 4)]),
        (b"40,10", [(0, 1), (3, 4)]),
    ],
)
def test_uids_to_places(numbers, places):
    view = loaded(10, 20, 30, 40)
    assert view.by_uid(parse_number_set(numbers).resolve(view.last_uid)) == tuple(places)


@given(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 45)))
def test_numbers_of_many_are_those_of_each(uids, wanted):
    view = loaded(*sorted(uids))
    assert view.numbers(sorted(wanted)) == [view.number(uid) or 0 for uid in sorted(wanted)]


def test_star_in_an_empty_mailbox():
    """RFC 9051 §9: "*" is an error as a message number there, and nothing as a uid."""
    view = View(0, 1, 1)
    assert view.by_number(parse_number_set(b"1:*").resolve(view.total)) is None
    assert view.by_number(parse_number_set(b"*").resolve(view.total)) is None
    assert view.by_uid(parse_number_set(b"1:*").resolve(view.last_uid)) == ()


def test_spans_reach_from_message_to_message():
    view = loaded(10, 20, 30, 40)
    assert view.uid_spans(((0, 2), (3, 4))) == ((10, 20), (40, 40))


def row(uid: int, modseq: int) -> FlagRow:
    return (UID(uid), 1, "", ModSeq(modseq))


def changes(modseq: int, uidnext: int, *, arrived=(), changed=(), vanished=()) -> Changes:
    return Changes(ModSeq(modseq), uidnext, 0, tuple(arrived), tuple(changed), tuple(vanished))


def test_expunge_counts_down_then_exists_then_flags():
    view = loaded(10, 20, 30, 40)
    news = changes(7, 52, arrived=[row(51, 6)], changed=[row(40, 5)], vanished=[10, 30])
    assert view.sync(news, expunge=True) == Told((3, 1), 3, ((2, row(40, 5)),), (10, 30))
    assert list(view.column) == [20, 40, 51]
    assert (view.total, view.uidnext, view.modseq) == (3, 52, 7)


@pytest.mark.parametrize("every", [1, 2, MANY - 1, MANY, MANY + 1, 3 * MANY])
def test_few_and_many_go_alike(every):
    uids = range(10, 10 + 5 * MANY)
    gone = tuple(map(UID, uids[::every]))
    view = loaded(*uids)
    told = view.sync(changes(2, view.uidnext, vanished=(*gone, UID(1_000))), expunge=True)
    assert told.expunged == tuple(range(5 * MANY, 0, -1)[-1::-every][::-1])
    assert told.vanished == gone
    assert list(view.column) == [uid for uid in uids if uid not in gone]
    assert view.total == len(view.column)
    assert not view.held


def test_held_expunge_keeps_numbers_until_allowed():
    """RFC 9051 §7.5.1: no EXPUNGE while responding to FETCH, STORE or SEARCH."""
    view = loaded(10, 20, 30)
    news = changes(3, 32, arrived=[row(31, 3)], changed=[row(30, 3)], vanished=[10])
    assert view.sync(news, expunge=False) == Told((), 4, ((3, row(30, 3)),))
    assert view.number(30) == 3
    assert view.sync(changes(3, 32), expunge=True) == Told((1,), None, (), (10,))
    assert view.number(30) == 2
    assert view.total == 3


def test_exists_needs_no_uids():
    view = View(100_000, 100_001, 5)
    news = changes(6, 100_002, arrived=[row(100_001, 6)])
    assert not view.needs_uids(news)
    assert view.sync(news, expunge=True) == Told((), 100_001, ())
    assert view.uids is None


def test_late_loading_puts_back_what_went_meanwhile():
    view = View(3, 31, 5)
    news = changes(7, 42, arrived=[row(41, 7)], vanished=[20])
    assert view.needs_uids(news)
    view.load(array("I", [10, 30, 41]), news)
    assert list(view.column) == [10, 20, 30]
    assert view.sync(news, expunge=True) == Told((2,), 3, (), (20,))


def test_unloaded_column_is_an_error():
    with pytest.raises(LookupError):
        View(1, 2, 1).number(1)


def test_a_shared_column_is_not_altered():
    shared = array("I", [1, 2, 3])
    one, two = View(3, 4, 1), View(3, 4, 1)
    one.load(shared, changes(1, 4))
    two.load(shared, changes(1, 4))
    one.sync(changes(2, 5, arrived=[row(4, 2)], vanished=[1]), expunge=True)
    assert list(one.column) == [2, 3, 4]
    assert two.column is shared
    assert list(shared) == [1, 2, 3]


def test_join():
    assert join([(5, 6), (0, 2), (2, 3), (1, 2)]) == ((0, 3), (5, 6))
    assert join([]) == ()


def test_chunks_cover_everything_once():
    ranges = ((0, 5), (7, 8), (10, 23))
    pieces = list(chunks(ranges, 4))
    assert [count(piece) for piece in pieces] == [4, 4, 4, 4, 3]
    assert join(pair for piece in pieces for pair in piece) == ranges
    assert list(chunks((), 4)) == []


class TwoSides(RuleBasedStateMachine):
    """A mailbox, a client that believes only what it is told, and a View between them.

    The mailbox is a dict uid -> modseq; the client a list. After a sync with EXPUNGE both agree; between, the client's
    numbers are the View's numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.modseq = 1
        self.uidnext = 1
        self.mailbox: dict[int, int] = {}
        self.gone: dict[int, int] = {}
        self.view: View | None = None
        self.client: list[int] = []
        self.known: dict[int, int] = {}

    def changes(self) -> Changes:
        assert self.view
        since, known = self.view.modseq, self.view.uidnext
        rows = [row(uid, modseq) for uid, modseq in sorted(self.mailbox.items()) if modseq > since]
        return changes(
            self.modseq,
            self.uidnext,
            arrived=[r for r in rows if r[0] >= known],
            changed=[r for r in rows if r[0] < known],
            vanished=sorted(uid for uid, modseq in self.gone.items() if modseq > since and uid < known),
        )

    @rule(count=st.integers(1, 3), skip=st.integers(0, 2))
    def arrive(self, count: int, skip: int) -> None:
        self.modseq += 1
        for _ in range(count):
            self.mailbox[self.uidnext] = self.modseq
            self.uidnext += 1 + skip

    @precondition(lambda self: self.mailbox)
    @rule(data=st.data())
    def flag(self, data: st.DataObject) -> None:
        self.modseq += 1
        self.mailbox[data.draw(st.sampled_from(sorted(self.mailbox)))] = self.modseq

    @precondition(lambda self: self.mailbox)
    @rule(data=st.data())
    def expunge(self, data: st.DataObject) -> None:
        self.modseq += 1
        uid = data.draw(st.sampled_from(sorted(self.mailbox)))
        del self.mailbox[uid]
        self.gone[uid] = self.modseq

    @rule()
    def select(self) -> None:
        self.view = View(len(self.mailbox), self.uidnext, self.modseq)
        self.client = sorted(self.mailbox)
        self.known = dict(self.mailbox)

    @precondition(lambda self: self.view)
    @rule()
    def load(self) -> None:
        assert self.view
        if self.view.uids is None:
            self.view.load(array("I", sorted(self.mailbox)), self.changes())

    @precondition(lambda self: self.view)
    @rule(expunge=st.booleans())
    def sync(self, expunge: bool) -> None:
        assert self.view
        news = self.changes()
        if self.view.needs_uids(news):
            self.load()
        told = self.view.sync(news, expunge=expunge)
        assert expunge or not told.expunged
        for number in told.expunged:
            del self.known[self.client.pop(number - 1)]
        arrived = sorted(uid for uid in self.mailbox if uid not in self.known)
        assert told.exists == (len(self.client) + len(arrived) if arrived else None)
        self.client += arrived
        self.known |= {uid: self.mailbox[uid] for uid in arrived}
        for number, (uid, _, _, modseq) in told.flags:
            assert self.client[number - 1] == uid
            self.known[uid] = modseq
        if expunge:
            assert self.client == sorted(self.mailbox)
        assert all(self.known[uid] == modseq for uid, modseq in self.mailbox.items())

    @invariant()
    def numbers_agree(self) -> None:
        if self.view is None:
            return
        assert self.view.total == len(self.client)
        if self.view.uids is not None:
            assert list(self.view.column) == self.client
            assert [self.view.number(uid) for uid in self.client] == list(range(1, len(self.client) + 1))


TestTwoSides = TwoSides.TestCase
TestTwoSides.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("wanted", [slice(0, 0), slice(0, 2), slice(1, 5), slice(2, 3), slice(4, 6), slice(6, 6)])
def test_some_of_the_places(wanted):
    ranges = ((2, 4), (7, 8), (10, 13))
    places = [place for start, stop in ranges for place in range(start, stop)]
    found = some(ranges, wanted)
    assert [place for start, stop in found for place in range(start, stop)] == places[wanted]
