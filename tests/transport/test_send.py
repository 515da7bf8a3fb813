"""transport/send.py: servers in order, each recipient on its own, connections used again (RFC 5321 §5.1, RFC 9422)."""

import asyncio
import mmap
import tempfile
from dataclasses import replace

import pytest

from fakes import START, comes_true
from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import DeliverBy, DsnReturn, Envelope, Notify, OriginalRecipient, Recipient
from posthouse.mail.outcome import Action
from posthouse.mail.status import Status
from posthouse.transport.connection import Sending
from posthouse.transport.result import PERHAPS_TAKEN
from posthouse.transport.send import ADDRESSES, CONVERSATIONS, Sender
from posthouse.transport.target import Target, Unreachable
from posthouse.transport.words import explain
from sink import CLOSE, OFFERS, RESET, After, Say, sink
from transport.sending import ANNA, MESSAGE, Item, brief, item, rig, seconds, target, to

DELAYED, FAILED, RELAYED = Action.DELAYED, Action.FAILED, Action.RELAYED
NO_CHUNKS = tuple(offer for offer in OFFERS if offer != "CHUNKING")
TAKEN = (RELAYED, "dot", "2.0.0")
NOBODY = Target("nobody.test", ("127.0.0.1",), 1)


def without(*words: str) -> tuple[str, ...]:
    """The usual offers but these."""
    return tuple(offer for offer in OFFERS if offer.split()[0] not in words)


async def test_each_recipient_has_an_outcome_of_its_own() -> None:
    answers = ["250 ok", "550 5.1.1 who?", "450 4.2.0 greylisted", "250 ok"]
    async with sink({"rcpt": answers}) as server, rig(server) as ours:
        outcomes = await ours.send(item("a", "b", "c", "d"))
        assert brief(outcomes) == [TAKEN, (FAILED, "rcpt", "5.1.1"), (DELAYED, "rcpt", "4.2.0"), TAKEN]
        assert [one.recipient for one in outcomes] == [to(name) for name in "abcd"]
        assert [one.reason for one in outcomes[1:3]] == [
            "the server refused the recipient",
            "the server cannot take mail for the recipient now",
        ]
        assert server.taken[0].rcpts == ("RCPT TO:<a@work.test>", "RCPT TO:<d@work.test>")
        assert outcomes[0].at == START
        assert outcomes[0].dsn


@pytest.mark.parametrize("offers", [OFFERS, NO_CHUNKS, (), ("CHUNKING",)])
async def test_one_round_or_many(offers: tuple[str, ...]) -> None:
    """The same content arrives, however the server wants to be spoken to; what is only for us does not."""
    async with sink(offers=offers) as server, rig(server) as ours:
        for _ in range(3):
            assert (
                brief(await ours.send(item("a", "b"), b"Return-Path:\r\n <anna@home.test>\r\n" + MESSAGE))
                == [TAKEN] * 2
            )
        assert [one.octets for one in server.taken] == [MESSAGE] * 3
        assert server.connections == 1
        assert "RSET" not in server.heard


