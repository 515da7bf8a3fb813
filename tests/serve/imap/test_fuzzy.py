"""SEARCH=FUZZY (RFC 6203): against a small model, with the index and without; what is refused."""

import random
import re
import unicodedata
from functools import cache

import pytest

from posthouse.mail.text import comparable
from posthouse.serve.imap import contexts, fuzzy, indexed
from posthouse.serve.imap.question import Question, matching, unselected
from posthouse.store import emails, indexer
from posthouse.store.indexer import Indexer
from posthouse.wire.imap.search import And, BodyContains, Fuzzy, HeaderContains, Not, Or, TextContains
from serve.imap.dialogue import connect
from serve.imap.test_indexed import nothing, random_key, random_message
from serve.imap.test_question import inbox
from store_rig import new_email

VOCABULARY = (
    "meeting meetings message mesage massage IMAP broken break breaking total totals invoice room résumé resume a"
)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ENDINGS = ("INGS", "ING", "IES", "EN", "ED", "ES", "ER", "E", "S", "Y")


def bare(text: str) -> str:
    return "".join(letter for letter in comparable(text) if not unicodedata.combining(letter))


def stem(word: str) -> str:
    return next((word.removesuffix(one) for one in ENDINGS if word.endswith(one) and len(word) - len(one) >= 4), word)


@cache
def off(word: str) -> set[str]:
    if len(word) < 5:
        return set()
    cuts = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    found = {one + two[1:] for one, two in cuts if two} | {
        one + two[1] + two[0] + two[2:] for one, two in cuts if two[1:]
    }
    found |= {one + letter + two[1:] for one, two in cuts if two for letter in ALPHABET}
    found |= {one + letter + two for one, two in cuts if one for letter in ALPHABET}
    return found | {one + "S" for one in found}


def model(wanted: str, text: str) -> bool:
    asked = list(dict.fromkeys(re.findall(r"\w+", bare(wanted))))
    there = re.findall(r"\w+", bare(text))
    having = sum(any(one.startswith(stem(word)) or one in off(word) for one in there) for word in asked)
    needed = len(asked) if len(asked) <= 2 else (len(asked) + 1) // 2
    return comparable(wanted) in comparable(text) or (bool(asked) and having >= needed)


def message(subject: str, body: str) -> bytes:
    head = f"Subject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    return (head + body).encode()


async def fill(house, messages: list[bytes], indexed_ones: int) -> None:
    box, one = await inbox(house), Indexer(house.store)
    writer = await one.begin()
    for number, octets in enumerate(messages, 1):
        await house.store.run(emails.add, box, [new_email(house.store, octets)])
        if number == indexed_ones:
            while await one.step(writer):
                pass
    one.close()


async def answer(house, key) -> dict[int, int]:
    """The uids and their scores."""
    question = await unselected(house, await inbox(house))
    return await fuzzy.scores(question, key, await matching(question, key))


async def test_model(house, monkeypatch):
    monkeypatch.setattr(indexed, "FEW", 0)
    chance, words = random.Random(7), VOCABULARY.split()

    def some(most: int) -> str:
        return " ".join(chance.choices(words, k=chance.randrange(1, most)))

    texts = [(some(4), some(9)) for _ in range(60)]
    await fill(house, [message(*one) for one in texts], 40)
    found_any = 0
    for _ in range(60):
        wanted = some(5)
        in_subject = {uid for uid, (subject, _) in enumerate(texts, 1) if model(wanted, subject)}
        in_body = {uid for uid, (_, body) in enumerate(texts, 1) if model(wanted, body)}
        assert (await answer(house, Fuzzy(HeaderContains("subject", wanted)))).keys() == in_subject, wanted
        scores = await answer(house, Fuzzy(BodyContains(wanted)))
        assert scores.keys() == in_body, wanted
        assert not scores or (max(scores.values()) == 100 and min(scores.values()) >= 1)
        found_any += len(scores)
    assert found_any


