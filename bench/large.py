"""A mailbox of 100,000 messages, measured case by case on several servers in turn.

    python bench/large.py --reps 5 --results FILE maildir.json mdbox.json posthouse.json

Each target file names a server and its users; the mailbox "big" of the user 900 must be filled. Every repetition asks
all the servers one after the other, the order turned round each time, so that a slow moment of the machine hits all.
A case that a server lacks the extension for is written down as lacking. Lines of JSON go to FILE. Answers that are not
alike, in the number of responses or of their octets, make the run fail: who says less is not faster.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import NamedTuple

from dialogue import Answer, Connection, Refused, Target

USER = 900
BIG = "big"
LIST_VIEW = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
THUNDERBIRD = (
    "(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority"
    " References Newsgroups In-Reply-To Content-Type Reply-To)])"
)
MUTT = (
    "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES"
    " CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL"
    " X-ORIGINAL-TO)])"
)
PART = 10_000  # messages copied, moved, expunged
TOGETHER = 500  # messages of one MULTIAPPEND
SINGLE = 200  # messages appended one by one
FETCHED = b" FETCH ("
# How far the octets of an answer may be apart, of the largest. Messages are the same octets everywhere; FLAGS may have
# \\Recent and a server's own keywords; servers write ENVELOPE and BODYSTRUCTURE, and spaces in them, each in its way.
EXACT, FLAGS, WRITTEN = 0.0, 0.02, 0.1


class Got(NamedTuple):
    """How many responses came, and how many octets before the tagged one."""

    hits: int
    octets: int = 0


class Side:
    """One server under measurement, with the connection that asks it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.name = target.name
        self.connection = Connection(target, USER)
        self.total = self.select()
        files = sorted((target.corpus / "f3072").glob("*.eml"))
        self.messages = [file.read_bytes() for file in files]
        self.numbers = count(1_000_000)

    def select(self, parameters: str = "", mailbox: str = BIG) -> int:
        """How many messages are there."""
        data = self.connection.do(f"SELECT {mailbox}{parameters}").start
        self.uidvalidity = _number(data, b"UIDVALIDITY ")
        self.modseq = _number(data, b"HIGHESTMODSEQ ")
        lines = [line for line in data.split(b"\r\n") if line.endswith(b" EXISTS")]
        return int(lines[0].split()[1])

    def has(self, *names: bytes) -> bool:
        """Whether the server announces all of these."""
        return all(name in self.connection.capabilities for name in names)

    def do(self, command: str, word: bytes = b"") -> Got:
        """A command that must succeed; how often the word came."""
        return got(self.connection.do(command, word))

    def new(self) -> bytes:
        """A message never sent before."""
        number = next(self.numbers)
        return b"X-Bench-Seq: %d\r\n" % number + self.messages[number % len(self.messages)]


def got(answer: Answer) -> Got:
    return Got(answer.hits, answer.octets)


def _number(data: bytes, word: bytes) -> int:
    place = data.find(word)
    return int(data[place + len(word) :].split(b"]")[0].split()[0]) if place >= 0 else 0


Work = Callable[[Side], Got]
Make = Callable[[Side, int], Work]


class Case(NamedTuple):
    """What is measured. `make` prepares a repetition and gives the work whose time counts; the work gives how many
    responses came, which must be as many on all sides, and their octets, `apart` at most. `first`: the first time is a
    case of its own."""

    name: str
    make: Make
    needs: tuple[bytes, ...] = ()
    reps: int = 0  # 0: as many as wished
    first: bool = False
    apart: float | None = None  # None: octets are not compared
    after: Callable[[Side], None] = lambda side: None


def command(text: str, word: bytes = b"") -> Make:
    """The same command each time."""
    return lambda side, rep: lambda side: side.do(text, word)


def select_warm(side: Side, rep: int) -> Work:
    fresh = Connection(side.target, USER)

    def work(side: Side) -> Got:
        return got(fresh.do(f"SELECT {BIG}", b" EXISTS"))

    return work


