"""The resolver over the network against a server that lies, cuts short, loops and stalls (RFC 1035 §4, RFC 2308 §2,
RFC 5452 §9)."""

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import ZoneResolver
from posthouse.net import dns_message
from posthouse.net.dns import DnsLimits, NetworkResolver
from posthouse.net.dns_message import Kind, Reading, Unanswered, ask, parse_name, read
from posthouse.net.nameservers import Server, Trust, servers_of, system_servers
from posthouse.trust.resolver import Answer, Found, Mx, Tlsa

Query = dns.message.QueryMessage
Answers = Callable[["DnsServer", Query, bool], list[bytes]]  # server, question, by TCP -> datagrams
PATIENT = DnsLimits(try_seconds=20.0, tries=3, name_seconds=60.0)  # somebody answers, on a busy machine too
QUICK = DnsLimits(try_seconds=1.0, tries=3, name_seconds=60.0)  # nobody does
SOA = "test. 900 IN SOA ns.test. host.test. 1 2 3 4 120"


class DnsServer(asyncio.DatagramProtocol):
    """A DNS server of one function; UDP and TCP on one port."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[Query] = []
        self.tcp = 0
        self.peers: list[tuple[str, int]] = []
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # uvloop's has another class

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.peers.append(addr)
        for answer in self._answer(data, by_tcp=False):
            self.transport.sendto(answer, addr)

    def _answer(self, octets: bytes, *, by_tcp: bool) -> list[bytes]:
        question = dns.message.from_wire(octets)
        assert isinstance(question, Query)
        self.asked.append(question)
        return self.answers(self, question, by_tcp)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tcp += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            octets = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            for answer in self._answer(octets, by_tcp=True):
                writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(answers: Answers) -> AsyncIterator[DnsServer]:
    loop = asyncio.get_running_loop()
    for _ in range(20):  # a port that is free for both
        transport, server = await loop.create_datagram_endpoint(lambda: DnsServer(answers), ("127.0.0.1", 0))
        server.port = transport.get_extra_info("sockname")[1]
        try:
            tcp = await asyncio.start_server(server.stream, "127.0.0.1", server.port)
            break
        except OSError:
            transport.close()
    try:
        yield server
    finally:
        transport.close()
        tcp.close()
        await tcp.wait_closed()


@contextlib.asynccontextmanager
async def asking(
    *servers: DnsServer, limits: DnsLimits = PATIENT, trusted: bool = True
) -> AsyncIterator[NetworkResolver]:
    resolver = NetworkResolver(lambda: tuple(Server("127.0.0.1", s.port, trusted) for s in servers), limits)
    try:
        yield resolver
    finally:
        await resolver.close()


def reply(question: Query, *lines: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, soa: bool = False) -> Query:
    """An answer as a good server gives it."""
    message = dns.message.make_response(question, recursion_available=True)
    message.set_rcode(rcode)
    for line in lines:
        name, ttl, cls, kind, rest = line.split(None, 4)
        message.answer.append(dns.rrset.from_text(name, int(ttl), cls, kind, rest))
    if soa:
        name, ttl, cls, kind, rest = SOA.split(None, 4)
        message.authority.append(dns.rrset.from_text(name, int(ttl), cls, kind, rest))
    assert isinstance(message, Query)
    return message


def always(*lines: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, soa: bool = False, ad: bool = False) -> Answers:
    def answers(_: DnsServer, question: Query, __: bool) -> list[bytes]:
        message = reply(question, *lines, rcode=rcode, soa=soa)
        message.flags |= dns.flags.AD if ad else 0
        return [message.to_wire(max_size=65_535)]

    return answers


async def mx(
    answers: Answers, name: str = "Home.TEST.", *, limits: DnsLimits = PATIENT, trusted: bool = True
) -> tuple[Answer[Mx], DnsServer]:
    async with serving(answers) as server, asking(server, limits=limits, trusted=trusted) as resolver:
        return await resolver.mx(name), server


async def test_records_of_every_kind() -> None:
    zone = {
        "MX": "home.test. 300 IN MX 10 MX.home.test.",
        "A": "home.test. 300 IN A 192.0.2.1",
        "AAAA": "home.test. 300 IN AAAA 2001:db8::1",
        "TXT": 'home.test. 300 IN TXT "v=spf1 " "-all"',
        "TLSA": "home.test. 300 IN TLSA 3 1 1 " + "ab" * 32,
        "PTR": "1.2.0.192.in-addr.arpa. 300 IN PTR mx.Home.test.",
    }

    def answers(_: DnsServer, question: Query, __: bool) -> list[bytes]:
        return [reply(question, zone[dns.rdatatype.to_text(question.question[0].rdtype)]).to_wire()]

    async with serving(answers) as server, asking(server) as resolver:
        assert await resolver.mx("home.test") == Answer(
            Found.RECORDS, (Mx(10, "mx.home.test"),), name="home.test", ttl=300
        )
        assert (await resolver.a("home.test.")).records == ("192.0.2.1",)
        assert (await resolver.aaaa("home.test")).records == ("2001:db8::1",)
        assert (await resolver.txt("home.test")).records == (b"v=spf1 -all",)
        assert (await resolver.tlsa("home.test")).records == (Tlsa(3, 1, 1, b"\xab" * 32),)
        assert (await resolver.ptr("192.0.2.1")).records == ("mx.home.test",)
        assert len({port for _, port in server.peers}) == 6, "every question has a port of its own"
        assert len({q.id for q in server.asked}) > 1
        assert all(q.edns == 0 and q.flags & dns.flags.AD and q.flags & dns.flags.RD for q in server.asked)
        spellings = {q.question[0].name.to_text() for q in server.asked[:5]}
        assert len(spellings) > 1, "letters have a random case"


async def test_the_null_mx_is_an_empty_host() -> None:
    """RFC 7505 §3."""
    assert (await mx(always("home.test. 300 IN MX 0 .")))[0].records == (Mx(0, ""),)


async def test_denials_and_failures_are_kept_apart() -> None:
    """RFC 2308 §2, §7: what does not exist, what has no such records, and who cannot say."""
    nothing = (await mx(always(soa=True)))[0]
    assert (nothing.found, nothing.ttl, nothing.temporary) == (Found.NO_DATA, 120, False)
    missing = (await mx(always(rcode=dns.rcode.NXDOMAIN, soa=True)))[0]
    assert (missing.found, missing.ttl) == (Found.NXDOMAIN, 120)
    failed = (await mx(always(rcode=dns.rcode.SERVFAIL)))[0]
    assert failed.found is Found.SERVFAIL
    assert failed.temporary
    assert (await mx(always(rcode=dns.rcode.REFUSED)))[0].found is Found.SERVFAIL
    silent, server = await mx(lambda *_: [], limits=QUICK)
    assert silent.found is Found.TIMEOUT
    assert silent.temporary
    assert len(server.asked) == 3


async def test_a_referral_is_no_answer() -> None:
    def answers(_: DnsServer, question: Query, __: bool) -> list[bytes]:
        message = reply(question)
        message.flags &= ~dns.flags.RA
        return [message.to_wire()]

    assert (await mx(answers))[0].found is Found.SERVFAIL


async def test_cnames_are_followed() -> None:
    """RFC 1034 §3.6.2: eight links, in one answer or in several."""
    chain = [f"a{i}.test. {400 - i} IN CNAME a{i + 1}.test." for i in range(9)]
    end = "a8.test. 300 IN MX 5 mx.test."
    answer = (await mx(always(*chain[:8], end), "a0.test"))[0]
    assert answer == Answer(Found.RECORDS, (Mx(5, "mx.test"),), name="a8.test", ttl=300)
    assert (await mx(always(*chain, "a9.test. 300 IN MX 5 mx.test."), "a0.test"))[0].found is Found.SERVFAIL
    assert (await mx(always(*chain[:2], rcode=dns.rcode.NXDOMAIN, soa=True), "a0.test"))[0] == Answer(
        Found.NXDOMAIN, name="a2.test", ttl=120
    )

    def one_by_one(_: DnsServer, question: Query, __: bool) -> list[bytes]:
        name = question.question[0].name.to_text().lower()
        return [reply(question, *[line for line in [*chain[:8], end] if line.startswith(name)]).to_wire()]

    answer, server = await mx(one_by_one, "a0.test")
    assert answer.records == (Mx(5, "mx.test"),)
    assert len(server.asked) == 9


@pytest.mark.parametrize("in_one_answer", [True, False])
async def test_cnames_that_loop(in_one_answer: bool) -> None:
    loop = ["a.test. 300 IN CNAME b.test.", "b.test. 300 IN CNAME a.test."]

    def answers(_: DnsServer, question: Query, __: bool) -> list[bytes]:
        name = question.question[0].name.to_text().lower()
        return [reply(question, *[line for line in loop if in_one_answer or line.startswith(name)]).to_wire()]

    answer, server = await mx(answers, "a.test")
    assert answer.found is Found.SERVFAIL
    assert len(server.asked) <= 10


async def test_what_was_not_asked_for_is_not_believed() -> None:
    """RFC 5452 §6: only records that the chain from the name asked for leads to."""
    answer = (await mx(always("other.test. 300 IN MX 1 evil.test.", "home.test. 300 IN A 192.0.2.9", soa=True)))[0]
    assert answer.found is Found.NO_DATA


def forged(spoil: Callable[[Query], None]) -> Answers:
    """First a false answer, then the true one; by TCP the true one."""

    def answers(_: DnsServer, question: Query, by_tcp: bool) -> list[bytes]:
        false = reply(question, "home.test. 300 IN MX 1 evil.test.")
        spoil(false)
        true = reply(question, "home.test. 300 IN MX 1 true.test.").to_wire()
        return [true] if by_tcp else [false.to_wire(), true]

    return answers


def _other_id(message: Query) -> None:
    message.id ^= 1


def _no_answer(message: Query) -> None:
    message.flags &= ~dns.flags.QR


def _other_name(message: Query) -> None:
    message.question[0] = dns.rrset.from_text("evil.test.", 0, "IN", "MX")


def _other_type(message: Query) -> None:
    message.question[0] = dns.rrset.RRset(message.question[0].name, message.question[0].rdclass, dns.rdatatype.A)


def _other_case(message: Query) -> None:
    swapped = dns.name.Name([label.swapcase() for label in message.question[0].name.labels])
    message.question[0] = dns.rrset.RRset(swapped, message.question[0].rdclass, message.question[0].rdtype)


def _no_question(message: Query) -> None:
    del message.question[:]


@pytest.mark.parametrize("spoil", [_other_id, _no_answer, _other_name, _other_type, _other_case, _no_question])
async def test_forged_answers_are_not_believed(spoil: Callable[[Query], None]) -> None:
    """RFC 5452 §9.1."""
    answer, server = await mx(forged(spoil))
    assert answer.records == (Mx(1, "true.test"),)
    assert server.tcp == (spoil is _other_case)


async def test_many_forged_answers_lead_to_tcp() -> None:
    def answers(_: DnsServer, question: Query, by_tcp: bool) -> list[bytes]:
        true = reply(question, "home.test. 300 IN MX 1 true.test.")
        if by_tcp:
            return [true.to_wire()]
        guesses = []
        for _ in range(30):
            true.id = (true.id + 1) % 65_536
            guesses.append(true.to_wire())
        return guesses

    answer, server = await mx(answers)
    assert answer.records == (Mx(1, "true.test"),)
    assert server.tcp == 1


async def test_answers_that_are_cut_short_come_by_tcp() -> None:
    """RFC 7766 §5, where UDP is kept small (RFC 9715 §3); also a short answer with garbage behind its question."""

    def answers(_: DnsServer, question: Query, by_tcp: bool) -> list[bytes]:
        many = reply(question, *[f"home.test. 300 IN MX {i} mx{i}.home.test." for i in range(300)])
        if by_tcp:
            return [many.to_wire(max_size=65_535)]
        short = reply(question)
        short.flags |= dns.flags.TC
        return [short.to_wire() + b"\xff" * 7]

    answer, server = await mx(answers)
    assert len(answer.records) == dns_message.RECORDS
    assert server.tcp == 1


async def test_tcp_that_fails() -> None:
    def answers(_: DnsServer, question: Query, by_tcp: bool) -> list[bytes]:
        short = reply(question)
        short.flags |= dns.flags.TC
        return [] if by_tcp else [short.to_wire()]

    assert (await mx(answers))[0].temporary

    def lies(_: DnsServer, question: Query, by_tcp: bool) -> list[bytes]:
        short = reply(question)
        short.flags |= dns.flags.TC
        return [b"garbage" * 10] if by_tcp else [short.to_wire()]

    assert (await mx(lies))[0].found is Found.SERVFAIL


async def test_a_server_without_edns() -> None:
    """RFC 6891 §7."""

    def answers(_: DnsServer, question: Query, __: bool) -> list[bytes]:
        if question.edns >= 0:
            message = reply(question, rcode=dns.rcode.FORMERR)
            del message.question[:]
            return [message.to_wire()]
        return [reply(question, "home.test. 300 IN MX 1 mx.test.").to_wire()]

    assert (await mx(answers))[0].records == (Mx(1, "mx.test"),)


async def test_ad_is_believed_of_trusted_servers_only() -> None:
    """RFC 6840 §5.7, RFC 7672 §2.2.1; all answers of a chain must have it."""
    line = "home.test. 300 IN MX 1 mx.test."
    assert (await mx(always(line, ad=True)))[0].authentic
    assert (await mx(always(soa=True, ad=True)))[0].authentic, "denials too"
    assert not (await mx(always(line, ad=True), trusted=False))[0].authentic
    assert not (await mx(always(line)))[0].authentic

    def half(_: DnsServer, question: Query, __: bool) -> list[bytes]:
        first = question.question[0].name == dns.name.from_text("home.test.")
        message = reply(question, "home.test. 300 IN CNAME b.test." if first else "b.test. 300 IN MX 1 mx.test.")
        message.flags |= dns.flags.AD if first else 0
        return [message.to_wire()]

    answer = (await mx(half))[0]
    assert answer.records
    assert not answer.authentic


async def test_the_next_server_is_asked_and_remembered() -> None:
    line = "home.test. 300 IN MX 1 mx.test."
    async with (
        serving(lambda *_: []) as dead,
        serving(always(rcode=dns.rcode.SERVFAIL)) as sick,
        serving(always(line)) as well,
        asking(dead, sick, well, limits=QUICK) as resolver,
    ):
        assert (await resolver.mx("home.test")).records
        assert (await resolver.mx("b.home.test")).found is Found.NO_DATA
        assert (len(dead.asked), len(sick.asked), len(well.asked)) == (1, 1, 2)


async def test_nobody_listens() -> None:
    async with serving(always()) as server:
        pass
    async with asking(server) as resolver:
        assert (await resolver.mx("home.test")).temporary


async def test_answers_are_remembered_and_asked_once() -> None:
    """A TTL of 0 counts as a minute (limits.md)."""
    async with serving(always("home.test. 0 IN MX 1 mx.test.")) as server, asking(server) as resolver:
        answers = await asyncio.gather(*[resolver.mx(name) for name in ("home.test", "HOME.test.") * 10])
        assert len({answer.records for answer in answers}) == 1
        assert answers[0].ttl == 60
        await resolver.mx("home.test")
        assert len(server.asked) == 1
        await resolver.a("home.test")
        assert len(server.asked) == 2
    async with serving(always("home.test. 99999999 IN MX 1 mx.test.")) as server, asking(server) as resolver:
        assert (await resolver.mx("home.test")).ttl == 86_400
    async with serving(lambda *_: []) as server, asking(server, limits=QUICK) as resolver:
        assert (await resolver.mx("home.test")).found is Found.TIMEOUT
        assert (await resolver.mx("home.test")).found is Found.TIMEOUT
        assert len(server.asked) == 3, "a failure is remembered for a moment"


async def test_whoever_gives_up_does_not_stop_the_others() -> None:
    async with serving(always("home.test. 0 IN MX 1 mx.test.")) as server, asking(server) as resolver:
        first = asyncio.create_task(resolver.mx("home.test"))
        second = asyncio.create_task(resolver.mx("home.test"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).records
        assert first.cancelled()


async def test_what_is_remembered_is_bounded() -> None:
    big = always('home.test. 300 IN TXT "' + '" "'.join(["x" * 250] * 4) + '"')

    def answers(server: DnsServer, question: Query, by_tcp: bool) -> list[bytes]:
        name = question.question[0].name.to_text().lower()
        return (
            [octets for octets in big(server, question, by_tcp)]
            if name == "home.test."
            else always(f"{name} 300 IN TXT short")(server, question, by_tcp)
        )

    limits = DnsLimits(try_seconds=1.0, cache_size=4_000)
    async with serving(answers) as server, asking(server, limits=limits) as resolver:
        for i in range(20):
            await resolver.txt(f"a{i}.test")
        assert resolver._cached <= 4_000
        assert 0 < len(resolver._cache) < 10
        await resolver.txt("a19.test")
        assert len(server.asked) == 20, "the newest are kept"
        await resolver.txt("a0.test")
        assert len(server.asked) == 21


async def test_time_for_one_name_is_bounded() -> None:
    """Also the time in which it waits for its turn."""
    limits = DnsLimits(try_seconds=5.0, tries=3, name_seconds=0.3, questions=1)
    async with serving(lambda *_: []) as server, asking(server, limits=limits) as resolver:
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*[resolver.mx(f"a{i}.test") for i in range(3)])
        assert {answer.found for answer in answers} == {Found.TIMEOUT}


@pytest.mark.parametrize(
    "name", ["", ".", "a" * 64 + ".test", "a..test", ".".join(["abc"] * 70), "ab\ud800.test"], ids=range(6)
)
async def test_names_that_cannot_be(name: str) -> None:
    async with serving(always()) as server, asking(server) as resolver:
        assert (await resolver.mx(name)).found is Found.NXDOMAIN
        assert server.asked == []


NAME = parse_name("home.test")
assert NAME is not None
ASKED = ask(NAME, Kind.MX)
GOOD = reply(dns.message.from_wire(ASKED.octets), "home.test. 300 IN CNAME b.test.", "b.test. 300 IN MX 1 mx.test.")  # type: ignore[arg-type]


@given(st.binary(max_size=400), st.integers(0, 400), st.booleans())
def test_octets_that_are_no_answer(garbage: bytes, at: int, whole: bool) -> None:
    """Whatever comes behind a right header and question is an answer or none, and never an exception."""
    wire = GOOD.to_wire()
    spoiled = wire[:at] + garbage + (wire[at + len(garbage) :] if whole else b"")
    read(ASKED, spoiled)
    read(ASKED, struct.pack("!HHHHHH", ASKED.id, 0x8180, 1, 3, 3, 3) + ASKED.octets[12:30] + garbage)
    assert read(ASKED, garbage[:11]) is Unanswered.FOREIGN


def test_compression_that_points_at_itself() -> None:
    head = struct.pack("!HHHHHH", ASKED.id, 0x8180, 1, 1, 0, 0)
    question = ASKED.octets[12 : 12 + 11 + 4]
    loop = struct.pack("!HHHIH", 0xC000 | (12 + len(question)), 15, 1, 300, 4) + b"\0\1\xc0\x27"
    assert read(ASKED, head + question + loop) is Unanswered.FAILED


@pytest.mark.parametrize("kind", [Kind.MX, Kind.TLSA])
def test_records_that_are_none(kind: Kind) -> None:
    """One bad record takes none of the good ones away; TLSA records that cannot be read still exist (RFC 7672 §2.2)."""
    assert NAME is not None
    asked = ask(NAME, kind)
    question = asked.octets[12 : 12 + 11 + 4]
    name = b"\xc0\x0c"

    def answer(*rdatas: bytes) -> bytes:
        head = struct.pack("!HHHHHH", asked.id, 0x8180, 1, len(rdatas), 0, 0)
        fields = (name + struct.pack("!HHIH", kind.value, 1, 300, len(one)) + one for one in rdatas)
        return head + question + b"".join(fields)

    good, record = {
        Kind.MX: (b"\0\x0a\x02mx\0", Mx(10, "mx")),
        Kind.TLSA: (b"\3\1\1" + b"\xab" * 32, Tlsa(3, 1, 1, b"\xab" * 32)),
    }[kind]
    bad = b"\3\1\1" if kind is Kind.TLSA else b"\0"
    both = read(asked, answer(bad, good, bad))
    assert isinstance(both, Reading)
    assert both.records == (record,)
    alone = read(asked, answer(bad))
    if kind is Kind.MX:
        assert alone is Unanswered.FAILED
    else:
        assert isinstance(alone, Reading)
        assert alone.records == (dns_message.UNUSABLE,)


def test_servers(tmp_path: Path) -> None:
    texts = ["192.0.2.1", "127.0.0.53:5353", "[::1]:54", "2001:db8::1"]
    assert servers_of(texts, Trust.LOOPBACK) == (
        Server("192.0.2.1"),
        Server("127.0.0.53", 5353, trusted=True),
        Server("::1", 54, trusted=True),
        Server("2001:db8::1"),
    )
    forwarders = servers_of(["127.0.0.11", "127.0.0.54:53"], Trust.LOOPBACK)
    assert {server.trusted for server in forwarders} == {False}, "they say what others have said"
    assert {server.trusted for server in servers_of(texts, Trust.ALL)} == {True}
    assert {server.trusted for server in servers_of(texts, Trust.NONE)} == {False}
    for bad in ("", "dns.example", "192.0.2.1:x", "192.0.2.1:70000"):
        with pytest.raises(ValueError, match=r"address|port|literal"):
            servers_of([bad], Trust.NONE)
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# x\nsearch a\nnameserver 192.0.2.1\nnameserver ::1 # y\nnameserver bad\n" + "nameserver 1.1.1.1\n" * 9
    )
    assert system_servers(Trust.LOOPBACK, file) == (Server("192.0.2.1"), Server("::1", trusted=True), Server("1.1.1.1"))
    assert system_servers(Trust.LOOPBACK, tmp_path / "none") == (Server("127.0.0.1", trusted=True),)


async def test_servers_are_read_anew_when_nobody_answers() -> None:
    async with serving(lambda *_: []) as dead, serving(always("home.test. 300 IN A 192.0.2.1")) as alive:
        files = [(Server("127.0.0.1", dead.port),), (Server("127.0.0.1", alive.port),)]
        resolver = NetworkResolver(lambda: files.pop(0), DnsLimits(try_seconds=0.05))
        resolver._read_at = -100.0
        assert (await resolver.a("other.test")).found is Found.TIMEOUT
        assert (await resolver.a("home.test")).records == ("192.0.2.1",)


async def test_the_fake_answers_alike() -> None:
    """ZoneResolver of the fakes says what the network would."""
    fake = ZoneResolver(
        """home.test. MX 10 mx.home.test.
        www.home.test. CNAME web.test.
        web.test. A 192.0.2.1
        a.b.deep.test. A 192.0.2.2""",
        secure=["home.test"],
        failing={"sick.test": Found.SERVFAIL, "home.test AAAA": Found.TIMEOUT},
    )
    assert await fake.mx("HOME.test.") == Answer(Found.RECORDS, (Mx(10, "mx.home.test"),), True, "home.test", 3600)
    assert await fake.a("www.home.test") == Answer(Found.RECORDS, ("192.0.2.1",), False, "web.test", 3600)
    assert (await fake.a("home.test")).found is Found.NO_DATA
    assert (await fake.a("b.deep.test")).found is Found.NO_DATA
    assert (await fake.a("no.test")).found is Found.NXDOMAIN
    assert (await fake.mx("sick.test")).found is Found.SERVFAIL
    assert (await fake.aaaa("home.test")).found is Found.TIMEOUT
    assert fake.asked[:2] == ["home.test MX", "www.home.test A"]
    assert ipaddress.ip_address("192.0.2.1").reverse_pointer == "1.2.0.192.in-addr.arpa"
