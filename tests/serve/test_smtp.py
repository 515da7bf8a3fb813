"""serve/smtp/: sessions on a real socket (RFC 5321 §3, §4; RFC 6409; RFC 2033)."""

import asyncio
import logging
import re
import ssl
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from caller import MESSAGE, call, log_in, plain
from household import ANNA, BEN, HELLO, HOSTNAME, INFO, credential, inbox
from posthouse.mail.address import Address, Domain
from posthouse.serve.login import VOUCH_SECONDS, Door
from posthouse.store import accounts, aliases
from posthouse.store.script import Unavailable
from posthouse.store.store import Store
from posthouse.transport.house import House, MessageLimits, SmtpRole
from posthouse.transport.spool import DiskSpace

MX, SUBMISSION, SUBMISSIONS, LMTP = SmtpRole.MX, SmtpRole.SUBMISSION, SmtpRole.SUBMISSIONS, SmtpRole.LMTP


async def test_mail_from_another_server(house: House, door: Door, store: Store) -> None:
    async with call(house, door) as caller:
        assert caller.greeting == f"220 {HOSTNAME} ESMTP Posthouse"
        await caller.begin()
        assert await caller.message(MESSAGE) == "250 2.0.0 Message accepted and stored"
        assert await caller.say("QUIT") == "221 2.0.0 Goodbye"
        assert await caller.closed()
    [kept] = await inbox(store, ANNA)
    assert re.match(
        rb"Return-Path: <ben@work\.test>\r\n"
        rb"Received: from client\.test \(\[127\.0\.0\.1\]\)\r\n"
        rb"\tby mail\.home\.test \(Posthouse\) with ESMTP id [0-9a-f]{16}\r\n"
        rb"\tfor <anna@home\.test>; Tue, 14 Nov 2023 22:13:20 \+0000\r\n" + re.escape(MESSAGE) + rb"\r\n\Z",
        kept,
    )
    assert await inbox(store, BEN) == []


async def test_what_ehlo_offers_on_each_port(house: House, door: Door, tls: ssl.SSLContext) -> None:
    common = {"PIPELINING", f"SIZE {50 * 1024 * 1024}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"}
    common |= {"DSN", "DELIVERBY 60"}
    users = {"MT-PRIORITY", "FUTURERELEASE 2678400 2023-12-15T22:13:20Z", "BURL"}
    auth = "AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"
    bound = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN"
    strict = replace(house, tls=tls, allow_plaintext_login=False)

    async def offered(house: House, role: SmtpRole, *, hello: str = "EHLO", upgrade: bool = False) -> set[str]:
        async with call(house, door, role) as caller:
            if upgrade:
                await caller.say("EHLO client.test")
                assert await caller.say("STARTTLS") == "220 2.0.0 Ready to start TLS"
                await caller.start_tls()
            lines = (await caller.say(f"{hello} client.test")).split("\n")
            assert lines[0].startswith(f"250-{HOSTNAME} ")
            keywords = {line[4:] for line in lines[1:]}
            assert common <= keywords
            return keywords - common

    assert await offered(replace(house, tls=None), MX) == set()
    assert await offered(strict, MX) == {"STARTTLS"}
    assert await offered(strict, MX, upgrade=True) == {"REQUIRETLS"}
    common -= {"DSN"}
    assert await offered(replace(strict, dsn_for_strangers=False), MX) == {"STARTTLS"}
    assert await offered(replace(strict, dsn_for_strangers=False), SUBMISSION) == {"STARTTLS", "DSN", *users}
    common |= {"DSN"}
    alone = {keyword for keyword in users if not keyword.startswith("FUTURERELEASE")}
    assert await offered(replace(strict, leave=False), SUBMISSION) == {"STARTTLS", *alone}
    assert await offered(strict, SUBMISSION) == {"STARTTLS", *users}
    assert await offered(strict, SUBMISSION, upgrade=True) == {bound, "REQUIRETLS", *users}
    assert await offered(strict, SUBMISSIONS) == {bound, "REQUIRETLS", *users}
    assert await offered(house, SUBMISSION) == {auth, *users}
    assert await offered(house, LMTP, hello="LHLO") == {"MT-PRIORITY"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("NOOP", "250 2.0.0 OK"),
        ("RSET", "250 2.0.0 OK"),
        ("VRFY anna", "252 2.1.5 Addresses are not verified here; send a message and see"),
        ("EXPN info", "502 5.5.1 Lists are not expanded here"),
        ("HELP", "214 2.0.0 This is Posthouse; it speaks RFC 5321. Ask postmaster at this host for help"),
        ("HELO client.test", f"250 {HOSTNAME}"),
        ("FROBNICATE", "500 5.5.2 Command not recognized"),
        ("STARTTLS", "502 5.5.1 TLS is not offered here"),
        ("AUTH PLAIN", "503 5.5.1 There is no login on this port; users send mail on the submission port"),
    ],
)
async def test_commands_without_mail(house: House, door: Door, line: str, expected: str) -> None:
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say(line) == expected
        assert await caller.say("NOOP") == "250 2.0.0 OK"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("anna@home.test", "250 2.1.5 Recipient accepted"),
        ("ANNA@HOME.TEST", "250 2.1.5 Recipient accepted"),
        ("anna+tag@home.test", "250 2.1.5 Recipient accepted"),
        ('"anna"@home.test', "250 2.1.5 Recipient accepted"),
        ("info@home.test", "250 2.1.5 Recipient accepted"),
        ("@relay.test:anna@home.test", "250 2.1.5 Recipient accepted"),
        ("nobody@home.test", "550 5.1.1 There is no such user here; check the address"),
        ("ben@home.test", "550 5.1.1 There is no such user here; check the address"),
    ],
)
async def test_recipients_here(house: House, door: Door, path: str, expected: str) -> None:
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        await caller.say("MAIL FROM:<>")
        assert await caller.say(f"RCPT TO:<{path}>") == expected


