"""Names at the real program: IDN and SMTPUTF8, groups, renamed users and domains with sessions open."""

import imaplib
import smtplib
import time
import unicodedata

import pytest

from system.running import Person, Running


def rcpt(server: Running, address: str, *options: str, login: Person | None = None) -> tuple[int, bytes]:
    """What is said to a recipient, written to by a stranger or by a user."""
    port = server.ports.submissions if login else server.ports.smtp
    client = smtplib.SMTP_SSL("localhost", port, context=server.trust()) if login else smtplib.SMTP("127.0.0.1", port)
    with client:
        client.ehlo("client.test")
        if login:
            client.login(login.address, login.password)
        client.docmd(f"MAIL FROM:<{login.address if login else 'eve@far.test'}> {' '.join(options)}")
        client.send(f"RCPT TO:<{address}>\r\n".encode())  # smtplib's own encoding is ASCII
        return client.getreply()


def plain(server: Running, name: str, password: str) -> imaplib.IMAP4:
    """Log in by PLAIN, whose names are UTF-8."""
    client = imaplib.IMAP4_SSL("localhost", server.ports.imaps, ssl_context=server.trust(), timeout=60)
    try:
        client.authenticate("PLAIN", lambda _: f"\0{name}\0{password}".encode())
    except imaplib.IMAP4.error:
        client.shutdown()
        raise
    return client


def test_one_domain_in_two_spellings(posthouse: Running) -> None:
    """RFC 5890 §2.3.2.1, RFC 6531 §3.2: U-label and A-label; NFC and NFD."""
    posthouse.command("domain", "add", "bücher.test")
    posthouse.command("user", "add", "grüß@xn--bcher-kva.test", "--password-stdin", text="a word\n")
    posthouse.command("alias", "add", "gruss@bücher.test", "grüß@bücher.test")
    decomposed = unicodedata.normalize("NFD", "grüß")
    for name in ("grüß@bücher.test", "GRÜSS@xn--bcher-kva.test", f"{decomposed}@BÜCHER.test"):
        assert rcpt(posthouse, name, "SMTPUTF8")[0] == 250, name
        assert rcpt(posthouse, name)[0] != 250, name
        plain(posthouse, name, "a word").logout()
    assert rcpt(posthouse, "gruss@xn--bcher-kva.test")[0] == 250
    assert rcpt(posthouse, "gruss@bücher.test", "SMTPUTF8")[0] == 250


def test_a_group(posthouse: Running) -> None:
    """RFC 5321 §3.9: for all members at once, from whom the group allows."""
    posthouse.command("domain", "add", "groups.test")
    anna, ben, carl = (posthouse.person("groups.test") for _ in range(3))
    posthouse.command("group", "add", "team@groups.test", anna.address, ben.address, "--from", "members")
    assert rcpt(posthouse, "team@groups.test")[1][:5] == b"5.7.2"
    assert rcpt(posthouse, "team@groups.test", login=carl)[1][:5] == b"5.7.2"
    with smtplib.SMTP_SSL("localhost", posthouse.ports.submissions, context=posthouse.trust()) as client:
        client.login(anna.address, anna.password)
        text = f"From: {anna.address}\r\nTo: team@groups.test\r\nSubject: to us\r\n\r\nHello\r\n"
        client.sendmail(anna.address, ["team@groups.test"], text)
    for member in (anna, ben):
        [message] = member.messages()
        assert message.startswith(f"Return-Path: <{anna.address}>".encode())
    assert carl.messages() == []
    posthouse.command("group", "add", "all@groups.test", "--everyone")
    assert rcpt(posthouse, "all@groups.test")[0] == 550
    assert rcpt(posthouse, "all@groups.test", login=carl)[0] == 250
    posthouse.command("group", "set", "team@groups.test", "--from", "anyone")
    time.sleep(1.1)  # what led somewhere is remembered for a second
    assert rcpt(posthouse, "team@groups.test")[0] == 250


def test_a_renamed_user_keeps_everything(posthouse: Running) -> None:
    posthouse.command("domain", "add", "old.test")
    posthouse.command("domain", "add", "newer.test")
    anna, ben = posthouse.person("old.test"), posthouse.person("old.test")
    anna.receive(b"Message-ID: <1@far.test>\r\nSubject: kept\r\n\r\nhello\r\n")
    uids = anna.uids()
    device = _device(posthouse, anna.address)
    with anna.imap() as client:
        client.setacl("INBOX", ben.address, "lr")
    new = "anne@newer.test"
    with ben.imap() as other:
        assert f"Other Users/{anna.address}/INBOX" in _names(other)
        mine = plain(posthouse, anna.address, anna.password)
        mine.select("INBOX")
        posthouse.command("user", "rename", anna.address, new)
        with pytest.raises(imaplib.IMAP4.abort, match="log in again"):
            _until_bye(mine)
        mine.shutdown()
        assert f"Other Users/{new}/INBOX" in _names(other)  # the session goes on, and sees the new name
        assert other.select(f'"Other Users/{new}/INBOX"', readonly=True)[1] == [b"1"]
    for name in (new, anna.address):
        person = Person(posthouse, name, anna.password)
        validity, found = person.uids()
        assert (validity, found[1]) == (uids[0], uids[1][1])
        plain(posthouse, name, device).logout()
        person.receive(b"Subject: more\r\n\r\nhello\r\n")
    assert len(Person(posthouse, new, anna.password).messages()) == 3
    with Person(posthouse, new, anna.password).imap() as client:
        assert ben.address in str(client.getacl("INBOX")[1])
    for sender in (new, anna.address):  # both are the user's
        assert rcpt_from(posthouse, Person(posthouse, new, anna.password), sender) == 250
    posthouse.command("alias", "remove", anna.address)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        plain(posthouse, anna.address, anna.password)


def test_a_domain_moves(posthouse: Running) -> None:
    posthouse.command("domain", "add", "before.test")
    anna, ben = posthouse.person("before.test"), posthouse.person("before.test")
    anna.receive(b"Subject: kept\r\n\r\nhello\r\n")
    uids = anna.uids()
    posthouse.command("alias", "add", "a@before.test", anna.address)
    said = posthouse.command("domain", "rename", "before.test", "after.test")
    assert "with 2 users" in said
    moved = Person(posthouse, anna.address.replace("before", "after"), anna.password)
    assert moved.uids() == anna.uids() == uids
    for name in ("a@before.test", "a@after.test", anna.address, moved.address):
        assert rcpt(posthouse, name)[0] == 250, name
    assert ben.messages() == []
    posthouse.command("domain", "remove", "before.test")
    time.sleep(1.1)  # what led somewhere is remembered for a second
    assert rcpt(posthouse, anna.address)[0] == 550


def rcpt_from(server: Running, who: Person, sender: str) -> int:
    with smtplib.SMTP_SSL("localhost", server.ports.submissions, context=server.trust()) as client:
        client.login(who.address, who.password)
        return client.mail(sender)[0]


def _device(server: Running, name: str) -> str:
    """A device password: it is printed once, on a line of its own."""
    said = server.command("user", "device", "add", name, "a phone")
    lines = [line.strip() for line in said.splitlines()]
    return next(line for line in lines if line and " " not in line)


def _names(client: imaplib.IMAP4) -> str:
    return str(client.list('""', '"*"')[1])


def _until_bye(client: imaplib.IMAP4) -> None:
    for _ in range(600):  # the login is looked at once a second
        client.noop()
        time.sleep(0.1)
