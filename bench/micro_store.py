"""What the store's verbs cost, without any protocol: `python bench/micro_store.py [messages]`.

CPU is that of the whole process (event loop, writer and readers); times in milliseconds unless said otherwise.
"""

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import Millis, ModSeq
from posthouse.mail.keyword import DELETED_BIT, FLAGGED_BIT, SEEN_BIT
from posthouse.mail.structure import Description, describe
from posthouse.mail.summary import summarize
from posthouse.store import accounts, emails, gc, mailboxes, search
from posthouse.store.accounts import Credential, ScramSecret
from posthouse.store.emails import ALL, Column, FlagChange, Mode, NewEmail
from posthouse.store.mailboxes import Box
from posthouse.store.store import Store

CREDENTIAL = Credential("$argon2id$", ScramSecret(b"salt", 4096, b"s", b"s"))
WORDS = b"lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore".split()
LIST = [Column.FLAGS, Column.KEYWORDS, Column.MODSEQ, Column.RECEIVED, Column.SIZE, Column.ENVELOPE, Column.STRUCTURE]


def message(number: int, size: int) -> bytes:
    """Text that compresses about as real text does, unlike every other."""
    head = (
        b"Received: from a.example ([192.0.2.1]) by home.test with ESMTPS id %08x; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
        b"From: Jose <jose%d@example.org>\r\nTo: anna@home.test\r\nSubject: invoice %d\r\n"
        b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <%d.%d@example.org>\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    ) % (number, number % 997, number, number, number * 7919)
    state, line, pieces, have = number * 2654435761 + 1, [], [head], len(head)
    while have < size:
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        line.append(WORDS[(state >> 8) % len(WORDS)] if state & 3 else b"%x" % state)
        if len(line) == 10:
            pieces.append(b" ".join(line) + b"\r\n")
            have += len(pieces[-1])
            line = []
    return b"".join(pieces)


async def prepare(store: Store, octets: bytes, description: Description | None = None) -> NewEmail:
    """What the transport does with a message."""
    description = description or describe(octets)
    blob = await store.blobs.put(octets)
    header, received = octets[: description.header_size], Millis(1_704_067_200_000)
    return NewEmail(blob, description, header, received, summarize(header, received))


async def deliveries(store: Store, box: Box, callers: int, size: int) -> None:
    """`callers` deliver one message each again and again, as SMTP sessions do."""
    total = 4_000
    texts = iter([message(callers * 1_000_000 + size + i, size) for i in range(total)])
    description = describe(message(1, size))
    waits: list[float] = []

    async def caller() -> None:
        for octets in texts:
            begun = time.perf_counter()
            await store.run(emails.deliver, [(box, await prepare(store, octets, description))])
            waits.append(time.perf_counter() - begun)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    waits.sort()
    print(
        f"deliver {size} octets, {callers:3} callers: {total / wall:7.0f}/s, CPU {cpu / total * 1000:.3f} a message,"
        f" wait p50 {statistics.median(waits) * 1000:.2f} p99 {waits[int(total * 0.99)] * 1000:.2f}"
    )


async def measure(name: str, work: Callable[[], Awaitable[object]], times: int = 3) -> None:
    """Print the median of several runs."""
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    print(f"{name:62} {statistics.median(walls):8.2f} wall {statistics.median(cpus):8.2f} CPU")


async def fill(store: Store, box: Box, count: int) -> None:
    """A large mailbox: in scripts of 500."""
    wall, cpu = time.perf_counter(), time.process_time()
    for first in range(0, count, 500):
        news = [await prepare(store, message(first + i, 3_000)) for i in range(500)]
        await store.run(emails.add, box, news)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"append {count} of 3 KB by 500, with describe(): {count / wall:.0f}/s, CPU {cpu / count * 1000:.3f} each")