def bodies(side: Side, rep: int) -> Work:
    first = side.total // 2
    last = first + min(1000, side.total // 2) - 1
    return lambda side: side.do(f"FETCH {first}:{last} (BODY.PEEK[])", FETCHED)


def mark_seen(side: Side, rep: int) -> Work:
    side.do("STORE 1:* -FLAGS.SILENT (\\Seen)")
    return lambda side: side.do("STORE 1:* +FLAGS.SILENT (\\Seen)")


def search(text: str) -> Make:
    def work(side: Side) -> Got:
        data = side.connection.do(f"SEARCH {text}").start
        lines = [line for line in data.split(b"\r\n") if line.startswith(b"* SEARCH")]
        return Got(len(lines[0].split()) - 2, len(lines[0]))

    return lambda side, rep: work


def _change_some(side: Side, rep: int) -> int:
    """Change the flags of one message in a hundred; the ModSeq before."""
    before = side.select(" (CONDSTORE)") and side.modseq
    numbers = ",".join(str(number) for number in range(1 + rep, side.total + 1, 100))
    side.do(f"STORE {numbers} +FLAGS.SILENT (\\Flagged $X{rep})")
    return before


def changed_since(side: Side, rep: int) -> Work:
    since = _change_some(side, rep)
    return lambda side: side.do(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})", FETCHED)


def resynchronise(side: Side, rep: int) -> Work:
    since = _change_some(side, 50 + rep)
    fresh = Connection(side.target, USER)
    fresh.do("ENABLE QRESYNC")
    return lambda side: got(fresh.do(f"SELECT {BIG} (QRESYNC ({side.uidvalidity} {since}))", FETCHED))


def copy(side: Side, rep: int) -> Work:
    side.do(f"CREATE copy{rep}")
    return lambda side: side.do(f"COPY 1:{min(PART, side.total)} copy{rep}", b"COPYUID")


def move(side: Side, rep: int) -> Work:
    side.do(f"CREATE move{rep}")
    side.select(mailbox=f"copy{rep}")
    return lambda side: side.do(f"MOVE 1:* move{rep}", b" EXPUNGE\r\n")


def expunge(side: Side, rep: int) -> Work:
    side.select(mailbox=f"move{rep}")
    side.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    return lambda side: side.do("EXPUNGE", b" EXPUNGE\r\n")


def multiappend(side: Side, rep: int) -> Work:
    messages = [side.new() for _ in range(TOGETHER)]

    def work(side: Side) -> Got:
        return Got(side.connection.settle(side.connection.append_all("new", messages)).hits)

    side.connection.wait(side.connection.send(b"CREATE new"))
    return work


def append(side: Side, rep: int) -> Work:
    messages = [side.new() for _ in range(SINGLE)]

    def work(side: Side) -> Got:
        for octets in messages:
            side.connection.settle(side.connection.append("new", octets))
        return Got(0)

    side.connection.wait(side.connection.send(b"CREATE new"))
    return work


def delete(side: Side, rep: int) -> Work:
    side.select(mailbox="INBOX")
    return lambda side: side.do(f"DELETE {BIG}")


def back(side: Side) -> None:
    """Select the large mailbox again."""
    side.select()


CASES = (
    Case("SELECT warm", select_warm),
    Case("FETCH 1:* FLAGS", command("FETCH 1:* (FLAGS)", FETCHED), apart=FLAGS),
    Case("UID FETCH 1:* FLAGS", command("UID FETCH 1:* (FLAGS)", FETCHED), apart=FLAGS),
    Case("FETCH ENVELOPE BODYSTRUCTURE", command(f"FETCH 1:* {LIST_VIEW}", FETCHED), first=True, apart=WRITTEN),
    Case("FETCH Thunderbird's headers", command(f"FETCH 1:* {THUNDERBIRD}", FETCHED), first=True, apart=FLAGS),
    Case("FETCH mutt's headers", command(f"FETCH 1:* {MUTT}", FETCHED), first=True, apart=FLAGS),
    Case("FETCH BODY.PEEK[] of 1,000", bodies, apart=EXACT),
    Case("STORE 1:* +FLAGS.SILENT", mark_seen),
    Case("SEARCH SUBJECT", search('SUBJECT "invoice"'), first=True, apart=EXACT),
    Case("SEARCH FROM", search('FROM "jose"'), first=True, apart=EXACT),
    Case("SEARCH BODY", search('BODY "needle00042"'), first=True, apart=EXACT),
    Case("SEARCH TEXT", search('TEXT "needle00042"'), first=True, apart=EXACT),
    Case("SORT (SUBJECT)", command("SORT (SUBJECT) UTF-8 ALL"), (b"SORT",), first=True),
    Case("THREAD REFERENCES", command("THREAD REFERENCES UTF-8 ALL"), (b"THREAD=REFERENCES",), first=True),
    Case("CHANGEDSINCE, 1 % changed", changed_since, (b"CONDSTORE",), apart=WRITTEN),
    Case("QRESYNC, 1 % changed", resynchronise, (b"QRESYNC",), apart=WRITTEN),
    Case("COPY 10,000", copy, after=back),
    Case("MOVE 10,000", move, (b"MOVE",), after=back),
    Case("EXPUNGE 10,000", expunge, after=back),
    Case("MULTIAPPEND of 500", multiappend, (b"MULTIAPPEND",)),
    Case("APPEND one by one", append),
    Case("DELETE of the mailbox", delete, reps=1),
)


