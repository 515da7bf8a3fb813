"""SORT against sorting in plain Python, and THREAD while others wait."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from posthouse.serve.imap import order as serve_order
from posthouse.serve.imap import thread as serve_thread
from serve.imap.dialogue import connect

KEYS = ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO")
SUBJECTS = {"": "", "Lunch": "LUNCH", "Re: lunch": "LUNCH", "[list] Fwd: lunch (fwd)": "LUNCH", "apple": "APPLE",
            "Zebra": "ZEBRA", "=?utf-8?q?=C3=89clair?=": "E\u0301CLAIR", "10": "10", "9": "9"}  # fmt: skip
PEOPLE = {"": "", "anna@x.test": "ANNA", "Anna <anna@y.test>": "ANNA", "bob@a.test": "BOB", "Zoe <carl@x.test>": "CARL"}
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


class Kept(NamedTuple):
    """A message, and what it must be sorted by."""

    octets: bytes
    arrival: datetime
    values: dict[str, object]


def made(chance: random.Random) -> Kept:
    sent, arrival = (BEGIN + timedelta(hours=chance.randrange(40)) for _ in range(2))
    zone = chance.choice((-8, 0, 5))
    shown = (sent + timedelta(hours=zone)).strftime("%a, %d %b %Y %H:%M:%S ") + f"{'+-'[zone < 0]}{abs(zone):02}00"
    dated = chance.random() < 0.8
    subject, sender, to, cc = chance.choice(list(SUBJECTS)), *(chance.choice(list(PEOPLE)) for _ in range(3))
    fields = {"Subject": subject, "From": sender, "To": to, "Cc": cc, "Date": shown if dated else ""}
    header = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    octets = f"{header}X: y\r\n\r\n{'z' * chance.randrange(20)}\r\n".encode()
    values = {"ARRIVAL": arrival, "CC": PEOPLE[cc], "DATE": sent if dated else arrival, "FROM": PEOPLE[sender],
              "SIZE": len(octets), "SUBJECT": SUBJECTS[subject], "TO": PEOPLE[to]}  # fmt: skip
    return Kept(octets, arrival, values)


def ordered(messages: list[Kept], criteria: list[tuple[str, bool]]) -> list[int]:
    places = list(range(len(messages)))
    for key, reverse in reversed(criteria):
        places.sort(key=lambda place: messages[place].values[key], reverse=reverse)
    return [place + 1 for place in places]


@pytest.mark.parametrize("few", [0, 1_000])
async def test_any_order(house, door, monkeypatch, few):
    """Both ways of sorting, of few messages and of many."""
    monkeypatch.setattr(serve_order, "FEW", few)
    chance = random.Random(few)
    messages = [made(chance) for _ in range(60)]
    async with connect(house, door) as client:
        for one in messages:
            date = one.arrival.strftime('"%d-%b-%Y %H:%M:%S +0000"').encode()
            await client.do(b"APPEND INBOX %b {%d+}\r\n%b" % (date, len(one.octets), one.octets))
        await client.do("SELECT INBOX")
        for _ in range(60):
            keys = chance.sample(KEYS, chance.randrange(1, 5))
            criteria = [(key, chance.random() < 0.5) for key in keys]
            spelled = " ".join(f"REVERSE {key}" if reverse else key for key, reverse in criteria)
            expected = ordered(messages, criteria)
            said = await client.do(f"SORT ({spelled}) UTF-8 ALL")
            assert said == [b"* SORT " + " ".join(map(str, expected)).encode()], spelled
            first = chance.randrange(1, 50)
            said = await client.do(f"UID SORT ({spelled}) UTF-8 {first}:{first + 10}")
            some = [number for number in expected if first <= number <= first + 10]
            assert said == [b"* SORT " + " ".join(map(str, some)).encode()], spelled


async def test_others_are_served_while_threads_wait(house, door, monkeypatch):
    turns = asyncio.Semaphore(0)
    monkeypatch.setattr(serve_thread, "_turns", turns)
    async with connect(house, door) as client, connect(house, door) as other:
        await client.append()
        await client.do("SELECT INBOX")
        tag = client.write("THREAD REFERENCES UTF-8 ALL")
        await other.do("SELECT INBOX")
        assert await other.do("SEARCH ALL") == [b"* SEARCH 1"]
        turns.release()
        assert await client.until(tag) == [b"* THREAD (1)"]


@pytest.mark.parametrize("few", [0, 1_000])
async def test_threads_and_orders_asked_for_again(house, door, monkeypatch, few):
    """What is remembered is of the same messages, under the same numbers, by the same algorithm."""
    monkeypatch.setattr(serve_order, "FEW", few)
    head = "Subject: {}\r\nMessage-ID: <{}@x.test>\r\nReferences: {}\r\n\r\n"
    async with connect(house, door) as client, connect(house, door) as other:
        for one in (("c", 1, ""), ("b", 2, ""), ("a", 3, "<1@x.test>")):
            await client.append(head.format(*one).encode())
        for session in (client, other):
            await session.do("SELECT INBOX")
        for _ in range(2):
            assert await client.do("THREAD REFERENCES UTF-8 ALL") == [b"* THREAD (1 3)(2)"]
            assert await client.do("SORT (SUBJECT) UTF-8 ALL") == [b"* SORT 3 2 1"]
        assert await client.do("THREAD ORDEREDSUBJECT UTF-8 ALL") == [b"* THREAD (1)(2)(3)"]
        assert await client.do("THREAD REFERENCES UTF-8 2:3") == [b"* THREAD (2)(3)"]
        await client.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await client.do("UID EXPUNGE 1")
        assert await client.do("THREAD REFERENCES UTF-8 ALL") == [b"* THREAD (1)(2)"]
        assert await client.do("UID THREAD REFERENCES UTF-8 ALL") == [b"* THREAD (2)(3)"]
        assert await client.do("SORT (SUBJECT) UTF-8 ALL") == [b"* SORT 2 1"]
        assert await client.do("UID SORT (SUBJECT) UTF-8 ALL") == [b"* SORT 3 2"]
        await client.append(head.format("aa", 4, "<2@x.test>").encode())
        await client.do("NOOP")
        assert await client.do("UID THREAD REFERENCES UTF-8 ALL") == [b"* THREAD (2 4)(3)"]
        assert await client.do("THREAD REFERENCES UTF-8 ALL") == [b"* THREAD (1 3)(2)"]
        assert await client.do("UID SORT (SUBJECT) UTF-8 ALL") == [b"* SORT 3 4 2"]
        await other.do("NOOP")
        assert await other.do("UID SORT (REVERSE SUBJECT) UTF-8 ALL") == [b"* SORT 2 4 3"]
