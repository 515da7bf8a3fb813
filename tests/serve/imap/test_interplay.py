"""Several sessions on one mailbox at random: what each client believes must come out as what is (RFC 9051 §7.5.1).

Each client keeps a list of (uid or None, flags) from EXISTS, EXPUNGE and FETCH alone. EXPUNGE in answer to FETCH, STORE
or SEARCH by numbers fails at once; at the end, after NOOP, every client's list must be that of a fresh SELECT.
"""

import random
import re

import pytest

from serve.imap.dialogue import Client, connect

FETCHED = re.compile(rb"\* (\d+) FETCH \((.*)\)\Z", re.DOTALL)
UID = re.compile(rb"UID (\d+)")
FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
NUMBERED = (b"FETCH", b"STORE", b"SEARCH")


class Believer:
    """A client's idea of the mailbox."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.uids: list[int | None] = []
        self.flags: list[bytes | None] = []

    async def do(self, command: str) -> list[bytes]:
        """Send a command and believe the answer, whatever its condition is."""
        untagged = await self.client.until(self.client.write(command))
        assert not self.client.last.startswith(b"BAD"), (command, self.client.last)
        for line in untagged:
            self.believe(line, command.encode())
        if ".SILENT" in command:  # this client does not work out the new flags by itself
            self.flags = [None] * len(self.flags)
        return untagged

    def believe(self, line: bytes, command: bytes) -> None:
        word = line.split()[2] if len(line.split()) > 2 else b""
        if word == b"EXISTS":
            count = int(line.split()[1])
            assert count >= len(self.uids), (line, len(self.uids))
            self.uids += [None] * (count - len(self.uids))
            self.flags += [None] * (count - len(self.flags))
        elif word == b"EXPUNGE":
            assert not command.startswith(NUMBERED), (command, line)
            del self.uids[int(line.split()[1]) - 1], self.flags[int(line.split()[1]) - 1]
        elif found := FETCHED.match(line):
            place = int(found[1]) - 1
            if uid := UID.search(found[2]):
                assert self.uids[place] in (None, int(uid[1])), (line, self.uids)
                self.uids[place] = int(uid[1])
            if flags := FLAGS.search(found[2]):
                self.flags[place] = b" ".join(sorted(flags[1].split()))


def command(chance: random.Random, count: int) -> str:
    number = f"{chance.randint(1, count)}" if chance.random() < 0.7 else f"{chance.randint(1, count)}:*"
    uid = chance.choice(["", "UID "])
    flag = chance.choice(["\\Seen", "\\Flagged", "\\Deleted", "word", "\\Answered \\Draft"])
    return chance.choice(
        [
            f"{uid}FETCH {number} (UID FLAGS)",
            f"{uid}FETCH {number} BODY[TEXT]",
            f"{uid}STORE {number} {chance.choice(['', '+', '-'])}FLAGS{chance.choice(['', '.SILENT'])} ({flag})",
            f"{uid}SEARCH UNDELETED {number}",
            f"{uid}COPY {number} {chance.choice(['INBOX', 'Archive'])}",
            f"{uid}MOVE {number} {chance.choice(['INBOX', 'Archive'])}",
            "EXPUNGE",
            "UID EXPUNGE 1:5",
            "NOOP",
            "NOOP",
        ]
    )


@pytest.mark.parametrize("seed", range(6))
async def test_what_clients_believe(seed, house, door):
    chance = random.Random(seed)
    async with connect(house, door) as one, connect(house, door) as two, connect(house, door) as three:
        clients = [Believer(client) for client in (one, two, three)]
        for _ in range(4):
            await one.append()
        for client in clients:
            await client.do("SELECT INBOX")
        for _ in range(80):
            client = chance.choice(clients)
            if chance.random() < 0.15 or not client.uids:
                await client.do("APPEND INBOX {6+}\r\nA: 1\r\n")
            else:
                await client.do(command(chance, len(client.uids)))
        for client in clients:
            await client.do("NOOP")
        async with connect(house, door) as judge:
            truth = Believer(judge)
            await truth.do("SELECT INBOX")
            if truth.uids:
                await truth.do("FETCH 1:* (UID FLAGS)")
        for client in clients:
            assert len(client.uids) == len(truth.uids)
            for mine, real in zip(client.uids, truth.uids, strict=True):
                assert mine in (None, real)
            for mine, real in zip(client.flags, truth.flags, strict=True):
                assert mine is None or mine == real