def measure(case: Case, side: Side, rep: int) -> tuple[float, Got]:
    """Seconds, and what came."""
    if rep == 0 and case.name.startswith(("COPY", "CHANGED")):
        side.select()
    work = case.make(side, rep)
    begun = time.monotonic()
    came = work(side)
    seconds = time.monotonic() - begun
    case.after(side)
    return seconds, came


def run(case: Case, sides: list[Side], reps: int) -> Iterator[dict[str, object]]:
    """All repetitions on all sides."""
    able = [side for side in sides if side.has(*case.needs)]
    for side in sides:
        if side not in able:
            yield {"name": side.name, "lacks": b" ".join(case.needs).decode()}
    for rep in range(case.reps or reps + case.first):
        for side in able if rep % 2 == 0 else able[::-1]:
            first = case.first and rep == 0
            try:
                seconds, came = measure(case, side, rep)
            except Refused as refused:
                yield {"name": side.name, "lacks": str(refused)}
                continue
            yield {"name": side.name, "secs": round(seconds, 5), **came._asdict(), "first": first, "rep": rep}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", type=Path)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--only", default="", help="beginnings of the names of cases, with commas between")
    wish = parser.parse_args()
    wanted = tuple(wish.only.split(","))
    with ExitStack() as stack:
        sides = [Side(Target.read(file)) for file in wish.targets]
        for side in sides:
            stack.enter_context(closing(side.connection))
        wrong: list[str] = []
        for case in CASES:
            if case.name.startswith(wanted):
                lines = list(run(case, sides, wish.reps))
                write(case, lines, wish.results)
                wrong += unlike(case, lines)
    if wrong:
        sys.exit("answers were not alike:\n" + "\n".join(wrong))


def unlike(case: Case, lines: list[dict[str, object]]) -> list[str]:
    """In which repetitions the servers gave different answers."""
    found: list[str] = []
    for rep in dict.fromkeys(line["rep"] for line in lines if "secs" in line):
        these = [line for line in lines if line.get("rep") == rep and "secs" in line]
        came = {str(line["name"]): Got(int(str(line["hits"])), int(str(line["octets"]))) for line in these}
        octets = [each.octets for each in came.values()]
        apart = case.apart is not None and max(octets) - min(octets) > case.apart * max(octets)
        if apart or len({each.hits for each in came.values()}) > 1:
            told = ", ".join(f"{name}: {each.hits} in {each.octets} octets" for name, each in came.items())
            found.append(f"{case.name}, repetition {rep}: {told}")
    return found


def write(case: Case, lines: list[dict[str, object]], results: Path | None) -> None:
    """Lines of JSON to the file, medians to the screen."""
    for line in lines:
        whole = json.dumps({"workload": "large", "case": case.name, **line})
        if results:
            with results.open("a") as file:
                file.write(whole + "\n")
        if "lacks" in line:
            print(whole, file=sys.stderr)
    for name in dict.fromkeys(str(line["name"]) for line in lines):
        mine = [line for line in lines if line["name"] == name and "secs" in line]
        again = [float(str(line["secs"])) for line in mine if not line["first"]]
        first = [float(str(line["secs"])) for line in mine if line["first"]]
        shown = f"{statistics.median(again) * 1000:10.1f} ms" if again else "         - "
        hits = {line["hits"] for line in mine}
        print(f"{case.name:<30} {name:<26} {shown} {[round(s * 1000) for s in first]} hits {hits}", flush=True)


if __name__ == "__main__":
    main()
