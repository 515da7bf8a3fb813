"""What goes wrong below, in the words of each protocol: one table (architecture.md)."""

from typing import NamedTuple

from posthouse.mail.status import Reply, reply
from posthouse.serve.limits import Refusal
from posthouse.store.script import (
    DirectoryDown,
    Exists,
    Forbidden,
    Full,
    NotFound,
    OverQuota,
    Refused,
    Stale,
    StoreError,
    Unavailable,
    UseRefused,
)
from posthouse.wire.imap import code
from posthouse.wire.pop3.reply import Code, Pop3Reply, err


class Words(NamedTuple):
    """A refusal as SMTP says it (RFC 5321 §4.2, RFC 3463) and as IMAP does: response code and text (RFC 5530)."""

    smtp: Reply
    imap: tuple[bytes, str]


STORE_WORDS: dict[type[StoreError], Words] = {
    NotFound: Words(
        reply(451, "4.2.0", "The mailbox is not there at the moment; try again later"),
        (code.NONEXISTENT, "It does not exist, or no longer"),
    ),
    Exists: Words(
        reply(451, "4.3.0", "Something of that name exists already; try again later"),
        (code.ALREADYEXISTS, "Something of that name exists already"),
    ),
    OverQuota: Words(
        reply(452, "4.2.2", "The mailbox is full; try again later"),
        (code.OVERQUOTA, "The mailbox is full"),
    ),
    Full: Words(
        reply(452, "4.2.2", "The mailbox is full; try again later"),
        (code.OVERQUOTA, "The mailbox is full"),
    ),
    Stale: Words(
        reply(451, "4.3.0", "Another change came first; try again"),
        (code.UNAVAILABLE, "Another change came first; try again"),
    ),
    Refused: Words(
        reply(550, "5.3.0", "That cannot be done here"),
        (code.CANNOT, "That cannot be done"),
    ),
    UseRefused: Words(
        reply(550, "5.3.0", "That cannot be done here"),
        (code.USEATTR, "The mailbox cannot have that special use"),
    ),
    Forbidden: Words(
        reply(550, "5.7.1", "You lack the right to do that"),
        (code.NOPERM, "You lack the right to do that"),
    ),
    DirectoryDown: Words(
        reply(451, "4.4.3", "The directory of users does not answer; try again later"),
        (code.UNAVAILABLE, "The directory of users does not answer; try again later"),
    ),
    Unavailable: Words(
        reply(452, "4.3.1", "The server cannot store mail at the moment; try again later"),
        (code.UNAVAILABLE, "The server cannot read or store mail at the moment; try again later"),
    ),
}

REFUSAL_WORDS: dict[Refusal, Words] = {
    Refusal.WRONG: Words(
        reply(535, "5.7.8", "User name or password is wrong, or the password is not for this"),
        (code.AUTHENTICATIONFAILED, "User name or password is wrong, or the password is not for this"),
    ),
    Refusal.MALFORMED: Words(
        reply(501, "5.5.2", "That is no answer to the challenge; authentication was given up"),
        (b"", "That is no answer to the challenge; authentication was given up"),
    ),
    Refusal.CANCELLED: Words(
        reply(501, "5.7.0", "Authentication cancelled"),
        (b"", "Authentication cancelled"),
    ),
    Refusal.MECHANISM: Words(
        reply(504, "5.5.4", "That authentication mechanism is not offered here"),
        (b"", "That authentication mechanism is not offered here"),
    ),
    Refusal.FAILURES: Words(
        reply(421, "4.7.0", "Too many failed logins from your address; try again later", close=True),
        (code.LIMIT, "Too many failed logins from your address; try again later"),
    ),
    Refusal.BUSY: Words(
        reply(454, "4.7.0", "Too many logins at the moment; try again in a few seconds"),
        (code.UNAVAILABLE, "Too many logins at the moment; try again in a few seconds"),
    ),
    Refusal.DIRECTORY: Words(
        reply(454, "4.7.0", "The directory of users does not answer; try again later"),
        (code.UNAVAILABLE, "The directory of users does not answer; try again later"),
    ),
    Refusal.PROVIDER: Words(
        reply(454, "4.7.0", "The provider of the token does not answer; try again later"),
        (code.UNAVAILABLE, "The provider of the token does not answer; try again later"),
    ),
    Refusal.CONNECTIONS: Words(
        reply(421, "4.7.0", "Too many connections from your address; close some or try again later", close=True),
        (code.LIMIT, "Too many connections from your address; close some or try again later"),
    ),
    Refusal.RATE: Words(
        reply(421, "4.7.0", "Too many new connections from your address; try again in a minute", close=True),
        (code.LIMIT, "Too many new connections from your address; try again in a minute"),
    ),
    Refusal.FULL: Words(
        reply(421, "4.3.2", "This server has no room for another connection; try again in a few minutes", close=True),
        (code.UNAVAILABLE, "This server has no room for another connection; try again in a few minutes"),
    ),
    Refusal.STRESS: Words(
        reply(421, "4.3.2", "This server has too much to do at the moment; try again in a few minutes", close=True),
        (code.UNAVAILABLE, "This server has too much to do at the moment; try again in a few minutes"),
    ),
}

FAULT = Words(
    reply(451, "4.3.0", "Something went wrong on this server; it has been noted. Try again later"),
    (code.SERVERBUG, "Something went wrong on this server; it has been noted"),
)
CLOSING = reply(421, "4.3.2", "The server is closing down; try again in a moment", close=True)


# RFC 3206 §4: what a person must correct, and what passes by itself.
_POP3_CODES = {
    code.AUTHENTICATIONFAILED: Code.AUTH,
    code.LIMIT: Code.SYS_TEMP,
    code.UNAVAILABLE: Code.SYS_TEMP,
    code.SERVERBUG: Code.SYS_TEMP,
    code.NONEXISTENT: Code.SYS_PERM,
}


def pop3_words(row: Words) -> Pop3Reply:
    """The same in POP3: IMAP's sentence, with the response code of RFC 3206 that it stands for. It closes what SMTP
    closes."""
    response_code, text = row.imap
    return err(text, _POP3_CODES.get(response_code, Code.NONE), close=row.smtp.close)


def words(error: StoreError) -> Words:
    """The table's row for an error of the store, or for the root it stands for."""
    for kind in type(error).__mro__:
        if kind in STORE_WORDS:
            return STORE_WORDS[kind]
    return FAULT
