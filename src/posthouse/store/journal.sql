-- Schema version 4: what happened to each message (store/journal.py, decision 0091), kept for some days. story: JSON,
-- of a conversation packed by zstd. keys: what leads to it, 8 octets each.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    story BYTEA NOT NULL,
    keys BYTEA NOT NULL
);
CREATE INDEX journal_at ON journal (at);
CREATE INDEX journal_wire ON journal (at) WHERE kind = 'wire';  -- conversations go sooner than the rest

-- The same keys in their order, by the day (at / 86,400,000), filled behind: up to the id in the counter.
CREATE TABLE journal_key (day BIGINT NOT NULL, key BIGINT NOT NULL, entry BIGINT NOT NULL, PRIMARY KEY (day, key, entry)) WITHOUT ROWID;
INSERT INTO counter VALUES ('journal_key', 0);
