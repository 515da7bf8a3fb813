"""Signs of the search index: what they exclude is not there, whatever comes and goes, and they do exclude."""

import random
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.casemap import casemap
from posthouse.mail.fuzzy import query, without_accents
from posthouse.mail.ids import AccountId, EmailId
from posthouse.store import blocks
from posthouse.store.index import Index, Writer
from posthouse.store.pages import BLOCK_EMAILS, END, KINDS, Entry, Kind, Wanted, page_with
from posthouse.store.signed import LEAST, OPEN
from posthouse.store.signs import ASKED, GROUP, grams_of, sign_of

ANNA, BERTA = AccountId(1), AccountId(7)
BODY = (Kind.BODY,)
TEXTS = st.text("abcdeéöß 字語漢_-.\n\u0301\U0001f600", max_size=60)


def entry(email: int, subject: str, body: str) -> Entry:
    texts = [b""] * len(KINDS)
    texts[Kind.REST] = END + casemap(f"X-Subject: {subject}").encode()
    texts[Kind.BODY] = END + casemap(body).encode()
    return Entry(email, b"%08d" % email, 0, 0, tuple(texts))


class Mail:
    """What is in an index, beside it."""

    def __init__(self, directory) -> None:
        self.writer = Writer(directory)
        self.index = Index(directory, self.believe)
        self.bodies: dict[int, str] = {}
        self.last = 0

    async def believe(self, _) -> bool:
        return True

    def add(self, count: int, account: AccountId = ANNA) -> None:
        """So many full blocks. Every message has a number of its own, and a word that it shares with its block."""
        for _ in range(count):
            several = []
            for _ in range(BLOCK_EMAILS):
                self.last += 1
                body = f"number{self.last:06d} block{self.last // BLOCK_EMAILS:05d} common"
                several.append(entry(self.last, f"Title{self.last:06d}", body))
                self.bodies[self.last] = casemap(body)
            self.writer.add({account: several}, EmailId(self.last))

    def sign(self) -> int:
        count = 0
        while self.writer.sign():
            count += 1
        return count

    def forget(self, block: int, gone: set[int]) -> None:
        self.writer.forget(block, gone)
        for email in gone:
            del self.bodies[email]

    async def found(self, text: str) -> set[int]:
        result = await self.index.find(ANNA, [Wanted(BODY, casemap(text).encode())], 10_000)
        assert result is not None
        assert result.hits[0] == {email for email, body in self.bodies.items() if casemap(text) in body}, text
        return result.hits[0]

    def close(self) -> None:
        self.index.close()
        self.writer.close()


@pytest.fixture
def looked(monkeypatch):
    """The pages that searches unpack."""
    unpacked = []

    def counting(packed: bytes) -> bytes:
        unpacked.append(packed)
        return real(packed)

    real = blocks.unpack
    monkeypatch.setattr(blocks, "unpack", counting)
    return unpacked


@given(st.lists(TEXTS, min_size=1, max_size=4), st.data())
def test_whatever_stands_in_a_text_has_its_grams_in_the_sign(texts, data):
    octets = [END + casemap(text).encode() for text in texts]
    sign = sign_of([page_with(octets)])
    whole = casemap(data.draw(st.sampled_from(texts)))
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert sign.issuperset(grams_of(whole[start:stop].encode()))
    assert sign.issuperset(grams_of(without_accents(whole.encode())))


def test_of_a_long_text_few_grams_are_asked_for():
    several = grams_of(bytes(random.Random(1).choices(b"ABCDEFGH", k=5_000)))
    assert len(several) == ASKED
    assert grams_of(b"ABC DE-F") == []


async def test_only_blocks_that_may_have_it_are_unpacked(tmp_path, looked):
    with closing(Mail(tmp_path)) as mail:
        mail.add(GROUP + OPEN)
        assert await mail.found("number000300") == {300}
        assert len(looked) == GROUP + OPEN
        assert mail.sign() == GROUP + 1  # one step finds them
        looked.clear()
        assert await mail.found("number000300") == {300}
        assert len(looked) < OPEN + 8
        assert len(await mail.found("ber0003")) == 100
        assert len(await mail.found("common")) == len(mail.bodies)
        assert await mail.found("nowhere") == set()
        assert await mail.found("r0003 block") == set()
        assert len(await mail.found("00300 block0000")) == 1


