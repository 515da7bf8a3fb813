-- Schema version 5: what was removed and may come back (decision 0099).

-- One act of removing: an EXPUNGE, a DELETE, a QUIT of POP3, a step of a rule.
CREATE TABLE removal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account BIGINT NOT NULL,
    mailbox BIGINT NOT NULL,
    name TEXT NOT NULL,                 -- the mailbox's, then
    at BIGINT NOT NULL,                 -- below 0: it shall not be kept any longer, whatever the time
    agent TEXT NOT NULL                 -- who or what removed it, for people
);
CREATE INDEX removal_at ON removal (at);
CREATE INDEX removal_account ON removal (account, at);

-- Recently deleted: each Email that has no placement any more, as it stood where it stood last. The row of the Email,
-- its header block and its reference to the blob stay as they are.
CREATE TABLE removed (
    removal BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    email BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    keywords TEXT NOT NULL,
    PRIMARY KEY (removal, uid)
) WITHOUT ROWID;

-- The removal that messages of a deleted mailbox belong to; 0: they are not kept.
ALTER TABLE discarded ADD COLUMN removal BIGINT NOT NULL DEFAULT 0;
CREATE INDEX discarded_removal ON discarded (removal);

-- The wall clock as retention knows it, one row, and the stretches of it that do not count (decision 0100).
CREATE TABLE retention_clock (boot TEXT NOT NULL, ahead BIGINT NOT NULL, seen BIGINT NOT NULL);
INSERT INTO retention_clock VALUES ('', 0, 0);
CREATE TABLE retention_gap (since BIGINT NOT NULL, until BIGINT NOT NULL);

-- Mailboxes with a rule of their own; days 0: messages stay.
CREATE TABLE retention_rule (mailbox BIGINT PRIMARY KEY, days BIGINT NOT NULL) WITHOUT ROWID;
