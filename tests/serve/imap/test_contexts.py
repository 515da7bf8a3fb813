"""Results that are kept up to date: what a client makes of ADDTO and REMOVEFROM is what it would find anew
(RFC 5267 §4.3)."""

import random
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from household import NOW
from posthouse.mail.ids import Millis
from posthouse.serve.imap import updates
from posthouse.serve.limits import ImapSessionLimits
from posthouse.store.script import Unavailable
from serve.imap.dialogue import Client, connect
from serve.imap.world import World
from thorough import examples

PAIR = re.compile(rb"(\d+) ([\d:,]+)")
CHANGE = re.compile(rb'\* ESEARCH \(TAG "(\w+)"[^)]*\)(?: UID)?(?: REMOVEFROM \(([^)]*)\))?(?: ADDTO \(([^)]*)\))?')
FOUND = re.compile(rb'\* ESEARCH \(TAG "(\w+)"[^)]*\)(?: UID)?(?: ALL ([\d:,]+))?(?: MODSEQ \d+)?')

PROGRAMS = ["SEARCH FLAGGED", "UID SEARCH ALL", "UID SEARCH OR SEEN NOT SUBJECT b", "SEARCH BODY hello UNDELETED",
            "UID SEARCH KEYWORD work", "UID SEARCH UID 3:*", "UID SEARCH UID *", "UID SEARCH LARGER 40",
            "SEARCH UNSEEN", "UID SORT (SUBJECT) UTF-8 ALL", "UID SORT (REVERSE SIZE SUBJECT) UTF-8 UNSEEN",
            "SORT (FROM) UTF-8 FLAGGED", "SORT (REVERSE SUBJECT REVERSE ARRIVAL) UTF-8 OR FLAGGED TEXT hello",
            "UID SEARCH OLDER 60", "UID SORT (SIZE) UTF-8 MODSEQ 1 YOUNGER 1000000000"]  # fmt: skip
FLAGS = ["\\Seen", "\\Flagged", "\\Deleted", "work"]


def expanded(numbers: bytes | None) -> list[int]:
    found: list[int] = []
    for span in filter(None, (numbers or b"").split(b",")):
        first, _, last = span.partition(b":")
        found += range(int(first), int(last or first) + 1)
    return found


