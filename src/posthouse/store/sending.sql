-- Schema version 4, too: how much each user has sent (store/sending.py).

-- What a user sent in each slot of ten minutes, of the last day.
CREATE TABLE sending (
    account BIGINT NOT NULL,
    slot BIGINT NOT NULL,               -- Millis // 600,000
    messages BIGINT NOT NULL,
    recipients BIGINT NOT NULL,
    firsts BIGINT NOT NULL,             -- of these, whom the user had never written to before
    PRIMARY KEY (account, slot)
) WITHOUT ROWID;

-- Whom a user has written to. address: 8 octets of a digest, as a number.
CREATE TABLE written_to (account BIGINT NOT NULL, address BIGINT NOT NULL, day BIGINT NOT NULL, PRIMARY KEY (account, address)) WITHOUT ROWID;