@pytest.mark.parametrize(
    "path",
    [
        "x@elsewhere.test",
        "anna%home.test@elsewhere.test",
        "elsewhere.test!x@other.test",
        "@home.test:x@elsewhere.test",
        '"x@elsewhere.test"@elsewhere.test',
        "anna@[192.0.2.1]",
    ],
)
async def test_strangers_may_not_relay(house: House, door: Door, path: str) -> None:
    """S3 of limits.md."""
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        await caller.say("MAIL FROM:<anna@home.test>")
        answer = await caller.say(f"RCPT TO:<{path}>")
        assert answer == (
            "550-5.7.1 This server does not take mail for that domain from strangers; if you have an account here,\n"
            "550 5.7.1 log in on the submission port and send from there"
        )


@pytest.mark.parametrize(
    "path", ["x%elsewhere.test@home.test", "elsewhere.test!x@home.test", '"x@else.test"@home.test']
)
async def test_percent_and_bang_mean_nothing(house: House, door: Door, path: str) -> None:
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        await caller.say("MAIL FROM:<>")
        assert (await caller.say(f"RCPT TO:<{path}>")).startswith("550 5.1.1 ")


async def test_postmaster_is_always_reached(house: House, door: Door, store: Store) -> None:
    """RFC 5321 §4.5.1: somebody gets it, or the server says that nobody does; it never takes and loses it."""
    await store.run(aliases.add_alias, Address("postmaster", Domain("home.test")), (ANNA,))
    async with call(replace(house, hostname="home.test"), door) as caller:
        await caller.begin(recipients=["Postmaster", "postmaster@home.test"])
        assert (await caller.message(MESSAGE)).startswith("250 2.0.0")
    assert len(await inbox(store, ANNA)) == 1


async def test_everybody_gets_one_copy(house: House, door: Door, store: Store) -> None:
    """An alias and its target are one mailbox; the same octets are kept for all."""
    async with call(house, door) as caller:
        await caller.begin(recipients=["anna@home.test", "info@home.test", "hello@home.test", "ben@work.test"])
        assert (await caller.message(MESSAGE)).startswith("250 2.0.0")
    of_anna, of_ben = await inbox(store, ANNA), await inbox(store, BEN)
    assert len(of_anna) == 1
    assert of_anna == of_ben
    assert b"for <" not in of_anna[0]


