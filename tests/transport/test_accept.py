"""transport/accept.py: the one door into the store."""

import mmap
from pathlib import Path

import pytest

from household import ANNA, BEN, NOW, inbox
from mail.torture import small
from posthouse.mail.ids import AccountId, Millis
from posthouse.mail.keyword import SEEN_BIT
from posthouse.store import accounts, emails, mailboxes
from posthouse.store.emails import Column
from posthouse.store.mailboxes import Box
from posthouse.store.script import NotFound
from posthouse.store.store import Store
from posthouse.transport.accept import DESCRIBED_ON_LOOP, Arrived, accept, describe, prepare

MESSAGE = b"Subject: Hello\r\nFrom: ben@work.test\r\n\r\nHow are you?\r\n"


async def ids(store: Store) -> dict[str, AccountId]:
    return {str(row.address): row.id for row in await store.read(accounts.list_accounts)}


async def test_prepared_as_it_is(store: Store) -> None:
    email = await prepare(store, MESSAGE, NOW, SEEN_BIT, ("$label1",))
    assert email.header == MESSAGE[: MESSAGE.index(b"How")]
    assert email.description.header_size == len(email.header)
    assert email.description.envelope.startswith(b'(NIL "Hello" ')
    assert (email.received, email.flags, email.keywords) == (NOW, SEEN_BIT, ("$label1",))
    assert email.blob.size == len(MESSAGE)


async def test_a_large_message_in_a_file(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(MESSAGE + b"x" * 76 + b"\r\n" * DESCRIBED_ON_LOOP)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
        email = await prepare(store, octets, NOW)
        await store.run(accept, email, [(await ids(store))["anna@home.test"]])
    assert await inbox(store, ANNA) == [path.read_bytes()]


async def test_a_message_beyond_the_limits_of_mime_is_kept_whole_and_noted(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "posthouse.transport")
    octets = b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n\r\na\r\n" % (b"x" * 201, b"x" * 201)
    email = await prepare(store, octets, NOW)
    assert email.blob.size == len(octets)
    [line] = caplog.records
    assert line.getMessage() == "a message has parts beyond the limits; they are shown as one"
    assert line.__dict__["size"] == len(octets)


@pytest.mark.parametrize("large", [False, True], ids=["on the loop", "in a thread"])
async def test_many_are_described_as_each_alone(large: bool) -> None:
    torture = [octets for _, octets in small()]
    several = [Arrived(octets, Millis(NOW + number)) for number, octets in enumerate([MESSAGE, *torture])]
    several += [Arrived(MESSAGE + b"x" * DESCRIBED_ON_LOOP, NOW)] if large else []
    assert await describe(several) == [(await describe([one]))[0] for one in several]


async def test_once_for_each_account(store: Store) -> None:
    of = await ids(store)
    anna, ben = of["anna@home.test"], of["ben@work.test"]
    await store.run(accept, await prepare(store, MESSAGE, NOW), [ben, anna, ben, anna])
    assert await inbox(store, ANNA) == await inbox(store, BEN) == [MESSAGE]


async def test_all_or_nobody(store: Store) -> None:
    of = await ids(store)
    email = await prepare(store, MESSAGE, NOW)
    with pytest.raises(NotFound):
        await store.run(accept, email, [of["anna@home.test"], AccountId(999_999)])
    assert await inbox(store, ANNA) == []


async def test_new_mail_is_unseen_and_tells_whoever_watches(store: Store) -> None:
    anna = (await ids(store))["anna@home.test"]
    row = await store.read(mailboxes.find, anna, "INBOX")
    assert row is not None
    before = row.unseen
    await store.run(accept, await prepare(store, MESSAGE, NOW), [anna])
    after = await store.read(mailboxes.find, anna, "INBOX")
    assert after is not None
    assert (after.unseen, after.total) == (before + 1, row.total + 1)
    [(_, flags, received)] = await store.read(
        emails.fetch, Box(anna, after.id), emails.ALL, (Column.FLAGS, Column.RECEIVED)
    )
    assert (flags, received) == (0, NOW)
