-- What is known of the TLS of other domains, and what is to be reported to them. Part of schema version 4.

-- MTA-STS policies that were fetched (RFC 8461 §3.3).
CREATE TABLE mta_sts (
    domain TEXT PRIMARY KEY,
    id TEXT NOT NULL,                   -- of the record that announced it
    policy TEXT NOT NULL,               -- its lines
    fetched BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT NOT NULL                -- when mail was last sent there, to the day
) WITHOUT ROWID;
CREATE INDEX mta_sts_expires ON mta_sts (expires);

-- Domains that have taken mail over TLS (decision 0083).
CREATE TABLE tls_seen (
    domain TEXT PRIMARY KEY,
    last BIGINT NOT NULL,               -- when it did last, to the day
    failing BIGINT NOT NULL,            -- since when it refuses TLS without a pause; 0: it does not
    missed BIGINT NOT NULL              -- when it did last
) WITHOUT ROWID;
CREATE INDEX tls_seen_last ON tls_seen (last);

-- Sessions of one day, to be reported (RFC 8460 §4). failure: '' for those that went well, which name no host.
CREATE TABLE tls_session (
    day BIGINT NOT NULL,                -- since 1970-01-01, UTC
    domain TEXT NOT NULL,               -- policy domain
    policy TEXT NOT NULL,               -- JSON of what applied
    failure TEXT NOT NULL,              -- result-type
    host TEXT NOT NULL,
    ip TEXT NOT NULL,
    reason TEXT NOT NULL,
    sessions BIGINT NOT NULL,
    PRIMARY KEY (day, domain, policy, failure, host, ip)
) WITHOUT ROWID;

-- Who works on the report of a day to a domain, until when.
CREATE TABLE tls_lease (day BIGINT NOT NULL, domain TEXT NOT NULL, until BIGINT NOT NULL, PRIMARY KEY (day, domain)) WITHOUT ROWID;
