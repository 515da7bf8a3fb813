"""CONDSTORE and QRESYNC beside their transcripts: match data against a model, hostile sets, spans cut (RFC 7162)."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.ids import ModSeq
from posthouse.serve.imap.condstore import inside, last_match
from posthouse.serve.imap.view import View
from posthouse.store import changed
from posthouse.store.changed import without
from posthouse.store.emails import Changes
from posthouse.wire.imap.number_set import merge
from serve.imap.dialogue import connect

SPANS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)).map(sorted).map(tuple), max_size=6).map(merge)


def view_of(uids: list[int]) -> View:
    view = View(len(uids), max(uids, default=0) + 1, 1)
    view.load(array("I", uids), Changes(ModSeq(1), view.uidnext, len(uids), (), (), ()))
    return view


def numbers(spans: tuple[tuple[int, int], ...]) -> list[int]:
    return [number for first, last in spans for number in range(first, last + 1)]


@given(st.sets(st.integers(1, 60)), SPANS, SPANS)
def test_match_data_true_or_not(uids, known_numbers, known_uids):
    """RFC 7162 §3.2.5.2: the last pair that is so; what the client says may be anything."""
    column = sorted(uids)
    pairs = zip(numbers(known_numbers), numbers(known_uids), strict=False)
    right = [uid for number, uid in pairs if number <= len(column) and column[number - 1] == uid]
    assert last_match(view_of(column), known_numbers, known_uids) == max(right, default=0)


@given(st.sets(st.integers(1, 60)), SPANS)
def test_inside(uids, spans):
    wanted = set(numbers(spans))
    assert inside(sorted(uids), spans) == sorted(uids & wanted)


@given(SPANS, st.data())
def test_spans_without_some_uids(spans, data):
    some = sorted(data.draw(st.sets(st.sampled_from(numbers(spans))))) if spans else []
    assert numbers(tuple(without(spans, some))) == [uid for uid in numbers(spans) if uid not in some]


@pytest.mark.parametrize(
    "parameters",
    [
        "1 1 1:4294967295 (1:4294967295 1:4294967295)",
        "1 9223372036854775807",
        f"1 0 {','.join(str(uid) for uid in range(1, 18_000, 2))}",
        f"1 1 1:9 ({','.join(str(uid) for uid in range(1, 9_000, 2))} 4294967295)",
        "1 1 (4294967290:4294967295 1:2)",
    ],
)
async def test_what_a_client_claims_to_know_costs_nothing(house, door, parameters):
    async with connect(house, door) as client:
        for _ in range(3):
            await client.append()
        await client.do("ENABLE QRESYNC")
        [validity] = [line for line in await client.do("SELECT INBOX") if b"UIDVALIDITY" in line]
        number = validity.partition(b"UIDVALIDITY ")[2].partition(b"]")[0].decode()
        lines = await client.do(f"SELECT INBOX (QRESYNC ({number} {parameters.partition(' ')[2]}))")
        assert not [line for line in lines if b"VANISHED" in line]
        assert lines[0].startswith(b"* OK [CLOSED]")


@pytest.mark.parametrize(
    "command",
    [
        "SELECT INBOX (QRESYNC (1 1 1:*))",
        "SELECT INBOX (QRESYNC (1 1 $))",
        "SELECT INBOX (QRESYNC (1 1 (1 2) 1:2))",
        "SELECT INBOX (QRESYNC (0 x))",
        "SELECT INBOX (QRESYNC (1 9223372036854775808))",
        "SELECT INBOX (QRESYNC (4294967296 1))",
        "SELECT INBOX (QRESYNC (1 1) QRESYNC (1 1))",
        "SELECT INBOX ()",
        f"SELECT INBOX (QRESYNC (1 1 {','.join(str(uid) for uid in range(1, 24_000, 2))}))",
        "FETCH 1 FLAGS (VANISHED CHANGEDSINCE 1)",
        "UID FETCH 1 FLAGS (VANISHED)",
        "UID FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
        "STORE 1 (UNCHANGEDSINCE -1) FLAGS ()",
        'SEARCH MODSEQ "/flags/x" some 1',
        'SEARCH MODSEQ "x" all 1',
    ],
)
async def test_what_makes_no_sense_is_bad_and_the_session_goes_on(house, door, command):
    async with connect(house, door) as client:
        await client.do("ENABLE QRESYNC")
        await client.do("SELECT INBOX")
        assert (await client.fails(command)).startswith(b"BAD")
        await client.do("NOOP")


async def test_a_flag_another_set_makes_a_conditional_store_fail_and_is_told(house, door):
    """RFC 7162 §3.1.3, example 10: the client learns why without asking."""
    async with connect(house, door) as client, connect(house, door) as other:
        for _ in range(3):
            await client.append()
        [line] = [line for line in await client.do("SELECT INBOX (CONDSTORE)") if b"HIGHESTMODSEQ" in line]
        modseq = int(line.partition(b"HIGHESTMODSEQ ")[2].partition(b"]")[0])
        await other.do("SELECT INBOX")
        await other.do("STORE 2 +FLAGS.SILENT (\\Flagged)")
        lines = await client.do(f"STORE 1:3 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Seen)")
        assert client.last.startswith(b"OK [MODIFIED 2] ")
        told = next(line for line in lines if line.startswith(b"* 2 FETCH (UID 2 MODSEQ ("))
        assert told.endswith(b"FLAGS (\\Flagged))")
        assert sum(b"FETCH" in line for line in lines) == 3


async def test_a_conditional_store_in_too_many_pieces(house, door, monkeypatch):
    """What is left over is named among those that failed; asking again for these goes on."""
    monkeypatch.setattr(changed, "PIECES", 2)
    async with connect(house, door) as client:
        for _ in range(8):
            await client.append()
        [line] = [line for line in await client.do("SELECT INBOX (CONDSTORE)") if b"HIGHESTMODSEQ" in line]
        modseq = line.partition(b"HIGHESTMODSEQ ")[2].partition(b"]")[0].decode()
        await client.do("STORE 2,4,6 +FLAGS.SILENT (\\Flagged)")
        await client.do(f"STORE 1:8 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Seen)")
        assert client.last.startswith(b"OK [MODIFIED 2,4:8] ")
        assert await client.do("SEARCH SEEN") == [b"* SEARCH 1 3"]
        await client.do(f"STORE 5,7:8 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Seen)")
        assert client.last.startswith(b"OK STORE")
