"""Notices of non-delivery that come in: whether they are about mail that was sent from here (decision 0087).

Spam in the name of a user here brings that user the bounces. A notice brings back the header of the message that it is
about; what left this server is in the journal, by the id in our Received field and by Message-ID. A notice about
something else is forged, or answers a forgery: it is filed as junk, refused, or taken as any mail.
"""

import asyncio
import re
from enum import Enum

import msgspec

from posthouse.mail.dsn import Report, read_report
from posthouse.mail.header import first, message_ids
from posthouse.mail.ids import Millis
from posthouse.mail.status import reply
from posthouse.store import journal
from posthouse.store.journal import Told
from posthouse.store.script import Script
from posthouse.transport.accept import DESCRIBED_ON_LOOP
from posthouse.transport.house import ForgedNotices, House
from posthouse.transport.journey import message_id_key, trail_key
from posthouse.transport.keep import Incoming

YOUNG = 7 * 24 * 3_600_000  # milliseconds: what was sent earlier may still bounce, and a younger journal cannot know it
LOOKED_AT = 20  # entries of one message: it was taken once, and tried a few times
IDS = 20  # Received fields of ours that are looked for

FORGED = reply(550, "5.7.1", "This notice is about a message that was not sent from here")


class Verdict(Enum):
    """What is done with a message that says that another could not be delivered."""

    TAKE = "take"
    JUNK = "junk"
    REFUSE = "refuse"


_POLICY = {
    ForgedNotices.ACCEPT: Verdict.TAKE,
    ForgedNotices.JUNK: Verdict.JUNK,
    ForgedNotices.REFUSE: Verdict.REFUSE,
}


async def judge(mail: Incoming, house: House) -> Verdict:
    """What is done with this message, if it is a notice. Raises Unavailable."""
    if house.forged_notices is ForgedNotices.ACCEPT or mail.envelope.sender.address is not None or mail.client.login:
        return Verdict.TAKE
    if not any(way.accounts for way in mail.leads):  # what SRS leads back has its own proof
        return Verdict.TAKE
    large = len(mail.octets) > DESCRIBED_ON_LOOP
    report = await asyncio.to_thread(read_report, mail.octets) if large else read_report(mail.octets)
    if report is None:
        return Verdict.TAKE
    keys = _keys(report, house.hostname)
    if not keys:  # nothing to know it by
        return Verdict.TAKE
    recipients = frozenset(str(each.path).lower() for each in mail.envelope.recipients)
    known = await house.store.read(sent_from_here, keys, recipients, house.clock(), report.status.arrival)
    return Verdict.TAKE if known else _POLICY[house.forged_notices]


def _keys(report: Report, hostname: str) -> tuple[int, ...]:
    """Of the message that the notice is about."""
    ours = rb"\bby %b \(Posthouse\) with \w{4,12} id ([0-9a-f]{16})\b" % re.escape(hostname.encode("utf-8"))
    found = re.findall(ours, report.returned, re.IGNORECASE)[:IDS]
    trails = [trail.decode("ascii") for trail in found]
    value = first(report.returned, b"message-id")
    ids = message_ids(value)[:1] if value else []
    return (*map(trail_key, trails), *map(message_id_key, ids))


def sent_from_here(
    keys: tuple[int, ...], recipients: frozenset[str], now: Millis, arrived: Millis | None
) -> Script[bool]:
    """Whether a message with one of these keys was taken from one of these people; True where the journal does not go
    back far enough to tell."""
    oldest = yield from journal.oldest()
    if oldest is None or oldest > now - YOUNG or (arrived is not None and arrived < oldest):
        return True
    told = yield from journal.find(keys, Millis(0), now, LOOKED_AT)
    return any(_sender(entry) in recipients for entry in told if entry.kind == "taken")


def _sender(entry: Told) -> str:
    story = msgspec.json.decode(entry.story)
    return str(story.get("from", "")).lower()
