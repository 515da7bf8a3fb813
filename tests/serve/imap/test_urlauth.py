"""URLAUTH, URL-PARTIAL, URLAUTH=BINARY: who gets what by a URL, and who learns nothing (RFC 4467 §6, RFC 5524 §3)."""

import asyncio
import tracemalloc
from dataclasses import replace

import pytest

from household import HOSTNAME, NOW
from posthouse.net.link import LinkLimits
from posthouse.serve.imap import parts
from posthouse.store.script import Script, sql
from posthouse.transport.urls import Asker, verify
from posthouse.wire.imap.urlauth import URLS
from serve.imap.dialogue import MESSAGE, connect

BASE = f"imap://anna%40home.test@{HOSTNAME}/INBOX"
RUMP = f"{BASE}/;UID=1;URLAUTH="
NESTED = (
    b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--b\r\n"
    b"Content-Transfer-Encoding: x-unknown\r\n\r\nodd\r\n--b\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db\r\n--b--\r\n"
)


async def authorize(client, rump: str) -> bytes:
    [line] = await client.do(f'GENURLAUTH "{rump}" INTERNAL')
    return line.removeprefix(b'* GENURLAUTH "').removesuffix(b'"')


async def given(client, url: bytes, items: bytes = b"") -> bytes:
    """What URLFETCH says behind the URL."""
    asked = b'("%b" %b)' % (url, items) if items else b'"%b"' % url
    [line] = await client.do(b"URLFETCH " + asked)
    beginning = b'* URLFETCH "%b" ' % url
    assert line.startswith(beginning)
    return line.removeprefix(beginning)


def literal(octets: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(octets), octets)


async def test_access_identifiers(house, door):
    async with connect(house, door) as anna, connect(house, door, user="ben@work.test") as ben:
        await anna.append()
        for access, for_anna, for_ben in (
            ("anonymous", True, True),
            ("authuser", True, True),
            ("user+ben%40work.test", False, True),
            ("user+BEN%40work.test", False, True),
            ("submit+anna%40home.test", False, False),
        ):
            url = await authorize(anna, RUMP + access)
            assert (await given(anna, url) == literal(MESSAGE)) is for_anna
            assert (await given(ben, url) == literal(MESSAGE)) is for_ben
            if not for_ben:
                assert await given(ben, url) == b"NIL"


async def test_a_submission_server_may_use_what_its_user_was_given(house, door):
    async with connect(house, door) as anna:
        await anna.append()
        url = await authorize(anna, RUMP + "submit+ben%40work.test")
        assert await verify(house, url, Asker("ben@work.test", submission=True)) is not None
        assert await verify(house, url, Asker("ben@work.test")) is None
        assert await verify(house, url, Asker("anna@home.test", submission=True)) is None


async def test_a_url_of_a_user_of_a_directory(house, door):
    """Who has no password here has URLs all the same."""

    def elsewhere() -> Script[None]:
        yield sql("INSERT INTO directory_user SELECT account FROM credential")
        yield sql("DELETE FROM credential")

    async with connect(house, door) as anna:
        await anna.append()
        url = await authorize(anna, RUMP + "authuser")
        await house.store.run(elsewhere)
        assert await verify(house, url, Asker("ben@work.test")) is not None


async def test_no_octet_of_a_url_may_change(house, door):
    async with connect(house, door) as anna:
        await anna.append()
        await anna.append()
        url = await authorize(anna, RUMP + "anonymous")
        assert await given(anna, url) == literal(MESSAGE)
        for changed in (
            url.replace(b"UID=1", b"UID=2"),
            url.replace(b"INBOX", b"inbox"),
            url.replace(b"anonymous", b"authuser"),
            url.replace(b";URLAUTH", b"/;SECTION=HEADER;URLAUTH"),
            url[:-1] + (b"0" if url[-1:] != b"0" else b"1"),
            url[:-64] + b"0" * 64,
            url.partition(b":INTERNAL")[0],
            url.replace(b":INTERNAL:", b":XSAMPLE:"),
            url.replace(HOSTNAME.encode(), b"other.example"),
        ):
            assert await given(anna, changed) == b"NIL"