async def test_header_and_bodies_have_signs_of_their_own(tmp_path, looked):
    with closing(Mail(tmp_path)) as mail:
        mail.add(GROUP + OPEN)
        mail.sign()
        text = await mail.index.find(ANNA, [Wanted(KINDS, b"TITLE000300"), Wanted(BODY, b"TITLE000300")], 10_000)
        assert text.hits == [{300}, set()]
        field = await mail.index.find(
            ANNA, [Wanted((Kind.REST,), b"TITLE000300", name) for name in ("X-SUBJECT", "X-OTHER")], 10_000
        )
        assert field.hits == [{300}, set()]


async def test_words_looked_for_nearly_are_found_with_signs_as_without(tmp_path, looked):
    wanted = [
        Wanted(KINDS, query=query(text)) for text in ("title000300", "numbers000300 commons", "commno", "nowhere")
    ]
    with closing(Mail(tmp_path)) as mail:
        mail.add(GROUP + OPEN)
        before = await mail.index.find(ANNA, wanted, 10_000)
        mail.sign()
        looked.clear()
        after = await mail.index.find(ANNA, wanted[:1], 10_000)
        assert len(looked) < len(KINDS) * (OPEN + 8)
        assert after.marks == before.marks[:1]
        assert (await mail.index.find(ANNA, wanted, 10_000)).marks == before.marks
        assert [len(marks) > 0 for marks in before.marks] == [True, False, True, False]


async def test_blocks_that_were_emptied_and_filled_again_are_not_passed_over(tmp_path):
    with closing(Mail(tmp_path)) as mail:
        mail.add(GROUP + OPEN)
        mail.sign()
        blocks = mail.writer.blocks(0, 1_000)
        for block, emails in blocks[GROUP // 2 :]:  # among them some with signs; their numbers are given again
            mail.forget(block, set(emails))
        mail.forget(blocks[3][0], set(blocks[3][1][5:]))
        first, again = min(blocks[GROUP // 2][1]), mail.last + 1
        mail.add(GROUP + OPEN)
        assert again in dict(mail.writer.blocks(0, 1_000))[blocks[GROUP // 2][0]]
        for _ in range(2):
            assert await mail.found(f"number{first:06d}") == set()
            assert await mail.found(f"number{again:06d}") == {again}
            assert await mail.found(f"number{mail.last:06d}") == {mail.last}
            assert await mail.found("number000300") == {300}
            await mail.found("ber0090")
            assert mail.sign() in (GROUP + 1, 0)


async def test_signs_of_which_little_is_left_are_removed_and_made_anew(tmp_path, looked):
    with closing(Mail(tmp_path)) as mail:
        mail.add(GROUP + OPEN)
        mail.sign()
        for block, emails in mail.writer.blocks(0, GROUP - LEAST + 1):
            mail.forget(block, set(emails))
        count = mail.writer._connection.execute("SELECT count(*) FROM signed, sign").fetchall()
        assert count == [(0,)]
        last = mail.last
        assert await mail.found(f"number{last:06d}") == {last}
        mail.add(GROUP)
        assert mail.sign() == GROUP + 1
        looked.clear()
        assert await mail.found(f"number{last:06d}") == {last}
        assert len(looked) < GROUP


async def test_signs_are_of_one_generation_and_one_account(tmp_path, looked):
    with closing(Mail(tmp_path)) as mail:
        mail.add(2, BERTA)
        mail.bodies.clear()
        mail.add(GROUP + OPEN)
        assert mail.sign() == GROUP + 1
        mail.writer._connection.execute("UPDATE state SET generation = 'another'")
        looked.clear()
        assert await mail.found("number000500") == {500}
        assert len(looked) == GROUP + OPEN
        mail.writer.clear()
        mail.bodies.clear()
        assert mail.writer._connection.execute("SELECT count(*) FROM sign").fetchall() == [(0,)]
        assert await mail.found("number000500") == set()


async def test_a_file_of_a_version_without_signs_is_searched(tmp_path):
    with closing(Mail(tmp_path)) as mail:
        mail.add(3)
        mail.writer._connection.execute("DROP TABLE sign; DROP TABLE signed")
        assert await mail.found("number000300") == {300}


def test_accounts_touched_meanwhile_have_their_turn(tmp_path):
    with closing(Mail(tmp_path)) as mail:
        mail.add(GROUP - 1, ANNA)
        mail.add(GROUP + OPEN, BERTA)
        assert mail.sign() == GROUP + 1
        mail.add(OPEN + 1, ANNA)
        assert mail.sign() == GROUP + 1
        assert mail.sign() == 0
