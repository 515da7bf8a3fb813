"""TLS reports are sent when their day is over: by mail, or by HTTPS, as the domain asks (RFC 8460 §3, §5).

Each worker looks from time to time; which of them sends a report is decided by a lease in the store.
"""

import asyncio
import gzip
import logging
import secrets
from base64 import encodebytes
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlsplit

from posthouse.mail import compose
from posthouse.mail.address import Address, ForwardPath, ReversePath, parse_address, parse_domain
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import Millis, Trail
from posthouse.net.https import Https, Request, Response, exchange
from posthouse.store import tlsreports
from posthouse.store.script import Script, StoreError
from posthouse.store.tlsmemory import DAY
from posthouse.transport.bounce import Letter
from posthouse.transport.house import House
from posthouse.transport.letter import Ready, make_ready, take_letter
from posthouse.transport.tlscount import counted
from posthouse.trust import reports
from posthouse.trust.reports import Report, mail_address, report_uris

LOOK_SECONDS = 900.0  # between two looks for reports that are due
AT_ONCE = 500  # reports of one look
SPREAD = 4 * 3_600_000  # milliseconds after midnight within which reports leave (RFC 8460 §4.1)
TRY_AGAIN = 3_600_000  # milliseconds after a failure that may pass
TOO_LATE = 2  # days after which nobody is told any more
ANSWER = 4_096  # octets of an answer to a report
RECORD = "_smtp._tls"  # RFC 8460 §3

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """A report in its forms. `name` is its file name (RFC 8460 §5.1)."""

    domain: str
    report: Report
    packed: bytes
    name: str


async def keep_reporting(house: House, https: Https) -> None:
    """Look from time to time, and send what is due."""
    while True:
        await asyncio.sleep(LOOK_SECONDS * (0.5 + secrets.randbelow(1_000) / 1_000))
        try:
            await send_due(house, https)
        except StoreError as error:
            log.warning("TLS reports were not sent: %s", error)


