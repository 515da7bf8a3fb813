"""The selected mailbox of an IMAP session (RFC 9051 §3, §7.1)."""

from array import array
from collections.abc import Callable, Iterable

from posthouse.mail.ids import ModSeq
from posthouse.serve.imap.updates import Updates
from posthouse.serve.imap.view import View
from posthouse.store import emails
from posthouse.store.access import EVERY, Rights, settable
from posthouse.store.emails import Changes
from posthouse.store.mailboxes import Box, get
from posthouse.store.script import Script
from posthouse.wire.imap import code
from posthouse.wire.imap.response import Flags, StatusResponse, ok

#: Keywords that FLAGS names in every mailbox, because mail programs use them (RFC 5788, RFC 8621 §4.1.1).
USUAL_KEYWORDS = ("$forwarded", "$junk", "$mdnsent", "$notjunk", "$phishing")


class MailboxGone(Exception):
    """The selected mailbox was deleted, by this or another session."""


def column(
    box: Box, since: ModSeq, uidnext: int, known: "tuple[ModSeq, array[int]] | None" = None
) -> "Script[tuple[array[int], Changes]]":
    """All uids, and what changed since the client was told, of one snapshot. `known` is a column as it was: where
    nothing has left the mailbox since, only what arrived is read, for uids only rise (RFC 9051 §2.3.1.1)."""
    row = yield from get(box)
    if known is None or row.expunged_modseq > known[0]:
        uids = yield from emails.uids(box)
    else:
        uids = known[1]
        arrived = yield from emails.uids(box, uids[-1] if uids else 0)
        uids = uids + arrived if arrived else uids  # a new array: the old one is shared
    changes = yield from emails.changes(box, since, uidnext)
    return uids, changes


class Selected:
    """The mailbox a session has selected, and what it was told of it.

    `saved` is the search result variable as spans of uids (RFC 9051 §6.4.4.1); `keywords` were named in FLAGS; `heard`
    is the account's ModSeq of the last hint that was looked after. `shown` is the highest MODSEQ shown since the last
    tagged answer, `lowered` that a lower HIGHESTMODSEQ had to be said after one (RFC 7162 §3.2). `rights` are all of
    them where the mailbox is the user's own; those on another's were looked up at `vouched`, after the hint `judged`.
    `examined`: by EXAMINE. `url_key`: the user's key for URLs of the mailbox, as it was last seen (RFC 4467 §2).
    """

    __slots__ = (
        "box",
        "examined",
        "heard",
        "judged",
        "keywords",
        "limited",
        "lowered",
        "name",
        "rights",
        "saved",
        "shown",
        "unwatch",
        "updates",
        "url_key",
        "view",
        "vouched",
    )

    def __init__(self, box: Box, name: str, view: View, rights: Rights = EVERY, *, read_only: bool) -> None:
        self.box = box
        self.name = name
        self.view = view
        self.rights = rights
        self.examined = read_only
        self.judged = 0
        self.vouched = 0.0
        self.heard = 0
        self.saved: tuple[tuple[int, int], ...] = ()
        self.shown = 0
        self.lowered = False
        self.url_key: bytes | None = None
        self.limited = 0  # lowest UID of a command that was cut (RFC 9738 §3.1), 0: it was not
        self.keywords = set(USUAL_KEYWORDS)
        self.updates: Updates | None = None  # results of searches that are kept up to date
        self.unwatch: Callable[[], None] | None = None

    def permanent_flags(self) -> StatusResponse:
        """PERMANENTFLAGS: what FLAGS names and this does not could not be changed (RFC 9051 §7.1)."""
        bits = 0 if self.examined else settable(self.rights)
        if not bits:
            return ok(None, "No flags can be changed.", code.NO_PERMANENTFLAGS)
        keywords = sorted(self.keywords) if "w" in self.rights else None
        return ok(None, "Flags that can be changed.", code.permanentflags(keywords, bits))

    def flags(self) -> Flags:
        """FLAGS as it is now (RFC 9051 §7.3.5)."""
        return Flags(tuple(sorted(self.keywords)))

    def learn(self, several: Iterable[str]) -> bool:
        """Whether FLAGS must be said again, because there are new ones among the keywords of these messages."""
        new = {keyword for keywords in set(several) for keyword in keywords.split()} - self.keywords
        self.keywords |= new
        return bool(new)

    def settled(self) -> StatusResponse | None:
        """Where the client was shown a MODSEQ above a change it was not told, such as a removal that is held: up to
        where it knows all; and again when it knows more (RFC 7162 §3.2, §6)."""
        known, shown = self.view.known, self.shown
        self.shown = 0
        if shown > known:
            self.lowered = True
            return ok(None, "Some changes are told later.", code.highestmodseq(known))
        if self.lowered and not self.view.held:
            self.lowered = False
            return ok(None, "All changes up to here are told.", code.highestmodseq(known))
        return None

    @property
    def read_only(self) -> bool:
        """Whether nothing may be changed at all (RFC 4314 §5.2)."""
        return self.examined or self.rights.isdisjoint("ieswt")

    def may(self, right: str) -> bool:
        """Whether the user has a right to change something here, and did not open the mailbox by EXAMINE."""
        return not self.examined and right in self.rights
