"""Response codes: the part of a status response that programs read (RFC 9051 §7.1, RFC 5530, RFC 4315).

Those without an argument are constants, the others functions that print one. Both are the octets between the brackets.
Which code belongs to which fault is not said here: that is for the sessions.
"""

import re
from collections.abc import Iterable, Sequence

from posthouse.mail.ids import MAILBOX_LETTER, MailboxId
from posthouse.wire.imap.fetch_response import ALL_FLAGS, print_flag_list
from posthouse.wire.imap.number_set import print_numbers

URL_SHOWN = 8_192  # octets of a URL that BADURL repeats; one that can be used is no longer (url.py)

ALREADYEXISTS = b"ALREADYEXISTS"
AUTHENTICATIONFAILED = b"AUTHENTICATIONFAILED"
CANNOT = b"CANNOT"
CLOSED = b"CLOSED"
COMPRESSIONACTIVE = b"COMPRESSIONACTIVE"
EXPUNGEISSUED = b"EXPUNGEISSUED"
LIMIT = b"LIMIT"
METADATA_TOOMANY = b"METADATA TOOMANY"
NONEXISTENT = b"NONEXISTENT"
NOPERM = b"NOPERM"
NOTIFICATIONOVERFLOW = b"NOTIFICATIONOVERFLOW"
OVERQUOTA = b"OVERQUOTA"
PRIVACYREQUIRED = b"PRIVACYREQUIRED"
READ_ONLY = b"READ-ONLY"
READ_WRITE = b"READ-WRITE"
SERVERBUG = b"SERVERBUG"
TOOBIG = b"TOOBIG"
TRYCREATE = b"TRYCREATE"
UNAVAILABLE = b"UNAVAILABLE"
UNKNOWN_CTE = b"UNKNOWN-CTE"
USEATTR = b"USEATTR"

# RFC 4469 §5   url-resp-text = 1*<any TEXT-CHAR except "]">; here it stands between quotes as in its example 4
_NOT_IN_BADURL = re.compile(rb'[^\x20-\x7e]|["\\\]]')


def badurl(url: bytes) -> bytes:
    """BADURL (RFC 4469 §4.1): the URL, with what a response code may not hold percent-encoded."""
    return b'BADURL "%b"' % _NOT_IN_BADURL.sub(lambda found: b"%%%02X" % found[0][0], url[:URL_SHOWN])


def capability(names: Iterable[str]) -> bytes:
    """CAPABILITY (RFC 9051 §7.1)."""
    return b"CAPABILITY " + " ".join(names).encode("ascii")


def permanentflags(keywords: Iterable[str] | None = (), bits: int = ALL_FLAGS) -> bytes:
    """PERMANENTFLAGS: these system flags, these keywords, which FLAGS named too, and `\\*`: new keywords may be made
    (RFC 9051 §7.1). Keywords of None cannot be changed (RFC 4314 §5.1.1)."""
    if keywords is None:
        return b"PERMANENTFLAGS " + print_flag_list(bits & ALL_FLAGS, "")
    return b"PERMANENTFLAGS (%b)" % b" ".join(
        filter(None, (print_flag_list(bits & ALL_FLAGS, " ".join(keywords))[1:-1], rb"\*"))
    )


#: PERMANENTFLAGS of a mailbox opened read-only: none (RFC 9051 §6.3.3).
NO_PERMANENTFLAGS = b"PERMANENTFLAGS ()"


def mailboxid(mailbox: MailboxId) -> bytes:
    """MAILBOXID (RFC 8474 §4.1, §4.2)."""
    return b"MAILBOXID (%b%d)" % (MAILBOX_LETTER.encode("ascii"), mailbox)


def inprogress(tag: bytes) -> bytes:
    """INPROGRESS of the command with this tag; how far it is, nobody knows (RFC 9585 §4). A tag with a bracket would
    end the code."""
    return b"INPROGRESS" if b"]" in tag else b'INPROGRESS ("%b" NIL NIL)' % tag


def uidnext(uid: int) -> bytes:
    """UIDNEXT (RFC 9051 §7.1)."""
    return b"UIDNEXT %d" % uid


def uidvalidity(value: int) -> bytes:
    """UIDVALIDITY (RFC 9051 §7.1)."""
    return b"UIDVALIDITY %d" % value


def appenduid(validity: int, uids: Sequence[int]) -> bytes:
    """APPENDUID (RFC 9051 §7.1, RFC 4315 §3): UIDs ascending."""
    return b"APPENDUID %d %b" % (validity, print_numbers(uids))


def copyuid(validity: int, sources: Sequence[int], targets: Sequence[int]) -> bytes:
    """COPYUID (RFC 9051 §7.1, RFC 4315 §3): both ascending, the n-th of one became the n-th of the other."""
    return b"COPYUID %d %b %b" % (validity, print_numbers(sources), print_numbers(targets))


def noupdate(tag: bytes) -> bytes:
    """NOUPDATE: the results of the searching command with this tag are not kept up to date (RFC 5267 §4.3.1)."""
    return b'NOUPDATE "%b"' % tag


def highestmodseq(modseq: int) -> bytes:
    """HIGHESTMODSEQ (RFC 7162 §3.1.2.1)."""
    return b"HIGHESTMODSEQ %d" % modseq


def modified(numbers: Sequence[int]) -> bytes:
    """MODIFIED (RFC 7162 §3.1.3): the message numbers, or UIDs, that failed UNCHANGEDSINCE, ascending."""
    return b"MODIFIED " + print_numbers(numbers)


def metadata_longentries(octets: int) -> bytes:
    """METADATA LONGENTRIES: the largest value that MAXSIZE left out (RFC 5464 §4.2.1)."""
    return b"METADATA LONGENTRIES %d" % octets


def metadata_maxsize(octets: int) -> bytes:
    """METADATA MAXSIZE: the largest value that is taken (RFC 5464 §4.3)."""
    return b"METADATA MAXSIZE %d" % octets


def undefined_filter(name: str) -> bytes:
    """UNDEFINED-FILTER (RFC 5466 §3.1)."""
    return b"UNDEFINED-FILTER " + name.encode("ascii")
