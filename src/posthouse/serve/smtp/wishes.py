"""What a client may wish of its mail beside who gets it: which port offers what, what MAIL asks for (RFC 5321 §2.2).

Only what is obeyed is offered: DSN and DELIVERBY everywhere, REQUIRETLS under TLS (RFC 8689 §2), MT-PRIORITY to users
and to a server that is trusted (RFC 6710 §3), FUTURERELEASE and BURL to users alone (RFC 4865 §3, RFC 4468 §3.1).
"""

from posthouse.mail.dates import format_rfc3339
from posthouse.mail.envelope import DeliverBy, Envelope
from posthouse.mail.ids import Millis
from posthouse.mail.status import Reply, reply
from posthouse.serve.smtp.state import Session, Wishes
from posthouse.transport.house import SmtpRole, SubmissionRules
from posthouse.wire.smtp import command
from posthouse.wire.smtp.reply import Extensions

LEAST_BY = 60  # seconds of BY= with R that are promised (RFC 2852 §3): a first attempt and its time-outs take as long
HIGHEST_PRIORITY = 9  # RFC 6710 §5, of a server that is trusted

USERS = frozenset({SmtpRole.SUBMISSION, SmtpRole.SUBMISSIONS})

BY_TOO_SOON = reply(555, "5.5.4", f"BY= with R: this server promises nothing below {LEAST_BY} seconds")


def offers(talk: Session, *, login: bool) -> Extensions:
    """What EHLO announces to this client; `login`: AUTH is on offer."""
    house, users = talk.house, talk.role in USERS
    longest = house.submission.longest_hold
    until = format_rfc3339(Millis(house.clock() + longest * 1000), 0)
    return Extensions(
        size=house.limits.message_size,
        starttls=house.tls is not None and talk.client.tls is None,
        auth=talk.offer.mechanisms if login else (),
        dsn=house.dsn_for_strangers or talk.role is not SmtpRole.MX,
        require_tls=talk.client.tls is not None,
        priority=users or talk.client.lmtp,
        deliver_by=LEAST_BY,
        future_release=(longest, until) if users and house.leave else None,  # without a queue nothing is held back
        burl=("imap",) if users and talk.client.login is not None else () if users else None,
    )


def wished(mail: command.Mail, now: Millis, highest: int, rules: SubmissionRules) -> Wishes | Reply:
    """What MAIL asks for, as far as it is granted; the refusal of what cannot be. `highest` priority of this client."""
    release = _release(mail, now, rules)
    if isinstance(release, Reply):
        return release
    by = mail.by
    if by is not None and by.give_back and by.seconds < LEAST_BY:
        return BY_TOO_SOON
    asked = mail.priority or 0
    envelope = Envelope(
        mail.path,
        (),
        mail.body,
        mail.utf8,
        mail.ret,
        mail.envid,
        mail.require_tls,
        min(asked, highest),
        # What is held back begins its way when it is released.
        None if by is None else DeliverBy(max(now, release) + by.seconds * 1000, by.give_back, by.trace),
    )
    return Wishes(envelope, release, asked > highest)


def _release(mail: command.Mail, now: Millis, rules: SubmissionRules) -> int | Reply:
    """The moment of HOLDFOR or HOLDUNTIL (RFC 4865 §4); 0 where none is, or it is over already."""
    held = None if mail.hold_for is None else now + mail.hold_for * 1000
    release = held or mail.hold_until or 0
    if release > now + rules.longest_hold * 1000:
        return reply(501, "5.5.4", f"This server holds mail back for {rules.longest_hold} seconds at most")
    return release if release > now else 0


def highest_priority(talk: Session) -> int:
    """The highest MT-PRIORITY that this client may give (RFC 6710 §4.1)."""
    return talk.house.submission.highest_priority if talk.client.login is not None else HIGHEST_PRIORITY


def lowered(priority: int) -> Reply:
    """The answer to MAIL whose priority was lowered (RFC 6710 §4.1)."""
    return reply(250, "2.3.6", f"{priority} is the priority of this message: you may not ask for more")
