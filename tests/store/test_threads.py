"""Threads: which Emails belong together (RFC 8474 §5.2, RFC 8621 §3), and what is left of them."""

import pytest

from posthouse.mail.ids import AccountId, Millis
from posthouse.mail.summary import summarize
from posthouse.store import emails, gc, mailboxes, threads
from posthouse.store.emails import ALL, Column, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.script import Script, sql
from posthouse.store.store import Store
from store_rig import NOW, Rig, new_email


def message(number: int, subject: str, *parents: int) -> bytes:
    """Message number n, which refers to others by number."""
    head = f"Message-ID: <{number}@home.test>\r\nSubject: {subject}\r\n"
    if parents:
        head += "References: " + " ".join(f"<{parent}@home.test>" for parent in parents) + "\r\n"
    return f"{head}\r\nbody {number}\r\n".encode()


def threads_of(rig: Rig, box: Box) -> list[int]:
    """The thread of each message, in the order of UIDs."""
    return [thread for _, thread in rig.read(emails.fetch, box, ALL, [Column.THREAD])]


def arrive(rig: Rig, *messages: bytes) -> list[int]:
    """The threads of these messages, numbered from 0 in the order in which they appear."""
    box = rig.box()
    for octets in messages:
        rig.run(emails.add, box, [rig.email(octets)])
    order = list(dict.fromkeys(found := threads_of(rig, box)))
    return [order.index(thread) for thread in found]


def test_replies_are_of_the_thread_of_what_they_answer(rig: Rig) -> None:
    """The example of RFC 8474 §5.3."""
    assert arrive(rig, message(1, "Message A"), message(2, "Re: Message A", 1), message(3, "Message C")) == [0, 0, 1]


def test_what_came_before_its_parent_is_found_by_it(rig: Rig) -> None:
    assert arrive(rig, message(2, "Re: a", 1), message(3, "Re: a", 1), message(1, "a")) == [0, 0, 0]


def test_a_reply_with_another_subject_begins_a_thread(rig: Rig) -> None:
    """RFC 8621 §3: somebody answered an old message to find the address."""
    assert arrive(rig, message(1, "Lunch"), message(2, "The contract", 1), message(3, "Re: The contract", 1, 2)) == [
        0, 1, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "subject", ["Re: Lunch", "AW: Lunch", "Fwd: AW: Re: Lunch", "SV: [list] Lunch", "Re[2]: lunch", "RE:Lun ch",
                "Antw: WG: Lunch", "=?utf-8?b?5Zue5aSN77ya?= Lunch", "R: I: Lunch", "[list] Lunch"],
)  # fmt: skip
def test_prefixes_of_other_languages_are_no_other_subject(rig: Rig, subject: str) -> None:
    assert arrive(rig, message(1, "Lunch"), message(2, subject, 1)) == [0, 0]


def test_two_threads_that_a_third_message_joins_stay_two(rig: Rig) -> None:
    """RFC 8474 §5.2: a THREADID never changes. The nearest parent counts."""
    assert arrive(rig, message(1, "a"), message(2, "a"), message(3, "Re: a", 1, 2), message(4, "a", 1)) == [0, 1, 1, 0]


def test_messages_without_message_id_are_alone(rig: Rig) -> None:
    assert arrive(rig, b"Subject: a\r\n\r\n1", b"Subject: a\r\n\r\n2", b"\r\n") == [0, 1, 2]


def test_one_append_of_several_is_threaded_too(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email(message(1, "a")), rig.email(message(2, "Re: a", 1))])
    assert len(set(threads_of(rig, box))) == 1


def test_accounts_do_not_share_threads(rig: Rig) -> None:
    inbox = rig.read(mailboxes.find, rig.ben, "INBOX")
    assert inbox is not None
    email = rig.email(message(1, "a"))
    rig.run(emails.deliver, [(rig.box(), email), (inbox.box, email)])
    assert threads_of(rig, rig.box()) != threads_of(rig, inbox.box)


