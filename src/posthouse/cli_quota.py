"""The command line: `posthouse quota`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from posthouse.cli_parts import HERE, Json, Place, do, fail

if TYPE_CHECKING:
    from posthouse.store.quota import Rules

quota_app = App(name="quota", help="How much users may keep, and how much they do.")

Storage = Annotated[str | None, Parameter(help='A size, such as 500MiB or "2 GiB"; none: any.')]
Number = Annotated[str | None, Parameter(help="A number; none: any.")]


@quota_app.command
def show(whose: str, /, *, place: Place = HERE, as_json: Json = False) -> int:
    """Show what a user keeps and may keep, or what is set for a domain or for everybody.

    Parameters
    ----------
    whose
        A user's address, a domain, or the word default.
    """
    from posthouse import quotas

    rules = _rules(place)
    return do(place, lambda store: quotas.show(store, whose, rules, as_json=as_json))


@quota_app.command(name="list")
def list_all(*, place: Place = HERE, as_json: Json = False) -> int:
    """List all users, those first whose mailboxes are fullest."""
    from posthouse import quotas

    rules = _rules(place)
    return do(place, lambda store: quotas.list_all(store, rules, as_json=as_json))


@quota_app.command(name="set")
def set_limits(
    whose: str,
    /,
    *,
    storage: Storage = None,
    messages: Number = None,
    mailboxes: Number = None,
    place: Place = HERE,
) -> int:
    """Say how much a user, every user of a domain, or everybody may keep. What is not said stays as it is.

    Parameters
    ----------
    whose
        A user's address, a domain, or the word default.
    """
    from posthouse import quotas

    if storage is None and messages is None and mailboxes is None:
        return fail("say --storage, --messages or --mailboxes")
    rules = _rules(place)
    return do(place, lambda store: quotas.change(store, whose, (storage, messages, mailboxes), rules))


@quota_app.command
def clear(whose: str, /, *, place: Place = HERE) -> int:
    """Set nothing of its own any more: what holds is that of the domain, of everybody, or of the settings.

    Parameters
    ----------
    whose
        A user's address, a domain, or the word default.
    """
    from posthouse import quotas

    rules = _rules(place)
    return do(place, lambda store: quotas.clear(store, whose, rules))


@quota_app.command
def recount(address: str | None = None, /, *, place: Place = HERE) -> int:
    """Count all messages anew, message by message, and mend counters that differ, of one user or of all.

    Parameters
    ----------
    address
        The user; nobody: all.
    """
    from posthouse import quotas

    rules = _rules(place)
    return do(place, lambda store: quotas.recount(store, address, rules))


def _rules(place: Place) -> "Rules":
    """What the settings say; with a data directory and no settings, what they say when they say nothing."""
    from posthouse.config import load
    from posthouse.config_quota import QuotaSection, rules_of

    return rules_of(QuotaSection() if place.data and not place.config else load(place.config).quota)
