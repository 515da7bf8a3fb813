"""transport/receive.py: what is said to MAIL and RCPT, and `take` (RFC 5321 §3.3, §6.1)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from household import ANNA, BEN, HOSTNAME, INFO, inbox
from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.header import body_start, header_end
from posthouse.mail.ids import Trail
from posthouse.mail.mime import parse
from posthouse.store import accounts, groups
from posthouse.store.accounts import Login, Senders
from posthouse.store.store import Store
from posthouse.transport import receive
from posthouse.transport.client import Client
from posthouse.transport.house import House, MessageLimits
from posthouse.transport.keep import Incoming
from posthouse.transport.route import Leads
from posthouse.transport.spool import DiskSpace, Spool

STRANGER = Client("192.0.2.1", "client.test")


@pytest.fixture
async def anna(store: Store) -> Login:
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    return login


async def test_mail(house: House, anna: Login) -> None:
    """RFC 5321 §4.1.1.2, RFC 1870 §6.1, RFC 6409 §6.1."""
    user = replace(STRANGER, login=anna)
    limit = house.limits.message_size
    assert await receive.mail(ReversePath(ANNA), 0, STRANGER, house) == receive.SENDER_OK
    assert await receive.mail(ReversePath(), limit, STRANGER, house) == receive.SENDER_OK
    assert await receive.mail(ReversePath(), limit + 1, STRANGER, house) == receive.TOO_LARGE
    assert await receive.mail(ReversePath(ANNA), 0, user, house) == receive.SENDER_OK
    assert await receive.mail(ReversePath(), 0, user, house) == receive.SENDER_OK
    assert (await receive.mail(ReversePath(BEN), 0, user, house)).code == 553
    full = replace(house, disk=DiskSpace(lambda path: limit))
    assert await receive.mail(ReversePath(), 0, STRANGER, full) == receive.DISK_FULL


async def test_rcpt(house: House, anna: Login) -> None:
    """RFC 5321 §4.1.1.3."""
    user = replace(STRANGER, login=anna)
    here, nobody = ForwardPath(ANNA), ForwardPath(Address("nobody", ANNA.domain))
    outside = ForwardPath(Address("x", Domain("elsewhere.test")))
    assert await receive.rcpt(here, False, STRANGER, house) == Leads((anna.account,))
    assert await receive.rcpt(nobody, False, STRANGER, house) == receive.NO_SUCH_USER
    assert await receive.rcpt(outside, False, STRANGER, house) == receive.NO_RELAY
    assert await receive.rcpt(outside, False, user, house) == Leads(leaves=True)
    assert await receive.rcpt(outside, False, user, replace(house, leave=False)) == receive.STAYS_HERE
    eight_bit = ForwardPath(Address("gr\u00e9ta", ANNA.domain))
    assert await receive.rcpt(eight_bit, False, STRANGER, house) == receive.NEEDS_SMTPUTF8
    assert await receive.rcpt(eight_bit, True, STRANGER, house) == receive.NO_SUCH_USER


async def test_rcpt_of_a_group(house: House, anna: Login) -> None:
    """RFC 5321 §3.9.1: one address, many mailboxes; who is not let in is told why (RFC 3463 §3.8)."""
    team = Address("team", ANNA.domain)
    ben = await house.store.read(accounts.find_login, BEN)
    assert ben is not None
    user, member = replace(STRANGER, login=anna), replace(STRANGER, login=ben)
    await house.store.run(groups.add_group, team, [BEN], Senders.USERS)
    path, leads = ForwardPath(team), Leads((ben.account,))
    assert await receive.rcpt(path, False, STRANGER, house) == receive.USERS_ONLY
    assert await receive.rcpt(path, False, user, house) == leads
    await house.store.run(groups.set_group, team, None, Senders.MEMBERS)
    assert await receive.rcpt(path, False, STRANGER, house) == receive.MEMBERS_ONLY
    assert await receive.rcpt(path, False, user, house) == receive.MEMBERS_ONLY
    assert await receive.rcpt(path, False, member, house) == leads
    await house.store.run(groups.set_group, team, None, Senders.ANYONE)
    assert await receive.rcpt(path, False, STRANGER, house) == leads


async def test_rcpt_of_too_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "READERS", 1)
    assert await receive.rcpt(ForwardPath(INFO), False, STRANGER, house) == receive.OVERFULL


async def test_a_strange_domain_is_asked_for_once_by_users_and_each_time_by_strangers(
    house: House, anna: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("is_local", "resolve"):
        really = getattr(accounts, name)
        monkeypatch.setattr(accounts, name, lambda what, name=name, really=really: asked.append(name) or really(what))
    user, outside = replace(STRANGER, login=anna), ForwardPath(Address("x", Domain("elsewhere.test")))
    for _ in range(2):
        assert await receive.rcpt(outside, False, user, house) == Leads(leaves=True)
    for _ in range(2):
        assert await receive.rcpt(outside, False, STRANGER, house) == receive.NO_RELAY
    assert asked == ["is_local", "resolve", "resolve"]
    await house.store.run(accounts.add_domain, outside.address.domain)  # the runner delivers here what is queued now
    assert await receive.rcpt(outside, False, STRANGER, house) == receive.NO_SUCH_USER
    postmaster = ForwardPath(Address("postmaster", Domain(HOSTNAME)))
    assert isinstance(await receive.rcpt(postmaster, False, user, house), Leads)


async def incoming(octets: bytes, login: Login, house: House, client: Client = STRANGER) -> Incoming:
    spool = Spool(house.spool, house.limits.spool_above)
    if spool.add(octets):
        await spool.write()
    envelope = Envelope(ReversePath(ANNA), (Recipient(ForwardPath(ANNA)),))
    message = Incoming(Trail("0" * 16), client, envelope, (Leads((login.account,)),), await spool.octets())
    spool.close()
    return message


@pytest.mark.parametrize("spool_above", [10, 1_000_000])
async def test_take_keeps_every_octet(house: House, anna: Login, spool_above: int) -> None:
    house = replace(house, limits=MessageLimits(spool_above=spool_above))
    octets = b"Subject : odd\r\n folded\r\n\r\n" + bytes(range(1, 256)).replace(b"\r", b"").replace(b"\n", b"")
    assert await receive.take(await incoming(octets, anna, house), house) == receive.TAKEN
    [kept] = await inbox(house.store, ANNA)
    assert kept.startswith(b"Return-Path: <anna@home.test>\r\nReceived: from client.test")
    assert kept.endswith(b"+0000\r\n" + octets)


@pytest.mark.parametrize("spool_above", [10, 1_000_000])
async def test_take_from_a_user(house: House, anna: Login, spool_above: int) -> None:
    house = replace(house, limits=MessageLimits(spool_above=spool_above))
    octets = b"Bcc: ben@work.test\r\nSubject: x\r\n\r\nbody\r\n"
    user = replace(STRANGER, login=anna)
    assert await receive.take(await incoming(octets, anna, house, user), house) == receive.TAKEN
    [kept] = await inbox(house.store, ANNA)
    assert kept.endswith(b"@mail.home.test>\r\nSubject: x\r\n\r\nbody\r\n")
    assert b"\r\nFrom: <anna@home.test>\r\nDate: " in kept
    assert b"Bcc" not in kept


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"Received: x\r\n" * 50 + b"\r\n", receive.ROUTING_LOOP),
        (b"Subject: x\r\n\r\na\0b", receive.NUL_INSIDE),
        (b"X: y\r\n" * 2_001 + b"\r\n", receive.TOO_MANY_FIELDS),
        (b"X: " + b"y" * 262_144 + b"\r\n\r\n", receive.FIELD_TOO_LARGE),
        (b"X: y" + b"z" * 100_000 + b"\r\n" + b"X: yyyy\r\n" * 1 + b"X: " + b"\r\n y" * 240_000 + b"\r\n\r\n",
         receive.HEADER_TOO_LARGE),
    ],
)  # fmt: skip
async def test_take_refuses(house: House, anna: Login, octets: bytes, expected: object) -> None:
    assert await receive.take(await incoming(octets, anna, house), house) == expected
    assert await inbox(house.store, ANNA) == []


@pytest.mark.parametrize("octets", [b"", b"\r\n", b"no header at all", b"\r\nbody", b"X", b"Subject: x\r\n"])
async def test_take_accepts_what_is_hardly_a_message(house: House, anna: Login, octets: bytes) -> None:
    assert await receive.take(await incoming(octets, anna, house), house) == receive.TAKEN
    [kept] = await inbox(house.store, ANNA)
    assert kept.endswith(octets)


TEXT = b"Hello Ben, see you at 5.\r\nPS: bring wine\r\n\r\nhttps://home.test/\r\n"


@pytest.mark.parametrize("spool_above", [10, 1_000_000])
@pytest.mark.parametrize("octets", [TEXT, b" folded\r\n", b"From Ben with love\r\n", b"x", b"\r\n" + TEXT])
async def test_text_without_a_header_stays_text(house: House, anna: Login, octets: bytes, spool_above: int) -> None:
    """RFC 5322 §2.1: from a stranger and from a user, whose missing fields are added."""
    house = replace(house, limits=MessageLimits(spool_above=spool_above))
    for client in (STRANGER, replace(STRANGER, login=anna)):
        assert await receive.take(await incoming(octets, anna, house, client), house) == receive.TAKEN
    for kept in await inbox(house.store, ANNA):
        head, _, body = kept.partition(b"\r\n\r\n")
        assert head.startswith(b"Return-Path: ")
        assert body == octets.removeprefix(b"\r\n")
        assert kept[parse(kept).body.start :] == body
    assert b"\r\nFrom: <anna@home.test>\r\nDate: " in kept


@given(st.lists(st.sampled_from([b"A: b", b" c", b"From x", b">From y", b"", b"\r", b"text", b"so: so"]), max_size=8))
def test_trace_fields_do_not_move_the_body(lines: list[bytes]) -> None:
    octets = b"\r\n".join(lines)
    front = receive.before(octets, body_start(octets), b"Received: x\r\n")
    whole = parse(front + octets)
    alone = parse(octets)
    assert (front + octets)[whole.body.start :] == octets[alone.body.start :]
    assert {**alone.fields, b"received": b" x\r"} == whole.fields


@pytest.mark.parametrize("local", ["postmaster", "Postmaster", "POSTMASTER"])
async def test_postmaster_of_this_server(house: House, store: Store, anna: Login, local: str) -> None:
    """RFC 5321 §4.5.1: without a domain, and at a hostname that is no local domain."""
    paths = [ForwardPath(Address(local, Domain(name))) for name in ("", "mail.home.test")]
    for client in (STRANGER, replace(STRANGER, login=anna), replace(STRANGER, lmtp=True)):
        for path in paths:
            assert await receive.rcpt(path, False, client, house) == Leads((anna.account,))
    other = ForwardPath(Address("anna", Domain("mail.home.test")))
    assert await receive.rcpt(other, False, STRANGER, house) == receive.NO_RELAY
    foreign = ForwardPath(Address(local, Domain("elsewhere.test")))
    assert await receive.rcpt(foreign, False, STRANGER, house) == receive.NO_RELAY


@given(st.lists(st.sampled_from([b"A: b", b" c", b"\t", b"", b"\r", b"Received:", b"x"]), max_size=30))
def test_any_header_is_judged(lines: list[bytes]) -> None:
    octets = b"\r\n".join(lines)
    limits = MessageLimits(header_size=100, field_size=50, header_fields=5)
    fault = receive.header_fault(octets, header_end(octets), limits)
    assert fault in (None, receive.HEADER_TOO_LARGE, receive.FIELD_TOO_LARGE, receive.TOO_MANY_FIELDS)