async def large(store: Store, box: Box, count: int) -> None:
    """The operations on a mailbox of `count` messages."""
    account = box.account

    async def everything() -> None:
        first = 1
        while rows := await store.read(emails.fetch, box, ((first, 0xFFFFFFFF),), LIST, 500):
            first = rows[-1][0] + 1

    async def alternate(change: Callable[[Mode], FlagChange]) -> None:
        for mode in (Mode.ADD, Mode.REMOVE):
            await store.run(emails.store_flags, box, ALL, change(mode))

    row = await store.read(mailboxes.get, box)
    await measure("SELECT's row", lambda: store.read(mailboxes.get, box), 50)
    await measure("uids as array", lambda: store.read(emails.uids, box))
    await measure("flags of all", lambda: store.read(emails.flags, box, ALL))
    await measure("FETCH all, list columns, by 500", everything)
    await measure("STORE 1:* + and - \\Flagged", lambda: alternate(lambda mode: FlagChange(mode, FLAGGED_BIT)))
    await measure("STORE 1:* + and - keyword", lambda: alternate(lambda mode: FlagChange(mode, 0, ("work",))))
    await measure("STORE of one", lambda: alternate_one(store, box), 20)
    await measure("search UNSEEN", lambda: store.read(search.by_flags, box, search.Flagged(0, SEEN_BIT)))
    await measure("search by INTERNALDATE", lambda: store.read(search.by_received, box, search.Range(0)))
    await measure("changes, nothing", lambda: store.read(emails.changes, box, ModSeq(1 << 40), count + 1), 50)
    await measure("changes, all flags scanned", lambda: store.read(emails.changes, box, row.modseq, row.uidnext))
    other = (await store.run(mailboxes.create, account, "Other")).box
    tenth = ((1, count // 10),)
    await measure("COPY a tenth", lambda: store.run(emails.copy, box, tenth, other.mailbox, Millis(0)), 1)
    await measure("STORE of shared ones", lambda: store.run(emails.store_flags, box, tenth, FlagChange(Mode.ADD, 1)), 1)
    await measure("MOVE a tenth", lambda: store.run(emails.move, box, tenth, other.mailbox, Millis(0)), 1)
    await store.run(emails.store_flags, box, ((1, count // 5),), FlagChange(Mode.ADD, DELETED_BIT))
    await measure("EXPUNGE a tenth", lambda: store.run(emails.expunge, box), 1)
    keys = [row[1] for row in await store.read(emails.fetch, box, ALL, [Column.BLOB], 1000)]
    await measure("1,000 blobs in one read", lambda: store.blobs.get_many(keys))
    await measure("one blob", lambda: store.blobs.get(keys[0]), 50)
    await store.run(mailboxes.create, account, "Gone")
    gone = await store.read(mailboxes.find, account, "Gone")
    if gone is not None:
        await store.run(emails.move, box, ALL, gone.id, Millis(0))
    await measure(
        "DELETE the mailbox, as the client waits for it", lambda: store.run(mailboxes.delete, account, "Gone"), 1
    )
    await measure("  and its rows, by 1,000", lambda: gc.collect_garbage(store, Millis(0)), 1)


async def alternate_one(store: Store, box: Box) -> None:
    """A flag on and off again: two commits."""
    for mode in (Mode.ADD, Mode.REMOVE):
        await store.run(emails.store_flags, box, ((7, 7),), FlagChange(mode, FLAGGED_BIT))


async def main() -> None:
    """Everything, in a directory of its own."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    directory = Path(tempfile.mkdtemp(prefix="posthouse-bench-"))
    store = await Store.open(directory)
    try:
        await store.run(accounts.add_domain, Domain("home.test"))
        account = await store.run(accounts.add_account, Address("anna", Domain("home.test")), CREDENTIAL)
        inbox = await store.read(mailboxes.find, account, "INBOX")
        if inbox is None:
            raise SystemExit("the account has no INBOX")
        for callers, size in ((1, 4_000), (10, 4_000), (50, 4_000), (10, 50_000)):
            await deliveries(store, inbox.box, callers, size)
        large_box = (await store.run(mailboxes.create, account, "Large")).box
        await fill(store, large_box, count)
        await large(store, large_box, count)
    finally:
        await store.close()
        shutil.rmtree(directory)


if __name__ == "__main__":
    uvloop.run(main())
