"""Warnings to users whose mailboxes fill up: one mail at each percentage of the settings, such as 80 and 95.

One worker looks at all users from time to time. What a user was told of is a number in the row of the account, written
in the transaction that keeps the letter: so each is told once, whatever crashes, and again only after there was less
than that. The letter is let in whatever the quota says (decision 0097).
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from secrets import token_hex
from textwrap import fill

from posthouse.mail import compose
from posthouse.mail.address import Address, Domain, ReversePath, parse_domain
from posthouse.mail.envelope import Envelope
from posthouse.mail.ids import AccountId, Millis, Trail
from posthouse.mail.size import counted, in_words
from posthouse.store import quota
from posthouse.store.quota import Account, Quota
from posthouse.store.script import Script, StoreError
from posthouse.transport import journey
from posthouse.transport.accept import prepare
from posthouse.transport.house import House, QuotaPolicy
from posthouse.transport.letter import Ready, take_letter
from posthouse.transport.trace import return_path

LOOK_SECONDS = 60.0  # between two looks at everybody
AT_ONCE = 500  # users of one question
WIDTH = 76  # characters of a line
NAMED = 5  # mailboxes that a letter names

log = logging.getLogger(__name__)


async def keep_warning(house: House) -> None:
    """Look from time to time, as long as the worker lives."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await warn_everybody(house)
        except (StoreError, OSError) as error:
            log.warning("users could not be warned of full mailboxes: %s", error)


async def warn_everybody(house: House) -> int:
    """Tell everyone who has passed a percentage since the last look; how many. Raises StoreError, OSError."""
    told, after, policy = 0, AccountId(0), house.quota
    lowest = min(policy.warnings, default=0)
    while lowest and (some := await house.store.read(quota.concerned, policy.rules, lowest, after, AT_ONCE)):
        for user in some:  # one after the other: few have news
            told += await _warn(user, house)
        after = some[-1].id
    return told


def level_of(root: Quota, policy: QuotaPolicy) -> int:
    """The highest percentage of the settings that is reached; 0 for none."""
    return max((percent for percent in policy.warnings if root.percent >= percent), default=0)


async def _warn(user: Account, house: House) -> bool:
    level = level_of(user.quota, house.quota)
    if level == user.warned:
        return False
    if level < user.warned:
        await house.store.run(_calm, user.id, house.quota)
        return False
    largest = await house.store.read(quota.largest, user.id, NAMED)
    now = house.clock()
    # As any notice that is delivered here: nobody to answer to (RFC 5321 §4.4, §4.5.5).
    octets = return_path(Envelope(ReversePath(), ())) + print_warning(user, largest, house.hostname, now)
    tell = partial(journey.confirmed, now, Trail(token_hex(8)), str(user.address))
    ready = Ready(await prepare(house.store, octets, now), (user.id,), None, tell)
    told = await house.store.run(_tell, (user.id, level), house.quota, ready)
    if told:
        log.info("a user was warned of a full mailbox", extra={"user": str(user.address), "percent": level})
    return told


def _tell(what: tuple[AccountId, int], policy: QuotaPolicy, letter: Ready) -> Script[bool]:
    """Keep the letter and that it was told, unless somebody told it, or there is room again."""
    account, level = what
    found = yield from quota.warned(account, policy.rules)
    if found is None or found[0] >= level or level_of(found[1], policy) < level:
        return False
    yield from take_letter(letter)
    yield from quota.set_warned(account, level)
    return True


def _calm(account: AccountId, policy: QuotaPolicy) -> Script[None]:
    """There is room again: what is passed from now on is told again."""
    found = yield from quota.warned(account, policy.rules)
    if found is not None:
        yield from quota.set_warned(account, min(found[0], level_of(found[1], policy)))


def print_warning(user: Account, largest: Sequence[tuple[str, int, int]], hostname: str, now: Millis) -> bytes:
    """The letter: how full it is, what takes the room, what can be done."""
    percent = user.quota.percent
    utf8 = not user.address.ascii
    sender = Address("postmaster", parse_domain(hostname) or Domain(hostname))
    fields = [
        compose.structured("From", [compose.mailbox(sender, "Mail server")]),
        compose.structured("To", [compose.mailbox(user.address, utf8=utf8)]),
        compose.field("Subject", f"Your mailbox is {percent} % full"),
        compose.written_by_machine(now, f"quota.{user.id}.{percent}.{now}@{hostname}", "auto-generated"),
    ]
    return b"".join(fields) + compose.text_part(_text(user, largest, hostname))


def _text(user: Account, largest: Sequence[tuple[str, int, int]], hostname: str) -> str:
    rows = [f"  {name}: {in_words(octets)} in {counted(count, 'message')}" for name, octets, count in largest]
    state = f"Your mailbox {user.address} is {user.quota.percent} % full: {_how_much(user.quota)}."
    pieces = [
        f"This is the mail server {hostname}.",
        fill(f"{state} When it is full, mail to you is refused, and whoever wrote it is told so.", WIDTH),
        "These folders take most of the room:\n\n" + "\n".join(rows),
        "What you can do:\n\n"
        "  Empty the Trash and the Junk folder; what lies there counts, too.\n"
        "  Delete large messages you do not need any more, or save their attachments\n"
        "  on your own computer first. Most mail programs can sort by size.\n"
        '  What your program only marks as deleted must be expunged ("compact").\n'
        f"  If you need more room, ask whoever runs this server:\n  postmaster@{hostname}",
        fill("You get this message once; it comes again only after there was room meanwhile.", WIDTH),
    ]
    return "\n\n".join(pieces) + "\n"


def _how_much(root: Quota) -> str:
    used, most = root.usage, root.limits
    said = []
    if most.octets is not None:
        said.append(f"{in_words(used.octets)} of {in_words(most.octets)}")
    if most.messages is not None:
        said.append(f"{used.messages:,} of {counted(most.messages, 'message')}")
    return ", and ".join(said)
