"""Runs transcripts: dialogues between clients and a server, written as plain text (house.md §5.11).

A transcript reads like the examples in the RFCs:

    # A partial fetch returns the octets asked for, and says where they start.   RFC 9051 §6.4.5
    given INBOX: plain.eml seen.eml
    C: a1 SELECT INBOX
    S: ...
    S: a1 OK [READ-WRITE] ...
    C: a2 FETCH 1 (UID BODY.PEEK[TEXT]<0.3>)
    S: * 1 FETCH (UID $u BODY[TEXT]<0> {3}
    S: bod)
    S: a2 OK ...
    C2: b1 SELECT INBOX                      # a second connection

The notations:

    C: text     the client sends this line and CRLF. C2: a second connection; it is opened when it is first mentioned.
                Lines of one connection that stand together are one turn, sent without waiting in between.
    S: text     the server's next line is this. S2: the second connection's.
    ...         anything. Alone on its line: any number of lines, up to one that fits what stands below; where nothing
                stands below, all that comes until the server falls silent.
    $name       (small letters) anything without blanks or brackets; the same where it comes again, in C: lines too.
                `$$` is a dollar.
    S?: text    lines with S?: that stand together come in any order.
    S!: text    no line of this answer is like this, up to the server's falling silent.
    (starttls)  the client does its TLS handshake.  (starttls 2) on the second connection; so for the others.
    (deflate)   from here on the client compresses, and inflates what it hears (RFC 4978).
    (close)     the client hangs up.
    (closed)    the server has hung up, and said nothing more.
    (wait 30m)  time passes: s, m or h.

In C: lines `<CR>`, `<LF>`, `<NUL>`, `<x8f>` are that octet, `<a*300>` is a run of 300 times `a`, and `<->` at the end
of the line leaves its CRLF out. `#` begins a comment at the start of a line, or behind two blanks. `given KEY: VALUE`
lines stand first; what they mean is the caller's matter (`read_transcript(path).given`).

What a session says must be wholly written down: a line that nobody expected fails the transcript.

A transcript of a client of ours is played by the other side: S: lines are sent, C: lines are expected, with C?: and
C!: as above; (starttls) is the server's side of it, (closed) means that the client has hung up.

How to run one:

    async with fakes.memory_link(lambda link: session(link, house, door, role)) as connect:
        said = await run_transcript(path, connect, cut)

`cut` is `whole`, `octet_by_octet` or `at_random(seed)`; all must give the same octets, and `run_transcript` gives
them back for comparison. `connect` may as well open a socket to a real worker (`fakes.SocketStream`). For `(wait …)`
hand `wait`."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from pathlib import Path

from fakes import PATIENCE, Stream

QUIET = 0.05  # seconds without a word after which a server has fallen silent
LONGEST_PIECE = 20  # octets between two random cuts

Cut = Callable[[bytes], Iterable[bytes]]
Connect = Callable[[], Awaitable[Stream]]
Wait = Callable[[float], Awaitable[None]]


def whole(turn: bytes) -> Iterable[bytes]:
    """Each client turn in one piece."""
    return [turn]


def octet_by_octet(turn: bytes) -> Iterable[bytes]:
    """One octet at a time."""
    return (turn[at : at + 1] for at in range(len(turn)))


def at_random(seed: int) -> Cut:
    """Cut anywhere, the same for the same seed."""
    chance = random.Random(seed)

    def cut(turn: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(turn):
            size = chance.randint(1, LONGEST_PIECE)
            yield turn[at : at + size]
            at += size

    return cut


class Way(Enum):
    """How a server's line is expected."""

    NEXT = "S"
    ANY_ORDER = "S?"
    NEVER = "S!"


@dataclass(frozen=True, slots=True)
class Said:
    """A C: line."""

    line: int
    connection: int
    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """An S:, S?: or S!: line."""

    line: int
    connection: int
    text: str
    way: Way


@dataclass(frozen=True, slots=True)
class Direction:
    """A stage direction."""

    line: int
    connection: int
    word: str
    seconds: float = 0.0


Step = Said | Heard | Direction


@dataclass(frozen=True, slots=True)
class Transcript:
    """A transcript, read. `about` is its opening comment."""

    about: str
    given: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]


