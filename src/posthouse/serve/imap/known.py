"""Names: all mailboxes that one user may list, as of one snapshot: what LIST and NOTIFY speak of."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from posthouse.mail.ids import MailboxId
from posthouse.store.access import EVERY, Rights
from posthouse.store.annotations import Value
from posthouse.store.mailboxes import MailboxRow


class Names(NamedTuple):
    """All names that LIST may show to one user."""

    rows: dict[str, MailboxRow]
    subscribed: frozenset[str]
    rights: Mapping[str, Rights] = MappingProxyType({})  # of those that are somebody else's
    annotations: Mapping[str, tuple[Value, ...]] = MappingProxyType({})
    deleted: Mapping[MailboxId, int] = MappingProxyType({})  # octets of messages with \Deleted, where it was asked

    def readable(self, name: str) -> bool:
        """Whether STATUS of the name may be told."""
        row = self.rows.get(name)
        return row is not None and not row.noselect and "r" in self.rights.get(name, EVERY)
