"""The command line: `posthouse serve`, `try`, `check`, `message`, `trace` and `why`; the others are in families.

Nothing heavy is imported before a command needs it, so that `--help` is there at once.
"""

import io
import json
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from posthouse.cli_dkim import dkim_app
from posthouse.cli_groups import group_app
from posthouse.cli_parts import HERE, Config, Json, Place, do, fail
from posthouse.cli_people import alias_app, domain_app, user_app
from posthouse.cli_queue import queue_app, tls_app
from posthouse.cli_quota import quota_app
from posthouse.cli_restore import restore, retention
from posthouse.cli_signin import device_app, totp_app, user_logins

app = App(name="posthouse", help="A complete mail system: SMTP in, IMAP and POP3 out. Begin with: posthouse try")
trial_app = App(name="try", help="A mail system to play with, on this computer only.")
for _app in (trial_app, domain_app, user_app, alias_app, group_app, quota_app, queue_app, tls_app):
    app.command(_app)
domain_app.command(dkim_app)
for _app in (device_app, totp_app):
    user_app.command(_app)
user_app.command(user_logins, name="logins")
app.command(restore)
app.command(retention)

INTERRUPTED, UNREAD = 130, 141  # as a shell says it: 128, and the number of SIGINT or SIGPIPE


def main(words: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 refused (the reason is on standard error), 2 the words make no command, 130
    interrupted, 141 nobody reads the output any more, as after `| head`."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
        status = _status(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        if not _unread():
            raise
        for descriptor in (1, 2):  # Python would write what is left when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        status = UNREAD
    sys.exit(status)


def _unread() -> bool:
    """Whether standard output or standard error is a pipe that nobody reads from."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _status(words: Sequence[str] | None) -> int:
    from cyclopts import CycloptsError

    from posthouse.config import ConfigError

    try:
        result = app(words, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 2
    except ConfigError as error:
        return fail(*error.problems)
    return result if isinstance(result, int) else 0


# --- the server


@app.command
def serve(*, config: Config = None) -> int:
    """Run the mail server, in the foreground, until SIGTERM. SIGHUP takes new settings and certificates."""
    from posthouse import log, start
    from posthouse.config import load
    from posthouse.supervisor import Hooks

    settings = load(config)
    log.set_up(settings.log.level, settings.log.format)
    try:
        return start.run(settings, Hooks(reload=lambda: load(config)))
    except start.CannotStart as error:
        return fail(str(error))


@app.command
def check(file: Path | None = None, /, *, config: Config = None) -> int:
    """Say what is wrong with a settings file, and what could be better."""
    from posthouse import check as checks
    from posthouse.config import default_file, load

    file = file or config
    settings = load(file)
    checked = str(file or default_file())
    if not Path(checked).exists():
        print(f"There is no file at {checked}; the defaults would be used.")
        checked = "The defaults"
    problems = checks.problems(settings)
    for sentence in checks.advice(settings):
        print(f"note: {sentence}")
    if problems:
        return fail(*problems)
    print(f"{checked}: no problems found.")
    return 0


@app.command
def doctor(*, place: Place = HERE, as_json: Json = False) -> int:
    """Look whether the network lets this server send and receive mail, and say what to do where it does not."""
    import asyncio

    from posthouse import admin
    from posthouse import doctor as doctors
    from posthouse.config import load
    from posthouse.store import domainkeys
    from posthouse.store.domainkeys import DomainKey

    settings = load(place.config)
    domains: list[str] = []
    keys: list[DomainKey] = []
    status = do(place, lambda store: domains.extend(admin.domain_names(store)))
    status = status or do(place, lambda store: keys.extend(store.read(domainkeys.every)))
    if status:
        return status
    try:
        findings = asyncio.run(doctors.examine(doctors.patient(settings, domains, keys)))
    except OSError as error:
        return fail(str(error))
    print(doctors.printed(findings, as_json=as_json))
    return 0 if doctors.healthy(findings) else 1


@app.command
def message(file: Annotated[Path, Parameter(allow_leading_hyphen=True)], /, *, part: str | None = None) -> int:
    """Show how Posthouse reads a message, as JSON (RFC 8621).

    Parameters
    ----------
    file
        A message; "-" is standard input.
    part
        Print the decoded octets of this part instead.
    """
    from posthouse import show

    try:
        octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        return fail(f"{file}: {error.strerror}")
    if part is None:
        print(json.dumps(show.show_message(octets), indent=2, ensure_ascii=False))
        return 0
    found = show.part_octets(octets, part)
    if found is None:
        return fail(f"{file} has no part {part}; bodyStructure in `posthouse message {file}` lists them as partId")
    sys.stdout.buffer.write(found)
    return 0


# --- the playground


@trial_app.default
def trial(*, dir: Path | None = None, reset: bool = False, any_port: bool = False) -> int:
    """Start a mail system to play with: two people, nothing leaves this computer.

    Parameters
    ----------
    dir
        Keep everything in this folder.
    reset
        Forget everything first.
    any_port
        Where a port is taken, use a free one.
    """
    from posthouse import trial as trials

    return trials.run(dir, reset=reset, any_port=any_port)


@trial_app.command
def send(
    *text: str,
    sender: Annotated[str, Parameter(name="--from")] = "anna",
    to: str = "ben",
    dir: Path | None = None,
) -> int:
    """Send a mail through the running playground.

    Parameters
    ----------
    text
        What to say; several words need no quotes.
    sender
        anna or ben.
    to
        anna, ben, or a whole address.
    dir
        The playground's folder, when it is not the usual one.
    """
    from posthouse import trial as trials

    if not text:
        return fail('say what to send: posthouse try send "Hello Ben"')
    return trials.send(" ".join(text), sender, to, dir)


# --- where is my mail?


@app.command
def trace(
    what: str | None = None,
    /,
    *,
    since: str | None = None,
    wire: bool = False,
    place: Place = HERE,
    as_json: Json = False,
) -> int:
    """Tell the journey of messages: how they came, what was decided, where they are.

    Parameters
    ----------
    what
        The id in our Received field, a queue id, a Message-ID or an address.
    since
        How far back to look: 2h, 30min, 7d or a day such as 2026-11-26; 5 alone means hours.
        All that is kept where a message is named.
    wire
        Show the conversations too, line by line.
    """
    from posthouse import trace as traces

    if what is None and since is None:
        return fail("say which message (an id or an address), or a time: posthouse trace --since 1h")
    when = traces.period(since or "520w")
    if when is None:
        return fail(f"{since!r} is no time; say 2h, 30min, 7d or a day such as 2026-11-26")
    found: list[traces.Journey] = []
    status = do(place, lambda store: found.extend(traces.find(store, what, when)))
    if status == 0 and as_json:
        print(json.dumps(traces.as_json(found, wire=wire), indent=2, ensure_ascii=False))
    elif status == 0 and found:
        traces.tell(found, wire=wire)
    elif status == 0:
        print("The journal has nothing of that. It keeps what came and went for `journal.days` days.")
    return status


@app.command
def why(
    address: str,
    /,
    *,
    to: str | None = None,
    since: str = "7d",
    place: Place = HERE,
) -> int:
    """Say what became of the mails from an address, or from everybody of a domain.

    Parameters
    ----------
    to
        Only those to this address.
    since
        How far back to look: 2h, 30min, 7d or a day such as 2026-11-26; 5 alone means hours.
    """
    from posthouse import trace as traces
    from posthouse import why as reasons

    when = traces.period(since)
    if when is None:
        return fail(f"{since!r} is no time; say 2h, 30min, 7d or a day such as 2026-11-26")
    return do(place, lambda store: reasons.explain(store, address, to, when))
