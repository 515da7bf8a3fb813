"""CPU time of the IMAP engine's hot paths, without store and sockets: `python bench/micro_imap.py`.

Prints the best of several runs: FETCH responses of 100,000 messages for a list view, sheets of their header fields
drawn and filled in, their flags alone, a SEARCH answer of 100,000 numbers in compact and in old form, and the reading
of small pipelined commands.
"""

import random
import time
from array import array
from collections.abc import Callable

from posthouse.wire.imap.command import Command
from posthouse.wire.imap.fetch import parse_items
from posthouse.wire.imap.fetch_response import Row, plan, print_rows
from posthouse.wire.imap.number_set import print_numbers
from posthouse.wire.imap.response import SearchResult, ok, print_response
from posthouse.wire.imap.server import ImapServer, State
from posthouse.wire.imap.sheet import draw, fill_in

MESSAGES = 100_000
BATCH = 500
RUNS = 7
FIRST = 1_700_000_000_000  # Millis of the first message
ENVELOPE = (
    b'("Wed, 17 Jul 1996 02:23:25 -0700" "IMAP4rev2 WG mtg summary and minutes" (("Terry Gray" NIL "gray" "a.example"))'
    b' (("Terry Gray" NIL "gray" "a.example")) (("Terry Gray" NIL "gray" "a.example")) ((NIL NIL "imap" "cac.example"))'
    b' ((NIL NIL "minutes" "cnri.example")("John Klensin" NIL "KLENSIN" "mit.example")) NIL NIL "<B27397@cac.example>")'
)
FIELDS = (
    b"Date: Wed, 17 Jul 1996 02:23:25 -0700\r\nFrom: Terry Gray <gray@a.example>\r\nSubject: IMAP4rev2 WG mtg summary"
    b" and minutes\r\nTo: imap@cac.example\r\nCc: minutes@cnri.example, John Klensin <KLENSIN@mit.example>\r\n"
    b"Message-Id: <B27397@cac.example>\r\n\r\n"
)
STRUCTURE = b'("TEXT" "PLAIN" ("CHARSET" "UTF-8") NIL NIL "QUOTED-PRINTABLE" 3028 92 NIL NIL NIL NIL)'


def best(name: str, work: Callable[[], object]) -> None:
    seconds = []
    for _ in range(RUNS):
        begin = time.process_time()
        work()
        seconds.append(time.process_time() - begin)
    print(f"{name:<58} {min(seconds):.3f} s")


def list_view() -> Callable[[], object]:
    shape = plan(parse_items(b"(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"), uid=True)
    chance = random.Random(1)
    rows: list[Row] = []
    for uid in range(1, MESSAGES + 1):
        flags, keywords = chance.choice((0, 1, 1, 3, 5)), chance.choice(("", "", "", "$junk"))
        rows.append((uid, flags, keywords, FIRST + uid * 977_000, 4_000 + uid, ENVELOPE, STRUCTURE))
    return lambda: [
        print_rows(shape, range(start + 1, start + BATCH + 1), rows[start : start + BATCH])
        for start in range(0, MESSAGES, BATCH)
    ]


def sheets() -> tuple[Callable[[], object], Callable[[], object]]:
    """Thunderbird's headers: drawing the sheets, and filling them in."""
    shape = plan(parse_items(b"(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID)])"))
    parts = []
    for start in range(0, MESSAGES, BATCH):
        rows: list[Row] = [(uid, uid % 8, "", 4_000 + uid) for uid in range(start + 1, start + BATCH + 1)]
        parts.append((range(start + 1, start + BATCH + 1), rows, draw(shape, rows, [[FIELDS] * BATCH])))

    def drawing() -> object:
        return [draw(shape, rows, [[FIELDS] * BATCH]) for _, rows, _ in parts]

    def filling() -> object:
        return [fill_in(shape, text, numbers, [(uid % 8, "") for uid in numbers]) for numbers, _, text in parts]

    return drawing, filling


def flags_only() -> Callable[[], object]:
    shape = plan(parse_items(b"(FLAGS)"), uid=True)
    rows: list[Row] = [(uid, uid % 8, "") for uid in range(1, MESSAGES + 1)]
    return lambda: print_rows(shape, range(1, MESSAGES + 1), rows)


def pipelined() -> Callable[[], object]:
    octets = b"".join(b"a%d NOOP\r\nb%d UID FETCH %d (FLAGS UID)\r\n" % (i, i, i + 1) for i in range(MESSAGES // 2))

    def work() -> None:
        engine = ImapServer()
        engine.state = State.SELECTED
        engine.receive(octets)
        while (event := engine.next_event()) is not None:
            assert isinstance(event, Command)
            engine.send(ok(event.tag, "NOOP completed."))

    return work


def main() -> None:
    best("print 100,000 FETCH for a list view", list_view())
    drawing, filling = sheets()
    best("draw sheets of 100,000 FETCH of header fields", drawing)
    best("fill in sheets of 100,000 FETCH of header fields", filling)
    best("print 100,000 FETCH of flags", flags_only())
    odd = array("L", range(1, 2 * MESSAGES, 2))
    best("print a set of 100,000 numbers, no two neighbours", lambda: print_numbers(odd))
    best("print SEARCH of 100,000 numbers", lambda: print_response(SearchResult(odd)))
    best("read and answer 100,000 pipelined commands", pipelined())


if __name__ == "__main__":
    main()
