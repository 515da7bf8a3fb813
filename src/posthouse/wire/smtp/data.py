"""The content of a message on the wire: dot transparency, chunks, and what makes it unacceptable.

RFC 5321 §4.5.2 (transparency), §2.3.8 (lines end with CRLF and nothing else), §4.1.1.4 (CRLF.CRLF ends, and nothing
else); RFC 3030 §2 (chunks); RFC 1870 §6 (size).

A message with a CR or LF of its own, or with NUL, is read to its true end and then refused whole: every other reading
of it is one that some other server may not share, and mail can be smuggled through the difference (limits.md).
Octets are never changed, folded or re-ended.

Input is taken in chunks, not in lines: find the end, remove dots, count. It does NOT look at header or body.
"""

from posthouse.mail.status import Reply, reply

END = b"\r\n.\r\n"

TOO_LARGE = reply(552, "5.3.4", "The message is larger than this server takes")
BARE_LINE_END = reply(550, "5.6.0", "The message has a CR or LF alone; lines must end with CR LF (curl: add --crlf)")
NUL_OCTET = reply(550, "5.6.0", "The message holds a NUL character")
LINE_TOO_LONG = reply(550, "5.6.0", "A line of the message is too long")


class Content:
    """Counts what has come of one message and knows its fault, wherever the input was cut."""

    __slots__ = ("_crlf", "_last_cr", "_line", "_line_limit", "_lone", "_longest", "_nul", "_size_limit", "size")

    def __init__(self, size_limit: int, line_limit: int) -> None:
        """Limits in octets: of the message with its CRLFs (RFC 1870 §5), of a line without."""
        self.size = 0
        self._size_limit = size_limit
        self._line_limit = line_limit
        self._lone = 0  # CR and LF outside CRLF, so far
        self._last_cr = False  # the last octet was CR: its LF may come yet
        self._nul = False
        self._line = 0  # octets of the line that has no end yet
        self._longest = 0  # of the lines that were looked at one by one

    def add(self, octets: bytes) -> None:
        """Count the next octets of the content."""
        self.size += len(octets)
        if not octets or self.size > self._size_limit:
            return
        pairs = octets.count(b"\r\n") + (self._last_cr and octets[0] == 0x0A)
        self._lone += octets.count(b"\r") + octets.count(b"\n") - 2 * pairs + self._last_cr
        self._measure(octets)
        self._last_cr = octets[-1] == 0x0D
        self._lone -= self._last_cr
        self._nul = self._nul or b"\0" in octets

    def _measure(self, octets: bytes) -> None:
        """Keep the length of the open line; measure line by line only where one could be too long."""
        if self._line + len(octets) > self._line_limit:
            lines = octets.split(b"\n")
            lengths = [self._line + len(lines[0]), *map(len, lines[1:])]
            self._longest = max(self._longest, *lengths)
        end = octets.rfind(b"\n") + 1
        self._line = len(octets) - end if end else self._line + len(octets)

    @property
    def too_large(self) -> bool:
        """Over the size limit: nothing more needs to be looked at."""
        return self.size > self._size_limit

    @property
    def faulty(self) -> bool:
        """Whether nothing that comes can make it acceptable."""
        return self.too_large or self._nul or self._lone > 0 or self._longest > self._line_limit + 1

    def fault(self, *, complete: bool) -> Reply | None:
        """Why the message cannot be taken, the same whatever the cuts were. Before it is `complete`, a CR at the end
        of a chunk may still find its LF."""
        if self.too_large:
            return TOO_LARGE
        if self._lone or (complete and self._last_cr):
            return BARE_LINE_END
        if self._nul:
            return NUL_OCTET
        # The CR of the line's end was counted with it.
        return LINE_TOO_LONG if self._longest > self._line_limit + 1 else None


class DotReader:
    """Takes the content of DATA off the stream (RFC 5321 §4.5.2)."""

    __slots__ = ("_held", "_skip")

    def __init__(self) -> None:
        # The CRLF of the DATA line stands before the content: a dot first of all is at the start of a line.
        self._held = b"\r\n"
        self._skip = len(self._held)

    def take(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """The content in these octets, dots removed, and what comes behind the end; None while the end has not come.

        What may be the start of the end is held back for the next call."""
        octets = self._held + octets
        end = octets.find(END)
        if end >= 0:
            return self._unstuffed(octets[: end + 2]), octets[end + len(END) :]
        keep = next((count for count in (4, 3, 2, 1) if octets.endswith(END[:count])), 0)
        self._held = octets[len(octets) - keep :]
        return self._unstuffed(octets[: len(octets) - keep]), None

    def _unstuffed(self, octets: bytes) -> bytes:
        """RFC 5321 §4.5.2: a dot at the start of a line is removed. `octets` never end inside CRLF dot."""
        content = octets.replace(b"\r\n.", b"\r\n")
        if not self._skip or not content:
            return content
        content, self._skip = content[self._skip :], 0
        return content


class DotWriter:
    """Puts the content of DATA on the stream, in as many pieces as one likes (RFC 5321 §4.5.2)."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        # The last two octets of the content so far. The CRLF of the DATA line stands before it, as for DotReader.
        self._tail = b"\r\n"

    def put(self, octets: bytes) -> bytes:
        """The octets for the wire: a dot at the start of a line is doubled."""
        tail = self._tail
        content = tail + octets
        self._tail = content[-2:]
        return content.replace(b"\r\n.", b"\r\n..")[len(tail) :]

    def end(self) -> bytes:
        """The final dot; in front of it the CRLF that the content may lack."""
        return b".\r\n" if self._tail == b"\r\n" else END
