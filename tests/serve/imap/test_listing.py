"""serve/imap/listing.py: which names LIST and LSUB show (RFC 9051 §6.3.9, RFC 3501 §6.3.9)."""

import pytest

from posthouse.mail.ids import AccountId, MailboxId, ModSeq, UIDValidity
from posthouse.serve.imap.listing import Names, answer, answer_lsub, attributes, parents
from posthouse.store.mailboxes import MailboxRow
from posthouse.wire.imap.list import List, ListReturn, ListSelection, Lsub, StatusItem
from posthouse.wire.imap.response import Listed, MailboxStatus

SUBSCRIBED, RECURSIVE = ListSelection.SUBSCRIBED, ListSelection.RECURSIVEMATCH


def box(name: str, role: str | None = None, *, noselect: bool = False) -> MailboxRow:
    numbers = (UIDValidity(7), 4, 3, 2, 1, 99, ModSeq(1), ModSeq(1), ModSeq(1))
    return MailboxRow(MailboxId(1), AccountId(1), name, role, noselect, False, *numbers)


# RFC 9051 §6.3.9.8, example 9 and others
ROWS = [box("INBOX", "inbox"), box("Sent", "sent"), box("Fruit"), box("Fruit/Apple"), box("Fruit/Banana"), box("Tofu")]
KNOWN = Names(
    {row.name: row for row in ROWS}, frozenset({"INBOX", "Fruit/Banana", "Fruit/Peach", "Vegetable/Broccoli"})
)


def listed(*patterns: str, reference: str = "", selection=(), returns=()) -> dict[str, tuple]:
    command = List(b"a", reference, patterns, frozenset(selection), frozenset(returns), (StatusItem.SIZE,), True)
    return {
        response.mailbox: (response.attributes, response.childinfo)
        for response in answer(command, KNOWN)
        if isinstance(response, Listed)
    }


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*"], ["Fruit", "Fruit/Apple", "Fruit/Banana", "INBOX", "Sent", "Tofu"]),
        (["%"], ["Fruit", "INBOX", "Sent", "Tofu"]),
        (["Fruit/%", "T*"], ["Fruit/Apple", "Fruit/Banana", "Tofu"]),
        (["inbox"], ["INBOX"]),
        (["fruit"], []),
        (["", "Sent"], ["Sent"]),
        (["Nothing"], []),
    ],
)
def test_patterns(patterns, names):
    assert list(listed(*patterns)) == names


def test_the_reference_stands_before_the_pattern():
    assert list(listed("%", reference="Fruit/")) == ["Fruit/Apple", "Fruit/Banana"]


def test_subscribed_names_are_listed_though_they_are_gone():
    found = listed("*", selection=[SUBSCRIBED])
    assert list(found) == ["Fruit/Banana", "Fruit/Peach", "INBOX", "Vegetable/Broccoli"]
    assert found["Fruit/Peach"][0] == (b"\\NonExistent", b"\\Noselect", b"\\HasNoChildren", b"\\Subscribed")
    assert found["INBOX"][0] == (b"\\HasNoChildren", b"\\Subscribed")


def test_recursivematch_names_parents_for_children_that_are_not_shown():
    found = listed("%", selection=[SUBSCRIBED, RECURSIVE])
    assert found["Fruit"] == ((b"\\HasChildren",), (b"SUBSCRIBED",))
    assert found["INBOX"][1] == ()
    assert "Sent" not in found
    assert "Fruit" not in listed("*", selection=[SUBSCRIBED, RECURSIVE])


def test_special_use_alone():
    assert listed("*", selection=[ListSelection.SPECIAL_USE]) == {"Sent": ((b"\\HasNoChildren", b"\\Sent"), ())}


def test_status_stands_behind_its_name():
    command = List(b"a", "", ("Sent",), frozenset(), frozenset({ListReturn.STATUS}), (StatusItem.SIZE,), True)
    one, two = answer(command, KNOWN)
    assert isinstance(one, Listed)
    assert two == MailboxStatus("Sent", ((StatusItem.SIZE, 99),))


def test_a_name_without_mailbox():
    assert attributes(box("x", noselect=True), inferiors=True) == (b"\\NonExistent", b"\\Noselect", b"\\HasChildren")
    assert attributes(None, inferiors=False) == (b"\\NonExistent", b"\\Noselect", b"\\HasNoChildren")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", {"INBOX": False, "Fruit/Banana": False, "Fruit/Peach": True, "Vegetable/Broccoli": True}),
        ("%", {"INBOX": False, "Fruit": True, "Vegetable": True}),
        ("Fruit/%", {"Fruit/Banana": False, "Fruit/Peach": True}),
        ("Sent", {}),
    ],
)
def test_lsub(pattern, names):
    """Fruit/Peach and Vegetable/Broccoli are subscribed, and no mailboxes have the names."""
    found = {one.mailbox: b"\\Noselect" in one.attributes for one in answer_lsub(Lsub(b"a", "", pattern), KNOWN)}
    assert found == names


def test_parents():
    assert parents(["a/b/c", "d", "a/x"]) == {"a", "a/b"}
