"""A mail program with a mirror of its mailbox: for the model-based test of many devices."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serve.imap.dialogue import Client
from serve.imap.mirror import GIVEN, Entry, Heard, Mirror, spelled

NEWEST = re.compile(rb"MODSEQ (\d+)\)?\Z")  # of a SEARCH (RFC 7162 §3.1.5)
MAX_UID = 0xFFFFFFFF
HEAR_SECONDS = 10.0  # for a hint from another worker: far below the minute after which IDLE looks by itself


@dataclass(frozen=True)
class Kind:
    """What a client enables after login, where the server has it."""

    worker: int
    enables: tuple[str, ...]

    @property
    def rev2(self) -> bool:
        """IMAP4rev2: it learns of a deleted mailbox by CLOSED."""
        return "IMAP4rev2" in self.enables

    @property
    def vanishing(self) -> bool:
        """QRESYNC: it is told VANISHED and may come back (RFC 7162 §3.2)."""
        return "QRESYNC" in self.enables

    @property
    def uidonly(self) -> bool:
        """UIDONLY: no message numbers, and VANISHED too."""
        return "UIDONLY" in self.enables

    @property
    def modseqs(self) -> bool:
        """CONDSTORE, also by QRESYNC."""
        return self.vanishing or "CONDSTORE" in self.enables


Connect = Callable[[int], Awaitable[Client]]


class Device:
    """One client: connected or not, a folder selected or not, in IDLE or not."""

    def __init__(self, number: int, kind: Kind, connect: Connect) -> None:
        self.number, self.kind, self.connect = number, kind, connect
        self.client: Client | None = None
        self.folder = 0  # the key of the selected folder; 0: none
        self.read_only = False
        self.idling = b""  # the tag of IDLE
        self.validity = 0
        self.mirror = Mirror()
        self.away: tuple[int, int, Mirror] | None = None  # folder, UIDVALIDITY and mirror of when it left

    # --- connections

    async def ready(self) -> Client:
        """A connection that takes commands."""
        if self.client is None:
            self.client = await self.connect(self.kind.worker)
            if self.kind.enables:
                await self.do(f"ENABLE {' '.join(self.kind.enables)}")
        if self.idling:
            await self.done()
        return self.client

    async def leave(self, *, politely: bool) -> None:
        """End the connection. With QRESYNC the mirror is kept for the return, if every uid in it is known."""
        if self.client is None:
            return
        self.remember()
        if politely and not self.idling:
            await self.client.do("LOGOUT")
        self.client.writer.close()
        self.client, self.folder, self.idling = None, 0, b""

    def remember(self) -> None:
        """Keep the mirror of a mailbox that is left, where all that QRESYNC needs is known."""
        if self.kind.vanishing and self.folder and None not in self.mirror.uids and self.mirror.highest:
            self.away = (self.folder, self.validity, self.mirror)

    # --- one command

    async def do(self, command: str, *, fails: str = "") -> Heard:
        """Send a command, believe what comes, and want OK, or an answer that begins with `fails`."""
        client = await self.ready() if self.client is None or self.idling else self.client
        return await self.finish(client.write(command), command, fails or "OK")

    async def finish(self, tag: bytes, command: str, wanted: str = "") -> Heard:
        """Believe what comes before the tagged answer, which must begin with `wanted`."""
        assert self.client is not None
        heard = Heard()
        numbers = command.startswith(("FETCH", "STORE", "SEARCH"))
        while not (line := await self.client.response()).startswith(tag + b" "):
            assert line, f"the server closed during {command}"
            if line.startswith(b"* OK [CLOSED]"):
                heard.closed = True
                self.mirror = self._fresh() if self.mirror.resync is None else self.mirror
                self.folder = 0
            elif line.startswith(b"* BYE"):
                heard.bye = True
                assert not await self.client.response()
                self.client.writer.close()
                self.client, self.folder = None, 0
                return heard
            elif given := GIVEN.search(line):
                heard.given = spelled(given[1])
            elif line.startswith((b"* SEARCH", b"* ESEARCH")):
                heard.found = self._found(line, uid=command.startswith("UID"))
                heard.newest = int(newest[1]) if (newest := NEWEST.search(line)) else None
            else:
                self.mirror.believe(line, heard, numbers=numbers)
        self.client.last = line.removeprefix(tag + b" ")
        if given := GIVEN.search(line):
            heard.given = spelled(given[1])
        assert self.client.last.startswith(wanted.encode()), (self.number, command, self.client.last)
        self.mirror.settle()
        return heard

    def _fresh(self) -> Mirror:
        uidonly = self.kind.uidonly
        return Mirror(vanishing=self.kind.vanishing or uidonly, modseqs=self.kind.modseqs, uidonly=uidonly)

    def _found(self, line: bytes, *, uid: bool) -> list[int | None]:
        words = line.split()
        if words[1] == b"ESEARCH":
            assert (b"UID" in words) == uid, line
            numbers = sorted(spelled(words[words.index(b"ALL") + 1])) if b"ALL" in words else []
        else:
            numbers = [int(word) for word in words[2:] if word.isdigit()]
        if uid:
            return list(numbers)
        return [self.mirror.entries[number - 1].uid for number in numbers]

    @property
    def last(self) -> str:
        """The tagged answer to the last command."""
        return "" if self.client is None else self.client.last.decode()

    # --- mailboxes

    async def select(self, key: int, name: str, *, read_only: bool = False) -> None:
        """SELECT or EXAMINE; after an absence with QRESYNC."""
        await self.ready()
        word = "EXAMINE" if read_only else "SELECT"
        away, self.away = self.away, None
        if away is not None and away[0] == key:
            self.mirror = away[2].return_after()
            await self.do(f"{word} {name} (QRESYNC ({away[1]} {self.mirror.highest}{self.known()}))")
            self.mirror.returned()
        else:
            if not self.folder:
                self.mirror = self._fresh()
            await self.do(f"{word} {name}")
        self.validity = self.mirror.codes["UIDVALIDITY"]
        self.folder, self.read_only = key, read_only

    def known(self) -> str:
        """The UIDs that QRESYNC may name, and numbers of some with their UIDs (RFC 7162 §3.2.5): with some, with both,
        with neither, by chance."""
        uids = [uid for uid in self.mirror.uids if uid is not None]
        if not uids or not self.mirror.highest % 3:
            return ""
        told = f" {','.join(map(str, uids))},{uids[-1] + 1}:{MAX_UID}"  # and what is new: nothing else is told of
        if self.mirror.highest % 3 == 1 or self.kind.uidonly:
            return told
        numbers = sorted({1, (len(uids) + 1) // 2, len(uids)})
        pairs = (",".join(map(str, numbers)), ",".join(str(uids[number - 1]) for number in numbers))
        return f"{told} ({' '.join(pairs)})"

    async def learn(self) -> None:
        """Ask for the uids that are not known; those still unknown then are gone. The answer may bring new ones."""
        if self.kind.uidonly:
            await self.learn_by_uid()
        total = 0
        while None in self.mirror.uids[total:]:
            unknown = [place + 1 for place, uid in enumerate(self.mirror.uids) if uid is None]
            total = len(self.mirror.entries)
            await self.do(f"FETCH {unknown[0]}:{unknown[-1]} (UID FLAGS)")

    async def learn_by_uid(self) -> None:
        """With UIDONLY: NOOP tells of all that came and went, so all that is left answers."""
        if None in self.mirror.uids:
            await self.do("NOOP")
            await self.do("UID FETCH 1:* (FLAGS)")
            assert None not in self.mirror.uids, self.mirror.uids

    def entries(self, places: list[int]) -> list[Entry]:
        """Of the mirror."""
        return [self.mirror.entries[place] for place in places]

    # --- IDLE

    async def idle(self) -> None:
        """Begin."""
        client = await self.ready()
        tag = client.write("IDLE")
        await self._until(b"+ ", [])
        self.idling = tag

    async def done(self) -> Heard:
        """End IDLE."""
        assert self.client is not None
        tag, self.idling = self.idling, b""
        self.client.writer.write(b"DONE\r\n")
        return await self.finish(tag, "IDLE", "OK")

    async def hear(self, agrees: Callable[[], str]) -> None:
        """In IDLE: believe what comes until the mirror agrees with the truth."""
        assert self.client is not None
        heard = Heard()
        async with asyncio.timeout(HEAR_SECONDS):
            while agrees():
                self.mirror.believe(await self.client.response(), heard, numbers=False)

    async def _until(self, beginning: bytes, passed: list[bytes]) -> None:
        assert self.client is not None
        while not (line := await self.client.response()).startswith(beginning):
            self.mirror.believe(line, Heard(), numbers=False)
            passed.append(line)
