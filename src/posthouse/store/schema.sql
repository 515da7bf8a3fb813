-- Schema version 1. Later versions are steps in migrate.py; a new database goes through the same steps.
-- Times are milliseconds since 1970. Types are those SQLite and PostgreSQL share, but for the generated keys.

-- The last UIDVALIDITY given out in this house, one row. It begins with the seconds of the day the database was
-- made, so that a store made anew never repeats a pair of name and UIDVALIDITY that a client has cached.
CREATE TABLE counter (name TEXT PRIMARY KEY, value BIGINT NOT NULL) WITHOUT ROWID;

CREATE TABLE domain (
    name TEXT PRIMARY KEY,
    catch_all TEXT                      -- address, NULL: unknown users are refused
) WITHOUT ROWID;

-- fold: the local part as it is compared (NFC, casefold).
CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: hints and caches name accounts by it
    domain TEXT NOT NULL REFERENCES domain (name),
    fold TEXT NOT NULL,
    local TEXT NOT NULL,
    modseq BIGINT NOT NULL,             -- one per account, row locked first (decision 0003)
    UNIQUE (domain, fold)
);

CREATE TABLE credential (
    account INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL,        -- Argon2id, PHC form
    scram_salt BYTEA NOT NULL,
    scram_iterations BIGINT NOT NULL,
    scram_stored_key BYTEA NOT NULL,
    scram_server_key BYTEA NOT NULL
);

CREATE TABLE alias (
    domain TEXT NOT NULL REFERENCES domain (name),
    fold TEXT NOT NULL,
    target TEXT NOT NULL,               -- address
    local TEXT NOT NULL,
    PRIMARY KEY (domain, fold, target)
) WITHOUT ROWID;

CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: a purge may still be at work on the old one
    account BIGINT NOT NULL,
    name TEXT NOT NULL,
    role TEXT,
    noselect BIGINT NOT NULL,
    uidvalidity BIGINT NOT NULL,
    uidnext BIGINT NOT NULL,
    total BIGINT NOT NULL,              -- the counters are kept by the scripts, in the same transaction
    unseen BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    size BIGINT NOT NULL,
    created BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    flags_modseq BIGINT NOT NULL,
    expunged_modseq BIGINT NOT NULL,
    UNIQUE (account, name)
);

CREATE TABLE subscription (account BIGINT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (account, name)) WITHOUT ROWID;

-- Mailboxes that are gone and whose placements still have to go, piece by piece (gc.purge).
CREATE TABLE discarded (mailbox BIGINT PRIMARY KEY, account BIGINT NOT NULL) WITHOUT ROWID;

-- released: when gc first saw it without references.
CREATE TABLE blob (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BYTEA NOT NULL UNIQUE,       -- SHA-256
    size BIGINT NOT NULL,
    file TEXT,                          -- under DIR/blobs; NULL: the octets are in the table octets
    refs BIGINT NOT NULL,
    released BIGINT
);
CREATE INDEX blob_unreferenced ON blob (released) WHERE refs = 0;

CREATE TABLE octets (blob INTEGER PRIMARY KEY, packed BYTEA NOT NULL);  -- zstd

-- Written once, never changed; goes with its last placement.
CREATE TABLE email (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: tombstones name it
    account BIGINT NOT NULL,
    blob BIGINT NOT NULL,
    size BIGINT NOT NULL,
    received BIGINT NOT NULL,
    header_size BIGINT NOT NULL,
    envelope BYTEA NOT NULL,
    structure BYTEA NOT NULL
);

CREATE TABLE header (email INTEGER PRIMARY KEY, block BYTEA NOT NULL);

-- Narrow, because flags change in bulk (decision 0016). shared = 1 on every placement of an Email that has several.
CREATE TABLE placement (
    mailbox BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    email BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    keywords TEXT NOT NULL,
    shared BIGINT NOT NULL,
    created BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX placement_email ON placement (email);

-- Tombstones: what has left a mailbox, in the order of leaving.
CREATE TABLE expunged (
    mailbox BIGINT NOT NULL,
    modseq BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    email BIGINT NOT NULL,
    PRIMARY KEY (mailbox, modseq, uid)
) WITHOUT ROWID;
