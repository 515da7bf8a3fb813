"""METADATA (RFC 5464) and FILTERS (RFC 5466): what is bounded, and what hostile clients send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.store.annotations import COUNT, TOTAL, VALUE
from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.metadata import ENTRIES, ENTRY_LENGTH, GetMetadata, SetMetadata
from posthouse.wire.imap.parse import parse_command
from serve.imap.dialogue import connect


async def test_values_are_bounded(house, door):
    async with connect(house, door) as client:
        await client.do(b'SETMETADATA "" (/private/a ~{%d+}\r\n%b)' % (VALUE, b"\0" * VALUE))
        assert await client.fails(
            b'SETMETADATA "" (/private/b "x" /private/a {%d+}\r\n%b)' % (VALUE + 1, b"x" * (VALUE + 1))
        )
        assert any(b"(/private/b NIL)" in line for line in await client.do('GETMETADATA "" /private/b'))


async def test_the_101st_entry(house, door):
    async with connect(house, door) as client:
        for start in range(0, COUNT, 50):
            values = " ".join(f"/private/n{number} {{1+}}\r\nx" for number in range(start, start + 50))
            await client.do(f"SETMETADATA INBOX ({values})")
        assert b"NO [METADATA TOOMANY]" in await client.fails(
            'SETMETADATA INBOX (/private/n1 NIL /private/more "x" /private/most "x")'
        )
        await client.do('SETMETADATA INBOX (/private/n1 NIL /private/more "x")')
        await client.do('SETMETADATA INBOX (/shared/another "x")')


async def test_all_values_together(house, door):
    async with connect(house, door) as client:
        big = b"x" * 32_000
        for number in range(TOTAL // len(big)):
            await client.do(b"SETMETADATA INBOX (/private/n%d {%d+}\r\n%b)" % (number, len(big), big))
        assert b"NO [METADATA TOOMANY]" in await client.fails(
            b"SETMETADATA Sent (/private/n {%d+}\r\n%b)" % (len(big), big)
        )


async def test_filters_of_filters_are_bounded(house, door):
    async with connect(house, door) as client:
        await client.do("SELECT INBOX")
        wide = " ".join(["FILTER f1"] * 60)
        await client.do(f'SETMETADATA "" (/private/filters/values/wide "{wide}" /private/filters/values/f1 "ALL")')
        assert b"NO [UNDEFINED-FILTER " in await client.fails("SEARCH FILTER wide")
        for depth in range(2, 7):
            await client.do(f'SETMETADATA "" (/private/filters/values/f{depth} "FILTER f{depth - 1}")')
        await client.do("SEARCH FILTER f5")
        assert b"NO [UNDEFINED-FILTER f1]" in await client.fails("SEARCH FILTER f6")


@pytest.mark.parametrize(
    "line",
    [
        b"a GETMETADATA INBOX (" + b" ".join(b"/private/n%d" % n for n in range(ENTRIES + 1)) + b")",
        b"a GETMETADATA INBOX /private/" + b"x" * ENTRY_LENGTH,
        b"a SETMETADATA INBOX (" + b" ".join(b"/private/n%d NIL" % n for n in range(ENTRIES + 1)) + b")",
        b"a GETMETADATA INBOX (DEPTH 1",
        b"a GETMETADATA INBOX (MAXSIZE 4294967296) /private/x",
        b"a GETMETADATA INBOX (/private/a /private/b",
        b'a GETMETADATA INBOX "/private/\xc3\xa4"',
        b"a GETMETADATA INBOX /privateer/x",
        b"a GETMETADATA INBOX /private/a//b",
        b"a SETMETADATA INBOX ()",
        b"a SETMETADATA INBOX (/private/x)",
        b"a SETMETADATA INBOX (/private/x ~NIL)",
    ],
)
def test_entries_and_their_names_are_bounded(line):
    with pytest.raises(Fault):
        parse_command(line)


@given(st.binary(max_size=60))
def test_garbage_is_a_fault_or_a_command(tail):
    for head in (b"a GETMETADATA ", b"a SETMETADATA INBOX ("):
        try:
            command = parse_command(head + tail)
        except Fault:
            continue
        assert isinstance(command, GetMetadata | SetMetadata)
