"""CPU time of reading a message: Part tree, ENVELOPE and BODYSTRUCTURE. Prints figures; asserts nothing.

    python bench/micro_mail.py [FOLDER]

FOLDER holds real messages as */*.eml; without it POSTHOUSE_CORPUS, or ../shared/data/mail beside the repository.
Line ends are turned into CRLF first, as mail arrives by SMTP. Each figure is the best of ROUNDS rounds.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from mail import torture  # noqa: E402  (needs the path above)
from posthouse.mail.header import select_fields  # noqa: E402
from posthouse.mail.mime import parse  # noqa: E402
from posthouse.mail.structure import describe  # noqa: E402

ROUNDS = 5
LISTED = frozenset({b"from", b"to", b"subject", b"date", b"message-id", b"references", b"content-type"})


def best(call: Callable[[bytes], object], messages: list[bytes]) -> float:
    """Milliseconds of CPU for one message, on average over all, in the best round."""
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for octets in messages:
            call(octets)
        times.append(time.process_time() - begin)
    return min(times) * 1000 / len(messages)


def header_fields(octets: bytes) -> bytes:
    return select_fields(octets, LISTED, matching=True)


def main() -> None:
    default = os.environ.get("POSTHOUSE_CORPUS", str(ROOT.parent / "shared" / "data" / "mail"))
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else default)
    messages = [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(folder.glob("*/*.eml"))]
    if not messages:
        sys.exit(f"no messages in {folder}: name a folder with */*.eml")
    sets = {
        "all": messages,
        "about 4 KB": [octets for octets in messages if 3_500 < len(octets) < 4_500],
        "about 36 KB": [octets for octets in messages if 30_000 < len(octets) < 42_000],
        "multipart": [octets for octets in messages if len(parse(octets).children) > 1],
    }
    print(f"{'messages':14}{'count':>7}{'mean octets':>13}{'parse ms':>10}{'describe ms':>13}{'HEADER.FIELDS ms':>18}")
    for name, some in sets.items():
        figures = [best(call, some) for call in (parse, describe, header_fields)]
        mean = sum(map(len, some)) // len(some)
        print(f"{name:14}{len(some):7}{mean:13}{figures[0]:10.4f}{figures[1]:13.4f}{figures[2]:18.4f}")
    print("\nhostile messages, seconds of CPU to describe")
    for name, octets in torture.large():
        begin = time.process_time()
        describe(octets)
        print(f"{name:26}{len(octets):10} octets {time.process_time() - begin:8.3f} s")


if __name__ == "__main__":
    main()
