"""Previews (RFC 8970): the short texts kept beside Emails, once made. Who makes them is serve/imap/preview.py."""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.ids import EmailId
from posthouse.store.blobs import BlobKey
from posthouse.store.mailboxes import Box, check
from posthouse.store.script import Script, sql
from posthouse.store.spans import Spans


class Unmade(NamedTuple):
    """An Email without preview, and where its octets are."""

    email: EmailId
    blob: BlobKey
    size: int


def unmade(box: Box, spans: Spans, limit: int) -> Script[list[Unmade]]:
    """Emails in these spans that have no preview yet, each once, at most `limit`. Raises NotFound."""
    yield from check(box)
    found: dict[EmailId, Unmade] = {}
    for first, last in spans:
        rows = yield sql(
            "SELECT e.id, e.blob, e.size FROM placement p JOIN email e ON e.id = p.email WHERE p.mailbox = $1"
            " AND p.uid BETWEEN $2 AND $3 AND NOT EXISTS (SELECT 1 FROM preview v WHERE v.email = p.email)"
            " ORDER BY p.uid LIMIT $4",
            box.mailbox, first, last, limit - len(found),
        )  # fmt: skip
        found.update((row[0], Unmade(*row)) for row in rows)
        if len(found) >= limit:
            break
    return list(found.values())


def keep(made: Sequence[tuple[EmailId, str]]) -> Script[None]:
    """Keep previews; an Email that has gone meanwhile is passed over, and so is one that has one already."""
    for email, text in made:  # inside one script, in the writer's thread
        yield sql(
            "INSERT INTO preview (email, text) SELECT id, $2 FROM email WHERE id = $1 ON CONFLICT DO NOTHING",
            email, text,
        )  # fmt: skip