async def test_what_ends_a_url(house, door):
    async with connect(house, door) as anna:
        await anna.append()
        url = await authorize(anna, RUMP + "anonymous")
        await anna.do("RESETKEY Sent INTERNAL")
        assert await given(anna, url) == literal(MESSAGE)
        await anna.do("RESETKEY INBOX")
        assert b"[URLMECH INTERNAL]" in anna.last
        assert await given(anna, url) == b"NIL"
        url = await authorize(anna, RUMP + "anonymous")
        assert await given(anna, url) == literal(MESSAGE)
        await anna.do("RESETKEY")
        assert await given(anna, url) == b"NIL"
        url = await authorize(anna, RUMP + "anonymous")
        await anna.do("SELECT INBOX")
        await anna.do("STORE 1 +FLAGS (\\Deleted)")
        await anna.do("EXPUNGE")
        assert await given(anna, url) == b"NIL"


async def test_a_deleted_mailbox_takes_its_key_along(house, door):
    async with connect(house, door) as anna:
        await anna.do("CREATE box")
        await anna.append(mailbox="box")
        url = await authorize(anna, RUMP.replace("INBOX", "box") + "anonymous")
        assert await given(anna, url) == literal(MESSAGE)
        await anna.do("DELETE box")
        assert await given(anna, url) == b"NIL"
        await anna.do("CREATE box")
        await anna.append(mailbox="box")
        assert await given(anna, url) == b"NIL"


async def test_expiry_and_uidvalidity(house, door):
    async with connect(house, door) as anna:
        await anna.append()
        [line] = await anna.do("STATUS INBOX (UIDVALIDITY)")
        validity = int(line.split(b"UIDVALIDITY ")[1].rstrip(b")"))
        for place, good in ((f";UIDVALIDITY={validity}", True), (f";UIDVALIDITY={validity + 1}", False)):
            url = await authorize(anna, f"{BASE}{place}/;UID=1;URLAUTH=anonymous")
            assert (await given(anna, url) != b"NIL") is good
        url = await authorize(anna, f"{BASE}/;UID=1;EXPIRE=2023-11-14T22:13:20Z;URLAUTH=anonymous")
        assert await given(anna, url) == literal(MESSAGE)
    later = replace(house, clock=lambda: NOW + 1000)
    async with connect(later, door) as anna:
        assert await given(anna, url) == b"NIL"


async def test_a_url_grants_what_its_user_may_read_now(house, door):
    async with connect(house, door) as anna, connect(house, door, user="ben@work.test") as ben:
        await anna.append()
        shared = f"imap://ben%40work.test@{HOSTNAME}/Other%20Users/anna@home.test/INBOX/;UID=1;URLAUTH=anonymous"
        assert (await ben.fails(f'GENURLAUTH "{shared}" INTERNAL')).startswith(b"BAD ")
        await anna.do("SETACL INBOX ben@work.test lr")
        url = await authorize(ben, shared)
        assert await given(ben, url) == literal(MESSAGE)
        await anna.do("SETACL INBOX ben@work.test l")
        assert await given(ben, url) == b"NIL"
        assert (await ben.fails(f'GENURLAUTH "{shared}" INTERNAL')).startswith(b"NO [NOPERM]")


@pytest.mark.parametrize(
    ("rump", "answer"),
    [
        (f"{BASE}/;UID=1", b"BAD "),
        (f"{BASE}/;UID=1;URLAUTH=everybody", b"BAD "),
        (f"{BASE};URLAUTH=anonymous", b"BAD "),
        (RUMP.replace("anna", "ben") + "anonymous", b"BAD "),
        (RUMP.replace("anna%40home.test@", "") + "anonymous", b"BAD "),
        (RUMP.replace(HOSTNAME, "other.example") + "anonymous", b"BAD "),
        (RUMP.replace("INBOX", "nowhere") + "anonymous", b"BAD "),
        (RUMP + "user+nobody", b"BAD "),
        (RUMP + "anonymous:INTERNAL:" + "0" * 66, b"BAD "),
    ],
)
async def test_what_is_not_authorized(house, door, rump, answer):
    async with connect(house, door) as anna:
        await anna.append()
        assert (await anna.fails(f'GENURLAUTH "{rump}" INTERNAL')).startswith(answer)
        assert (await anna.fails(f'GENURLAUTH "{RUMP}anonymous" XSAMPLE')).startswith(b"NO [CANNOT]")


