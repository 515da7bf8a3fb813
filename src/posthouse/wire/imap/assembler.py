"""Octets cut into whole commands: lines and literals, within limits (RFC 9051 §4.3, RFC 7888).

The parser never meets half a command. Each literal is put in its place as `{n}`, CRLF and its octets (`~{n}` for
literal8); whether it was synchronizing is settled here. The messages of APPEND are the exception, and the texts that
CATENATE puts into them: they are announced, and their octets are handed through.

Over a limit (limits.md), where `n` is the size of a literal:

* synchronizing: Refused with NO [TOOBIG] instead of `+`, and the command is over;
* non-synchronizing and at most DROPPED_LITERAL: the octets and the rest of the command are dropped, then Refused with
  BAD;
* non-synchronizing and larger: Refused and fatal;
* a line too long: dropped to its end, then Refused with BAD; before login, or beyond DROPPED_LINE, fatal.

A line may end with LF alone: people type commands by hand, and no octet of mail passes here. It knows no command but
the names APPEND and REPLACE (RFC 8508), and which of their literals are strings (append.py).
"""

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from posthouse.wire.buffer import ReceiveBuffer
from posthouse.wire.imap.append import COMMAND, MESSAGES, is_url
from posthouse.wire.imap.code import LIMIT, TOOBIG
from posthouse.wire.imap.condition import Condition
from posthouse.wire.imap.grammar import TAG, USUAL, GrammarLimits

DROPPED_LITERAL = 4_096  # octets of a refused non-synchronizing literal that are read and dropped (RFC 7888 §5)
DROPPED_MESSAGE = (
    100 * 1_048_576
)  # the same for a message of APPEND: its sender cannot stop, and losing the link is worse
DROPPED_LINE = 1_048_576  # octets of a refused command that are dropped before the connection is given up
TAG_LENGTH = 255  # a longer tag is not echoed

# RFC 9051 §9   literal = "{" number64 ["+"] "}" CRLF *CHAR8 ;  literal8 = "~{" number64 "}" CRLF *OCTET
_LITERAL = re.compile(rb"(~?)\{([0-9]{1,19})(\+?)\}\r?\n\Z")
_LITERAL_OCTETS = len(b"~{9223372036854775807+}\r\n")


@dataclass(frozen=True, slots=True)
class ImapLimits:
    """Octets and counts of one command; those with `_before_login` hold until the user is known (limits.md)."""

    line: int = 65_536
    line_before_login: int = 8_192
    literal: int = 65_536
    literal_before_login: int = 4_096
    literals: int = 500
    command: int = 1_048_576
    messages: int = MESSAGES
    grammar: GrammarLimits = USUAL

    @property
    def before_login(self) -> "ImapLimits":
        """The limits for a stranger."""
        return replace(self, line=self.line_before_login, literal=self.literal_before_login)


class Whole(NamedTuple):
    """A whole command, or the end of an APPEND behind its last message; the last CRLF is cut off."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class LiteralWanted:
    """A synchronizing literal is within limits: send `+`."""


class MessageLiteral(NamedTuple):
    """A message of APPEND comes, or a text for it: `octets` stand before it, since the command began or since the last
    one."""

    octets: bytes
    size: int
    sync: bool
    binary: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A command over a limit; `fatal`: the connection must end."""

    tag: bytes | None
    condition: Condition
    code: bytes | None
    text: str
    fatal: bool = False


Piece = Whole | LiteralWanted | MessageLiteral | Refused


def tag_of(octets: bytes) -> bytes | None:
    """The tag a line begins with, if it has one that can be echoed: BAD answers carry it (RFC 9051 §7.1.3)."""
    found = TAG.match(octets)
    if found is None or found.end() > TAG_LENGTH or octets[found.end() : found.end() + 1] not in (b" ", b""):
        return None
    return found[0]