async def test_a_user_added_a_moment_ago_gets_mail(house: House, door: Door, store: Store) -> None:
    carl = Address("carl", Domain("home.test"))
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        await caller.say("MAIL FROM:<>")
        assert (await caller.say(f"RCPT TO:<{carl}>")).startswith("550 5.1.1")
        await store.run(accounts.add_account, carl, credential())
        assert (await caller.say(f"RCPT TO:<{carl}>")).startswith("250 2.1.5")


async def test_a_recipient_removed_between_rcpt_and_dot(house: House, door: Door, store: Store) -> None:
    """All or nothing: nobody gets what cannot be given to everybody."""
    async with call(house, door) as caller:
        await caller.begin(recipients=["ben@work.test", "anna@home.test"])
        await store.run(aliases.remove_alias, Address("hello", Domain("home.test")))
        await store.run(aliases.remove_alias, Address("info", Domain("home.test")))
        await store.run(accounts.remove_account, ANNA)
        assert await caller.message(MESSAGE) == "451 4.2.0 The mailbox is not there at the moment; try again later"
    assert await inbox(store, BEN) == []


async def test_pipelining_in_one_segment(house: House, door: Door, store: Store) -> None:
    """RFC 2920 §3.1: every answer in order, and the message behind DATA only after 354."""
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        caller.write("MAIL FROM:<ben@work.test>", "RCPT TO:<nobody@home.test>", "RCPT TO:<anna@home.test>", "DATA")
        codes = [(await caller.reply())[0][:3] for _ in range(4)]
        assert codes == ["250", "550", "250", "354"]
        caller.octets(MESSAGE + b"\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n")
        assert [(await caller.reply())[0][:3] for _ in range(3)] == ["250", "250", "221"]
    assert len(await inbox(store, ANNA)) == 1


async def test_chunks(house: House, door: Door, store: Store) -> None:
    """RFC 3030 §2."""
    async with call(house, door) as caller:
        await caller.begin()
        half = len(MESSAGE) // 2
        caller.octets(b"BDAT %d\r\n" % half + MESSAGE[:half])
        assert (await caller.reply())[0].startswith("250 2.0.0")
        caller.octets(b"BDAT %d LAST\r\n" % (len(MESSAGE) - half) + MESSAGE[half:])
        assert await caller.reply() == ["250 2.0.0 Message accepted and stored"]
    [kept] = await inbox(store, ANNA)
    assert kept.endswith(b"\r\n" + MESSAGE)


async def test_a_large_message_through_the_spool(house: House, door: Door, store: Store, tmp_path: Path) -> None:
    body = b"".join(b"line %07d of a long message\r\n" % number for number in range(60_000))
    async with call(house, door) as caller:
        await caller.begin()
        assert (await caller.message(MESSAGE + b"\r\n" + body)).startswith("250 2.0.0")
    [kept] = await inbox(store, ANNA)
    assert kept.endswith(MESSAGE + b"\r\n" + body + b"\r\n")
    assert spooled(house) == []


def spooled(house: House) -> list[str]:
    return [path.name for path in house.spool.iterdir()]


async def test_a_connection_lost_in_the_middle_leaves_nothing(house: House, door: Door, store: Store) -> None:
    async with call(replace(house, limits=MessageLimits(spool_above=1_000)), door) as caller:
        await caller.begin()
        assert (await caller.say("DATA")).startswith("354")
        caller.octets(MESSAGE + b"\r\n" + b"x" * 70 + b"\r\n" * 5_000)
        await caller.writer.drain()
    assert await inbox(store, ANNA) == []
    assert spooled(house) == []


