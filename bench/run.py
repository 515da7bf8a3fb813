"""Benchmarks of Posthouse, side by side with Postfix and Dovecot where they are installed (make bench).

    python bench/run.py [--small] [--reps N] [--only CASE,...] [--alone]

It runs the workloads of the shared harness (environment SHARED_BENCH, by default ../shared/bench) against a Posthouse
of two workers that it starts itself, and, in the same run, turn by turn, against Postfix + Dovecot (maildir). The
cases `mixed` (a hundred clients, mixed.py) and `large` (a mailbox of 100,000 messages, large.py; Dovecot with maildir
and with mdbox) are our own. `--only append` is the part of `large` in which messages are appended, with 10,000 there.
What comes out are ratios of medians: one machine is like another only beside itself.
Every run begins with servers that are new and empty. Everything stays under bench/out/.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from revival import revival_times
from sides import OUT, ROOT, Peer, Posthouse, Side
from table import large_report, report
from trial import start_times

SHARED = Path(os.environ.get("SHARED_BENCH", ROOT.parent / "shared" / "bench"))
DESCRIPTORS = 1_000  # that a process may have open beside the connections of the case `idle`
FIXED_SIZES = (3072, 4096)  # octets; 3072 fills the large mailbox, 4096 is sent


@dataclass(frozen=True)
class Scale:
    """How much of everything: the real run, or a smoke run of a minute or two."""

    messages: int
    mixed: int
    probes: int
    large_mailbox: int
    append_mailbox: int  # what is there already when only `append` is measured
    idle: int
    fanout: int
    seconds: int


FULL = Scale(
    messages=1000,
    mixed=1000,
    probes=100,
    large_mailbox=100_000,
    append_mailbox=10_000,
    idle=5000,
    fanout=1000,
    seconds=5,
)
SMALL = Scale(
    messages=200, mixed=100, probes=20, large_mailbox=2_000, append_mailbox=500, idle=50, fanout=50, seconds=2
)


def workloads(scale: Scale, reps: int) -> dict[str, list[str]]:
    """Case -> arguments of the harness's sidebyside.py after the target files."""
    return {
        "idle": [
            "imap_idle",
            "--conns",
            str(scale.idle),
            "--spread",
            str(max(1, scale.idle // 5)),
            "--n",
            "20",
            "--via",
            "smtp",
        ],  # first: memory that earlier work freed would flatter
        "fanout": ["imap_idle", "--conns", str(scale.fanout), *FANOUT],
        "inbound": ["smtp_in", "--cases", "f4096:10:0", "--n", str(scale.messages)],
        "submission": ["smtp_in", "--submission", "--cases", "f4096:1:1,f4096:10:1", "--n", str(scale.messages)],
        "relay": [
            "smtp_in",
            "--submission",
            "--relay",
            "10599",
            "--cases",
            "f4096:10:0,f4096:50:0",
            "--n",
            str(scale.messages),
        ],  # in by submission, out to the harness's sink, which both sides are told of
        "realistic": ["smtp_in", "--cases", "mixed:10:0", "--n", str(scale.mixed)],
        "visible": ["visible", "--n", str(scale.probes)],
        "login": ["imap_login", "--modes", "plain", "--procs", "10", "--secs", str(scale.seconds), "--users", "100"],
        "pop3": ["pop3", "--n", str(scale.messages), "--reps", str(reps), "--secs", str(scale.seconds)],
        "fetch": ["imap_big", "--n", str(scale.large_mailbox), "--reps", str(max(2, reps)), "--stages", "select,fetch"],
    }


FANOUT = ("--fanout", "--label", "fanout", "--n", "50", "--via", "smtp")
OWN = ("mixed", "large")  # not the harness's; the last deletes the large mailbox at its end
APPEND = "append"  # those cases of `large` in minutes; measured only when it is asked for by name
FILLED = {"fetch", "large"}  # these need the large mailbox
ONCE = {"fanout", "fetch", "idle", "pop3", "visible"}  # these repeat inside, or cost a mailbox each


def prepare(scale: Scale) -> None:
    """The load generator and the corpus, made once."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors < scale.idle + DESCRIPTORS:
        sys.exit(f"{scale.idle:,} connections need {scale.idle + DESCRIPTORS:,} descriptors: raise `ulimit -Hn`.")
    if not (SHARED / "sidebyside.py").is_file():
        sys.exit(f"no benchmark harness in {SHARED}: name its folder in SHARED_BENCH")
    if not (OUT / "bin" / "mailload").exists():
        made = subprocess.run(["make", "-s", "-C", SHARED, f"OUT={OUT / 'bin'}"], check=False)
        if made.returncode:
            sys.exit("the load generator needs a C compiler: apt-get install gcc libssl-dev")
    wanted = {f"f{size}": ["--kind", "fixed", "--size", str(size), "--n", "1000"] for size in FIXED_SIZES}
    wanted["mixed"] = ["--n", "2000"]
    for name, arguments in wanted.items():
        folder = OUT / "corpus" / name
        if not (folder / "index.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, SHARED / "corpus.py", "--out", folder, *arguments], check=True)


def target(side: Side, results: Path) -> Path:
    """The harness's description of a server, as a JSON file."""
    file = OUT / f"{side.name.split()[0]}.json"
    common = {"bin": str(OUT / "bin"), "corpus": str(OUT / "corpus"), "out": str(results), "users": 1000}
    file.write_text(json.dumps({"name": side.name, "probe": side.probe, **side.ports, **common}, indent=1))
    return file


@contextlib.contextmanager
def running(alone: bool) -> Iterator[list[Side]]:
    """Posthouse, and beside it the peer, if that is wanted and installed."""
    with contextlib.ExitStack() as stack:
        sides: list[Side] = []
        if not alone and (missing := Peer.missing()):
            print(f"Posthouse runs alone: {missing}\n  {SHARED}/peers/dovecot-postfix/install.sh installs the peers.")
        elif not alone:
            sides.append(stack.enter_context(Peer(SHARED, OUT / "peer")))
        sides.append(stack.enter_context(Posthouse(OUT / "posthouse")))
        yield sides


def measure(case: str, arguments: list[str], files: list[Path], reps: int) -> bool:
    rounds = 1 if case in ONCE else reps
    command = [sys.executable, SHARED / "sidebyside.py", "--reps", str(rounds), *files, "--", *arguments]
    print(f"\n# {case}: {' '.join(arguments)}", flush=True)
    return subprocess.run(command, cwd=OUT, check=False).returncode == 0


def measure_own(case: str, sides: list[Side], files: list[Path], wish: argparse.Namespace) -> bool:
    """The cases whose load comes from this folder."""
    print(f"\n# {case}", flush=True)
    program, results = ROOT / "bench" / f"{case}.py", OUT / "results.jsonl"
    if case == "mixed":
        seconds = "3" if wish.small else "10"
        commands = [
            [program, "--seconds", seconds, "--results", results, file]
            for rep in range(wish.reps)
            for file in (files if rep % 2 == 0 else files[::-1])
        ]
    else:
        reps = str(max(2, wish.reps))
        some = ["--only", "MULTIAPPEND,APPEND"] if case == APPEND else []
        targets = [*mdbox(sides, files, filled(case, wish)), *files]
        commands = [[ROOT / "bench" / "large.py", *some, "--reps", reps, "--results", results, *targets]]
    codes = [subprocess.run([sys.executable, *command], cwd=OUT, check=False).returncode for command in commands]
    return not any(codes)


def filled(case: str, wish: argparse.Namespace) -> int:
    """How many messages the large mailbox has for this case."""
    scale = SMALL if wish.small else FULL
    return scale.append_mailbox if case == APPEND else scale.large_mailbox


def mdbox(sides: list[Side], files: list[Path], messages: int) -> list[Path]:
    """The peer once more, for users whose mail it keeps in mdbox, with the large mailbox filled."""
    if len(sides) == 1:
        return []
    file = OUT / "mdbox.json"
    described = json.loads(files[0].read_text()) | {"name": "dovecot mdbox", "user": "d%04d@bench.test"}
    file.write_text(json.dumps(described, indent=1))
    sides[0].fill(SHARED, file, messages)
    return [file]


def warm_up(sides: list[Side], files: list[Path], messages: int) -> None:
    """Every user that logs in later has logged in once, so that proven credentials are cached; the large mailbox is
    filled with so many messages."""
    for side, file in zip(sides, files, strict=True):
        if messages:
            side.fill(SHARED, file, messages)
        command = [sys.executable, SHARED / "workloads" / "imap_login.py", "--target", file, "--out", "", "--reps", "1"]
        subprocess.run([*command, "--modes", "plain", "--procs", "4", "--users", "100", "--secs", "5"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a smoke run, no figures to quote")
    parser.add_argument("--alone", action="store_true", help="Posthouse only")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--only", default="", help="cases, by name, with commas between")
    wish = parser.parse_args()
    scale = SMALL if wish.small else FULL
    cases = workloads(scale, wish.reps)
    chosen = wish.only.split(",") if wish.only else [*cases, *OWN]
    OUT.mkdir(parents=True, exist_ok=True)
    prepare(scale)
    results = OUT / "results.jsonl"
    results.unlink(missing_ok=True)
    failed: list[str] = []
    with running(wish.alone) as sides:
        files = [target(side, results) for side in sides]
        needing = [name for name in chosen if name in FILLED or name == APPEND]
        warm_up(sides, files, max((filled(name, wish) for name in needing), default=0))
        for name in chosen:
            own = name in OWN or name == APPEND
            if not (measure_own(name, sides, files, wish) if own else measure(name, cases[name], files, wish.reps)):
                failed.append(name)
        names = [side.name for side in sides]
        revivals = revival_times(int(sides[-1].probe.removeprefix("pid:")), sides[-1].ports["smtp_port"], wish.reps)
    text = report(results, names, start_times(5), revivals) + large_report(results, names)
    (OUT / "report.md").write_text(text)
    print(f"\n{text}\nKept in {OUT / 'report.md'}")
    if failed:
        sys.exit(f"these cases failed on at least one side: {', '.join(failed)}")


if __name__ == "__main__":
    main()