class Assembler:
    """Cuts one connection's octets into pieces. `strict` until login: any line too long is fatal."""

    __slots__ = (
        "_append",
        "_drop",
        "_line",
        "_literals",
        "_missing",
        "_octets",
        "_parts",
        "_refused",
        "_swallowed",
        "_tag",
        "buffer",
        "limits",
        "strict",
    )

    def __init__(self, buffer: ReceiveBuffer, limits: ImapLimits) -> None:
        self.buffer = buffer
        self.limits = limits
        self.strict = True
        self.reset()

    def reset(self) -> None:
        """Begin a new command."""
        self._parts: list[bytes] = []
        self._line = 0  # octets of the command's lines so far
        self._literals = 0
        self._octets = 0  # of lines and literals so far
        self._missing = 0  # octets of a literal still to come
        self._drop = 0  # octets of a refused literal still to come
        self._swallowed = 0  # octets dropped of a refused command, messages of APPEND apart
        self._refused: Refused | None = None  # said at the end of the command
        self._append = False
        self._tag: bytes | None = None  # of an APPEND whose first message was announced

    def next(self) -> Piece | None:
        """The next piece, or None when more octets are needed."""
        while self._fill():
            line = self.buffer.take_line()
            if line is None:
                return self._unfinished_line()
            fresh = self._line == 0 and self._refused is None
            if fresh and b"}" not in line[-3:] and len(line) <= self.limits.line:
                return Whole(_without_end(line))  # nearly every command: one line, no literal, nothing to remember
            piece = self._take(line)
            if piece is not None:
                return piece
        return None

    def line(self, limit: int) -> bytes | Refused | None:
        """One line that has no literals, without its end: DONE and the lines of a SASL exchange."""
        line = self.buffer.take_line()
        if line is None and len(self.buffer) <= limit:
            return None
        if line is None or len(line) > limit:
            return self._fatal(LIMIT, "The line is too long.")
        return _without_end(line)

    def drop_message(self, size: int, refused: Refused | None = None) -> Refused | None:
        """An announced non-synchronizing message is refused: drop it and the rest of its command, then say `refused`,
        or nothing where it was said already. Gives the fatal refusal instead when there is too much to drop."""
        self._refused = refused or _SILENCE
        return self._drop_literal(size)

    # --- inside

    def _fill(self) -> bool:
        """Take or drop the octets of a literal; False when some are still missing."""
        if self._drop:
            self._drop -= self.buffer.drop(self._drop)
            return not self._drop
        if self._missing:
            octets = self.buffer.take(self._missing)
            if octets is None:
                return False
            self._parts.append(octets)
            self._missing = 0
        return True

    def _unfinished_line(self) -> Piece | None:
        if self._refused is None and self._line + len(self.buffer) <= self.limits.line:
            return None
        if self._refused is None:
            refused = self._line_too_long(self.buffer.peek(self.limits.line))
            if refused is not None:
                return refused
        waiting = max(0, len(self.buffer) - _LITERAL_OCTETS)  # a `{n+}` may end the line
        self._swallowed += self.buffer.drop(waiting)
        return self._too_much_swallowed()

    def _line_too_long(self, head: bytes) -> Refused | None:
        if self.strict:
            return self._fatal(LIMIT, "The command line is too long.")
        tag = self._tag if self._append else tag_of(self._parts[0] if self._parts else head[: self.limits.line])
        text = f"A command line may have at most {self.limits.line} octets."
        self._refused = Refused(tag, Condition.BAD, LIMIT, text)
        return None

    def _too_much_swallowed(self) -> Refused | None:
        if self._swallowed <= DROPPED_LINE:
            return None
        return self._fatal(TOOBIG, "The command is far too long.")

    def _take(self, line: bytes) -> Piece | None:
        self._line += len(line)
        if self._refused is None and self._line > self.limits.line:
            refused = self._line_too_long(line)
            if refused is not None:
                return refused
        found = _LITERAL.search(line, max(0, len(line) - _LITERAL_OCTETS))
        if self._refused is not None:
            return self._swallow(line, found)
        if found is None:
            self._parts.append(_without_end(line))
            return self._whole()
        return self._literal(line, found)

    def _swallow(self, line: bytes, found: re.Match[bytes] | None) -> Piece | None:
        """A line of a command that is refused already."""
        assert self._refused is not None
        self._swallowed += len(line)
        if (fatal := self._too_much_swallowed()) is not None:
            return fatal
        if found is not None and found[3]:
            return self._drop_literal(int(found[2]))
        refused = self._refused
        self.reset()
        return None if refused is _SILENCE else refused

    def _drop_literal(self, size: int) -> Refused | None:
        limit = DROPPED_MESSAGE if self._append and not self.strict else DROPPED_LITERAL
        if size > limit:
            return self._fatal(TOOBIG, "The literal is too big.")
        self._drop = size
        self._swallowed += 0 if self._append else size
        return self._too_much_swallowed()

    def _whole(self) -> Whole:
        octets = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self.reset()
        return Whole(octets)

    def _literal(self, line: bytes, found: re.Match[bytes]) -> Piece | None:
        size, sync = int(found[2]), not found[3]
        self._parts.append(line[: found.start()])
        if self._message_follows():
            self._tag = self._tag if self._append else tag_of(self._parts[0])
            self._append = True
            before, self._parts = b"".join(self._parts), []
            return MessageLiteral(before, size, sync, bool(found[1]))
        self._literals += 1
        self._octets += len(line) + size
        limits = self.limits
        if size > limits.literal or self._literals > limits.literals or self._octets > limits.command:
            return self._literal_too_big(size, sync)
        self._parts.append(b"%b{%d}\r\n" % (found[1], size))
        self._missing = size
        return LiteralWanted() if sync else None

    def _message_follows(self) -> bool:
        """Whether the literal at the end of the parts is a message of APPEND or a text for one: neither its mailbox nor
        the URL of a part."""
        if not self._append:
            found = COMMAND.match(self._parts[0])
            if found is None or (len(self._parts) == 1 and len(self._parts[0]) <= found.end()):
                return False
        return not is_url(self._parts[-1])

    def _literal_too_big(self, size: int, sync: bool) -> Refused | None:
        tag = self._tag if self._append else tag_of(self._parts[0])
        if sync:
            self.reset()
            condition = Condition.BAD if tag is None else Condition.NO
            return Refused(tag, condition, TOOBIG, "The literal is too big, or there are too many of them.")
        self._refused = Refused(tag, Condition.BAD, TOOBIG, "The literal is too big, or there are too many of them.")
        return self._drop_literal(size)

    def _fatal(self, code: bytes, text: str) -> Refused:
        self.reset()
        self.buffer.clear()
        return Refused(None, Condition.BYE, code, text, fatal=True)


# What stands for the end of a command that was answered before.
_SILENCE = Refused(None, Condition.NO, TOOBIG, "")


def _without_end(line: bytes) -> bytes:
    return line[:-2] if line.endswith(b"\r\n") else line[:-1]
