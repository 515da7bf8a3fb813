"""The command line: `posthouse restore` and `posthouse retention`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from posthouse.cli_parts import HERE, Json, Place, do, fail

if TYPE_CHECKING:
    from posthouse.restoring import Wanted

Flag = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which messages are meant.

    Parameters
    ----------
    mailbox
        Those that were removed from this mailbox.
    since
        Those that were removed since then: 2h, 30min, 7d or a day such as 2026-11-26.
    subject
        Those with this in their subject.
    sender
        Those with this in the name or address of their sender.
    all
        All of them.
    """

    mailbox: str | None = None
    since: str | None = None
    subject: str | None = None
    sender: Annotated[str | None, Parameter(name="--from")] = None
    all: Flag = False

    def wanted(self, ids: Sequence[str]) -> "Wanted":
        """As the store is asked. Raises Refused."""
        from posthouse.restoring import wanted

        return wanted(ids, self.mailbox, self.since, (self.subject, self.sender))


@Parameter(name="*")
@dataclass(frozen=True)
class Deed:
    """What is done with them.

    Parameters
    ----------
    show
        Only show what would be brought back.
    forget
        Remove it for ever instead, at once.
    yes
        Do not ask.
    limit
        Show so many.
    """

    show: Annotated[bool, Parameter(name="--list", negative=())] = False
    forget: Flag = False
    yes: Flag = False
    limit: int = 100
    as_json: Json = False


@Parameter(name="*")
@dataclass(frozen=True)
class Rule:
    """The rule of a mailbox.

    Parameters
    ----------
    days
        Messages leave it after so many days.
    never
        They stay.
    usual
        As for everybody.
    """

    days: int | None = None
    never: Flag = False
    usual: Flag = False

    def said(self) -> int:
        """How many of them were."""
        return [self.days is not None, self.never, self.usual].count(True)


ANY, BRING_BACK, NO_RULE = Which(), Deed(), Rule()


def restore(user: str, /, *ids: str, which: Which = ANY, deed: Deed = BRING_BACK, place: Place = HERE) -> int:
    """Show what a user has recently deleted, and bring it back.

    Parameters
    ----------
    user
        Whose; with nothing else all of it is shown.
    ids
        Bring back these, such as M12.
    """
    from posthouse import restoring
    from posthouse.admin import Refused

    meant = bool(ids) or which != ANY
    if deed.forget and not meant:
        return fail("say what to remove for ever: ids, --mailbox, --since, --subject, --from, or --all")
    if deed.limit < 1:
        return fail("--limit is at least 1")
    try:
        wanted = which.wanted(ids)
    except Refused as error:
        return fail(str(error))
    if deed.show or not meant:
        return do(place, lambda store: restoring.show(store, user, wanted, deed.limit, as_json=deed.as_json))
    if deed.forget:
        return do(place, lambda store: restoring.forget(store, user, wanted, sure=deed.yes))
    return do(place, lambda store: restoring.bring_back(store, user, wanted, as_json=deed.as_json))


def retention(
    user: str, mailbox: str | None = None, /, *, rule: Rule = NO_RULE, place: Place = HERE, as_json: Json = False
) -> int:
    """Show after how many days messages leave mailboxes by themselves, or change it for one mailbox.

    Parameters
    ----------
    user
        Whose.
    mailbox
        Which one is changed.
    """
    from posthouse import restoring
    from posthouse.config import load
    from posthouse.store.expiry import Rules

    if mailbox is None and not rule.said():
        section = load(place.config).retention
        rules = Rules(section.trash_days, section.junk_days)
        return do(place, lambda store: restoring.rules(store, user, rules, as_json=as_json))
    if mailbox is None or rule.said() != 1:
        return fail("say a mailbox, and one of --days, --never and --usual")
    if rule.days is not None and not 1 <= rule.days <= restoring.DAYS:
        return fail(f"--days is from 1 to {restoring.DAYS}")
    return do(place, lambda store: restoring.set_rule(store, user, mailbox, 0 if rule.never else rule.days))