async def test_commands_that_are_malformed_or_too_large(house, door):
    async with connect(house, door) as anna:
        for command in (
            "URLFETCH",
            "GENURLAUTH",
            "GENURLAUTH x",
            "URLFETCH (x BODY BINARY)",
            "URLFETCH (x BODY BODY)",
            "URLFETCH (x NOTHING)",
            "URLFETCH (x",
            "URLFETCH ()",
        ):
            assert (await anna.fails(command)).startswith(b"BAD ")
        assert (await anna.fails("URLFETCH" + " x" * (URLS + 1))).startswith(b"BAD [LIMIT]")
        assert (await anna.fails("GENURLAUTH" + " x INTERNAL" * (URLS + 1))).startswith(b"BAD [LIMIT]")
        assert (await anna.fails("RESETKEY INBOX XSAMPLE")).startswith(b"NO [CANNOT]")
        assert (await anna.fails("RESETKEY nowhere")).startswith(b"NO [NONEXISTENT]")
        assert await anna.do(b"URLFETCH {4+}\r\n\xff]\r\n") == [b"* URLFETCH {4}\r\n\xff]\r\n NIL"]
        assert len(await anna.do("URLFETCH" + " x" * URLS)) == URLS


async def test_sections_and_partials(house, door):
    async with connect(house, door) as anna:
        await anna.append(NESTED)
        for place, octets in (
            ("/;SECTION=1", b"AAECAw=="),
            ("/;SECTION=1.MIME", b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
            ("/;SECTION=HEADER.FIELDS%20(Subject)", b"Subject: x\r\n\r\n"),
            ("/;SECTION=HEADER", NESTED[: NESTED.index(b"\r\n\r\n") + 4]),
            ("/;SECTION=HEADER/;PARTIAL=8.4", b" x\r\n"),
            ("/;SECTION=TEXT", NESTED[NESTED.index(b"\r\n\r\n") + 4 :]),
            ("/;SECTION=1/;PARTIAL=2.3", b"ECA"),
            ("/;SECTION=1/;PARTIAL=2", b"ECAw=="),
            ("/;SECTION=1/;PARTIAL=99.3", b""),
            ("/;PARTIAL=0.9", b"Subject: "),
        ):
            url = await authorize(anna, f"{BASE}/;UID=1{place};URLAUTH=anonymous")
            assert await given(anna, url) == literal(octets)
        url = await authorize(anna, f"{BASE}/;UID=1/;SECTION=9;URLAUTH=anonymous")
        assert await given(anna, url) == b"NIL"
        assert await given(anna, url, b"BINARY") == b"NIL"


async def test_parts_without_their_encoding(house, door):
    async with connect(house, door) as anna:
        await anna.append(NESTED)
        image = await authorize(anna, f"{BASE}/;UID=1/;SECTION=1;URLAUTH=anonymous")
        tag = anna.write(b'URLFETCH ("%b" BINARY BODYPARTSTRUCTURE)' % image)
        line = b"".join(await anna.until(tag))
        assert b' (BODYPARTSTRUCTURE ("image" "png" NIL NIL NIL "binary" 4' in line
        assert line.endswith(b" (BINARY ~{4}\r\n\x00\x01\x02\x03)")
        structure = await given(anna, image, b"BODYPARTSTRUCTURE")
        assert structure.startswith(b'(BODYPARTSTRUCTURE ("image" "png" NIL NIL NIL "base64" 8')
        assert await given(anna, image, b"BODY") == b"(BODY {8}\r\nAAECAw==)"
        odd = await authorize(anna, f"{BASE}/;UID=1/;SECTION=2;URLAUTH=anonymous")
        assert (await given(anna, odd, b"BODYPARTSTRUCTURE BINARY")).endswith(b" (BINARY NIL)")
        text = await authorize(anna, f"{BASE}/;UID=1/;SECTION=3;URLAUTH=anonymous")
        assert await given(anna, text, b"BINARY") == b"(BINARY {3}\r\na=b)"
        part = await authorize(anna, f"{BASE}/;UID=1/;SECTION=3/;PARTIAL=1.9;URLAUTH=anonymous")
        assert await given(anna, part, b"BINARY") == b"(BINARY {2}\r\n=b)"


async def test_a_new_key_is_told_to_the_users_other_sessions_of_the_mailbox(house, door):
    """RFC 4467 §7. Nothing is told of the key of another mailbox or another user, nor that there is a first one."""
    told = b"* OK [URLMECH INTERNAL] URLs of this mailbox are authorized by another key now."
    async with (
        connect(house, door) as anna,
        connect(house, door) as again,
        connect(house, door) as elsewhere,
        connect(house, door, user="ben@work.test") as ben,
    ):
        await anna.append()
        await anna.do("SETACL INBOX ben@work.test lr")
        await anna.do("SELECT INBOX")
        await elsewhere.do("SELECT Sent")
        await ben.do('SELECT "Other Users/anna@home.test/INBOX"')
        await authorize(anna, RUMP + "anonymous")
        await again.do("SELECT INBOX")
        for command in ("RESETKEY INBOX", "RESETKEY"):
            assert told not in await anna.do(command)
            assert await again.do("NOOP") == [told]
            assert await again.do("NOOP") == await elsewhere.do("NOOP") == await ben.do("NOOP") == []
            await authorize(anna, RUMP + "anonymous")
            assert await anna.do("NOOP") == await again.do("NOOP") == []
        tag = again.write("IDLE")
        assert (await again.response()).startswith(b"+ ")
        await elsewhere.do("RESETKEY INBOX")
        assert await again.response() == told
        again.writer.write(b"DONE\r\n")
        await again.until(tag)
        assert await anna.do("NOOP") == [told]


async def test_a_new_key_for_the_mailbox_of_another(house, door):
    shared = f"imap://ben%40work.test@{HOSTNAME}/Other%20Users/anna@home.test/INBOX/;UID=1;URLAUTH=anonymous"
    async with (
        connect(house, door) as anna,
        connect(house, door, user="ben@work.test") as ben,
        connect(house, door, user="ben@work.test") as again,
    ):
        await anna.append()
        await anna.do("SETACL INBOX ben@work.test lr")
        await authorize(ben, shared)
        await again.do('SELECT "Other Users/anna@home.test/INBOX"')
        await anna.do("SELECT INBOX")
        for command in ('RESETKEY "Other Users/anna@home.test/INBOX"', "RESETKEY"):
            await ben.do(command)
            assert b"URLMECH" in (await again.do("NOOP"))[0]
            assert await anna.do("NOOP") == []


async def test_clients_that_do_not_read_hold_a_few_pieces_each(house, door):
    """Eight of them asked for ten megabytes twice, as they are and decoded."""
    text = b"0123456789abcde\r\n" * 600_000
    body = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + text
    async with connect(house, door) as anna:
        await anna.append(body)
        whole = await authorize(anna, RUMP + "anonymous")
        part = await authorize(anna, f"{BASE}/;UID=1/;SECTION=1;URLAUTH=anonymous")
        assert await given(anna, part, b"BINARY") == b"(BINARY %b)" % literal(text)
        for asked in (b'"%b"' % whole, b'("%b" BINARY)' % part):
            tracemalloc.start()
            others = [connect(house, door, link=LinkLimits(high_water=parts.PIECE)) for _ in range(8)]
            clients = [await other.__aenter__() for other in others]
            for waiting in clients:
                waiting.write(b"URLFETCH %b %b" % (asked, asked))
            for _ in range(20):
                await asyncio.sleep(0.05)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            for waiting, other in zip(clients, others, strict=True):
                waiting.link.abort()
                await other.__aexit__(None, None, None)
            assert peak < 8 * 8 * parts.PIECE, asked


async def test_a_large_message_goes_out_in_pieces(house, door):
    large = MESSAGE + b"0123456789abcde\r\n" * 200_000
    async with connect(house, door) as anna:
        await anna.append(large)
        assert await given(anna, await authorize(anna, RUMP + "anonymous")) == literal(large)
