"""The command line: `posthouse serve`, `try`, `check`, `message`, and the commands for domains, users and aliases.

Nothing heavy is imported before a command needs it, so that `--help` is there at once.
"""

import io
import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from posthouse.store.store import SyncStore
    from posthouse.store.waiting import Choice

app = App(name="posthouse", help="A complete mail system: SMTP in, IMAP and POP3 out. Begin with: posthouse try")
trial_app = App(name="try", help="A mail system to play with, on this computer only.")
domain_app = App(name="domain", help="The domains this server takes mail for.")
user_app = App(name="user", help="The people who have a mailbox here.")
alias_app = App(name="alias", help="Addresses that lead to other addresses.")
queue_app = App(name="queue", help="Mail that waits to leave for other servers.")
tls_app = App(name="tls", help="What is known of the TLS of other domains.")
for _app in (trial_app, domain_app, user_app, alias_app, queue_app, tls_app):
    app.command(_app)

Config = Annotated[Path | None, Parameter(name=["--config", "-c"], help="The settings file.")]
Stdin = Annotated[bool, Parameter(name="--password-stdin", negative=(), help="Read the password from standard input.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Place:
    """Which server is meant.

    Parameters
    ----------
    config
        The settings file.
    data
        The data directory, instead of the one in the settings.
    """

    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None
    data: Path | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which messages of the queue are meant.

    Parameters
    ----------
    sender
        Those from this address.
    recipient
        Those for this address.
    domain
        Those for this domain.
    """

    sender: str | None = None
    recipient: str | None = None
    domain: str | None = None

    def choice(self, ids: Sequence[str] = ()) -> "Choice":
        """As the store knows it. Raises Refused."""
        from posthouse.queueing import choice_of

        return choice_of(ids, self.sender, self.recipient, self.domain)


HERE = Place()
ANY = Which()
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
        return _fail(*error.problems)
    return result if isinstance(result, int) else 0


def _fail(*sentences: str) -> int:
    for sentence in sentences:
        print(f"posthouse: {sentence}", file=sys.stderr)
    return 1


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
        return _fail(str(error))


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
        return _fail(*problems)
    print(f"{checked}: no problems found.")
    return 0


@app.command
def doctor(*, place: Place = HERE, as_json: Json = False) -> int:
    """Look whether the network lets this server send and receive mail, and say what to do where it does not."""
    import asyncio

    from posthouse import admin
    from posthouse import doctor as doctors
    from posthouse.config import load

    settings = load(place.config)
    domains: list[str] = []
    status = _do(place, lambda store: domains.extend(admin.domain_names(store)))
    if status:
        return status
    try:
        findings = asyncio.run(doctors.examine(doctors.patient(settings, domains)))
    except OSError as error:
        return _fail(str(error))
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
        return _fail(f"{file}: {error.strerror}")
    if part is None:
        print(json.dumps(show.show_message(octets), indent=2, ensure_ascii=False))
        return 0
    found = show.part_octets(octets, part)
    if found is None:
        return _fail(f"{file} has no part {part}; bodyStructure in `posthouse message {file}` lists them as partId")
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
        return _fail('say what to send: posthouse try send "Hello Ben"')
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
        How far back to look: 2h, 30min, 7d or a day such as 2026-11-26. All that is kept where a message is named.
    wire
        Show the conversations too, line by line.
    """
    from posthouse import trace as traces

    if what is None and since is None:
        return _fail("say which message (an id or an address), or a time: posthouse trace --since 1h")
    when = traces.period(since or "520w")
    if when is None:
        return _fail(f"{since!r} is no time; say 2h, 30min, 7d or a day such as 2026-11-26")
    found: list[traces.Journey] = []
    status = _do(place, lambda store: found.extend(traces.find(store, what, when)))
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
        How far back to look: 2h, 30min, 7d or a day such as 2026-11-26.
    """
    from posthouse import trace as traces
    from posthouse import why as reasons

    when = traces.period(since)
    if when is None:
        return _fail(f"{since!r} is no time; say 2h, 30min, 7d or a day such as 2026-11-26")
    return _do(place, lambda store: reasons.explain(store, address, to, when))


# --- domains, users, aliases


def _do(place: Place, command: "Callable[[SyncStore], None]", *, create: bool = False) -> int:
    from posthouse import admin
    from posthouse.config import load

    settings = None if place.data and not place.config else load(place.config)
    directory = place.data or (settings.directory if settings else Path())
    try:
        with admin.opened(directory, settings.user if settings else "", create=create) as store:
            command(store)
    except admin.Refused as error:
        return _fail(str(error))
    return 0


@domain_app.command(name="add")
def domain_add(domain: str, /, *, place: Place = HERE) -> int:
    """Take mail for a domain."""
    from posthouse import admin

    return _do(place, lambda store: admin.add_domain(store, domain), create=True)


@domain_app.command(name="list")
def domain_list(*, place: Place = HERE, as_json: Json = False) -> int:
    """List all domains."""
    from posthouse import admin

    return _do(place, lambda store: admin.list_domains(store, as_json=as_json))


@domain_app.command(name="remove")
def domain_remove(domain: str, /, *, place: Place = HERE) -> int:
    """Take no more mail for a domain that has no users and aliases any more."""
    from posthouse import admin

    return _do(place, lambda store: admin.remove_domain(store, domain))


@domain_app.command(name="catch-all")
def domain_catch_all(domain: str, address: str | None = None, /, *, off: bool = False, place: Place = HERE) -> int:
    """Where mail for names that nobody has goes.

    Parameters
    ----------
    address
        A user or alias of this server.
    off
        Refuse such mail again.
    """
    from posthouse import admin

    if (address is None) != off:
        return _fail("say an address, or --off")
    return _do(place, lambda store: admin.set_catch_all(store, domain, address))


@user_app.command(name="add")
def user_add(address: str, /, *, password_stdin: Stdin = False, place: Place = HERE) -> int:
    """Give somebody a mailbox; the password is asked for."""
    from posthouse import admin

    return _do(place, lambda store: admin.add_user(store, address, from_stdin=password_stdin))


@user_app.command(name="list")
def user_list(*, place: Place = HERE, as_json: Json = False) -> int:
    """List all users."""
    from posthouse import admin

    return _do(place, lambda store: admin.list_users(store, as_json=as_json))


@user_app.command(name="password")
def user_password(address: str, /, *, password_stdin: Stdin = False, place: Place = HERE) -> int:
    """Give a user a new password, which is asked for."""
    from posthouse import admin

    return _do(place, lambda store: admin.set_password(store, address, from_stdin=password_stdin))


@user_app.command(name="remove")
def user_remove(address: str, /, *, yes: bool = False, place: Place = HERE) -> int:
    """Remove a user and all their mail, for ever.

    Parameters
    ----------
    yes
        Do not ask.
    """
    from posthouse import admin

    return _do(place, lambda store: admin.remove_user(store, address, sure=yes))


@alias_app.command(name="add")
def alias_add(address: str, /, *targets: str, place: Place = HERE) -> int:
    """Lead an address to one or more others of this server."""
    from posthouse import admin

    if not targets:
        return _fail("say at least one address that the alias leads to")
    return _do(place, lambda store: admin.add_alias(store, address, targets))


@alias_app.command(name="set")
def alias_set(address: str, /, *targets: str, place: Place = HERE) -> int:
    """Lead an alias to other addresses than before."""
    from posthouse import admin

    if not targets:
        return _fail("say at least one address that the alias leads to")
    return _do(place, lambda store: admin.set_alias(store, address, targets))


@alias_app.command(name="list")
def alias_list(*, place: Place = HERE, as_json: Json = False) -> int:
    """List all aliases."""
    from posthouse import admin

    return _do(place, lambda store: admin.list_aliases(store, as_json=as_json))


@alias_app.command(name="remove")
def alias_remove(address: str, /, *, place: Place = HERE) -> int:
    """Remove an alias."""
    from posthouse import admin

    return _do(place, lambda store: admin.remove_alias(store, address))


# --- the TLS of others


@tls_app.command(name="show")
def tls_show(domain: str, /, *, place: Place = HERE, as_json: Json = False) -> int:
    """Show whether a domain must have TLS, and its MTA-STS policy."""
    from posthouse import tlsknown

    return _do(place, lambda store: tlsknown.show_known(store, domain, as_json=as_json))


@tls_app.command(name="forget")
def tls_forget(domain: str, /, *, place: Place = HERE) -> int:
    """Let a domain take mail without TLS again."""
    from posthouse import tlsknown

    return _do(place, lambda store: tlsknown.forget(store, domain))


# --- the queue


@queue_app.command(name="list")
def queue_list(*, which: Which = ANY, limit: int = 100, place: Place = HERE, as_json: Json = False) -> int:
    """What waits, why, and until when.

    Parameters
    ----------
    limit
        Show so many at most; JSON has all.
    """
    from posthouse import queueing

    if limit < 1:
        return _fail("--limit is at least 1")
    return _do(place, lambda store: queueing.list_queue(store, which.choice(), limit, as_json=as_json))


@queue_app.command(name="show")
def queue_show(item: str, /, *, place: Place = HERE, as_json: Json = False) -> int:
    """Everything about one message that waits, with the last answer for each recipient."""
    from posthouse import queueing

    return _do(place, lambda store: queueing.show_item(store, item, as_json=as_json))


All = Annotated[bool, Parameter(name="--all", negative=(), help="All that wait.")]
UNCHOSEN = "say which: ids such as Q12, --sender, --recipient, --domain, or --all"


def _unchosen(ids: Sequence[str], which: Which, *, every: bool) -> bool:
    return (not ids and which == ANY) != every


@queue_app.command(name="retry")
def queue_retry(*ids: str, which: Which = ANY, every: All = False, place: Place = HERE) -> int:
    """Try now, and do not wait for the next try."""
    from posthouse import queueing
    from posthouse.store import waiting

    if _unchosen(ids, which, every=every):
        return _fail(UNCHOSEN)
    otherwise = "it is held, is being sent just now, or waits for a moment that its sender chose"
    return _do(
        place,
        lambda store: queueing.change(store, which.choice(ids), waiting.retry, "tried as soon as may be", otherwise),
    )


@queue_app.command(name="hold")
def queue_hold(*ids: str, which: Which = ANY, every: All = False, place: Place = HERE) -> int:
    """Keep messages back until they are released; they grow no older meanwhile."""
    from posthouse import queueing
    from posthouse.store import waiting

    if _unchosen(ids, which, every=every):
        return _fail(UNCHOSEN)
    return _do(
        place, lambda store: queueing.change(store, which.choice(ids), waiting.hold, "held", "it is held already")
    )


@queue_app.command(name="release")
def queue_release(*ids: str, which: Which = ANY, every: All = False, place: Place = HERE) -> int:
    """Let held messages go on."""
    from posthouse import queueing
    from posthouse.store import waiting

    if _unchosen(ids, which, every=every):
        return _fail(UNCHOSEN)
    return _do(
        place, lambda store: queueing.change(store, which.choice(ids), waiting.release, "released", "it is not held")
    )


@queue_app.command(name="cancel")
def queue_cancel(*ids: str, which: Which = ANY, every: All = False, yes: bool = False, place: Place = HERE) -> int:
    """Throw messages away; their senders are not told.

    Parameters
    ----------
    yes
        Do not ask.
    """
    from posthouse import queueing

    if _unchosen(ids, which, every=every):
        return _fail(UNCHOSEN)
    return _do(place, lambda store: queueing.cancel(store, which.choice(ids), sure=yes))