@pytest.mark.parametrize("seed", range(3))
async def test_index_and_reading_agree(house, monkeypatch, seed):
    monkeypatch.setattr(indexed, "FEW", 0)
    monkeypatch.setattr(indexer, "CHARACTERS", 60)  # so that some are not whole
    chance = random.Random(seed)
    messages = [random_message(chance) for _ in range(50)]
    messages += [b"Subject: a\r\n\r\nx\0y", b"", b"Content-Type: text/plain; charset=utf-16\r\n\r\n\x00\xd8a\x00"]
    messages += [random_message(chance) for _ in range(7)]
    await fill(house, messages, 53)
    sources = ["grusse strasse", "日本語の本", "привет jose", "needl42 the", "x: y istanbul a b"]
    find, used = house.store.index.find, []

    async def watched(*args):
        used.append(await find(*args))
        return used[-1]

    for _ in range(60):
        exact = random_key(chance, sources)
        key = chance.choice([Fuzzy(exact), And((Fuzzy(exact), Not(TextContains("jose")))), Or(exact, Fuzzy(exact))])
        house.store.index.find = watched
        with_index = await answer(house, key)
        house.store.index.find = nothing
        assert with_index == await answer(house, key), key
        question = await unselected(house, await inbox(house))
        assert key != Fuzzy(exact) or has_not(exact) or with_index.keys() >= await matching(question, exact)
    assert any(found is not None and found.mark for found in used)


def has_not(key) -> bool:
    return "Not(" in repr(key)


async def test_html_and_what_is_negated(house):
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<style>meetings</style><p>mee<b>ting</b>s &eacute;t&eacute;"
    await fill(house, [html, message("ete", "nothing")], 2)
    assert await answer(house, Fuzzy(TextContains("meeting ete"))) == {1: 100}
    assert await answer(house, Fuzzy(Not(BodyContains("meeting")))) == {2: 100}
    assert (await answer(house, Fuzzy(TextContains("été")))).keys() == {1, 2}
    question = Question(house, await inbox(house), (await unselected(house, await inbox(house))).view, among={2})
    assert await matching(question, Fuzzy(TextContains("été"))) == {2}


async def test_signs_are_found_as_they_stand(house):
    """What is looked for has no words: FUZZY finds what the search without it finds, in bodies, too."""
    await fill(house, [message("a", "all of it, 100% sure"), message("b", "nothing")], 1)
    for key in (TextContains("%"), BodyContains("%")):
        assert await answer(house, Fuzzy(key)) == {1: 100}
    assert await answer(house, Fuzzy(HeaderContains("Subject", "%"))) == {}


async def test_hostile(house, door):
    """Thousands of words, FUZZY 50 deep, more texts than are looked for nearly (RFC 6203 §8)."""
    async with connect(house, door) as client:
        await client.append()
        await client.append(message("z" * 100_000, "y" * 1_000_000))
        await client.do("SELECT INBOX")
        many = " ".join(f"afternoon{number}" for number in range(2_000))
        assert await client.do(b"SEARCH FUZZY SUBJECT {%d+}\r\n%b" % (len(many), many.encode())) == [b"* SEARCH"]
        assert await client.do("SEARCH " + "FUZZY " * 50 + "SUBJECT meetings") == [b"* SEARCH 1"]
        assert (await client.fails("SEARCH " + "FUZZY " * 51 + "SUBJECT x")).startswith(b"BAD [LIMIT]")
        texts = " ".join(f"TEXT word{number}" for number in range(fuzzy.TEXTS + 1))
        await client.do("SEARCH RETURN (SAVE) 1")
        said = await client.fails(f"SEARCH RETURN (SAVE) FUZZY ({texts})")
        assert said == b"NO [LIMIT] " + fuzzy.TOO_MANY.encode()
        assert await client.do("SEARCH $") == [b"* SEARCH"]
        assert await client.do("SEARCH FUZZY TEXT " + "z" * 5_000) == [b"* SEARCH 2"]
        assert await client.do("SEARCH FUZZY NOT TEXT " + "q" * 5_000) == [b"* SEARCH 1 2"]


async def test_no_update(house, door):
    """A fuzzy search is not kept up to date (RFC 5267 §4.3.1)."""
    async with connect(house, door) as client:
        await client.append()
        await client.do("SELECT INBOX")
        said = await client.do("SEARCH RETURN (UPDATE ALL RELEVANCY) FUZZY SUBJECT meetings")
        assert said[0].endswith(b"ALL 1 RELEVANCY (100)")
        assert b"NOUPDATE" in said[1]
        assert contexts.CANNOT_KEEP.encode() in said[1]