_COMMENT = re.compile(r"\s{2,}# .*$|^#.*$")
_GIVEN = re.compile(r"given ([^:]+): *(.*)\Z")
_LINE = re.compile(r"(C|S[?!]?)(\d*):(?: (.*))?\Z")
_MIRRORED = re.compile(r"\A[CS](?=[?!]?\d*:)")
_DIRECTION = re.compile(r"\((starttls|deflate|close|closed)(?: (\d+))?\)\Z")
_WAIT = re.compile(r"\(wait (\d+(?:\.\d+)?)([smh])\)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def read_transcript(path: Path, *, mirrored: bool = False) -> Transcript:
    """Read a file; `mirrored`, with C and S the other way round. Raises ValueError with its line where a line is none
    of the notations."""
    about: list[str] = []
    given: list[tuple[str, str]] = []
    steps: list[Step] = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if raw.startswith("#") and not steps:
            about.append(raw.lstrip("# "))
        line = _COMMENT.sub("", raw)
        if not line.strip():
            continue
        if found := _GIVEN.match(line):
            given.append((found[1], found[2]))
            continue
        steps.append(_step(number, _MIRRORED.sub(_other_side, line) if mirrored else line, path))
    return Transcript(" ".join(about), tuple(given), tuple(steps))


def _other_side(match: re.Match[str]) -> str:
    return "S" if match[0] == "C" else "C"


def _step(number: int, line: str, path: Path) -> Step:
    if found := _LINE.match(line):
        connection, text = int(found[2] or 1), found[3] or ""
        return Said(number, connection, text) if found[1] == "C" else Heard(number, connection, text, Way(found[1]))
    if found := _DIRECTION.match(line.strip()):
        return Direction(number, int(found[2] or 1), found[1])
    if found := _WAIT.match(line.strip()):
        return Direction(number, 1, "wait", float(found[1]) * _SECONDS[found[2]])
    raise ValueError(f"{path.name}:{number}: not a line of a transcript: {line}")


async def run_transcript(
    path: Path, connect: Connect, cut: Cut, wait: Wait | None = None, *, mirrored: bool = False
) -> dict[int, bytes]:
    """Play a transcript against a server; gives all that the server said, by connection. `mirrored`: play the server
    against a client. Fails by AssertionError."""
    transcript = read_transcript(path, mirrored=mirrored)
    stage = _Stage(path.name, connect, cut, wait)
    try:
        for turn in _turns(transcript.steps):
            await stage.play(turn)
        for ear in stage.ears.values():
            await ear.end()
    finally:
        for ear in stage.ears.values():
            await ear.stream.close()
    return {number: bytes(ear.everything) for number, ear in stage.ears.items()}


def _turns(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Lines that stand together and are said by the same side of the same connection."""
    for key, group in groupby(steps, lambda step: (type(step), step.connection)):
        if key[0] is Direction:
            yield from ([step] for step in group)
        else:
            yield list(group)


@dataclass(slots=True)
class _Ear:
    """What a client has heard on one connection."""

    where: str
    stream: Stream
    everything: bytearray = field(default_factory=bytearray)
    unread: bytearray = field(default_factory=bytearray)
    closed: bool = False

    async def line(self, patience: float = PATIENCE) -> str | None:
        """The next line without CRLF; None where none comes."""
        while b"\n" not in self.unread:
            if not await self.more(patience):
                return None
        octets, _, rest = self.unread.partition(b"\n")
        assert octets.endswith(b"\r"), f"{self.where}: a line of the server ends with a bare LF: {bytes(octets)!r}"
        self.unread = rest
        return octets[:-1].decode("utf-8", "surrogateescape")

    async def more(self, patience: float) -> bool:
        """Wait for octets; False where the server is silent or has closed."""
        try:
            async with asyncio.timeout(patience):
                octets = b"" if self.closed else await self.stream.read()
        except TimeoutError:
            return False
        self.closed = not octets
        self.everything += octets
        self.unread += octets
        return bool(octets)

    async def end(self) -> None:
        """Nothing may be left over."""
        while await self.more(QUIET):
            pass
        assert not self.unread, f"{self.where}: the server said more: {bytes(self.unread)!r}"


@dataclass(slots=True)
class _Stage:
    name: str
    connect: Connect
    cut: Cut
    wait: Wait | None
    ears: dict[int, _Ear] = field(default_factory=dict)
    captured: dict[str, str] = field(default_factory=dict)

    async def play(self, turn: list[Step]) -> None:
        """One turn of one side, or a stage direction."""
        first = turn[0]
        if isinstance(first, Direction):
            await self.direct(first)
            return
        ear = await self.ear(first.connection)
        said = [step for step in turn if isinstance(step, Said)]
        if said:
            octets = b"".join(spell(step.text, self.captured) for step in said)
            for piece in self.cut(octets):
                await ear.stream.write(piece)
            return
        await self.listen(ear, [step for step in turn if isinstance(step, Heard)])

    async def ear(self, connection: int) -> _Ear:
        """The connection, opened when it is first mentioned."""
        if connection not in self.ears:
            self.ears[connection] = _Ear(f"{self.name}, connection {connection}", await self.connect())
        return self.ears[connection]

    async def direct(self, direction: Direction) -> None:
        """A stage direction."""
        if direction.word == "wait":
            assert self.wait is not None, f"{self.name}:{direction.line}: this run has no clock"
            await self.wait(direction.seconds)
            return
        ear = await self.ear(direction.connection)
        match direction.word:
            case "starttls":
                await ear.stream.starttls()
            case "deflate":
                ear.stream.deflate()
            case "close":
                await ear.stream.close()
                ear.closed = True
            case _:
                while await ear.more(PATIENCE):
                    pass
                where = f"{self.name}:{direction.line}"
                assert not ear.unread, f"{where}: the server said more: {bytes(ear.unread)!r}"
                assert ear.closed, f"{where}: the server has not closed"

    async def listen(self, ear: _Ear, expected: list[Heard]) -> None:
        """One answer of the server."""
        never = [step for step in expected if step.way is Way.NEVER]
        lines: list[str] = []
        groups = [step for step in expected if step.way is not Way.NEVER]
        while groups:
            taken = self.group(groups)
            groups = groups[len(taken) :]
            if taken[0].text == "..." and taken[0].way is Way.NEXT:
                lines += await self.skip(ear, self.group(groups))
            else:
                lines += await self.expect(ear, taken)
        if never:
            while await ear.more(QUIET):
                pass
            lines += ear.unread.decode("utf-8", "surrogateescape").split("\r\n")
        for step in never:
            for line in lines:
                assert not self.fits(step, line), f"{self.name}:{step.line}: this must not appear: {line}"

    @staticmethod
    def group(steps: list[Heard]) -> list[Heard]:
        """The next line, or the next lines that may come in any order."""
        if not steps or steps[0].way is Way.NEXT:
            return steps[:1]
        end = next((at for at, step in enumerate(steps) if step.way is Way.NEXT), len(steps))
        return steps[:end]

    async def skip(self, ear: _Ear, until: list[Heard]) -> list[str]:
        """Lines that may be anything, up to one that fits; that one stays unread."""
        lines: list[str] = []
        while True:
            line = await ear.line(PATIENCE if until else QUIET)
            if line is None:
                wanted = until[0] if until else None
                assert wanted is None, f"{self.name}:{wanted.line}: never came: {wanted.text}; but: {lines}"
                return lines
            if any(self.fits(step, line) for step in until):
                ear.unread = bytearray(line.encode("utf-8", "surrogateescape") + b"\r\n") + ear.unread
                return lines
            lines.append(line)

    async def expect(self, ear: _Ear, steps: list[Heard]) -> list[str]:
        """These lines, in any order where they are several."""
        left, lines = list(steps), []
        while left:
            line = await ear.line()
            where = f"{self.name}:{left[0].line}"
            assert line is not None, f"{where}: the server {'closed' if ear.closed else 'said nothing'}: {left[0].text}"
            step = next((step for step in left if self.fits(step, line)), None)
            assert step is not None, f"{where}: expected {' | '.join(s.text for s in left)}\n  but heard {line}"
            self.captured |= self.found(step, line)
            left.remove(step)
            lines.append(line)
        return lines

    def fits(self, step: Heard, line: str) -> bool:
        """Whether a line is as expected."""
        return re.fullmatch(pattern(step.text, self.captured), line, re.DOTALL) is not None

    def found(self, step: Heard, line: str) -> dict[str, str]:
        """What `$name` stands for in a line that fits."""
        match = re.fullmatch(pattern(step.text, self.captured), line, re.DOTALL)
        return match.groupdict() if match else {}


_TOKEN = re.compile(r"(\.\.\.)|\$\$|\$([a-z][a-z0-9_]*)")


def pattern(text: str, captured: dict[str, str]) -> str:
    """The regex for an S: line."""
    pieces, at, named = [], 0, set()
    for token in _TOKEN.finditer(text):
        pieces.append(re.escape(text[at : token.start()]))
        at, name = token.end(), token[2]
        if token[1]:
            pieces.append(".*")
        elif name is None:
            pieces.append(r"\$")
        elif name in captured:
            pieces.append(re.escape(captured[name]))
        else:
            pieces.append(f"(?P={name})" if name in named else rf"(?P<{name}>[^\s()\[\]]+?)")
            named.add(name)
    return "".join([*pieces, re.escape(text[at:])])


_OCTET = re.compile(rb"<(?:(CR|LF|NUL)|x([0-9a-f]{2})|(.)\*(\d+))>", re.DOTALL)
_NAMED_OCTETS = {b"CR": b"\r", b"LF": b"\n", b"NUL": b"\0"}


def spell(text: str, captured: dict[str, str]) -> bytes:
    """The octets of a C: line."""

    def named(match: re.Match[str]) -> str:
        return match[0] if match[1] else captured[match[2]] if match[2] else "$"

    def octets(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return _NAMED_OCTETS[match[1]]
        return bytes([int(match[2], 16)]) if match[2] else match[3] * int(match[4])

    end = b"" if text.endswith("<->") else b"\r\n"
    line = _TOKEN.sub(named, text.removesuffix("<->")).encode("utf-8", "surrogateescape")
    return _OCTET.sub(octets, line) + end
