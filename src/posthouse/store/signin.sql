-- Schema version 5: ways to sign in.

-- 1: mail programs sign in by device passwords only (store/devices.py).
ALTER TABLE account ADD COLUMN devices_only BIGINT NOT NULL DEFAULT 0;

-- A password for one program. digest: SHA-256 of the password, which is chance itself (decision 0107). The SCRAM keys
-- are of the user's salt, which is kept beside them: they count only while it is the same as that of the credential.
CREATE TABLE device (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: sessions name the device that opened them
    account BIGINT NOT NULL,
    name TEXT NOT NULL,
    services TEXT NOT NULL,             -- 'imap pop3 smtp': what it opens
    made BIGINT NOT NULL,
    expires BIGINT,                     -- NULL: never
    digest BYTEA NOT NULL,
    scram_salt BYTEA NOT NULL,
    scram_iterations BIGINT NOT NULL,
    scram_stored_key BYTEA NOT NULL,
    scram_server_key BYTEA NOT NULL,
    used BIGINT,                        -- the last login, NULL: none yet
    used_ip TEXT NOT NULL DEFAULT '',
    used_service TEXT NOT NULL DEFAULT '',
    used_program TEXT NOT NULL DEFAULT '',
    UNIQUE (account, name)
);

-- Who came in, and who tried: like logins of one hour are one row (store/logins.py, decision 0109).
CREATE TABLE login (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account BIGINT NOT NULL,
    hour BIGINT NOT NULL,               -- Millis // 3,600,000
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    count BIGINT NOT NULL,
    ip TEXT NOT NULL,                   -- '': from many addresses
    service TEXT NOT NULL,
    mechanism TEXT NOT NULL,
    program TEXT NOT NULL,
    tls TEXT NOT NULL,
    device TEXT NOT NULL,               -- the name of the device password, '' for another proof
    refused TEXT NOT NULL               -- why, '' for who came in
);
CREATE INDEX login_account ON login (account, hour);
CREATE INDEX login_hour ON login (hour);

-- Failed logins of names and networks, of all workers (decision 0108). subject: 8 octets of a digest, as a number.
CREATE TABLE guess (subject BIGINT NOT NULL, slot BIGINT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (subject, slot)) WITHOUT ROWID;
CREATE INDEX guess_slot ON guess (slot);

-- From where a user has logged in well: never locked out there. day: the last one, Millis // 86,400,000.
CREATE TABLE at_home (account BIGINT NOT NULL, network TEXT NOT NULL, day BIGINT NOT NULL, PRIMARY KEY (account, network)) WITHOUT ROWID;

-- The second factor of a user (RFC 6238). step: the last time step that was used, and is never used again.
CREATE TABLE totp (account BIGINT PRIMARY KEY, secret BYTEA NOT NULL, made BIGINT NOT NULL, step BIGINT NOT NULL) WITHOUT ROWID;

-- Codes for who has lost it, each good once. digest: SHA-256.
CREATE TABLE recovery (account BIGINT NOT NULL, digest BYTEA NOT NULL, PRIMARY KEY (account, digest)) WITHOUT ROWID;

-- Keys of SCRAM-SHA-1 (RFC 5803 §2), for passwords that were set or said since schema 5 (decision 0103). They count
-- while `beside` is the stored key of the credential: an older Posthouse changes a password without them.
CREATE TABLE scram_sha1 (
    account INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    beside BYTEA NOT NULL,
    salt BYTEA NOT NULL,
    iterations BIGINT NOT NULL,
    stored_key BYTEA NOT NULL,
    server_key BYTEA NOT NULL
);

-- The same of device passwords, of the salt that stands there.
ALTER TABLE device ADD COLUMN sha1_stored_key BYTEA;
ALTER TABLE device ADD COLUMN sha1_server_key BYTEA;
