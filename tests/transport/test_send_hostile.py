"""transport/send.py against servers that stall, reset, lie and refuse, at each step and in each way of speaking.

RFC 5321 §4.2.1, §4.5.3.2, §4.5.4.1; limits.md, "peers stall, reset, lie".
"""

import asyncio
from dataclasses import replace

import pytest

from posthouse.mail.outcome import Action
from posthouse.transport.result import PERHAPS_TAKEN
from sink import CLOSE, OFFERS, RESET, STALL, After, Answer, Say, sink
from transport.sending import HASTY, MESSAGE, brief, item, rig, seconds

ENDLESS = Say("250-and so on", After.ENDLESS)
WAYS = {
    "chunks": OFFERS,
    "data": tuple(offer for offer in OFFERS if offer != "CHUNKING"),
    "one by one": ("8BITMIME",),
    "chunks one by one": ("CHUNKING",),
}
STEPS = ("connect", "ehlo", "mail", "rcpt", "data", "dot")
WHERE = {"connect": "greeting", "ehlo": "hello"}
DELAYED, FAILED, RELAYED = Action.DELAYED, Action.FAILED, Action.RELAYED


def planned(way: str, step: str, answer: Answer) -> dict[str, Answer]:
    """The end of a message is BDAT LAST where there are chunks."""
    return {"bdat" if "chunks" in way and step in ("data", "dot") else step: answer}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the server wants to be spoken to."""
    return str(request.param)


@pytest.fixture(params=STEPS)
def step(request: pytest.FixtureRequest, way: str) -> str:
    """Where it goes wrong."""
    if "chunks" in way and request.param == "data":
        pytest.skip("chunks need no DATA")
    return str(request.param)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (STALL, "4.4.2"),
        (RESET, "4.4.2"),
        (CLOSE, "4.4.2"),
        (Say("2", After.CLOSE), "4.5.0"),
        (Say(b"250", After.CLOSE), "4.4.2"),
        (Say(b"250-half a reply\r\n", After.CLOSE), "4.4.2"),
        (Say(b"250-half a reply\r\n", After.STALL), "4.4.2"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "4.5.0"),
        (b"\x16\x03\x01\x00\x05hello\r\n", "4.5.0"),
        (b"\0" * 5_000, "4.5.0"),
        (b"250 " + b"x" * 100_000 + b"\r\n", "4.5.0"),
        (ENDLESS, "4.5.0"),
        ("334 what do you say?", "4.5.0"),
    ],
)
async def test_no_answer_worth_the_name(way: str, step: str, answer: Answer, status: str) -> None:
    """The message waits, and says at which step."""
    stalls = isinstance(answer, Say) and answer.after is After.STALL
    limits = HASTY if stalls else seconds()
    async with sink(planned(way, step, answer), WAYS[way]) as server, rig(server, limits=limits) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, WHERE.get(step, step), status)]
        assert outcome.answer is None
        assert outcome.mta == "mx0.test"
        assert outcome.ip == "127.0.0.1"
        assert (PERHAPS_TAKEN in outcome.reason) == (step == "dot")


@pytest.mark.parametrize("text", ["4.7.1 come back later", "come back later", "4.7.1 komm sp\u00e4ter"])
async def test_not_now(way: str, step: str, text: str) -> None:
    """4yz: later (RFC 5321 §4.2.1)."""
    async with sink(planned(way, step, f"450 {text}"), WAYS[way]) as server, rig(server) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, WHERE.get(step, step), "4.7.1" if "4.7.1" in text else "4.0.0")]
        assert outcome.answer is not None
        assert outcome.answer.text == text.removeprefix("4.7.1 ")
        assert not server.taken


async def test_not_ever(way: str, step: str) -> None:
    """5yz: the only server says so, and that is the end."""
    plan = planned(way, step, "550-5.7.1 not you\n550 5.7.1 never")
    if step == "ehlo":
        plan["helo"] = plan["ehlo"]
    async with sink(plan, WAYS[way]) as server, rig(server) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(FAILED, WHERE.get(step, step), "5.7.1")]
        assert outcome.answer is not None
        assert outcome.answer.lines == ("not you", "never")
        assert not server.taken


@pytest.mark.parametrize("after", [After.CLOSE, After.RESET, After.GO_ON])
async def test_421_at_any_step(way: str, step: str, after: After) -> None:
    """RFC 5321 §3.8."""
    async with sink(planned(way, step, Say("421 4.3.2 going down", after)), WAYS[way]) as server, rig(server) as ours:
        outcome = await ours.outcome()
        assert outcome.action is DELAYED
        assert outcome.where == WHERE.get(step, step)
        if after is not After.RESET:  # which may eat the words
            assert str(outcome.status) == "4.3.2"
            assert outcome.answer is not None
            assert outcome.answer.text == "going down"
        assert not server.taken


async def test_slow_is_not_wrong(way: str) -> None:
    """Replies octet by octet, within the time."""
    slow = Say("250 2.0.0 slowly", slow=0.005)
    plan = {"connect": Say("220 hi", slow=0.01), "mail": slow, "rcpt": slow, "dot": slow, "bdat": slow}
    async with sink(plan, WAYS[way]) as server, rig(server) as ours:
        assert (await ours.outcome()).action is RELAYED
        assert server.taken[0].octets == MESSAGE


async def test_endlessly_slow_is_silence() -> None:
    """Octets that make no reply do not prolong the time (limits.md)."""
    async with sink({"mail": Say("250 " + "x" * 500, slow=0.05)}) as server, rig(server, limits=HASTY) as ours:
        assert brief([await ours.outcome()]) == [(DELAYED, "mail", "4.4.2")]


async def test_a_server_that_never_comes_to_an_end() -> None:
    """Each recipient is answered in time, all together are not."""
    limits = replace(seconds(), attempt_seconds=1.0)
    async with sink({"rcpt": Say("250 ok", pause=0.3)}) as server, rig(server, limits=limits) as ours:
        outcomes = await ours.send(item(*(f"u{n}" for n in range(20))))
        assert {str(one.status) for one in outcomes} == {"4.4.2"}
        assert {one.action for one in outcomes} == {DELAYED}


@pytest.mark.parametrize("twice", ["mail", "rcpt"])
async def test_a_server_that_answers_twice(way: str, twice: str) -> None:
    """No answer can be told from another then: nothing is sent to it."""
    if (way, twice) == ("chunks", "mail"):
        pytest.skip("in a burst it cannot be seen: the second answer stands where the one to RCPT is due")
    async with sink({twice: "250 ok\n250 and again"}, WAYS[way]) as server, rig(server) as ours:
        outcome = await ours.outcome()
        assert outcome.action is DELAYED
        assert str(outcome.status) == "4.5.0"
        assert not server.taken


@pytest.mark.parametrize("offers", [WAYS["data"], WAYS["chunks"]])
async def test_an_end_that_is_answered_twice(offers: tuple[str, ...]) -> None:
    twice = "250 ok\n550 5.7.1 or rather not"
    async with sink({"dot": twice, "bdat": twice}, offers) as server, rig(server) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, "dot", "4.5.0")]
        assert outcome.reason.endswith(PERHAPS_TAKEN)


@pytest.mark.parametrize(("step", "doubt"), [("mail", False), ("dot", True), ("bdat", True)])
async def test_time_is_up_in_the_middle(step: str, doubt: bool) -> None:
    """Whether the message may have been taken is said also then."""
    limits = replace(seconds(), attempt_seconds=0.3)
    offers = WAYS["chunks" if step == "bdat" else "data"]
    async with sink({step: STALL}, offers) as server, rig(server, limits=limits) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, "dot" if doubt else "data", "4.4.2")]
        assert outcome.reason.endswith(PERHAPS_TAKEN) == doubt
        assert len(ours.sender.idle) == 0


@pytest.mark.parametrize("size", [1, 60_000])
@pytest.mark.parametrize("code", [500, 502])
async def test_chunks_that_are_offered_and_not_known(code: int, size: int) -> None:
    """What was sent is read as commands now: hang up, and come back with DATA; for good."""
    big = MESSAGE + b"QUIT\r\n" * size
    plan: dict[str, Answer] = {"bdat": f"{code} 5.5.1 what?"}
    async with sink(plan) as server, rig(server, limits=seconds(dot=20)) as ours:
        for _ in range(2):
            assert brief(await ours.send(item("a", "b"), big)) == [(RELAYED, "dot", "2.0.0")] * 2
        assert [one.octets for one in server.taken] == [big] * 2
        assert [one.chunks for one in server.taken] == [0, 0]
        assert server.connections == 2
        assert len([line for line in server.heard if line.startswith("BDAT")]) <= 2


async def test_a_server_without_ehlo() -> None:
    """RFC 5321 §3.2: HELO, and no extensions."""
    async with sink({"ehlo": "500 what?"}) as server, rig(server) as ours:
        assert (await ours.outcome()).action is RELAYED
        assert server.heard[:3] == ["EHLO us.test", "HELO us.test", "MAIL FROM:<anna@home.test>"]
        assert server.taken[0].octets == MESSAGE


async def test_nobody_listens() -> None:
    async with sink() as server:
        pass
    async with rig(server) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, "connect", "4.4.1")]
        assert outcome.reason == "127.0.0.1 refused the connection"


async def test_refused_recipients_and_a_server_that_takes_data_all_the_same() -> None:
    """RFC 2920 §3.1: a single dot, and the connection goes on."""
    plan: dict[str, Answer | list[Answer]] = {"rcpt": ["550 5.1.1 who?", "250 ok"], "data": "354 go", "dot": "250 ok"}
    async with sink(plan, WAYS["data"]) as server, rig(server) as ours:
        assert brief([await ours.outcome()]) == [(FAILED, "rcpt", "5.1.1")]
        assert not server.taken
        assert brief([await ours.outcome()]) == [(RELAYED, "dot", "2.0.0")]
        assert server.connections == 1
        assert server.taken[0].octets == MESSAGE


@pytest.mark.parametrize("offers", [WAYS["data"], WAYS["chunks"]])
@pytest.mark.parametrize("answer", [Say("552 5.3.4 enough", After.CLOSE), Say("421 4.3.1 full", After.CLOSE)])
async def test_a_server_that_has_enough_in_the_middle(offers: tuple[str, ...], answer: Say) -> None:
    """A large message; the server reads some of it, says why, and hangs up: its words are found."""
    listening = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        content = False
        while not content:
            line = await reader.readline()
            verb = line[:4]
            content = verb in (b"DATA", b"BDAT")
            if verb == b"EHLO":
                writer.write(b"".join(b"250-%s\r\n" % offer.encode() for offer in ("x", *offers)) + b"250 HELP\r\n")
            else:
                writer.write(b"354 go\r\n" if verb == b"DATA" else b"" if content else b"250 ok\r\n")
        await reader.readexactly(700_000)
        writer.write(answer.octets)
        await writer.drain()
        await reader.read(100_000)
        writer.close()
        listening.set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with sink() as known:
        known.port = server.sockets[0].getsockname()[1]
        async with rig(known) as ours:
            big = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * 4 + b"\r\n"
            outcome = await ours.outcome(big + (b"x" * 70 + b"\r\n") * 400_000)
            assert outcome.where == "data"
            assert outcome.answer is not None
            assert f"{outcome.answer.code} {outcome.status} {outcome.answer.text}" == answer.words
    await listening
    server.close()
    await server.wait_closed()


async def test_a_server_that_reads_nothing() -> None:
    """The content stands still for the time of a block (RFC 5321 §4.5.3.2.5)."""
    async with sink({"data": Say("354 go", After.STALL)}, WAYS["data"]) as server, rig(server, limits=HASTY) as ours:
        big = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 400_000
        outcome = await ours.outcome(big)
        assert brief([outcome]) == [(DELAYED, "data", "4.4.2")]
        assert PERHAPS_TAKEN not in outcome.reason
