"""The index and the reading of messages give one answer (RFC 9051 §6.4.4), on random mail and real mail."""

import base64
import random
from datetime import date, timedelta

import pytest

from posthouse.mail.text import comparable, texts
from posthouse.serve.imap import indexed
from posthouse.serve.imap.question import Question, matching, unselected
from posthouse.store import emails, indexer, mailboxes
from posthouse.store.indexer import Indexer
from posthouse.wire.imap.search import And, BodyContains, Comparison, HeaderContains, Not, Or, Sent, TextContains
from serve.imap.test_question import inbox
from store_rig import new_email

WORDS = [
    "Grüße",
    "straße",
    "日本語の本",
    "привет",
    "José",
    "needle42",
    "the",
    "ﬁne",
    "a b",
    "x: y",
    "İstanbul",
    "\U0001f600",
]
NAMES = ["Subject", "From", "To", "X-Note", "Message-ID", "References", "List-Id"]
HTML = "<html><style>hidden</style><p>{}</p>&eacute;<b>{}</b></html>"


def random_message(chance: random.Random) -> bytes:
    def some() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randrange(1, 5)))

    day = date(2023, 1, 1) + timedelta(chance.randrange(9))
    head = [f"Date: {day:%a, %d %b %Y} 23:30:00 -0500"] if chance.random() < 0.8 else []
    head += [f"{name}: {_field(chance, some())}" for name in NAMES if chance.random() < 0.7]
    kind = chance.randrange(4)
    if kind == 0:
        return "\r\n".join([*head, "Content-Type: text/plain; charset=utf-8", "", some()]).encode()
    inner = (HTML.format(some(), some()) if kind == 1 else some()).encode()
    encoded = base64.encodebytes(inner).replace(b"\n", b"\r\n")
    subtype = b"html" if kind == 1 else b"plain"
    part = b"Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n%s" % (subtype, encoded)
    if kind == 3:
        part = b"Content-Type: message/rfc822\r\n\r\nSubject: inner needle42\r\n" + part
    lines = [*head, "Content-Type: multipart/mixed; boundary=b", "", "--b", ""]
    return "\r\n".join(lines).encode()[:-2] + b"\r\n" + part + b"\r\n--b--\r\n"


def _field(chance: random.Random, value: str) -> str:
    if chance.random() < 0.5:
        return value
    return f"=?utf-8?b?{base64.b64encode(value.encode()).decode()}?="


def random_key(chance: random.Random, sources: list[str], depth: int = 0):
    if depth < 2 and chance.random() < 0.4:
        one, two = (random_key(chance, sources, depth + 1) for _ in range(2))
        return chance.choice([Not(one), Or(one, two), And((one, two))])
    source = chance.choice(sources)
    start = chance.randrange(len(source) + 1)
    text = source[start : start + chance.randrange(1, 12)].replace("\0", "")
    kind = chance.randrange(4)
    if kind == 0:
        return Sent(chance.choice(list(Comparison)), date(2023, 1, 1) + timedelta(chance.randrange(9)))
    if kind == 1:
        name = chance.choice([*NAMES, "Date", "x-absent", "subject: ", "Received"])
        return HeaderContains(name, chance.choice([text, "", ": "]))
    return (BodyContains if kind == 2 else TextContains)(chance.choice([text, text, ""]))


async def compare(house, messages: list[bytes], chance: random.Random, rounds: int) -> None:
    store, box = house.store, await inbox(house)
    one = Indexer(store)
    writer = await one.begin()
    behind = len(messages) // 5
    for number, octets in enumerate(messages):
        await store.run(emails.add, box, [new_email(store, octets)])
        if number == len(messages) - behind:
            while await one.step(writer):
                pass
    one.close()
    sources = [*WORDS, " ".join(WORDS)]
    for octets in messages:
        sources += [*texts(octets, 10_000).bodies, *(value for _, value in texts(octets, 10_000).fields)]
    view = (await unselected(house, box)).view
    find, used = store.index.find, []

    async def watched(*args):
        used.append(await find(*args))
        return used[-1]

    for _ in range(rounds):
        key = random_key(chance, sources)
        store.index.find = watched
        by_index = await matching(Question(house, box, view), key)
        store.index.find = nothing
        assert by_index == await matching(Question(house, box, view), key), key
        store.index.find = find
    assert used
    assert all(found is not None and found.mark for found in used)


async def nothing(*args):
    return None


@pytest.mark.parametrize("seed", range(3))
async def test_index_and_reading_agree(house, monkeypatch, seed):
    chance = random.Random(seed)
    monkeypatch.setattr(indexed, "FEW", 0)
    monkeypatch.setattr(indexer, "CHARACTERS", 60)  # so that some are not whole
    monkeypatch.setattr(indexer, "AT_ONCE", 7)
    await compare(house, [random_message(chance) for _ in range(80)], chance, 150)


async def test_they_agree_on_awkward_mail(house, monkeypatch):
    monkeypatch.setattr(indexed, "FEW", 0)
    messages = [
        b"Subject : spaced\r\n\r\n", b"Subject:\r\nSubject: two\r\n\r\nbody", b"nothing", b"", b"\r\nbody",
        b"Subject: a\r\n b\r\n\tc\r\n\r\nx\0y", b"Subject: \xff\xfe\0\r\n\r\n\xff\0",
        b"Content-Type: text/plain; charset=utf-16\r\n\r\n\x00\xd8a\x00", 
        b"Date: x\r\nDate: Wed, 4 Jan 2023 1:1:1 Z\r\n\r\n",
        b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-x", b"DATE: Wed, 4 Jan 2023 01:01:01 +0000\r\n\r\n",
        b"Content-Type: text/html\r\n\r\n&#0;&#xD800;<p>one<p>two", b"X-Note: x: y\r\nX-Note: Subject: SUBJECT\r\n\r\n",
    ]  # fmt: skip
    await compare(house, messages * 3, random.Random(1), 300)


async def test_without_an_index_everything_is_read(house, monkeypatch):
    monkeypatch.setattr(indexed, "FEW", 0)
    box = await inbox(house)
    await house.store.run(emails.add, box, [new_email(house.store, random_message(random.Random(2)))])
    assert await matching(await unselected(house, box), TextContains("")) == {1}
    assert comparable("x")
    assert await house.store.read(mailboxes.get, box)
