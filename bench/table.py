"""The harness's JSON lines as one Markdown table: ratios of medians, Posthouse to the peer."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: which measurement, how it is called, and whether more is better."""

    workload: str
    case: str
    key: str
    title: str
    goal: str


ROWS = (
    Row("smtp_in", "f4096:10:0", "e2e_rate", "inbound 4 KB, 10 connections, end to end, messages/s", ">= 2.5 x"),
    Row("smtp_in", "f4096:10:0", "cpu_s_per_1000", "the same, CPU seconds per 1,000 messages", "<= 0.5 x"),
    Row("smtp_in", "mixed:10:0", "e2e_rate", "realistic corpus, 10 connections, end to end, messages/s", ">= 2 x"),
    Row("smtp_in", "mixed:10:0", "cpu_s_per_1000", "the same, CPU seconds per 1,000 messages", ""),
    Row(
        "submission",
        "f4096:1:1",
        "rate",
        "submission, STARTTLS and AUTH, one client, a session each, messages/s",
        ">= 10 x",
    ),
    Row("submission", "f4096:10:1", "rate", "the same, 10 clients", ">= 3 x"),
    Row(
        "submission", "f4096:10:0", "e2e_rate", "relay 4 KB to a sink, 10 connections, end to end, messages/s", ">= 1 x"
    ),
    Row("submission", "f4096:10:0", "cpu_s_per_1000", "the same, CPU seconds per 1,000 messages", "<= 1 x"),
    Row("submission", "f4096:50:0", "e2e_rate", "the same, 50 connections, messages/s", ""),
    Row("submission", "f4096:50:0", "p99_ms", "the same, p99 of the answer to the dot, ms", "< 100 ms"),
    Row("visible", "f4096", "accept_p50_ms", "one message on an idle server: to 250, p50 ms", ""),
    Row("visible", "f4096", "after_p50_ms", "from 250 to `* EXISTS`, p50 ms", "< 10 ms"),
    Row("imap_login", "plain:10", "rate", "logins, plain, warm, per second", ">= 5 x"),
    Row("imap_login", "plain:10", "srv_cpu_ms_each", "the same, CPU ms each", ""),
    Row("imap_big", "FETCH 1:* all (first = nothing cached)", "secs", "FETCH list view, large mailbox, s", "<= 0.5 x"),
    Row("imap_big", "FETCH 1:* FLAGS", "secs", "FETCH 1:* FLAGS of it, s", ""),
    Row("imap_big", "SELECT warm", "select_ms", "SELECT of it, ms", ""),
    Row("pop3", "RETR all, one at a time", "per_s", "POP3, RETR of 1,000 one at a time, messages/s", ">= 1 x"),
    Row("pop3", "RETR all, pipelined", "per_s", "the same pipelined, messages/s", ">= 1 x"),
    Row("pop3", "poll: login STAT UIDL QUIT of 1,000", "rate", "POP3 poll: login STAT UIDL QUIT, per second", ">= 3 x"),
    Row("mixed", "100 clients", "rate", "100 mixed clients, commands/s", ">= 1 x"),
    Row("imap_idle", "hold", "pss_kib_per_conn", "5,000 idle plain IMAP connections, KiB each (PSS)", "<= 24 KiB"),
    Row("imap_idle", "notify", "accept_p50_ms", "the same: a new message to 250, p50 ms", ""),
    Row("imap_idle", "notify", "last_p50_ms", "the same: from its end to the last `* EXISTS` of five, p50 ms", "5 ms"),
    Row("imap_idle", "notify", "last_p99_ms", "the same, p99 ms", "50 ms"),
    Row("imap_idle", "fanout notify", "last_p50_ms", "1,000 connections on one mailbox: all are told, p50 ms", ""),
    Row("imap_idle", "fanout notify", "last_p99_ms", "the same, p99 ms", "<= 100 ms"),
)