@pytest.mark.parametrize("offers", [OFFERS, NO_CHUNKS])
@pytest.mark.parametrize("size", [0, 1, 60_000, 262_144, 1_048_576, 1_500_001])
async def test_any_size_from_a_map(offers: tuple[str, ...], size: int) -> None:
    """Large messages are mapped files, and go out in pieces; a CRLF that is missing at the end is added."""
    line = b"." * 60 + b"\r\n"
    octets = (b"Subject: x\r\n\r\n" + line * (size // len(line) + 1))[:size].rstrip(b"\r\n")
    with tempfile.TemporaryFile() as file:
        file.write(octets or b"X")
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            async with (
                sink(offers=offers) as server,
                rig(server, limits=seconds(dot=20, data=20)) as ours,
            ):
                assert brief([await ours.outcome(mapped)]) == [TAKEN]
                assert server.taken[0].octets == (octets or b"X") + b"\r\n"
                assert f"SIZE={len(octets or b'X') + 2}" in server.taken[0].mail
                if offers is OFFERS:
                    assert server.taken[0].chunks == max(1, -(-(len(octets) + 2) // 1_048_576))


@pytest.mark.parametrize("offers", [OFFERS, ("CHUNKING",)])
@pytest.mark.parametrize("nth", [0, 1, 3])
async def test_a_chunk_that_is_refused(offers: tuple[str, ...], nth: int) -> None:
    """RFC 3030 §2: no more are sent than were on their way; what is refused for good is asked of nobody else."""
    big = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 70_000  # five chunks
    answers = ["250 ok"] * nth + ["552 5.3.4 enough"]
    limits = seconds(dot=20)
    async with sink({"bdat": answers}, offers) as server, rig(server, NOBODY, limits=limits) as ours:
        assert brief([await ours.outcome(big)]) == [(FAILED, "data", "5.3.4")]
        assert len([line for line in server.heard if line.startswith("BDAT")]) <= nth + 2
        assert not server.taken


async def test_an_empty_message() -> None:
    async with sink() as server, rig(server) as ours:
        assert brief([await ours.outcome(b"")]) == [TAKEN]
        assert server.taken[0].octets == b"\r\n"


@pytest.mark.parametrize("octets", [b"X: y\r\n\r\na\n.\r\n", b"X: y\r\n\r\na\rb\r\n", b"X: y\r\n\r\na\0\r\n", b"X\r"])
async def test_what_could_be_read_in_two_ways_goes_nowhere(octets: bytes) -> None:
    """RFC 5321 §2.3.8: no server is even asked."""
    async with sink() as server, rig(server) as ours:
        assert brief([await ours.outcome(octets)]) == [(FAILED, "data", "5.6.0")]
        assert server.connections == 0


# --- servers, one after the other


@pytest.mark.parametrize("wrong", ["450 4.7.1 no", "554 5.7.1 no", "421 4.3.2 no", RESET, CLOSE, "hello"])
@pytest.mark.parametrize("step", ["connect", "ehlo"])
async def test_the_next_server_is_asked_when_one_does_not_want_to_talk(step: str, wrong: str | Say) -> None:
    plan = {step: wrong, "helo": wrong}
    async with sink(plan) as first, sink() as second, rig(first, second) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [TAKEN]
        assert outcome.mta == "mx1.test"


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
async def test_the_next_server_is_asked_when_one_says_later(step: str) -> None:
    async with sink({step: "451 4.3.0 later"}, NO_CHUNKS) as first, sink() as second, rig(first, second) as ours:
        assert brief([await ours.outcome()]) == [TAKEN]
        assert len(second.taken) == 1
        assert not first.taken


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
async def test_a_refusal_of_the_mail_is_final(step: str) -> None:
    async with sink({step: "550 5.7.1 no"}, NO_CHUNKS) as first, sink() as second, rig(first, second) as ours:
        assert brief([await ours.outcome()]) == [(FAILED, step, "5.7.1")]
        assert second.connections == 0


async def test_only_who_was_not_settled_goes_on_to_the_next_server() -> None:
    async with sink({"rcpt": ["250 ok", "450 no", "550 no"]}) as first, sink() as second, rig(first, second) as ours:
        outcomes = await ours.send(item("a", "b", "c"))
        assert brief(outcomes) == [TAKEN, TAKEN, (FAILED, "rcpt", "5.0.0")]
        assert [one.mta for one in outcomes] == ["mx0.test", "mx1.test", "mx0.test"]
        assert second.taken[0].rcpts == ("RCPT TO:<b@work.test>",)


@pytest.mark.parametrize("answer", [RESET, CLOSE, "what?"])
@pytest.mark.parametrize(("step", "offers"), [("dot", NO_CHUNKS), ("bdat", OFFERS)])
async def test_a_lost_answer_to_the_end_is_not_asked_elsewhere(
    step: str, offers: tuple[str, ...], answer: Say | str
) -> None:
    """It may be there: to try the next server would make it two for certain."""
    async with sink({step: answer}, offers) as first, sink() as second, rig(first, second) as ours:
        outcome = await ours.outcome()
        assert brief([outcome])[0][:2] == (DELAYED, "dot")
        assert outcome.reason.endswith(PERHAPS_TAKEN)
        assert len(first.taken) == 1
        assert second.connections == 0


async def test_all_servers_refuse_to_talk_for_good() -> None:
    """Only when all of them have said so is it the end."""
    refusal = {"connect": "554 5.7.1 no mail here"}
    async with sink(refusal) as first, sink(refusal) as second:
        async with rig(first, second) as ours:
            assert brief([await ours.outcome()]) == [(FAILED, "greeting", "5.7.1")]
        async with rig(first, NOBODY, second) as ours:
            assert brief([await ours.outcome()]) == [(DELAYED, "greeting", "4.7.1")]
        async with rig(NOBODY, first) as ours:
            assert brief([await ours.outcome()]) == [(DELAYED, "greeting", "4.7.1")]


async def test_an_answer_is_worth_more_than_silence() -> None:
    async with sink({"mail": "450 4.7.1 greylisted"}) as first, rig(first, NOBODY) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, "mail", "4.7.1")]
        assert outcome.mta == "mx0.test"


async def test_equal_servers_are_tried_in_any_order() -> None:
    """RFC 5321 §5.1."""
    async with sink() as first, sink() as second, rig(first, second) as ours:
        ours.targets[:] = [replace(one, preference=10) for one in ours.targets]
        ours.sender.sending = replace(ours.sender.sending, limits=seconds(idle=0))
        for _ in range(40):
            await ours.sender.idle.close()
            await ours.outcome()
        assert first.connections > 2
        assert second.connections > 2


async def test_attempts_are_bounded() -> None:
    """An endless list of servers is not asked to its end."""
    async with sink({"mail": "450 no"}) as server, rig(*[server] * 20) as ours:
        assert brief([await ours.outcome()]) == [(DELAYED, "mail", "4.0.0")]
        assert server.connections == CONVERSATIONS
    async with sink({"connect": "554 no"}) as server, rig(server) as ours:
        ours.targets = [replace(ours.targets[0], ips=tuple(f"127.0.0.{n}" for n in range(1, 100)))]
        server.connections = 0
        await ours.outcome()
        assert server.connections <= ADDRESSES


async def test_another_address_of_the_same_server() -> None:
    async with sink(host="127.0.0.2") as server, rig(server) as ours:
        ours.targets = [replace(ours.targets[0], ips=("127.0.0.1", "127.0.0.2"))]
        outcome = await ours.outcome()
        assert brief([outcome]) == [TAKEN]
        assert outcome.ip == "127.0.0.2"


async def test_no_address_and_no_server() -> None:
    async with rig(Target("mx.test", ())) as ours:
        assert brief([await ours.outcome()]) == [(DELAYED, "connect", "4.4.1")]
        ours.targets = []
        assert brief([await ours.outcome()]) == [(DELAYED, "connect", "4.4.4")]


async def test_unreachable() -> None:
    async def find(domain: Domain, envelope: Envelope) -> Unreachable:
        return Unreachable(Status(5, 1, 10), "work.test takes no mail (null MX)")

    sender = Sender(find, Sending("us.test"), lambda: START)
    [outcome] = await sender.attempt(item(), MESSAGE)
    assert brief([outcome]) == [(FAILED, "dns", "5.1.10")]
    assert outcome.reason == "work.test takes no mail (null MX)"


# --- connections used again


async def test_a_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    async with sink() as server, rig(server) as ours:
        assert brief([await ours.outcome()]) == [TAKEN]
        assert len(ours.sender.idle) == 1
        server.plan["mail"] = [RESET, "250 ok"]  # the second MAIL of the first connection
        assert brief([await ours.outcome()]) == [TAKEN]
        assert server.connections == 2
        assert len(server.taken) == 2


async def test_a_server_that_hangs_up_behind_its_answer() -> None:
    async with sink({"bdat": [Say("250 ok", After.CLOSE), "250 ok"]}) as server, rig(server) as ours:
        assert brief([await ours.outcome()]) == [TAKEN]
        assert len(ours.sender.idle) == 1
        await asyncio.sleep(0.1)
        assert brief([await ours.outcome()]) == [TAKEN]
        assert server.connections == 2


async def test_a_goodbye_of_an_idle_server_is_heard() -> None:
    async with sink({"bdat": [Say("250 ok\n421 4.4.2 I close idle ones"), "250 ok"]}) as server, rig(server) as ours:
        assert brief([await ours.outcome()]) == [TAKEN]
        await asyncio.sleep(0.05)
        assert brief([await ours.outcome()]) == [TAKEN]
        assert server.connections == 2
        assert server.heard.count("EHLO us.test") == 2


async def test_idle_connections_end_with_quit() -> None:
    async with sink() as server, rig(server, limits=seconds(idle=0.1)) as ours:
        await ours.outcome()
        await comes_true(lambda: server.heard[-1] == "QUIT")
        assert len(ours.sender.idle) == 0


async def test_a_connection_is_not_used_for_ever() -> None:
    async with sink() as server, rig(server, limits=replace(seconds(), transactions=2)) as ours:
        for _ in range(4):
            await ours.outcome()
        assert server.connections == 2
    async with sink() as server, rig(server, limits=replace(seconds(), age_seconds=-1)) as ours:
        for _ in range(2):
            await ours.outcome()
        assert server.connections == 2


async def test_so_many_connections_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes for a new one."""
    monkeypatch.setattr("posthouse.transport.idle.KEPT", 3)
    async with sink({"bdat": Say("250 ok", pause=0.2)}) as server, rig(server) as ours:
        await asyncio.gather(*(ours.outcome() for _ in range(5)))
        assert server.connections == 5
        assert len(ours.sender.idle) == 3
        await comes_true(lambda: server.open == 3)


async def test_a_spoiled_transaction_is_reset_before_the_next() -> None:
    async with sink({"rcpt": ["550 no", "250 ok"]}) as server, rig(server) as ours:
        await ours.outcome()
        assert brief([await ours.outcome()]) == [TAKEN]
        assert server.connections == 1
        assert server.heard[3:5] == ["RSET", "MAIL FROM:<anna@home.test> SIZE=36"]


async def test_many_at_once_leave_in_order() -> None:
    async with sink() as server, rig(server) as ours:
        await asyncio.gather(*(ours.outcome(b"X: %d\r\n\r\n" % number) for number in range(20)))
        assert len(server.taken) == 20
        assert server.connections <= 20
        for number in range(20):
            await ours.outcome(b"Y: %d\r\n\r\n" % number)
        assert server.connections <= 20


# --- LIMITS (RFC 9422), and servers that say too many


async def test_rcptmax_and_mailmax() -> None:
    """RFC 9422 §4: so many recipients at once, and so many transactions over a connection."""
    async with sink(offers=(*OFFERS, "LIMITS RCPTMAX=2 MAILMAX=2")) as server, rig(server) as ours:
        outcomes = await ours.send(item(*"abcdefg"))
        assert brief(outcomes) == [TAKEN] * 7
        assert [len(one.rcpts) for one in server.taken] == [2, 2, 2, 1]
        assert [one.connection for one in server.taken] == [1, 1, 2, 2]


async def test_rcptdomainmax() -> None:
    """RFC 9422 §4.3: another domain needs another connection."""
    async with sink(offers=(*OFFERS, "LIMITS RCPTDOMAINMAX=1")) as server, rig(server) as ours:
        await ours.send(item())
        other = Recipient(ForwardPath(Address("ben", Domain("other.test"))))
        await ours.send(Item(Envelope(ANNA, (other,)), Domain("other.test")))
        await ours.send(item())
        assert server.connections == 2


@pytest.mark.parametrize("answer", ["452 4.5.3 too many", "552 too many", "552 5.5.3 too many"])
async def test_too_many_recipients_go_in_a_next_transaction(answer: str) -> None:
    """RFC 5321 §4.5.3.1.10: at once, and 552 is 452."""
    answers = ["250 ok", "250 ok", answer, answer, "250 ok"]
    async with sink({"rcpt": answers}) as server, rig(server) as ours:
        assert brief(await ours.send(item(*"abcd"))) == [TAKEN] * 4
        assert [len(one.rcpts) for one in server.taken] == [2, 2]
        assert server.connections == 1


async def test_a_full_mailbox_is_not_too_many() -> None:
    async with sink({"rcpt": "552 5.2.2 mailbox full"}) as server, rig(server) as ours:
        assert brief([await ours.outcome()]) == [(FAILED, "rcpt", "5.2.2")]


async def test_hundred_recipients_at_once_at_most() -> None:
    """RFC 5321 §4.5.3.1.8."""
    async with sink() as server, rig(server, limits=seconds(dot=20, rcpt=20)) as ours:
        outcomes = await ours.send(item(*(f"u{n}" for n in range(250))))
        assert {one.action for one in outcomes} == {RELAYED}
        assert [len(one.rcpts) for one in server.taken] == [100, 100, 50]


# --- what the Envelope asks for


async def test_everything_that_may_be_asked_of_a_server() -> None:
    ben = Recipient(to("ben").path, frozenset({Notify.SUCCESS}), OriginalRecipient("rfc822", "b@x.test"))
    envelope = Envelope(ANNA, (ben,), ret=DsnReturn.FULL, envid="e1", priority=4)
    envelope = replace(envelope, deliver_by=DeliverBy(START + 90_000, give_back=True, trace=False))
    async with sink(offers=(*OFFERS, "MT-PRIORITY", "DELIVERBY 30")) as server, rig(server) as ours:
        [outcome] = await ours.send(Item(envelope))
        assert outcome.dsn
        assert server.taken[0].mail == "MAIL FROM:<anna@home.test> SIZE=36 RET=FULL ENVID=e1 MT-PRIORITY=4 BY=90;R"
        assert server.taken[0].rcpts == ("RCPT TO:<ben@work.test> NOTIFY=SUCCESS ORCPT=rfc822;b@x.test",)
    async with sink(offers=without("DSN")) as server, rig(server) as ours:
        [outcome] = await ours.send(Item(replace(envelope, deliver_by=None)))
        assert not outcome.dsn
        assert server.taken[0].mail == "MAIL FROM:<anna@home.test> SIZE=36"
        assert server.taken[0].rcpts == ("RCPT TO:<ben@work.test>",)


@pytest.mark.parametrize("offers", [OFFERS, (*OFFERS, "DELIVERBY 100")])
async def test_a_time_that_the_server_does_not_promise(offers: tuple[str, ...]) -> None:
    """RFC 2852 §4: by-mode R is not given to who does not know it; N is."""
    by = DeliverBy(START + 90_000, give_back=True, trace=False)
    async with sink(offers=offers) as server, rig(server) as ours:
        assert brief(await ours.send(Item(replace(item().envelope, deliver_by=by)))) == [(FAILED, "mail", "5.3.3")]
        by = replace(by, give_back=False)
        assert brief(await ours.send(Item(replace(item().envelope, deliver_by=by)))) == [TAKEN]


async def test_addresses_outside_ascii_only_where_they_are_taken() -> None:
    """RFC 6531 §3.5."""
    juergen = Recipient(ForwardPath(Address("jürgen", Domain("work.test"))))
    envelope = Envelope(ANNA, (juergen, to("ben")), utf8=True)
    async with sink(offers=without("SMTPUTF8")) as server, rig(server) as ours:
        assert brief(await ours.send(Item(envelope))) == [(FAILED, "rcpt", "5.6.7"), TAKEN]
        assert server.taken[0].mail == "MAIL FROM:<anna@home.test> SIZE=36"
        assert brief(await ours.send(Item(replace(envelope, recipients=(juergen,))))) == [(FAILED, "rcpt", "5.6.7")]
        sender = ReversePath(Address("ännä", Domain("home.test")))
        outcomes = await ours.send(Item(replace(envelope, sender=sender)))
        assert brief(outcomes) == [(FAILED, "mail", "5.6.7")] * 2
        outcomes = await ours.send(Item(replace(item().envelope, utf8=True)), "To: ü\r\n\r\n".encode())
        assert brief(outcomes) == [(FAILED, "mail", "5.6.7")]
        part = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: \xc3\xbc\r\n\r\nx\r\n--b--\r\n"
        assert brief(await ours.send(Item(replace(item().envelope, utf8=True)), part)) == [(FAILED, "mail", "5.6.7")]
    async with sink() as server, rig(server) as ours:
        assert brief(await ours.send(Item(envelope))) == [TAKEN, TAKEN]
        assert server.taken[0].mail == "MAIL FROM:<anna@home.test> SIZE=36 SMTPUTF8"
        assert server.taken[0].rcpts[0] == "RCPT TO:<jürgen@work.test>"


async def test_a_message_that_is_too_large_is_not_sent() -> None:
    """RFC 1870 §6."""
    async with sink(offers=("SIZE 35",)) as server, rig(server) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(FAILED, "mail", "5.3.4")]
        assert outcome.reason == "the message has 36 octets and the server takes 35"
        assert "MAIL" not in " ".join(server.heard)
    async with sink(offers=("SIZE 0",)) as server, rig(server) as ours:
        assert brief([await ours.outcome()]) == [TAKEN]


EIGHT_BIT = (
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe an alle im Haus\r\n"
)


async def test_eight_bits_are_encoded_for_who_takes_seven() -> None:
    """RFC 6152 §3."""
    async with sink() as server, rig(server) as ours:
        assert brief([await ours.outcome(EIGHT_BIT)]) == [TAKEN]
        assert server.taken[0].octets == EIGHT_BIT
        assert server.taken[0].mail.endswith(" BODY=8BITMIME")
    async with sink(offers=without("8BITMIME")) as server, rig(server) as ours:
        assert brief([await ours.outcome(EIGHT_BIT)]) == [TAKEN]
        assert b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe an" in server.taken[0].octets
        assert f"SIZE={len(server.taken[0].octets)}" in server.taken[0].mail
        assert "BODY" not in server.taken[0].mail
        assert brief([await ours.outcome(b"X: \xfc\r\n\r\n")]) == [(FAILED, "mail", "5.6.3")]
        assert brief([await ours.outcome(EIGHT_BIT + b"x\xc3\xbc\r\n" * 100_000)]) == [TAKEN]


async def test_long_lines_are_encoded_and_never_folded() -> None:
    """limits.md: 550 5.6.0 where they cannot be."""
    long = b"Subject: x\r\n\r\n" + b"word " * 400 + b"\r\n"
    async with sink() as server, rig(server) as ours:
        assert brief([await ours.outcome(long)]) == [TAKEN]
        assert max(map(len, server.taken[0].octets.split(b"\r\n"))) <= 76
        outcome = await ours.outcome(b"X: " + b"word " * 400 + b"\r\n\r\n")
        assert brief([outcome]) == [(FAILED, "mail", "5.6.0")]
        said = explain(outcome, "mail.home.test")
        assert said.happened.startswith("A line of the header, or between the parts,")
        assert "to fewer people at a time" in said.advice


async def test_the_null_sender() -> None:
    async with sink() as server, rig(server) as ours:
        assert brief(await ours.send(item(sender=ReversePath()))) == [TAKEN]
        assert server.taken[0].mail == "MAIL FROM:<> SIZE=36"


async def test_a_source_address() -> None:
    async with sink() as server, rig(replace(target(server), source="127.0.0.5")) as ours:
        assert brief([await ours.outcome()]) == [TAKEN]
        ours.targets = [replace(ours.targets[0], source="::1")]
        assert brief([await ours.outcome()]) == [(DELAYED, "connect", "4.4.1")]


async def test_cancelled_in_the_middle() -> None:
    """A worker that ends leaves no connection behind."""
    async with sink({"mail": Say(pause=30)}) as server, rig(server, limits=seconds(mail=60)) as ours:
        task = asyncio.create_task(ours.outcome())
        await comes_true(lambda: "MAIL FROM:<anna@home.test> SIZE=36" in server.heard)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(ours.sender.idle) == 0