async def test_eight_bit_addresses_need_smtputf8(house: House, door: Door, store: Store) -> None:
    """RFC 6531 §3.4, §3.5."""
    greta = Address("gr\u00e9ta", Domain("home.test"))
    await store.run(accounts.add_account, greta, credential())
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        refusal = "550 5.6.7 An address outside ASCII needs SMTPUTF8"
        assert await caller.say("MAIL FROM:<gr\u00e9ta@home.test>") == refusal
        assert (await caller.say("MAIL FROM:<>")).startswith("250")
        assert await caller.say("RCPT TO:<gr\u00e9ta@home.test>") == refusal
        await caller.say("RSET")
        assert (await caller.say("MAIL FROM:<gr\u00e9ta@home.test> SMTPUTF8")).startswith("250")
        assert (await caller.say("RCPT TO:<gr\u00e9ta@home.test>")).startswith("250")
        assert (await caller.message(MESSAGE)).startswith("250")
    [kept] = await inbox(store, greta)
    assert kept.startswith("Return-Path: <gr\u00e9ta@home.test>\r\n".encode())
    assert b" with UTF8SMTP id " in kept


async def test_users_must_log_in(house: House, door: Door) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        login_first = "530 5.7.0 Log in first: this port is for users of this server"
        assert await caller.say("MAIL FROM:<anna@home.test>") == login_first
        assert (await caller.say(f"AUTH PLAIN {plain()}")) == "235 2.7.0 Logged in"
        assert (await caller.say(f"AUTH PLAIN {plain()}")).startswith("503 5.5.1 ")
        assert (await caller.say("MAIL FROM:<anna@home.test>")).startswith("250")


