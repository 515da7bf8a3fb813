"""Keywords of an Email and their spelling as IMAP flags (RFC 9051 §2.3.2, RFC 8621 §4.1.1).

A Keyword is canonical: lower case, `$seen` where IMAP says `\\Seen`. `\\Deleted` is no keyword but a mark on a
Placement; `\\Recent` does not exist here (RFC 9051 §2.3.2 dropped it, and we never announce it).

The system keywords are also one bit each, because the store keeps them as an integer beside the placement.
"""

from typing import NewType

Keyword = NewType("Keyword", str)

SEEN = Keyword("$seen")
ANSWERED = Keyword("$answered")
FLAGGED = Keyword("$flagged")
DRAFT = Keyword("$draft")

# The bits of the `flags` column. \Deleted has a bit too: it belongs to the Placement, as this column does.
SEEN_BIT = 1
ANSWERED_BIT = 2
FLAGGED_BIT = 4
DRAFT_BIT = 8
DELETED_BIT = 16

SYSTEM_BITS: dict[Keyword, int] = {SEEN: SEEN_BIT, ANSWERED: ANSWERED_BIT, FLAGGED: FLAGGED_BIT, DRAFT: DRAFT_BIT}

# In the order in which they are printed.
FLAG_BITS: tuple[tuple[bytes, int], ...] = (
    (b"\\Answered", ANSWERED_BIT),
    (b"\\Flagged", FLAGGED_BIT),
    (b"\\Deleted", DELETED_BIT),
    (b"\\Seen", SEEN_BIT),
    (b"\\Draft", DRAFT_BIT),
)
BIT_OF_FLAG: dict[bytes, int] = {name.lower(): bit for name, bit in FLAG_BITS}

KEYWORD_LENGTH = 100  # octets; Cyrus and Dovecot allow about as much, and it keeps a flag list on one line
KEYWORDS_PER_EMAIL = 100  # bounds the row and every FLAGS answer
