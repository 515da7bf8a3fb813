"""The command line: `posthouse queue`, and `posthouse tls`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from posthouse.cli_parts import HERE, Json, Place, do, fail

if TYPE_CHECKING:
    from posthouse.store.waiting import Choice

queue_app = App(name="queue", help="Mail that waits to leave for other servers.")
tls_app = App(name="tls", help="What is known of the TLS of other domains.")


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


ANY = Which()


# --- the TLS of others


@tls_app.command(name="show")
def tls_show(domain: str, /, *, place: Place = HERE, as_json: Json = False) -> int:
    """Show whether a domain must have TLS, and its MTA-STS policy."""
    from posthouse import tlsknown

    return do(place, lambda store: tlsknown.show_known(store, domain, as_json=as_json))


@tls_app.command(name="forget")
def tls_forget(domain: str, /, *, place: Place = HERE) -> int:
    """Let a domain take mail without TLS again."""
    from posthouse import tlsknown

    return do(place, lambda store: tlsknown.forget(store, domain))


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
        return fail("--limit is at least 1")
    return do(place, lambda store: queueing.list_queue(store, which.choice(), limit, as_json=as_json))


@queue_app.command(name="show")
def queue_show(item: str, /, *, place: Place = HERE, as_json: Json = False) -> int:
    """Everything about one message that waits, with the last answer for each recipient."""
    from posthouse import queueing

    return do(place, lambda store: queueing.show_item(store, item, as_json=as_json))


All = Annotated[bool, Parameter(name="--all", negative=(), help="All that wait.")]
UNCHOSEN = "say which: ids such as Q12, --sender, --recipient, --domain, or --all"


def _unchosen(ids: Sequence[str], which: Which, *, every: bool) -> str | None:
    """Why the words do not say which messages are meant."""
    if every and (ids or which != ANY):
        return "--all means every message that waits: say it alone, or leave it out"
    return None if every or ids or which != ANY else UNCHOSEN


def _change(ids: Sequence[str], which: Which, place: Place, what: str, *, every: bool) -> int:
    from posthouse import queueing

    if problem := _unchosen(ids, which, every=every):
        return fail(problem)
    return do(place, lambda store: queueing.change(store, which.choice(ids), what))


@queue_app.command(name="retry")
def queue_retry(*ids: str, which: Which = ANY, every: All = False, place: Place = HERE) -> int:
    """Try now, and do not wait for the next try."""
    return _change(ids, which, place, "retry", every=every)


@queue_app.command(name="hold")
def queue_hold(*ids: str, which: Which = ANY, every: All = False, place: Place = HERE) -> int:
    """Keep messages back until they are released; they grow no older meanwhile."""
    return _change(ids, which, place, "hold", every=every)


@queue_app.command(name="release")
def queue_release(*ids: str, which: Which = ANY, every: All = False, place: Place = HERE) -> int:
    """Let held messages go on."""
    return _change(ids, which, place, "release", every=every)


@queue_app.command(name="cancel")
def queue_cancel(*ids: str, which: Which = ANY, every: All = False, yes: bool = False, place: Place = HERE) -> int:
    """Throw messages away; their senders are not told.

    Parameters
    ----------
    yes
        Do not ask.
    """
    from posthouse import queueing

    if problem := _unchosen(ids, which, every=every):
        return fail(problem)
    return do(place, lambda store: queueing.cancel(store, which.choice(ids), sure=yes))
