-- Schema version 4: mail that leaves the house waits here (docs/operate/queue.md).

-- One message's business with one destination. state: 0 ready, 1 later, 2 leased, 3 held.
CREATE TABLE queue_item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: logs, bounces and people name it
    trail TEXT NOT NULL,                -- the id in our Received field
    blob BIGINT NOT NULL,               -- counted in blob.refs
    skip BIGINT NOT NULL,               -- so many octets in front of the blob stay here: Return-Path
    size BIGINT NOT NULL,               -- octets that are sent
    account BIGINT NOT NULL,            -- whose submission it is; 0: the house's own
    sender TEXT NOT NULL,               -- reverse-path without its brackets, as people search for it
    envelope BYTEA NOT NULL,            -- JSON of the Envelope, without recipients
    destination TEXT NOT NULL,
    urgency BIGINT NOT NULL,            -- MT-PRIORITY with its sign changed: the smallest goes first
    rank BIGINT NOT NULL,               -- the order in which senders take turns
    state BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    lost BIGINT NOT NULL,               -- leases in a row that ran out
    created BIGINT NOT NULL,
    release BIGINT NOT NULL,            -- FUTURERELEASE, 0: none
    next_attempt BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    attention BIGINT NOT NULL,          -- when it is told that it is late, afterwards when it expires
    held BIGINT NOT NULL,               -- since when; 0: not held. A leased one is held after its attempt.
    token BIGINT NOT NULL,              -- of its lease, 0: none
    lease_until BIGINT NOT NULL         -- milliseconds since the machine was started
);
CREATE INDEX queue_item_ready ON queue_item (destination, urgency, rank) WHERE state = 0;
CREATE INDEX queue_item_turn ON queue_item (destination, account, rank) WHERE state = 0;
CREATE INDEX queue_item_later ON queue_item (destination, next_attempt) WHERE state = 1;
CREATE INDEX queue_item_leased ON queue_item (lease_until) WHERE state = 2;
CREATE INDEX queue_item_attention ON queue_item (attention) WHERE held = 0;

CREATE TABLE queue_recipient (
    item BIGINT NOT NULL,
    place BIGINT NOT NULL,
    path TEXT NOT NULL,                 -- as people search for it
    recipient BYTEA NOT NULL,           -- JSON of the Recipient
    settled BIGINT NOT NULL,            -- 1: nothing is left to be done for this one
    outcome BYTEA,                      -- JSON of the last Outcome
    PRIMARY KEY (item, place)
) WITHOUT ROWID;

-- What is known of a destination that has, or had, items.
CREATE TABLE queue_destination (
    name TEXT PRIMARY KEY,
    due BIGINT,                         -- from when on something may be claimed; NULL: nothing waits
    width BIGINT NOT NULL,              -- how many may be leased at a time
    in_flight BIGINT NOT NULL,          -- how many are
    served BIGINT NOT NULL,             -- the highest rank that was claimed
    failures BIGINT NOT NULL,           -- in a row
    rests_until BIGINT NOT NULL,
    reason TEXT NOT NULL,               -- the last failure
    touched BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX queue_destination_due ON queue_destination (due) WHERE in_flight < width;

-- The wall clock as the queue knows it, one row (store/moment.py).
CREATE TABLE queue_clock (boot TEXT NOT NULL, ahead BIGINT NOT NULL, seen BIGINT NOT NULL);
INSERT INTO queue_clock VALUES ('', 0, 0);