async def send_due(house: House, https: Https) -> None:
    """Send the reports of days that are over, one after the other. Raises StoreError."""
    for _ in range(AT_ONCE):  # one after the other: nobody waits for them
        now = house.clock()
        found = await house.store.run(tlsreports.take_next, now // DAY, now)
        if found is None:
            return
        day, domain = found
        due = Millis((day + 1) * DAY + _spread(domain))
        if now < due:
            await house.store.run(tlsreports.wait, day, domain, due)
            continue
        if not await _send(day, domain, house, https):
            await house.store.run(tlsreports.wait, day, domain, Millis(now + TRY_AGAIN))


def _spread(domain: str) -> int:
    """When after midnight: another time for each domain, the same for all workers (RFC 8460 §4.1)."""
    return int.from_bytes(sha256(domain.encode()).digest()[:4], "big") * SPREAD >> 32


async def _send(day: int, domain: str, house: House, https: Https) -> bool:
    """Whether it is settled: sent, or nobody wants it."""
    if house.clock() // DAY > day + TOO_LATE:
        await house.store.run(tlsreports.done, day, domain)
        return True
    answer = await https.resolver.txt(f"{RECORD}.{domain}")
    if answer.temporary:
        return False
    uris = report_uris(answer.records)
    if not uris:
        await house.store.run(tlsreports.done, day, domain)
        return True
    made = await _make(day, domain, house)
    letters = [ready for uri in uris if (ready := await _letter(uri, made, house)) is not None]
    posted = await _post(uris, made, https)
    if not letters and not posted:
        return False
    await house.store.run(_settle, day, domain, tuple(letters))
    log.info("a TLS report was sent", extra={"domain": domain, "report": made.report.id, "to": list(uris)})
    return True


def _settle(day: int, domain: str, letters: tuple[Ready, ...]) -> Script[None]:
    for letter in letters:
        yield from take_letter(letter)
    yield from tlsreports.done(day, domain)


async def _make(day: int, domain: str, house: House) -> Made:
    rows = await house.store.read(tlsreports.sessions, day, domain)
    start, end = day * 86_400, (day + 1) * 86_400 - 1
    token = sha256(f"{day} {domain} {house.hostname}".encode()).hexdigest()[:16]
    report = Report(
        house.hostname,
        f"postmaster@{house.hostname}",
        f"{_moment(start)[:10]}-{token}@{house.hostname}",
        _moment(start),
        _moment(end),
        tuple(map(counted, rows)),
    )
    packed = await asyncio.to_thread(gzip.compress, reports.printed(report), mtime=0)
    # RFC 8460 §5.1   filename = sender "!" policy-domain "!" begin-timestamp "!" end-timestamp "." extension
    return Made(domain, report, packed, f"{house.hostname}!{domain}!{start}!{end}.json.gz")


def _moment(seconds: int) -> str:
    """date-time of RFC 3339 §5.6."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _letter(uri: str, made: Made, house: House) -> Ready | None:
    """The report as a mail, ready for the queue; None where the URI names no address."""
    address = parse_address(mail_address(uri) or "")
    domain = parse_domain(house.hostname)
    if address is None or domain is None:
        return None
    sender = Address("postmaster", domain)
    # The null reverse-path: a report that cannot be delivered brings nothing back. It is delivered despite any failure
    # of TLS (RFC 8460 §3), which it may be about.
    envelope = Envelope(ReversePath(), (Recipient(ForwardPath(address), frozenset()),), tls_optional=True)
    octets = print_letter(made, sender, address, house.clock())
    return await make_ready(Letter(envelope, octets), Trail(secrets.token_hex(8)), house)


def print_letter(made: Made, sender: Address, address: Address, now: Millis) -> bytes:
    """A message of type multipart/report with the packed report (RFC 8460 §5.3)."""
    report = made.report
    subject = f"Report Domain: {made.domain} Submitter: {report.organization} Report-ID: <{report.id}>"
    text = (
        f"This is a report of the mail server {report.organization} about TLS in its mail to {made.domain},\n"
        f"from {report.start} to {report.end}. The part below is JSON, packed with gzip (RFC 8460).\n"
    )
    quoted = [f'filename="{made.name}"']
    attached = compose.part(
        "application/tlsrpt+gzip",
        encodebytes(made.packed).replace(b"\n", b"\r\n"),
        [
            compose.structured("Content-Transfer-Encoding", ["base64"]),
            compose.structured("Content-Disposition", ["attachment;", *quoted]),
        ],
    )
    fields = [
        compose.structured("From", [compose.mailbox(sender)]),
        compose.structured("To", [compose.mailbox(address)]),
        compose.structured("Subject", subject.split(" ")),
        compose.structured("TLS-Report-Domain", [made.domain]),
        compose.structured("TLS-Report-Submitter", [report.organization]),
        compose.structured("TLS-Required", ["No"]),  # RFC 8689 §3
        compose.written_by_machine(now, report.id.replace("@", f".{now}@"), "auto-generated"),
    ]
    body = compose.multipart("report", [compose.text_part(text), attached], ['report-type="tlsrpt"'])
    return b"".join(fields) + body


async def _post(uris: Sequence[str], made: Made, https: Https) -> bool:
    """Whether some HTTPS server has taken it (RFC 8460 §5.4)."""
    taken = False
    for uri in uris:  # one after the other: there are few
        request = _request(uri, made)
        if request is None:
            continue
        answer = await exchange(request, https)
        if isinstance(answer, Response) and 200 <= answer.status < 300:
            taken = True
        else:
            reason = answer if isinstance(answer, str) else f"HTTP status {answer.status}"
            log.info("a TLS report was not taken", extra={"domain": made.domain, "uri": uri, "reason": reason})
    return taken


def _request(uri: str, made: Made) -> Request | None:
    """The POST that hands it over. Only the usual port: an URI of a stranger chooses no other (limits.md, S19)."""
    try:
        parts = urlsplit(uri)
        usual = parts.scheme.lower() == "https" and parts.port in (None, 443) and parts.username is None
    except ValueError:
        return None
    if not usual or not parts.hostname or parse_domain(parts.hostname) is None:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Request(parts.hostname, target, ANSWER, made.packed, {"Content-Type": "application/tlsrpt+gzip"})
