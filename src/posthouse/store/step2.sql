-- Schema version 2: what the extensions of IMAP ask beside the message itself. Columns that need more than SQL to be
-- filled for mail that is there already are filled by migrate.py.

-- When the message came into this mailbox, by APPEND, delivery, COPY or MOVE (RFC 8514 §2).
ALTER TABLE placement ADD COLUMN saved BIGINT NOT NULL DEFAULT 0;
UPDATE placement SET saved = (SELECT received FROM email e WHERE e.id = placement.email);

-- The THREADID of RFC 8474 §5.2: the id of the first Email of the thread; 0: this is the first.
ALTER TABLE email ADD COLUMN thread BIGINT NOT NULL DEFAULT 0;
CREATE INDEX email_thread ON email (thread) WHERE thread <> 0;

-- Which thread a Message-ID under a subject belongs to (store/threads.py). key: octets of a digest of both, as a number.
CREATE TABLE thread_key (account BIGINT NOT NULL, key BIGINT NOT NULL, thread BIGINT NOT NULL, PRIMARY KEY (account, key)) WITHOUT ROWID;

-- What SORT and THREAD compare (RFC 5256 §2), written with the Email, never changed. Texts are casemapped.
CREATE TABLE summary (
    email INTEGER PRIMARY KEY,
    sent BIGINT NOT NULL,               -- Millis of the Date field, or else the INTERNALDATE
    subject TEXT NOT NULL,              -- base subject
    reply BIGINT NOT NULL,              -- 1: the subject was a reply's or a forward's
    sender TEXT NOT NULL,               -- mailbox of the first address of From
    recipient TEXT NOT NULL,            -- of To
    cc TEXT NOT NULL,                   -- of Cc
    display_from TEXT NOT NULL,         -- RFC 5957 §3
    display_to TEXT NOT NULL,
    message_id TEXT NOT NULL,           -- without angle brackets, '' where there is none
    parents TEXT NOT NULL               -- References, or else In-Reply-To, separated by spaces
);

-- Where the fields of the block lie (mail/fieldmap.py); NULL: it has to be read.
ALTER TABLE header ADD COLUMN fields BYTEA;

-- The short text of RFC 8970, made once.
CREATE TABLE preview (email INTEGER PRIMARY KEY, text TEXT NOT NULL);

-- Access control lists (RFC 4314): who else may do what. The owner's own rights are not here.
CREATE TABLE access (
    mailbox BIGINT NOT NULL,
    identifier TEXT NOT NULL,           -- an address of this house, 'anyone', or one of them behind '-'
    rights TEXT NOT NULL,               -- letters in alphabetical order
    PRIMARY KEY (mailbox, identifier)
) WITHOUT ROWID;
CREATE INDEX access_identifier ON access (identifier);

-- Annotations (RFC 5464). mailbox 0: of the server; reader 0: /shared, otherwise the account whose /private it is.
CREATE TABLE annotation (
    mailbox BIGINT NOT NULL,
    reader BIGINT NOT NULL,
    entry TEXT NOT NULL,                -- as first spelled
    fold TEXT NOT NULL,                 -- lower case: how it is compared
    value BYTEA,                        -- NULL: removed, and kept so that NOTIFY can tell it
    change BIGINT NOT NULL,             -- of the counter annotation, for the whole house
    PRIMARY KEY (mailbox, reader, fold)
) WITHOUT ROWID;
CREATE INDEX annotation_change ON annotation (change);
INSERT INTO counter VALUES ('annotation', 0);

-- Mailbox access keys of URLAUTH (RFC 4467 §2): account is the user whose table a key stands in.
CREATE TABLE url_key (account BIGINT NOT NULL, mailbox BIGINT NOT NULL, key BYTEA NOT NULL, PRIMARY KEY (account, mailbox)) WITHOUT ROWID;
CREATE INDEX url_key_mailbox ON url_key (mailbox);

-- Where messages were changed, so that "what changed since" costs what changed (decision 0030, store/touched.py).
CREATE TABLE touched (
    mailbox BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (mailbox, modseq, first)
) WITHOUT ROWID;
INSERT INTO touched (mailbox, modseq, first, last) SELECT id, modseq, 1, 4294967295 FROM mailbox;
