"""What rows can answer."""

import pytest

from posthouse.mail.ids import MailboxId, Millis
from posthouse.mail.keyword import ANSWERED_BIT, SEEN_BIT
from posthouse.store import emails, search
from posthouse.store.mailboxes import Box
from posthouse.store.script import NotFound
from posthouse.store.search import Flagged, Range
from store_rig import Rig, message


def fill(rig: Rig) -> Box:
    box = rig.box()
    new = [
        rig.email(message(300 * number), number % 4, ("Work", "x") if number % 2 else ())._replace(
            received=Millis(number * 1000)
        )
        for number in range(1, 9)
    ]
    rig.run(emails.add, box, new)
    return box


def test_flags_and_keywords(rig: Rig) -> None:
    box = fill(rig)
    assert list(rig.read(search.by_flags, box, Flagged(SEEN_BIT, 0))) == [1, 3, 5, 7]
    assert list(rig.read(search.by_flags, box, Flagged(0, SEEN_BIT))) == [2, 4, 6, 8]
    assert list(rig.read(search.by_flags, box, Flagged(ANSWERED_BIT, SEEN_BIT))) == [2, 6]
    assert list(rig.read(search.by_keyword, box, "wORK")) == [1, 3, 5, 7]
    assert list(rig.read(search.by_keyword, box, "wor")) == []


def test_size_and_internaldate(rig: Rig) -> None:
    box = fill(rig)
    sizes = [row[1] for row in rig.read(emails.fetch, box, emails.ALL, [emails.Column.SIZE])]
    larger = [uid for uid, size in enumerate(sizes, 1) if size > sizes[3]]
    smaller = [uid for uid, size in enumerate(sizes, 1) if size < sizes[3]]
    assert list(rig.read(search.by_size, box, Range(sizes[3] + 1))) == larger
    assert list(rig.read(search.by_size, box, Range(0, sizes[3] - 1))) == smaller
    assert list(rig.read(search.by_received, box, Range(3000))) == [3, 4, 5, 6, 7, 8]
    assert list(rig.read(search.by_received, box, Range(0, 2999))) == [1, 2]
    assert list(rig.read(search.by_received, box, Range(3000, 4999))) == [3, 4]


def test_text_comes_in_chunks(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    box = fill(rig)
    texts = rig.read(search.texts, box)
    assert [text.uid for text in texts] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(len(rig.store.octets(text.blob)) == text.size for text in texts)
    monkeypatch.setattr(search, "CHUNK_OCTETS", texts[0].size + texts[1].size)
    assert [text.uid for text in rig.read(search.texts, box)] == [1, 2]
    assert [text.uid for text in rig.read(search.texts, box, 3)] == [3]


def test_a_mailbox_that_is_not_there(rig: Rig) -> None:
    nowhere = Box(rig.anna, MailboxId(999))
    for verb, *more in (
        (search.by_flags, Flagged(0, 0)),
        (search.by_keyword, "x"),
        (search.by_size, Range(0)),
        (search.by_received, Range(0)),
        (search.texts,),
    ):
        with pytest.raises(NotFound):
            rig.read(verb, nowhere, *more)
