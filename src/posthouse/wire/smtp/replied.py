"""Replies of an SMTP server, read: lines into a Reply, and the reply to EHLO into what the server can do.

RFC 5321 §4.2 (replies), §4.2.1 (several lines), §4.1.1.1 (EHLO), RFC 2034 §4 (enhanced status codes), RFC 1870 §3
(SIZE), RFC 9422 §3 (LIMITS), RFC 2852 §3 (DELIVERBY), RFC 4954 §3 (AUTH).

Read with patience: a line may end with LF alone, a code may stand alone on its line, the codes of one reply may differ
(the last counts, as it does for Postfix and Exim), the text may be in any charset. What is no reply at all is told
in words and never raises: the bounds below hold whatever a server says.

It does NOT know which command a reply is to, nor whether its code makes sense there: `client.py` does.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from posthouse.mail.status import Reply, Status
from posthouse.wire.buffer import ReceiveBuffer
from posthouse.wire.smtp.conversation import Conversation

REPLY_LINE = 4_096  # octets; RFC 5321 §4.5.3.1.5 allows 512, texts with web addresses are longer
REPLY_LINES = 200  # lines of one reply; EHLO of the largest servers has 30
REPLY_SIZE = 65_536  # octets of one reply
CACHED_LINE = 200  # octets of a line that is worth keeping in its read form
CACHED_LINES = 512  # so many; a server says the same few again and again
KEYWORDS = 100  # EHLO keywords that are looked at
MECHANISMS = 20  # AUTH mechanisms that are looked at
SIZE_DIGITS = 20  # RFC 1870 §3
LIMIT_DIGITS = 6  # RFC 9422 §3

NOT_A_REPLY = "the server said something that is no SMTP reply"
LINE_TOO_LONG = f"the server sent a line of more than {REPLY_LINE} octets"
TOO_MANY_LINES = f"the server sent a reply of more than {REPLY_LINES} lines"

# RFC 5321 §4.2   Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\Z", re.DOTALL)
# RFC 3463 §2   status-code = class "." subject "." detail
_STATUS = re.compile(rb"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?: |\Z)")
# C0 and C1 controls: no answer of a server may move the cursor of who reads the log (limits.md, S27)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a reply."""

    code: int
    last: bool
    status: Status | None
    text: str


def read_line(octets: bytes) -> Line | None:
    """A Reply-line without its line end, or None where it is none (RFC 5321 §4.2)."""
    return _kept_line(octets) if len(octets) <= CACHED_LINE else _read_line(octets)


def _read_line(octets: bytes) -> Line | None:
    match = _LINE.match(octets)
    if not match:
        return None
    code, text = int(match[1]), match[3] or b""
    status = None
    # RFC 2034 §4: the class of the status is the first digit of the code; anything else is text that looks like one.
    found = _STATUS.match(text)
    if found and found[1] == match[1][:1]:
        status, text = Status(int(found[1]), int(found[2]), int(found[3])), text[found.end() :]
    return Line(code, match[2] != b"-", status, _CONTROL.sub("?", text.decode("utf-8", "replace")))


_kept_line = lru_cache(CACHED_LINES)(_read_line)


class ReplyReader:
    """Takes whole replies from a buffer, wherever they were cut."""

    __slots__ = ("_conversation", "_lines", "_size")

    def __init__(self, conversation: Conversation | None = None) -> None:
        self._conversation = conversation
        self._lines: list[Line] = []
        self._size = 0

    def take(self, buffer: ReceiveBuffer) -> Reply | str | None:
        """The next reply; why there will be none, in words; or None while more octets are needed."""
        while (octets := buffer.take_line()) is not None:
            if len(octets) > REPLY_LINE:
                return LINE_TOO_LONG
            if self._conversation is not None:
                self._conversation.heard(octets)
            line = read_line(octets[:-2] if octets.endswith(b"\r\n") else octets[:-1])
            if line is None:
                return NOT_A_REPLY
            self._size += len(octets)
            self._lines.append(line)
            if line.last:
                return self._whole()
            if len(self._lines) >= REPLY_LINES or self._size > REPLY_SIZE:
                return TOO_MANY_LINES
        return LINE_TOO_LONG if len(buffer) > REPLY_LINE else None

    def clear(self) -> None:
        """Forget the lines of a reply that is not whole."""
        self._lines, self._size = [], 0

    def _whole(self) -> Reply:
        lines = self._lines
        self.clear()
        last = lines[-1]
        status = next((line.status for line in reversed(lines) if line.status), None)
        return Reply(last.code, status, tuple(line.text for line in lines), close=last.code == 421)


@dataclass(frozen=True, slots=True)
class Announced:
    """What a server can do, as its reply to EHLO says; nothing of it for a server that only knows HELO.

    `size` is None where SIZE was not announced, 0 where there is no fixed limit (RFC 1870 §4). `deliver_by` is the
    least by-time it takes, 0 for any, None where DELIVERBY is not known. Limits are 0 where none is set (RFC 9422 §4).
    """

    pipelining: bool = False
    size: int | None = None
    eight_bit: bool = False
    utf8: bool = False
    chunking: bool = False
    dsn: bool = False
    starttls: bool = False
    require_tls: bool = False
    priority: bool = False
    deliver_by: int | None = None
    auth: tuple[str, ...] = ()
    mail_max: int = 0
    rcpt_max: int = 0
    rcpt_domain_max: int = 0


def read_ehlo(answer: Reply) -> Announced:
    """What stands behind the first line of the reply to EHLO (RFC 5321 §4.1.1.1, ehlo-line). A keyword that comes
    again, or has parameters that make no sense, is as if it had not come."""
    said: dict[str, list[str]] = {}
    for line in answer.lines[1 : KEYWORDS + 1]:
        # AUTH=LOGIN is from before RFC 4954 and still said by old servers beside the right form.
        keyword, *words = line.upper().replace("AUTH=", "AUTH ", 1).split()[: MECHANISMS + 1] or [""]
        said.setdefault(keyword, []).extend(words)
    limits = dict(word.split("=", 1) for word in said.get("LIMITS", ()) if "=" in word)
    return Announced(
        pipelining="PIPELINING" in said,
        size=_number(said["SIZE"], SIZE_DIGITS) or 0 if "SIZE" in said else None,
        eight_bit="8BITMIME" in said,
        utf8="SMTPUTF8" in said,
        chunking="CHUNKING" in said,
        dsn="DSN" in said,
        starttls="STARTTLS" in said,
        require_tls="REQUIRETLS" in said,
        priority="MT-PRIORITY" in said,
        deliver_by=_number(said["DELIVERBY"], SIZE_DIGITS) or 0 if "DELIVERBY" in said else None,
        auth=tuple(dict.fromkeys(said.get("AUTH", ()))),
        mail_max=_limit(limits, "MAILMAX"),
        rcpt_max=_limit(limits, "RCPTMAX"),
        rcpt_domain_max=_limit(limits, "RCPTDOMAINMAX"),
    )


def _number(words: list[str], digits: int) -> int | None:
    word = words[0].partition(",")[0] if words else ""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= digits else None


def _limit(limits: dict[str, str], name: str) -> int:
    """A limit of LIMITS; one that is no number, or 0, is to be ignored (RFC 9422 §3)."""
    return _number([limits.get(name, "")], LIMIT_DIGITS) or 0
