"""How much a user sends: messages in an hour, recipients and new recipients in a day (limits.md).

A user whose password was stolen sends spam until somebody notices; these limits bound it. They are rows, so that they
hold over all workers and every restart, and are counted in the transaction that keeps the message, so that none is
counted that was not sent, and none sent that was not counted. Time is counted in slots of ten minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from posthouse.mail.ids import AccountId, Millis
from posthouse.store.incoming import insert_rows
from posthouse.store.script import Row, Script, sql

SLOT = 600_000  # milliseconds: what was sent is forgotten at most so much late
HOUR_SLOTS, DAY_SLOTS = 7, 145  # an hour and a day, and the slot that has begun
SLOTS_A_DAY = 144
REMEMBERED_DAYS = 400  # whom a user wrote to last year is no new recipient
ASKED_AT_ONCE = 100  # recipients looked for with one statement


class Bound(Enum):
    """What there was too much of."""

    MESSAGES = "messages"
    RECIPIENTS = "recipients"
    FIRSTS = "new recipients"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one user may send: messages in an hour, recipients and new recipients in a day."""

    messages_hour: int = 200
    recipients_day: int = 2_000
    first_recipients_day: int = 500


@dataclass(frozen=True, slots=True)
class Charge:
    """A message that a user wants to send at this moment."""

    account: AccountId
    at: Millis
    recipients: tuple[str, ...]
    allowance: Allowance


@dataclass(frozen=True, slots=True)
class TooMuch:
    """It is more than the user may. `again`: when it is possible; None: never, it is too much for any day."""

    bound: Bound
    most: int
    again: Millis | None


def charge(asked: Charge) -> Script[TooMuch | None]:
    """Count the message, or say why it must wait; then nothing is written."""
    slot, allowed = asked.at // SLOT, asked.allowance
    known = yield from _known(asked.account, [_digest(path) for path in asked.recipients])
    firsts = [digest for digest in dict.fromkeys(map(_digest, asked.recipients)) if digest not in known]
    [(messages, recipients, new, last)] = yield sql(
        "SELECT coalesce(sum(CASE WHEN slot > $2 THEN messages END), 0), coalesce(sum(recipients), 0),"
        " coalesce(sum(firsts), 0), max(slot) FROM sending WHERE account = $1 AND slot > $3",
        asked.account, slot - HOUR_SLOTS, slot - DAY_SLOTS,
    )  # fmt: skip
    wanted = (
        (Bound.MESSAGES, messages, 1, allowed.messages_hour),
        (Bound.RECIPIENTS, recipients, len(asked.recipients), allowed.recipients_day),
        (Bound.FIRSTS, new, len(firsts), allowed.first_recipients_day),
    )
    for bound, count, more, most in wanted:
        if count + more > most:
            return TooMuch(bound, most, (yield from _again(asked, bound, more, most)))
    yield from _write(asked, slot, firsts)
    if last is None or last // SLOTS_A_DAY != slot // SLOTS_A_DAY:
        yield from _tidy(asked.account, slot)
    return None


def _digest(path: str) -> int:
    """An address without regard to case, as a number SQL can hold."""
    return int.from_bytes(blake2b(path.lower().encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1


def _known(account: AccountId, digests: Sequence[int]) -> Script[set[int]]:
    """Whom of these the user has written to."""
    found: set[int] = set()
    for first in range(0, len(digests), ASKED_AT_ONCE):
        some = digests[first : first + ASKED_AT_ONCE]
        filled = some if len(some) == 1 else (*some, *[some[-1]] * (ASKED_AT_ONCE - len(some)))  # two texts to prepare
        marks = ", ".join(f"${number}" for number in range(2, 2 + len(filled)))
        rows = yield sql(
            f"SELECT address FROM written_to WHERE account = $1 AND address IN ({marks})", account, *filled
        )
        found.update(address for (address,) in rows)
    return found


def _write(asked: Charge, slot: int, firsts: Sequence[int]) -> Script[None]:
    yield sql(
        "INSERT INTO sending VALUES ($1, $2, 1, $3, $4) ON CONFLICT (account, slot) DO UPDATE SET"
        " messages = messages + 1, recipients = recipients + $3, firsts = firsts + $4",
        asked.account, slot, len(asked.recipients), len(firsts),
    )  # fmt: skip
    day = slot // SLOTS_A_DAY
    yield from insert_rows("written_to (account, address, day)", [(asked.account, digest, day) for digest in firsts])


def _tidy(account: AccountId, slot: int) -> Script[None]:
    """Once a day: forget what counts no more."""
    yield sql("DELETE FROM sending WHERE account = $1 AND slot <= $2", account, slot - DAY_SLOTS)
    yield sql("DELETE FROM written_to WHERE account = $1 AND day < $2", account, slot // SLOTS_A_DAY - REMEMBERED_DAYS)


def _again(asked: Charge, bound: Bound, more: int, most: int) -> Script[Millis | None]:
    """When so much has left the window that there is room for `more`."""
    if more > most:
        return None
    slots = HOUR_SLOTS if bound is Bound.MESSAGES else DAY_SLOTS
    column = {Bound.MESSAGES: "messages", Bound.RECIPIENTS: "recipients", Bound.FIRSTS: "firsts"}[bound]
    rows: list[Row] = yield sql(
        f"SELECT slot, {column} FROM sending WHERE account = $1 AND slot > $2 ORDER BY slot",
        asked.account, asked.at // SLOT - slots,
    )  # fmt: skip
    left = sum(count for _, count in rows)
    for slot, count in rows:
        left -= count
        if left + more <= most:
            return Millis((slot + slots) * SLOT)
    return Millis(asked.at + SLOT)


def forget(account: AccountId) -> Script[None]:
    """The user is removed."""
    yield sql("DELETE FROM sending WHERE account = $1", account)
    yield sql("DELETE FROM written_to WHERE account = $1", account)
