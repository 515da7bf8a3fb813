-- Schema version 5: quotas (decisions 0095, 0096).
-- A limit of NULL is left to the next one: that of the user, the domain, the house, the settings. -1 is no limit.

ALTER TABLE account ADD COLUMN octets BIGINT NOT NULL DEFAULT 0;     -- what the mailboxes of the account count together
ALTER TABLE account ADD COLUMN messages BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN mailboxes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN most_octets BIGINT;
ALTER TABLE account ADD COLUMN most_messages BIGINT;
ALTER TABLE account ADD COLUMN most_mailboxes BIGINT;
ALTER TABLE account ADD COLUMN limit_octets BIGINT;                  -- what holds: the first of the three who says one
ALTER TABLE account ADD COLUMN limit_messages BIGINT;
ALTER TABLE account ADD COLUMN limit_mailboxes BIGINT;
ALTER TABLE account ADD COLUMN warned BIGINT NOT NULL DEFAULT 0;     -- the percentage that the user was told of

-- Of every user of the domain, each for itself.
ALTER TABLE domain ADD COLUMN most_octets BIGINT;
ALTER TABLE domain ADD COLUMN most_messages BIGINT;
ALTER TABLE domain ADD COLUMN most_mailboxes BIGINT;

-- Of every user of the house, one row.
CREATE TABLE house_quota (most_octets BIGINT, most_messages BIGINT, most_mailboxes BIGINT);
INSERT INTO house_quota VALUES (NULL, NULL, NULL);

UPDATE account SET
    octets = (SELECT coalesce(sum(size), 0) FROM mailbox m WHERE m.account = account.id),
    messages = (SELECT coalesce(sum(total), 0) FROM mailbox m WHERE m.account = account.id),
    mailboxes = (SELECT count(*) FROM mailbox m WHERE m.account = account.id);

-- Whoever changes the counters of a mailbox changes those of its account with the same statement: no script can forget
-- it, nor the worker of an older Posthouse that is still at work.
CREATE TRIGGER mailbox_counted AFTER UPDATE OF total, size ON mailbox
WHEN new.size <> old.size OR new.total <> old.total
BEGIN
    UPDATE account SET octets = octets + new.size - old.size, messages = messages + new.total - old.total
    WHERE id = new.account;
END;
CREATE TRIGGER mailbox_made AFTER INSERT ON mailbox
BEGIN
    UPDATE account SET octets = octets + new.size, messages = messages + new.total, mailboxes = mailboxes + 1
    WHERE id = new.account;
END;
CREATE TRIGGER mailbox_gone AFTER DELETE ON mailbox
BEGIN
    UPDATE account SET octets = octets - old.size, messages = messages - old.total, mailboxes = mailboxes - 1
    WHERE id = old.account;
END;

-- What holds for an account stands in its row, where what arrives finds it.
CREATE VIEW account_limit AS
SELECT a.id AS account, coalesce(a.most_octets, d.most_octets, h.most_octets) AS octets,
    coalesce(a.most_messages, d.most_messages, h.most_messages) AS messages,
    coalesce(a.most_mailboxes, d.most_mailboxes, h.most_mailboxes) AS mailboxes
FROM account a JOIN domain d ON d.name = a.domain CROSS JOIN house_quota h;
CREATE TRIGGER account_limited_new AFTER INSERT ON account
BEGIN
    UPDATE account SET limit_octets = v.octets, limit_messages = v.messages, limit_mailboxes = v.mailboxes
    FROM account_limit v WHERE v.account = account.id AND account.id = new.id;
END;
CREATE TRIGGER account_limited AFTER UPDATE OF domain, most_octets, most_messages, most_mailboxes ON account
BEGIN
    UPDATE account SET limit_octets = v.octets, limit_messages = v.messages, limit_mailboxes = v.mailboxes
    FROM account_limit v WHERE v.account = account.id AND account.id = new.id;
END;
CREATE TRIGGER domain_limited AFTER UPDATE OF most_octets, most_messages, most_mailboxes ON domain
BEGIN
    UPDATE account SET limit_octets = v.octets, limit_messages = v.messages, limit_mailboxes = v.mailboxes
    FROM account_limit v WHERE v.account = account.id AND account.domain = new.name;
END;
CREATE TRIGGER house_limited AFTER UPDATE ON house_quota
BEGIN
    UPDATE account SET limit_octets = v.octets, limit_messages = v.messages, limit_mailboxes = v.mailboxes
    FROM account_limit v WHERE v.account = account.id;
END;