def test_copies_are_one_email_in_one_thread_with_a_save_date_of_their_own(rig: Rig) -> None:
    """RFC 8474 §5.1, RFC 8514 §3."""
    box, other = rig.box(), rig.box("Other")
    rig.run(emails.add, box, [rig.email(message(1, "a"))._replace(saved=Millis(NOW + 1))])
    columns = [Column.EMAIL, Column.THREAD, Column.SAVED]
    [(_, email, thread, saved)] = rig.read(emails.fetch, box, ALL, columns)
    assert (email, saved) == (thread, NOW + 1)
    rig.run(emails.copy, box, ALL, other.mailbox, Millis(NOW + 2))
    rig.run(emails.move, box, ALL, other.mailbox, Millis(NOW + 3))
    assert [row[1:] for row in rig.read(emails.fetch, other, ALL, columns)] == [
        (email, email, NOW + 2), (email, email, NOW + 3),
    ]  # fmt: skip
    rig.run(mailboxes.rename, rig.anna, "Other", "Elsewhere", Millis(NOW + 4))
    assert [row[3] for row in rig.read(emails.fetch, other, ALL, columns)] == [NOW + 2, NOW + 3]


def test_many_references_cost_no_more_than_some(rig: Rig) -> None:
    long = message(0, "a", *range(1, 5_000))
    wanted = threads.keys(summarize(long, NOW))
    assert len(wanted) == 1 + threads.REFERENCES
    assert arrive(rig, message(1, "a"), long, message(4_999, "a")) == [0, 0, 0]


def test_keys_are_not_slowed_down_by_any_subject() -> None:
    for subject in ("Re: " * 5_000, "[" * 5_000, "[a] " * 5_000, "aw" * 5_000, "r:" * 5_000 + "[", " " * 5_000):
        assert isinstance(threads.thread_subject(subject), str)


def key_count() -> Script[int]:
    [(count,)] = yield sql("SELECT count(*) FROM thread_key")
    return int(count)


async def collect(store: Store) -> int:
    """Garbage of a whole day: every account has had its turn."""
    return sum([(await gc.collect_garbage(store, Millis(hour * 3_600_000))).threads for hour in range(24)])


async def test_keys_go_with_the_last_email_of_their_thread(store: Store) -> None:
    box = await inbox(store)
    await store.run(emails.add, box, [new_email(store, message(1, "a")), new_email(store, message(2, "Re: a", 1))])
    await store.run(emails.add, box, [new_email(store, message(3, "b", 9))])
    assert await store.read(key_count) == 4
    for uid, left in ((1, 4), (3, 2), (2, 0)):  # the first of a thread may go before the others
        await store.run(emails.store_flags, box, ((uid, uid),), FlagChange(Mode.ADD, 16))
        await store.run(emails.expunge, box)
        before = await store.read(key_count)
        assert await collect(store) == before - left
        assert await store.read(key_count) == left
    await store.run(emails.add, box, [new_email(store, message(4, "Re: a", 1))])


async def test_a_thread_outlives_its_first_email(store: Store) -> None:
    box = await inbox(store)
    await store.run(emails.add, box, [new_email(store, message(1, "a")), new_email(store, message(2, "Re: a", 1))])
    [(_, thread), _] = await store.read(emails.fetch, box, ALL, [Column.THREAD])
    await store.run(emails.store_flags, box, ((1, 1),), FlagChange(Mode.ADD, 16))
    await store.run(emails.expunge, box)
    await collect(store)
    await store.run(emails.add, box, [new_email(store, message(3, "Re: a", 1))])
    assert [row[1] for row in await store.read(emails.fetch, box, ALL, [Column.THREAD])] == [thread, thread]


async def test_the_sweep_goes_on_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SWEEP_KEYS", 2)
    box = await inbox(store)
    await store.run(emails.add, box, [new_email(store, message(n, f"s{n}")) for n in range(7)])
    await store.run(emails.store_flags, box, ((1, 3), (5, 7)), FlagChange(Mode.ADD, 16))
    await store.run(emails.expunge, box)
    assert (await collect(store), await store.read(key_count)) == (6, 1)


async def inbox(store: Store) -> Box:
    """Anna's."""
    row = await store.read(mailboxes.find, AccountId(1), "INBOX")
    assert row is not None
    return row.box
