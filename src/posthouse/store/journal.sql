-- Schema version 3: what happened to each message (store/journal.py, decision 0091), kept for some days. story: JSON,
-- of a conversation packed by zstd.
CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, at BIGINT NOT NULL, kind TEXT NOT NULL, story BYTEA NOT NULL);
CREATE INDEX journal_at ON journal (at);
CREATE INDEX journal_wire ON journal (at) WHERE kind = 'wire';  -- conversations go sooner than the rest

-- What leads to an entry: digests of ids, addresses and mailboxes, by the day (at / 86,400,000).
CREATE TABLE journal_key (day BIGINT NOT NULL, key BIGINT NOT NULL, entry BIGINT NOT NULL, PRIMARY KEY (day, key, entry)) WITHOUT ROWID;
