-- Schema version 6: keys of DKIM.

-- A private key of a domain, and what the DNS has of it (store/domainkeys.py). algorithm: a= of RFC 6376 §3.5. private:
-- PKCS #8. public: as in p= of its record, before base64.
CREATE TABLE dkim_key (
    domain TEXT NOT NULL,
    selector TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    private BYTEA NOT NULL,
    public BYTEA NOT NULL,
    made BIGINT NOT NULL,
    seen BIGINT,                        -- when its record was first seen in the DNS; NULL: not yet, and nothing is signed
    looked BIGINT NOT NULL DEFAULT 0,   -- when that was looked at last; 0: never
    found TEXT NOT NULL DEFAULT '',     -- what stood there then: a name of Published (trust/tags.py)
    PRIMARY KEY (domain, selector)
) WITHOUT ROWID;

-- Selectors are used once: with another key, a message of yesterday would seem forged (RFC 6376 §3.1).
CREATE TABLE dkim_selector (domain TEXT NOT NULL, selector TEXT NOT NULL, PRIMARY KEY (domain, selector)) WITHOUT ROWID;
