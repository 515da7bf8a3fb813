"""Users and mail put straight into the store: a thousand accounts and a hundred thousand messages in seconds.

The octets are those that the harness's own imap_big would have sent by APPEND, so that both sides hold the same mail.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path

from posthouse.mail.address import Address, parse_address, parse_domain
from posthouse.mail.ids import Millis
from posthouse.mail.structure import describe
from posthouse.mail.summary import summarize
from posthouse.serve.passwords import make_credential
from posthouse.store import accounts, aliases, emails, mailboxes
from posthouse.store.accounts import Credential
from posthouse.store.emails import NewEmail
from posthouse.store.mailboxes import Box
from posthouse.store.script import Script
from posthouse.store.store import SyncStore, open_sync

PASSWORD = "secret"
BIG_USER, BIG_MAILBOX = "u0900@bench.test", "big"
SENDER, SENDERS = "bench@example.org", 100
BATCH = 500  # messages a transaction
DAY_ONE = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def address(text: str) -> Address:
    parsed = parse_address(text)
    assert parsed is not None, text
    return parsed


def add_all(credential: Credential, count: int) -> Script[None]:
    """u0001@bench.test and on. They share one credential: a hash for each would take minutes and measure nothing."""
    domain = parse_domain("bench.test")
    assert domain is not None
    yield from accounts.add_domain(domain)
    for number in range(1, count + 1):
        yield from accounts.add_account(address(f"u{number:04d}@bench.test"), credential)
    sender = address(SENDER)  # the load generator writes as this one, whoever logs in
    yield from accounts.add_domain(sender.domain)
    yield from aliases.add_alias(sender, [address(f"u{number:04d}@bench.test") for number in range(1, SENDERS + 1)])


def add_users(directory: Path, count: int) -> None:
    with open_sync(directory) as store:
        store.run(add_all, make_credential(PASSWORD), count)


def make_big(user: Address) -> Script[Box]:
    login = yield from accounts.find_login(user)
    assert login is not None, user
    row = yield from mailboxes.create(login.account, BIG_MAILBOX)
    return Box(login.account, row.id)


def fill_mailbox(directory: Path, files: Sequence[Path], count: int) -> None:
    messages = [file.read_bytes() for file in files]
    with open_sync(directory) as store:
        box = store.run(make_big, address(BIG_USER))
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            store.run(emails.add, box, [new_email(store, messages, number) for number in numbers])


def new_email(store: SyncStore, messages: list[bytes], number: int) -> NewEmail:
    octets = b"X-Bench-Seq: %d\r\n" % number + messages[number % len(messages)]
    description = describe(octets)
    header, arrival = octets[: description.header_size], received(number)
    return NewEmail(store.blobs.put_sync(octets), description, header, arrival, summarize(header, arrival))


def received(number: int) -> Millis:
    """The date that imap_big gives to the message of this number."""
    parts = {"days": number % 28, "hours": number // 3600 % 24, "minutes": number // 60 % 60, "seconds": number % 60}
    return Millis(int((DAY_ONE + datetime.timedelta(**parts)).timestamp() * 1000))
