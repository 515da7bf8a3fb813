"""Mail of a user for other servers: taken, and in the queue when the 250 is said (RFC 6409 §3, RFC 5321 §4.4)."""

from dataclasses import replace

from caller import call, log_in
from household import BEN, inbox
from posthouse.serve.login import Door
from posthouse.store import queue
from posthouse.transport.house import House, SmtpRole

SUBMISSION = SmtpRole.SUBMISSION


async def test_a_user_may_send_to_other_servers(house: House, door: Door) -> None:
    """One item for each destination, in the transaction that also delivers at home; without Return-Path."""
    async with call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        await caller.say("MAIL FROM:<anna@home.test>")
        for address in ("x@elsewhere.test", "y@elsewhere.test", "z@[192.0.2.7]", "ben@work.test"):
            assert (await caller.say(f"RCPT TO:<{address}>")).startswith("250"), address
        assert (await caller.message(b"Subject: hello")).startswith("250")
    taken = await house.store.run(queue.claim, house.moment(house.clock()), 7, 10, 1_000)
    items = sorted(taken.items, key=lambda one: one.item.destination.name)
    assert [len(one.item.envelope.recipients) for one in items] == [1, 2]
    assert [one.item.destination.name for one in items] == ["[192.0.2.7]", "elsewhere.test"]
    for one in items:
        octets = await house.store.blobs.get(one.item.blob)
        assert octets.startswith(b"Return-Path: <anna@home.test>\r\nReceived: ")
        assert octets[one.skip :].startswith(b"Received: ")
        assert len(octets) - one.skip == one.item.size
        assert f" id {one.item.trail}".encode() in octets
    assert await inbox(house.store, BEN) == [octets]


async def test_mail_that_only_leaves_has_no_return_path(house: House, door: Door) -> None:
    async with call(house, door, SUBMISSION) as caller:
        await log_in(caller)
        await caller.say("MAIL FROM:<anna@home.test>")
        await caller.say("RCPT TO:<x@elsewhere.test>")
        assert (await caller.message(b"Subject: hello")).startswith("250")
    [one] = (await house.store.run(queue.claim, house.moment(house.clock()), 7, 10, 1_000)).items
    assert one.skip == 0
    assert (await house.store.blobs.get(one.item.blob)).startswith(b"Received: ")


async def test_where_nothing_leaves_it_says_so(house: House, door: Door) -> None:
    async with call(replace(house, leave=False), door, SUBMISSION) as caller:
        await log_in(caller)
        await caller.say("MAIL FROM:<anna@home.test>")
        assert "queue.leave" in await caller.say("RCPT TO:<x@elsewhere.test>")
