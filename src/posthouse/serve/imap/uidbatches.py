"""UIDBATCHES (RFC 10022): ranges of UIDs with so many messages each, from the newest down.

They are read off the column of uids, a look a batch, so nobody is asked to wait before asking again (§3.1.1), and no
mailbox is too large (§3.1.7). The ranges meet: what lies between two messages belongs to the newer batch, and the last
range ends at 1, so that the client sees that it is the last (§3.1.4).
"""

from array import array

from posthouse.serve.imap.state import Session
from posthouse.wire.imap.response import Printed, StatusResponse, no, ok
from posthouse.wire.imap.uidbatches import TOOFEW, UidBatches, print_uidbatches

SMALLEST = 500  # messages of a batch (RFC 10022 §3.1.3.2); each batch costs a dozen octets of answer


async def uidbatches(session: Session, command: UidBatches) -> StatusResponse:
    """RFC 10022 §3.1."""
    if command.size < SMALLEST:
        return no(command.tag, f"Ask for batches of at least {SMALLEST} messages.", TOOFEW)
    view = await session.load()
    session.say(Printed(print_uidbatches(command.tag, batches(view.column, command.size, command.wanted))))
    return ok(command.tag, "UIDBATCHES completed.")


def batches(column: "array[int]", size: int, wanted: tuple[int, int] | None) -> list[tuple[int, int]]:
    """(highest, lowest) UID of each batch that there is among those wanted, from the newest down."""
    there = -(-len(column) // size)
    first, last = wanted or (1, there)
    found = []
    for batch in range(first, min(last, there) + 1):
        start = len(column) - batch * size  # place of its oldest message
        highest = column[-1] if batch == 1 else column[start + size] - 1
        found.append((highest, column[start] if start > 0 else 1))
    return found