# Case of large.py -> how many times as fast as the better Dovecot it is to be; a text: another kind of goal.
LARGE_GOALS = {
    "SELECT warm": "<= 2 ms",
    "FETCH 1:* FLAGS": ">= 1 x",
    "UID FETCH 1:* FLAGS": ">= 1 x",
    "FETCH ENVELOPE BODYSTRUCTURE": ">= 3 x",
    "FETCH Thunderbird's headers": ">= 1.5 x",
    "FETCH mutt's headers": ">= 1.5 x",
    "FETCH BODY.PEEK[] of 1,000": ">= 1 x",
    "STORE 1:* +FLAGS.SILENT": ">= 0.5 x mdbox, 20 x maildir",
    "SEARCH SUBJECT": ">= 10 x",
    "SEARCH FROM": ">= 10 x",
    "SEARCH BODY": ">= 10 x",
    "SEARCH TEXT": ">= 10 x",
    "SORT (SUBJECT)": "first time >= 2 x",
    "THREAD REFERENCES": "first time >= 2 x",
    "CHANGEDSINCE, 1 % changed": ">= 1 x",
    "QRESYNC, 1 % changed": ">= 1 x",
    "COPY 10,000": ">= 1 x mdbox",
    "MOVE 10,000": ">= 1 x mdbox",
    "EXPUNGE 10,000": ">= 0.5 x mdbox",
    "MULTIAPPEND of 500": ">= 3 x maildir",
    "APPEND one by one": ">= 3 x maildir",
    "DELETE of the mailbox": "< 1 s",
}


def large_report(results: Path, names: list[str]) -> str:
    """Markdown of what large.py wrote: medians in ms, and how many times as fast as each Dovecot we are."""
    times: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
    for line in map(json.loads, results.read_text().splitlines() if results.exists() else []):
        if line["workload"] == "large" and "secs" in line:
            times[line["case"], line["name"], line["first"]].append(line["secs"] * 1000)
    sides = [*names[:-1], *(["dovecot mdbox"] if len(names) > 1 else []), names[-1]]
    head = [*(f"{side}, ms" for side in sides), *(f"x {side}" for side in sides[:-1]), "goal"]
    lines = ["", f"| large mailbox | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for case, goal in LARGE_GOALS.items():
        for first in (True, False):
            found = [times.get((case, side, first), []) for side in sides]
            if any(found):
                medians = [statistics.median(values) if values else 0.0 for values in found]
                ratios = [f"{other / medians[-1]:.2f}" if other and medians[-1] else "-" for other in medians[:-1]]
                title = f"{case}, first time" if first else case
                lines.append(f"| {title} | {' | '.join([*map(cell, found), *ratios, goal])} |")
    return "\n".join([*lines, "", ""]) if len(lines) > 3 else ""


def samples(results: Path) -> dict[tuple[str, str, str, str], list[float]]:
    """(workload, case, key, server) -> values; the first reading of an uncached mailbox is left out."""
    found: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    lines = results.read_text().splitlines() if results.exists() else []
    for line in map(json.loads, lines):
        if line.get("first"):
            continue
        case = line["case"]
        if line["workload"] == "imap_idle":
            case = " ".join([*line["label"].split(), case.split(" ")[0]])
            for key in [key for key in line if key.endswith("_p50_p99_ms")]:
                line[key.replace("_p99", "")], line[key.replace("_p50", "")] = line[key]
        if line["workload"] == "visible":
            line["after_p50_ms"] = line["visible_p50_ms"] - line["accept_p50_ms"]
        for key, value in line.items():
            if isinstance(value, int | float):
                found[line["workload"], case, key, line["name"]].append(value)
    return found


def cell(values: list[float]) -> str:
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})" if values else "-"


def report(results: Path, names: list[str], starts: list[float], revivals: list[float]) -> str:
    """Markdown. The last name is Posthouse, the one before it, if any, the peer."""
    found = samples(results)
    ours, peer = names[-1], names[0] if len(names) > 1 else ""
    lines = [f"| measured | {peer or 'peer (not run)'} | {ours} | ratio | goal |", "|---|---|---|---|---|"]
    for row in ROWS:
        mine = found.get((row.workload, row.case, row.key, ours), [])
        theirs = found.get((row.workload, row.case, row.key, peer), [])
        if not mine and not theirs:
            continue
        compared = mine and theirs and statistics.median(theirs)
        ratio = f"{statistics.median(mine) / statistics.median(theirs):.2f}" if compared else "-"
        lines.append(f"| {row.title} | {cell(theirs)} | {cell(mine)} | {ratio} | {row.goal} |")
    if starts:
        lines.append(f"| `posthouse try`, a new folder, until ready, s | - | {cell(starts)} | - | < 2 s |")
    if revivals:
        lines.append(
            f"| a worker is killed: until the last waiting client is greeted, s | - | {cell(revivals)} | - | < 1 s |"
        )
    note = "Medians (least to most). Only ratios of one interleaved run mean anything."
    return "\n".join([*lines, "", note, ""])
