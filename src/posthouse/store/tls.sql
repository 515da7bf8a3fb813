-- What is known of the TLS of other domains. Part of schema version 4.

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
