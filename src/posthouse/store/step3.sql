-- Schema version 3.

-- Sheets: answers of FETCH as a client asked for them, made when it did, up to 512 messages together (decision 0061).
-- Derived: every row may go at any time. It goes with the first of its messages that leaves the mailbox.
CREATE TABLE sheet (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox BIGINT NOT NULL,
    place BIGINT NOT NULL,              -- of UIDs: n stands for those from 512 n to 512 n + 511
    form BIGINT NOT NULL,               -- octets of a digest of what was asked, as a number
    messages BIGINT NOT NULL,
    packed BYTEA NOT NULL,              -- zstd: the UIDs, four octets each, then the text
    UNIQUE (mailbox, place, form)
);

-- Keywords in use, which SELECT names (decision 0070). Few messages have some; of the others nothing is written.
CREATE INDEX placement_keywords ON placement (mailbox, keywords) WHERE keywords <> '';