class Mirror:
    """A client that keeps lists by what it is told, and nothing else."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.lists: dict[bytes, list[int]] = {}
        self.programs: dict[bytes, str] = {}

    async def do(self, command: str) -> list[bytes]:
        said = await self.client.do(command)
        for line in said:
            self.hear(line)
        return said

    async def begin(self, program: str) -> None:
        verb, keys = re.fullmatch(r"((?:UID )?(?:SEARCH|SORT)) (.*)", program).groups()  # type: ignore[union-attr]
        tag = b"t%d" % (self.client.count + 1)
        self.lists[tag], self.programs[tag] = [], program
        await self.do(f"{verb} RETURN (UPDATE ALL) {keys}")

    def hear(self, line: bytes) -> None:
        if gone := re.fullmatch(rb"\* (\d+) EXPUNGE", line):
            for tag, numbers in self.lists.items():
                if not self.programs[tag].startswith("UID"):
                    assert int(gone[1]) not in numbers, "REMOVEFROM comes before EXPUNGE"
                    numbers[:] = [number - (number > int(gone[1])) for number in numbers]
        elif (found := CHANGE.fullmatch(line)) and (found[2] or found[3]):
            if found[1] in self.lists:
                self.change(self.lists[found[1]], found[2], found[3])
        elif (found := FOUND.fullmatch(line)) and found[1] in self.lists:
            self.lists[found[1]] = expanded(found[2])

    def change(self, numbers: list[int], removed: bytes | None, added: bytes | None) -> None:
        for position, span in PAIR.findall(removed or b""):
            place, gone = int(position), expanded(span)
            assert set(gone) <= set(numbers)
            if place:
                assert numbers[place - 1 : place - 1 + len(gone)] == gone
            numbers[:] = [number for number in numbers if number not in gone]
        for position, span in PAIR.findall(added or b""):
            place, new = int(position), expanded(span)
            assert not set(new) & set(numbers)
            if place:
                assert place <= len(numbers) + 1
                numbers[place - 1 : place - 1] = new
            else:
                numbers[:] = sorted(numbers + new)

    async def check(self) -> None:
        await self.do("NOOP")
        for tag, program in self.programs.items():
            verb, keys = program.split(" UTF-8 ")[0], program
            verb = re.match(r"(UID )?(SEARCH|SORT)", program)[0]  # type: ignore[index]
            keys = program.removeprefix(verb)
            anew = [found for line in await self.do(f"{verb} RETURN (ALL){keys}") if (found := FOUND.fullmatch(line))]
            assert self.lists[tag] == expanded(anew[-1][2]), program


def message(chance: random.Random) -> bytes:
    return b"From: %b@x.test\r\nSubject: %b\r\n\r\n%b\r\n" % (
        chance.choice((b"ann", b"bob", b"zoe")),
        chance.choice((b"a", b"b", b"Re: b", b"c d")),
        chance.choice((b"hello", b"bye " * 9)),
    )


async def act(chance: random.Random, one: Mirror, other: Client) -> None:
    """Something happens, by this client or by another."""
    act = chance.choice(("append", "store", "store", "store", "expunge", "own", "own fetch", "move", "idle"))
    flags = " ".join(chance.sample(FLAGS, chance.randrange(1, 4)))
    store = (
        f"STORE {chance.choice(('1:*', '1', '*', '1,*'))} {chance.choice('+-')}FLAGS{chance.choice(('', '.SILENT'))}"
    )
    match act:
        case "append":
            await other.append(message(chance), flags=flags)
        case "store":
            await other.do(f"UID {store} ({flags})")
        case "expunge":
            await other.do("EXPUNGE")
        case "own":
            await one.do(f"UID {store} ({flags})")
        case "own fetch":
            await one.do("UID FETCH * BODY[TEXT]")
        case "move":
            await other.do("UID MOVE 1:2 Archive")
            await one.do("UID FETCH 1:* FLAGS" if chance.random() < 0.5 else "SEARCH ALL")
        case "idle":
            one.client.writer.write(b"i IDLE\r\n")
            assert (await one.client.response()).startswith(b"+")
            await other.append(message(chance), flags=flags)
            one.client.writer.write(b"DONE\r\n")
            for line in await one.client.until(b"i"):
                one.hear(line)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        yield world
        world.close()


async def live(world: World, chance: random.Random, steps: int) -> None:
    person = world.person()
    client, other = await world.connect(0, person), await world.connect(chance.randrange(2), person)
    try:
        await lived(Mirror(client), other, chance, steps)
        for each in (client, other):
            await each.until(each.write("LOGOUT"))
    finally:
        for each in (client, other):
            each.writer.close()
            await each.writer.wait_closed()


async def lived(one: Mirror, other: Client, chance: random.Random, steps: int) -> None:
    client = one.client
    by_uid = chance.random() < 0.3
    if by_uid:
        await client.do("ENABLE QRESYNC")  # VANISHED tells UIDs alone
    for _ in range(chance.randrange(8)):
        await other.append(message(chance))
    await client.do("SELECT INBOX")
    await other.do("SELECT INBOX")
    programs = [program for program in PROGRAMS if program.startswith("UID") or not by_uid]
    for program in chance.sample(programs, 4):
        await one.begin(program)
    for _ in range(steps):
        await act(chance, one, other)
        if chance.random() < 0.6:
            await one.check()
    await one.check()


@pytest.mark.parametrize("halved", [0, updates.HALVED])
@given(chance=st.randoms(use_true_random=False))
@settings(max_examples=examples(30), phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_lists_are_what_a_search_finds(world, halved, chance):
    """Places found by halving, and by sorting all."""
    with patch.object(updates, "HALVED", halved):
        world.run(live(world, chance, 10))


async def test_so_many_contexts(house, door):
    """Ten thousand are asked for: ten are kept, and every search is answered."""
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        kept = 0
        for _ in range(100):
            tags = [client.write("SEARCH RETURN (UPDATE COUNT) UNSEEN") for _ in range(100)]
            for tag in tags:
                said = await client.until(tag)
                assert said[0] == b'* ESEARCH (TAG "%b") COUNT 1' % tag
                kept += len(said) == 1
                assert len(said) == 1 or said[1].startswith(b'* NO [NOUPDATE "%b"] So many searches' % tag)
        assert kept == ImapSessionLimits().contexts
        assert len(await client.do("UID STORE 1 +FLAGS.SILENT (\\Seen)")) == kept
        await client.do('CANCELUPDATE "t4"')
        assert len(await client.do("UID SEARCH RETURN (UPDATE COUNT) SEEN")) == 1


async def test_large_programs_and_results_are_not_kept(house, door, monkeypatch):
    async with connect(house, door) as client:
        await client.append()
        await client.append()
        await client.do("SELECT INBOX")
        texts = " ".join(f'SUBJECT "{"x" * 1000}"' for _ in range(11))
        said = await client.do(f"SEARCH RETURN (UPDATE COUNT) NOT ({texts})")
        assert said[0].endswith(b"COUNT 2")
        assert said[1].startswith(b"* NO [NOUPDATE")
        assert b"too large" in said[1]
        numbers = ",".join(str(number) for number in range(1, 20_001, 2))
        said = await client.do(f"UID SEARCH RETURN (UPDATE COUNT) UID {numbers}")
        assert said[0].endswith(b"COUNT 1")
        assert b"too large" in said[1]
        monkeypatch.setattr(updates, "RESULTS", 3)
        assert len(await client.do("SEARCH RETURN (UPDATE) ALL")) == 1
        said = await client.do("SEARCH RETURN (UPDATE) ALL")
        assert b"are too many" in said[1]


async def test_contexts_are_a_setting_and_one_may_have_any_results(house, door, monkeypatch):
    monkeypatch.setattr(updates, "RESULTS", 0)
    async with connect(house, door, limits=ImapSessionLimits(contexts=1)) as client:
        await client.append()
        await client.do("SELECT INBOX")
        assert len(await client.do("SEARCH RETURN (UPDATE) ALL")) == 1
        assert b"NOUPDATE" in (await client.do("SEARCH RETURN (UPDATE) SEEN"))[1]


async def test_ages(house, door):
    """OLDER and YOUNGER are looked at again once in a minute (RFC 5032 §2)."""
    now = [NOW]
    house = replace(house, clock=lambda: now[0])
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        await client.do("UID SEARCH RETURN (UPDATE ALL) YOUNGER 3600")
        await client.do("UID SEARCH RETURN (UPDATE ALL) OLDER 3600")
        now[0] = Millis(NOW + 3_590_000)
        assert await client.do("NOOP") == []
        now[0] = Millis(NOW + 3_661_000)
        assert await client.do("NOOP") == [
            b'* ESEARCH (TAG "t4") UID REMOVEFROM (0 1)',
            b'* ESEARCH (TAG "t5") UID ADDTO (0 1)',
        ]


async def test_many_at_once(house, door, monkeypatch):
    """Positions are told in pieces, and the mailbox is sorted as a whole."""
    monkeypatch.setattr(updates, "EDITS", 3)
    monkeypatch.setattr(updates, "HALVED", 5)
    async with connect(house, door) as client:
        one = Mirror(client)
        chance = random.Random(1)
        for _ in range(40):
            await client.append(message(chance))
        await client.do("SELECT INBOX")
        await one.begin("UID SORT (REVERSE SUBJECT FROM) UTF-8 FLAGGED")
        await one.begin("SORT (SIZE REVERSE SUBJECT) UTF-8 UNFLAGGED")
        for numbers in ("1:40:2", "3,9,17,25:31", "1:*"):
            await one.do(f"STORE {numbers.replace('1:40:2', '2,4,6,8,10,15,20,30,40')} +FLAGS.SILENT (\\Flagged)")
            await one.check()
        await one.do("STORE 1:20,31 -FLAGS.SILENT (\\Flagged)")
        await one.check()


async def test_what_could_not_be_read_is_told_later(house, door, monkeypatch):
    """The store fails while contexts are brought up to date: none of them loses anything."""
    async with connect(house, door) as client:
        one = Mirror(client)
        for _ in range(3):
            await client.append()
        await client.do("SELECT INBOX")
        for program in ("UID SEARCH FLAGGED", "SEARCH UNFLAGGED", "UID SORT (ARRIVAL) UTF-8 FLAGGED"):
            await one.begin(program)
        asked, calls = updates.matches, iter((False, True, False, False, True))

        async def failing(*args):
            if next(calls, False):
                raise Unavailable("the disk is away")
            return await asked(*args)

        monkeypatch.setattr(updates, "matches", failing)
        await one.do("UID STORE 1,3 +FLAGS.SILENT (\\Flagged)")
        await one.do("UID STORE 2 +FLAGS.SILENT (\\Flagged)")
        await one.do("UID STORE 1 -FLAGS.SILENT (\\Flagged)")
        await one.check()


async def test_many_texts_are_looked_up_or_read(house, door):
    """New messages that match by their texts, more of them than are read one by one."""
    async with connect(house, door) as client, connect(house, door) as other:
        one = Mirror(client)
        await client.do("SELECT INBOX")
        await one.begin("UID SEARCH BODY hello")
        await one.begin("SEARCH NOT OR FROM ann TEXT bye")
        chance = random.Random(2)
        several = b" ".join(b"{%d+}\r\n%b" % (len(octets), octets) for octets in (message(chance) for _ in range(150)))
        await other.do(b"APPEND INBOX " + several)
        await one.check()
        assert 40 < len(one.lists[b"t3"]) < 110
