"""A hundred clients that do at random what mail programs do, each in a mailbox of its own: commands per second.

    python bench/mixed.py --seconds 10 --results FILE target.json

Of a hundred commands some 10 append, 45 fetch, 20 store, 10 search, 5 copy, 5 expunge and 5 do nothing. The same seed
makes the same choices on every server. One line of JSON goes to FILE.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Manager
from pathlib import Path
from threading import Barrier

from dialogue import Connection, Refused, Target
from large import LIST_VIEW, THUNDERBIRD

CLIENTS = 100
PROCESSES = 4
FIRST = 20  # messages a mailbox begins with
RECENT = 30  # commands are about messages as recent as this


class Client:
    """One of them. UIDs begin at 1 and only APPEND gives new ones, so `last` is known without asking."""

    def __init__(self, target: Target, number: int) -> None:
        self.connection = log_in(target, number)
        self.chance = random.Random(number)
        files = sorted((target.corpus / "f4096").glob("*.eml"))
        self.messages = [file.read_bytes() for file in self.chance.sample(files, FIRST)]
        self.last = 0
        for name in ("mixed", "mixed-copies"):
            self.connection.wait(self.connection.send(b"DELETE " + name.encode()))
            self.connection.do(f"CREATE {name}")
        for _ in range(FIRST):
            self.append()
        self.connection.do("SELECT mixed")

    def append(self) -> None:
        octets = b"X-Mixed: %d\r\n" % self.chance.getrandbits(60) + self.chance.choice(self.messages)
        self.connection.settle(self.connection.append("mixed", octets))
        self.last += 1

    def some(self, most: int) -> str:
        """UIDs of a few recent messages; some may be gone."""
        first = max(1, self.last - self.chance.randrange(RECENT))
        return f"{first}:{min(self.last, first + self.chance.randrange(most))}"

    def command(self) -> None:
        """One command."""
        do, some = self.connection.do, self.some
        choices: tuple[tuple[int, Callable[[], object]], ...] = (
            (10, self.append),
            (15, lambda: do(f"UID FETCH {some(20)} {LIST_VIEW}")),
            (10, lambda: do(f"UID FETCH {some(20)} {THUNDERBIRD}")),
            (5, lambda: do("UID FETCH 1:* (FLAGS)")),
            (15, lambda: do(f"UID FETCH {some(1)} (BODY.PEEK[])")),
            (20, lambda: do(f"UID STORE {some(3)} +FLAGS ({self.chance.choice(FLAGS)})")),
            (5, lambda: do("UID SEARCH UNSEEN")),
            (5, lambda: do('UID SEARCH SUBJECT "invoice"')),
            (5, lambda: do(f"UID COPY {some(5)} mixed-copies")),
            (5, lambda: do("EXPUNGE")),
            (5, lambda: do("NOOP")),
        )
        [work] = self.chance.choices([work for _, work in choices], [weight for weight, _ in choices])
        work()


def log_in(target: Target, number: int) -> Connection:
    """A hundred first logins at once are more than a server may take; then a moment later."""
    for _ in range(60):
        with suppress(Refused, ConnectionError):
            return Connection(target, number)
        time.sleep(0.2)
    return Connection(target, number)


FLAGS = ("\\Seen", "\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "$Junk")


def several(file: Path, numbers: list[int], ready: Barrier, seconds: float) -> int:
    """Clients in threads of this process; how many commands they did. They begin when all others are ready, too."""
    target = Target.read(file)
    with ThreadPoolExecutor(len(numbers)) as threads:
        clients = list(threads.map(lambda number: Client(target, number), numbers))

        ready.wait()
        begin = time.time()

        def work(client: Client) -> int:
            done = 0
            while time.time() < begin + seconds:
                client.command()
                done += 1
            client.connection.close()
            return done

        return sum(threads.map(work, clients))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--results", type=Path)
    wish = parser.parse_args()
    shares = [list(range(first, CLIENTS + 1, PROCESSES)) for first in range(1, PROCESSES + 1)]
    with Manager() as manager, ProcessPoolExecutor(PROCESSES) as pool:
        ready = manager.Barrier(PROCESSES, timeout=120)
        counts = [pool.submit(several, wish.target, share, ready, wish.seconds) for share in shares]
        rate = sum(count.result() for count in counts) / wish.seconds
    name = Target.read(wish.target).name
    line = json.dumps({"workload": "mixed", "case": f"{CLIENTS} clients", "name": name, "rate": round(rate, 1)})
    if wish.results:
        with wish.results.open("a") as file:
            file.write(line + "\n")
    print(line, flush=True)


if __name__ == "__main__":
    main()
