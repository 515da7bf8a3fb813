-- Schema version 5: groups, domains of several names, users who were renamed, users of a directory.

-- The domain that this one is another name of; it has no users and aliases itself.
ALTER TABLE domain ADD COLUMN leads_to TEXT;

-- An alias with a row here is a group (store/groups.py). senders: 'anyone', 'users' or 'members'.
CREATE TABLE grouping (
    domain TEXT NOT NULL,
    fold TEXT NOT NULL,
    senders TEXT NOT NULL,
    PRIMARY KEY (domain, fold)
) WITHOUT ROWID;

-- What a user was called before, and still logs in by; an alias of this name leads to the user.
CREATE TABLE former (
    domain TEXT NOT NULL,
    fold TEXT NOT NULL,
    account BIGINT NOT NULL,
    PRIMARY KEY (domain, fold)
) WITHOUT ROWID;
CREATE INDEX former_account ON former (account);

-- Accounts whose passwords are in a directory: they have no row in credential.
CREATE TABLE directory_user (account INTEGER PRIMARY KEY);