async def test_passwords_are_not_taken_in_the_clear(house: House, door: Door, tls: ssl.SSLContext) -> None:
    strict = replace(house, tls=tls, allow_plaintext_login=False)
    async with call(strict, door, SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        assert (await caller.say("MAIL FROM:<anna@home.test>")) == "530 5.7.0 Start TLS first (STARTTLS)"
        answer = await caller.say(f"AUTH PLAIN {plain()}")
        assert answer == "538 5.7.11 Start TLS first (STARTTLS): passwords are not taken in the clear"


@pytest.mark.parametrize("role", [SUBMISSION, SUBMISSIONS])
async def test_submission_under_tls(
    house: House, door: Door, store: Store, tls: ssl.SSLContext, role: SmtpRole
) -> None:
    async with call(replace(house, tls=tls, allow_plaintext_login=False), door, role) as caller:
        if role is SUBMISSION:
            await caller.say("EHLO client.test")
            await caller.say("STARTTLS")
            await caller.start_tls()
        await log_in(caller)
        await caller.say("MAIL FROM:<anna@home.test>")
        await caller.say("RCPT TO:<ben@work.test>")
        assert (await caller.message(b"Subject: Secret\r\n\r\nx")).startswith("250")
    [kept] = await inbox(house.store, BEN)
    assert re.search(rb" with ESMTPSA id [0-9a-f]+\r\n\t\(TLSv1\.3 TLS_\w+\)\r\n", kept)


async def test_nothing_said_in_plain_text_counts_after_starttls(house: House, door: Door, tls: ssl.SSLContext) -> None:
    """RFC 3207 §4.2."""
    async with call(replace(house, tls=tls), door, MX) as caller:
        await caller.begin()
        assert (await caller.say("STARTTLS")).startswith(("220", "503"))
        await caller.say("RSET")
    async with call(replace(house, tls=tls), door, SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        await caller.say("STARTTLS")
        await caller.start_tls()
        assert (await caller.say("MAIL FROM:<anna@home.test>")).startswith("503")
        assert (await caller.say("EHLO client.test")).startswith("250-")
        assert (await caller.say("STARTTLS")).startswith(("502 5.5.1", "503 5.5.1"))


async def test_text_behind_starttls_ends_the_connection(house: House, door: Door, tls: ssl.SSLContext) -> None:
    """S2 of limits.md, CVE-2011-0411."""
    async with call(replace(house, tls=tls), door) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say("STARTTLS", "NOOP") == "421 4.7.0 Nothing may follow STARTTLS before TLS begins"
        assert await caller.closed()


@pytest.mark.parametrize("change", ["password", "remove"])
async def test_a_login_that_was_changed_or_removed_sends_no_more(
    house: House, door: Door, store: Store, change: str
) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        await caller.say("MAIL FROM:<anna@home.test>")
        await caller.say("RSET")
        if change == "password":
            await store.run(accounts.set_password, ANNA, credential("another"))
        else:
            for alias in (INFO, HELLO):
                await store.run(aliases.remove_alias, alias)
            await store.run(accounts.remove_account, ANNA)
        answer = "\n".join(await caller.reply())
        assert answer == "421 4.7.0 This login has been changed or removed; log in again"
        assert await caller.closed()


async def test_a_login_is_looked_at_once_a_second(house: House, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = 0.0, 0

    async def holds(login: object) -> bool:
        nonlocal looks
        looks += 1
        return False

    monkeypatch.setattr(door.peers, "now", lambda: now)
    async with call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        monkeypatch.setattr(door, "holds", holds)
        now = VOUCH_SECONDS * 0.99
        assert (await caller.say("MAIL FROM:<anna@home.test>")).startswith("250 ")
        await caller.say("RSET")
        assert looks == 0
        now = VOUCH_SECONDS
        assert (await caller.say("MAIL FROM:<anna@home.test>")).startswith("421 4.7.0 This login")


async def test_a_login_and_its_refusal_are_in_the_log(
    house: House, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "posthouse.login")
    async with call(house, door, SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        await caller.say(f"AUTH PLAIN {plain(password='wrong')}")
        await caller.say(f"AUTH PLAIN {plain()}")
    refused, good = caplog.records
    assert (refused.getMessage(), good.getMessage()) == ("login refused", "logged in")
    for record in (refused, good):
        fields = vars(record)
        assert (fields["peer"], fields["user"], fields["protocol"]) == ("127.0.0.1", "anna@home.test", "smtp")
    assert vars(refused)["reason"] == "wrong user name or password"


async def test_a_user_sends_only_as_themselves(house: House, door: Door) -> None:
    """S4 of limits.md; RFC 6409 §6.1."""
    async with call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        refusal = "553 5.7.1 This sender address is not yours; use your own address or an alias of it"
        assert await caller.say("MAIL FROM:<ben@work.test>") == refusal
        assert await caller.say("MAIL FROM:<nobody@home.test>") == refusal
        assert await caller.say("MAIL FROM:<x@elsewhere.test>") == refusal
        for mine in ("anna@home.test", "hello@home.test", "anna+shop@home.test", ""):
            assert (await caller.say(f"MAIL FROM:<{mine}>")).startswith("250"), mine
            await caller.say("RSET")


@pytest.mark.parametrize("how", ["PLAIN", "LOGIN"])
async def test_three_failed_logins_end_the_connection(house: House, door: Door, how: str) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await caller.say("EHLO client.test")

        async def guess() -> str:
            if how == "PLAIN":
                return await caller.say(f"AUTH PLAIN {plain(password='wrong')}")
            assert await caller.say("AUTH LOGIN") == "334 " + b64encode(b"Username:").decode()
            assert await caller.say(b64encode(b"anna@home.test").decode()) == "334 " + b64encode(b"Password:").decode()
            return await caller.say(b64encode(b"wrong").decode())

        for _ in range(3):
            assert await guess() == "535 5.7.8 User name or password is wrong, or the password is not for this"
        assert await caller.reply() == ["421 4.7.0 Too many failed logins; goodbye"]
        assert await caller.closed()


async def test_auth_may_be_given_up(house: House, door: Door) -> None:
    """RFC 4954 §4."""
    async with call(house, door, SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say("AUTH PLAIN") == "334 "
        assert (await caller.say("*")).startswith("501 5.7.0 ")
        assert await caller.say("AUTH PLAIN") == "334 "
        assert (await caller.say("=not base64=")).startswith("501 5.5.2 ")
        assert (await caller.say("AUTH GSSAPI")).startswith("504 5.5.4 ")
        assert (await caller.say(f"AUTH PLAIN {b64encode(b'x').decode()}")).startswith("501 5.5.2 ")
        assert (await caller.say(f"AUTH PLAIN {plain()}")).startswith("235")


async def test_lmtp_answers_for_each_recipient(house: House, door: Door, store: Store) -> None:
    """RFC 2033 §4.2."""
    async with call(house, door, LMTP) as caller:
        assert caller.greeting == f"220 {HOSTNAME} LMTP Posthouse"
        assert (await caller.say("LHLO front.test")).startswith(f"250-{HOSTNAME} ")
        await caller.say("MAIL FROM:<x@elsewhere.test>")
        assert (await caller.say("RCPT TO:<anna@home.test>")).startswith("250")
        assert (await caller.say("RCPT TO:<nobody@home.test>")).startswith("550 5.1.1")
        assert (await caller.say("RCPT TO:<ben@work.test>")).startswith("250")
        assert (await caller.message(MESSAGE)).startswith("250 2.0.0")
        assert (await caller.reply())[0].startswith("250 2.0.0")
        assert await caller.say("NOOP") == "250 2.0.0 OK"
    assert len(await inbox(store, ANNA)) == len(await inbox(store, BEN)) == 1
    assert b" with LMTP id " in (await inbox(store, ANNA))[0]


async def test_a_full_disk(house: House, door: Door) -> None:
    full = replace(house, disk=DiskSpace(lambda path: 0))
    async with call(full, door) as caller:
        await caller.say("EHLO client.test")
        expected = "452 4.3.1 The server is short of disk space; try again later"
        assert await caller.say("MAIL FROM:<>") == expected
        assert await caller.say("NOOP") == "250 2.0.0 OK"


async def test_a_disk_that_does_not_answer(house: House, door: Door) -> None:
    def broken(path: Path) -> int:
        raise OSError(5, "Input/output error")

    async with call(replace(house, disk=DiskSpace(broken)), door) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say("MAIL FROM:<>") == "452 4.3.1 The server is short of disk space; try again later"
        assert await caller.say("NOOP") == "250 2.0.0 OK"


async def test_one_line_in_the_log_for_each_message(house: House, door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "posthouse.smtp")
    async with call(house, door) as caller:
        await caller.begin(recipients=["anna@home.test", "info@home.test"])
        await caller.message(MESSAGE)
        await caller.begin()
        await caller.message(MESSAGE + b"\0")
    accepted, refused = caplog.records
    assert accepted.getMessage() == "message accepted"
    assert accepted.__dict__["peer"] == "127.0.0.1"
    assert accepted.__dict__["sender"] == "ben@work.test"
    assert accepted.__dict__["recipients"] == "anna@home.test,info@home.test"
    assert accepted.__dict__["size"] == len(MESSAGE) + 2
    assert refused.getMessage().startswith("message refused: 550 ")


async def test_a_spool_that_fails(house: House, door: Door, store: Store) -> None:
    """The message is read to its end and refused for now; the session goes on."""
    small = replace(house, limits=MessageLimits(spool_above=10))
    async with call(small, door) as caller:
        await caller.begin()
        house.spool.rename(house.spool.with_name("gone"))
        assert await caller.message(MESSAGE) == "452 4.3.1 The server is short of disk space; try again later"
        house.spool.with_name("gone").rename(house.spool)
        await caller.begin()
        assert (await caller.message(MESSAGE)).startswith("250")
    assert len(await inbox(store, ANNA)) == 1


@pytest.mark.parametrize("verb", ["_with_rooms", "take_charged"])
async def test_a_store_that_is_not_available(
    house: House, door: Door, store: Store, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    unavailable = "452 4.3.1 The server cannot store mail at the moment; try again later"
    really: Callable[..., object] = store.read if verb == "_with_rooms" else store.run

    async def fail(script: Callable[..., object], *args: object) -> object:
        if script.__name__ == verb:
            raise Unavailable("the disk is on fire")
        return await really(script, *args)  # type: ignore[misc] # any verb of the store

    async with call(house, door) as caller:
        if verb == "_with_rooms":
            monkeypatch.setattr(store, "read", fail)
            await caller.say("EHLO client.test")
            await caller.say("MAIL FROM:<>")
            assert await caller.say("RCPT TO:<anna@home.test>") == unavailable
        else:
            await caller.begin()
            monkeypatch.setattr(store, "run", fail)
            assert await caller.message(MESSAGE) == unavailable
        monkeypatch.undo()
        await caller.begin()
        assert (await caller.message(MESSAGE)).startswith("250")
    assert len(await inbox(store, ANNA)) == 1


async def test_our_own_mistake_ends_the_session(
    house: House, door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*args: object) -> None:
        raise ZeroDivisionError("a bug")

    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        monkeypatch.setattr("posthouse.transport.receive.mail", broken)
        answer = await caller.say("MAIL FROM:<>")
        assert answer == "421 4.3.0 Something went wrong on this server; it has been noted. Try again later"
        assert await caller.closed()
    assert "ZeroDivisionError" in caplog.text


async def test_a_worker_that_drains_says_so(house: House, door: Door, store: Store) -> None:
    async with call(house, door) as idle, call(house, door) as busy:
        await busy.begin()
        assert (await busy.say("DATA")).startswith("354")
        idle.link.drain()
        busy.link.drain()
        closing = ["421 4.3.2 The server is closing down; try again in a moment"]
        assert await idle.reply() == closing
        assert await idle.closed()
        busy.octets(MESSAGE + b"\r\n.\r\n")
        assert await busy.reply() == ["250 2.0.0 Message accepted and stored"]
        assert await busy.reply() == closing
        assert await busy.closed()
    assert len(await inbox(store, ANNA)) == 1


async def test_a_cancelled_session_says_goodbye(house: House, door: Door) -> None:
    async with call(house, door) as caller:
        caller.task.cancel()
        assert await caller.reply() == ["421 4.3.2 The server is closing down; try again in a moment"]
        assert await caller.closed()
        with pytest.raises(asyncio.CancelledError):
            await caller.task


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "POST / HTTP/1.1", "CONNECT mail:25 HTTP/1.1"])
async def test_a_browser_is_cut_off(house: House, door: Door, store: Store, line: str) -> None:
    """S13 of limits.md."""
    async with call(house, door) as caller:
        answer = await caller.say(line, "Host: mail.home.test", "", "EHLO x", "MAIL FROM:<>")
        assert answer == "421 4.7.0 This port speaks SMTP, not HTTP; goodbye"
        assert await caller.closed()


async def test_a_chunk_that_cannot_be_kept(house: House, door: Door, store: Store) -> None:
    """RFC 3030 §2: the refusal comes with the chunk, and nothing of the message stays."""
    async with call(house, door) as caller:
        await caller.begin()
        caller.octets(b"BDAT 3\r\na\nb")
        assert (await caller.reply())[0].startswith("550 5.6.0 ")
        caller.octets(b"BDAT 3 LAST\r\nabc")
        assert (await caller.reply())[0].startswith("503 ")
        await caller.say("RSET")
        await caller.begin()
        assert (await caller.message(MESSAGE)).startswith("250")
    [kept] = await inbox(store, ANNA)
    assert kept.endswith(MESSAGE + b"\r\n")


async def test_chunks_on_a_disk_that_fails(house: House, door: Door, store: Store) -> None:
    small = replace(house, limits=MessageLimits(spool_above=10))
    refused = ["452 4.3.1 The server is short of disk space; try again later"]
    async with call(small, door) as caller:
        await caller.begin()
        house.spool.rename(house.spool.with_name("gone"))
        caller.octets(b"BDAT 20\r\n" + b"x" * 20)
        assert await caller.reply() == refused
        await caller.say("RSET")
        house.spool.with_name("gone").rename(house.spool)
        await caller.begin()
        caller.octets(b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE)
        assert (await caller.reply())[0].startswith("250")
    assert len(await inbox(store, ANNA)) == 1


async def test_a_peer_that_leaves_in_the_middle_of_auth(house: House, door: Door) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await caller.say("EHLO client.test")
        assert await caller.say("AUTH PLAIN") == "334 "
