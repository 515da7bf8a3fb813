"""From a destination to servers: RFC 5321 §5, RFC 7505, RFC 7672 §2, RFC 8461 §5, RFC 8689 §4.2.1, smart hosts."""

import random
from dataclasses import replace

import pytest

from fakes import ZoneResolver
from posthouse.mail.address import parse_address, parse_domain
from posthouse.mail.envelope import Envelope, ReversePath
from posthouse.net.reach import may_reach, networks
from posthouse.transport.mailhosts import Lookup, Ourselves
from posthouse.transport.relays import Relay, RelayPlan, Use
from posthouse.transport.target import RelayLogin, Target, TlsDemand, TlsLevel, Unreachable
from posthouse.transport.targets import Routing, find_targets
from posthouse.trust.mtasts import Mode, Policy
from posthouse.trust.resolver import Found, Tlsa

DIGEST = "ab" * 32
TLSA = Tlsa(3, 1, 1, b"\xab" * 32)
ANNA = Envelope(ReversePath(parse_address("anna@home.test")), ())
BOUNCE = Envelope(ReversePath(), ())
OURS = Ourselves(frozenset({"mx.home.test"}), frozenset({"5.5.0.1"}))

ZONE = """
two.test. MX 20 b.two.test.
two.test. MX 10 a.two.test.
a.two.test. A 5.5.1.1
a.two.test. AAAA 2a01::1
b.two.test. A 5.5.1.2
implicit.test. A 5.5.2.1
alias.test. CNAME two.test.
null.test. MX 0 .
nullplus.test. MX 0 .
nullplus.test. MX 10 a.two.test.
empty.test. TXT nothing
dead.test. MX 10 no.dead.test.
literal.test. MX 10 5.5.1.1.
half.test. MX 10 no.half.test.
half.test. MX 20 a.two.test.
cname-mx.test. MX 10 www.cname-mx.test.
www.cname-mx.test. CNAME a.two.test.
us.test. MX 10 mx.home.test.
us.test. MX 20 a.two.test.
behind.test. MX 5 a.two.test.
behind.test. MX 10 mx.home.test.
behind.test. MX 10 b.two.test.
behind.test. MX 20 b.two.test.
ourip.test. MX 10 x.ourip.test.
ourip.test. MX 20 a.two.test.
x.ourip.test. A 5.5.0.1
ouraddress.test. A 5.5.0.1
private.test. MX 10 a.private.test.
a.private.test. A 127.0.0.1
a.private.test. A 10.0.0.1
a.private.test. AAAA ::1
mixed.test. MX 10 m.mixed.test.
m.mixed.test. A 192.168.0.1
m.mixed.test. A 5.5.3.1
smart.test. A 10.1.1.1
"""


def fields(found: tuple[Target, ...] | Unreachable) -> list[tuple[str, tuple[str, ...]]]:
    assert not isinstance(found, Unreachable), found
    return [(target.host, target.ips) for target in found]


def refused(found: tuple[Target, ...] | Unreachable, status: str, *words: str) -> None:
    assert isinstance(found, Unreachable), found
    assert str(found.status) == status, found
    assert all(word in found.reason for word in words), found.reason
    assert not found.reason.endswith(".")


def routing(zone: str = ZONE, **of_resolver: object) -> Routing:
    return Routing(Lookup(ZoneResolver(zone, **of_resolver), OURS, chance=random.Random(1)))  # type: ignore[arg-type]


async def find(name: str, way: Routing | None = None, envelope: Envelope = ANNA) -> tuple[Target, ...] | Unreachable:
    domain = parse_domain(name)
    assert domain is not None
    return await find_targets(domain, envelope, way or routing())


A, B = ("a.two.test", ("2a01::1", "5.5.1.1")), ("b.two.test", ("5.5.1.2",))


async def test_hosts_by_preference() -> None:
    found = await find("two.test")
    assert fields(found) == [A, B]
    assert not isinstance(found, Unreachable)
    assert [(t.preference, t.port, t.tls) for t in found] == [(10, 25, TlsDemand()), (20, 25, TlsDemand())]


async def test_equal_hosts_in_any_order() -> None:
    zone = "".join(f"many.test. MX 10 m{i}.test.\nm{i}.test. A 5.5.4.{i + 1}\n" for i in range(30))
    way = routing(zone)
    first, second = fields(await find("many.test", way)), fields(await find("many.test", way))
    assert first != second
    assert len(first) == len(second) == 10, "so many hosts are tried"


async def test_the_domain_itself_where_there_is_no_mx() -> None:
    assert fields(await find("implicit.test")) == [("implicit.test", ("5.5.2.1",))]
    assert fields(await find("alias.test")) == [A, B], "RFC 5321 §5.1: a CNAME is followed"


async def test_no_implicit_mx_where_the_dns_fails() -> None:
    for how in (Found.SERVFAIL, Found.TIMEOUT):
        refused(await find("implicit.test", routing(failing={"implicit.test MX": how})), "4.4.3", "asked again later")
    refused(
        await find("two.test", routing(failing={"a.two.test": Found.SERVFAIL, "b.two.test": Found.TIMEOUT})), "4.4.3"
    )
    assert fields(await find("two.test", routing(failing={"a.two.test": Found.SERVFAIL}))) == [B]
    one_family = routing(failing={"a.two.test AAAA": Found.TIMEOUT})
    assert fields(await find("two.test", one_family)) == [("a.two.test", ("5.5.1.1",)), B]


async def test_domains_that_take_no_mail() -> None:
    refused(await find("no.such.test"), "5.1.2", "no domain", "typing error")
    refused(await find("null.test"), "5.1.10", "takes no mail")
    refused(await find("empty.test"), "5.4.4", "no mail server")
    refused(await find("dead.test"), "5.4.4", "no.dead.test")
    refused(await find("literal.test"), "5.4.4", "5.5.1.1")
    assert fields(await find("nullplus.test")) == [A], "RFC 7505 §3: beside others it is no null MX"
    assert fields(await find("half.test")) == [A]
    assert fields(await find("cname-mx.test")) == [("www.cname-mx.test", A[1])]


async def test_loops_to_ourselves() -> None:
    """RFC 5321 §5.1: our own preference and all worse are dropped."""
    refused(await find("us.test"), "5.4.6", "mx.home.test", "does not know that domain")
    assert fields(await find("behind.test")) == [A]
    refused(await find("ourip.test"), "5.4.6")
    refused(await find("ouraddress.test"), "5.4.6")
    refused(await find("[5.5.0.1]"), "5.4.6")


async def test_addresses_that_are_not_of_the_internet() -> None:
    """What a stranger names does not make us connect to ourselves or our neighbours (limits.md S19)."""
    refused(await find("private.test"), "5.4.4", "::1", "sending.private_networks")
    assert fields(await find("mixed.test")) == [("m.mixed.test", ("5.5.3.1",))]
    refused(await find("[127.0.0.1]"), "5.4.4", "[127.0.0.1]")
    way = routing()
    allowed = replace(way, lookup=replace(way.lookup, allowed=networks(["127.0.0.0/8", "10.0.0.1"])))
    assert fields(await find("private.test", allowed)) == [("a.private.test", ("127.0.0.1", "10.0.0.1"))]
    assert fields(await find("[127.0.0.1]", allowed)) == [("[127.0.0.1]", ("127.0.0.1",))]


@pytest.mark.parametrize(
    "ip",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *(
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "2001:db8::1",
        ),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "x", "", "1.1.1.1.1"),
    ],
)
def test_private_addresses(ip: str) -> None:
    """Also those that hide in IPv6 addresses (RFC 6052 §2.1)."""
    assert not may_reach(ip)


def test_public_addresses() -> None:
    assert may_reach("5.5.5.5")
    assert may_reach("2a01::1")
    assert may_reach("::ffff:5.5.5.5")
    assert may_reach("::ffff:127.0.0.1", networks(["127.0.0.0/8"]))


async def test_address_literals() -> None:
    found = await find("[IPv6:2a01:0::5]")
    assert fields(found) == [("[IPv6:2a01::5]", ("2a01::5",))]
    assert fields(await find("[5.5.1.1]")) == [("[5.5.1.1]", ("5.5.1.1",))]


async def test_many_records_are_bounded() -> None:
    zone = "".join(f"big.test. MX {i} m.test.\n" for i in range(150)) + "".join(
        f"m.test. A 5.6.{i // 200}.{i % 200}\n" for i in range(1, 100)
    )
    way = routing(zone)
    found = await find("big.test", way)
    assert not isinstance(found, Unreachable)
    assert len(found) == 10
    assert {len(target.ips) for target in found} == {16}


# --- TLS

SIGNED = f"""
safe.test. MX 10 mx.safe.test.
safe.test. MX 20 mx.plain.test.
mx.safe.test. A 5.5.7.1
_25._tcp.mx.safe.test. TLSA 3 1 1 {DIGEST}
mx.plain.test. A 5.5.7.2
alias.safe.test. MX 10 www.safe.test.
www.safe.test. CNAME mx.safe.test.
own.safe.test. MX 10 ftp.safe.test.
ftp.safe.test. CNAME host.safe.test.
host.safe.test. A 5.5.7.4
_25._tcp.ftp.safe.test. TLSA 2 0 1 {DIGEST}
implicit.safe.test. A 5.5.7.3
_25._tcp.implicit.safe.test. TLSA 3 1 1 {DIGEST}
useless.safe.test. MX 10 mx.useless.safe.test.
mx.useless.safe.test. A 5.5.7.5
_25._tcp.mx.useless.safe.test. TLSA 1 1 1 {DIGEST}
bare.safe.test. MX 10 mx.bare.safe.test.
mx.bare.safe.test. A 5.5.7.6
unsigned.test. MX 10 mx.safe.test.
cloud.safe.test. MX 10 mx.cloud.safe.test.
cloud.safe.test. MX 20 mx2.cloud.safe.test.
mx.cloud.safe.test. CNAME big.cloud.test.
mx2.cloud.safe.test. CNAME big.cloud.test.
big.cloud.test. A 5.5.7.7
_25._tcp.big.cloud.test. TLSA 3 1 1 {"00" * 32}
_25._tcp.mx.cloud.safe.test. TLSA 3 1 1 {DIGEST}
"""


def signed(**failing: Found) -> Routing:
    names = {name.replace("__", " ").replace("00", "."): how for name, how in failing.items()}
    return routing(SIGNED, secure=["safe.test"], failing=names)


async def demands(name: str, way: Routing | None = None, envelope: Envelope = ANNA) -> list[tuple[str, TlsDemand]]:
    found = await find(name, way or signed(), envelope)
    assert not isinstance(found, Unreachable), found
    return [(target.host, target.tls) for target in found]


async def test_dane() -> None:
    """RFC 7672 §2.2, §3.2.2: names are the one of the records, the host, the destination."""
    dane = TlsDemand(TlsLevel.DANE, ("mx.safe.test", "safe.test"), (TLSA,), "DANE of mx.safe.test")
    assert await demands("safe.test") == [("mx.safe.test", dane), ("mx.plain.test", TlsDemand())]
    ((host, demand),) = await demands("alias.safe.test")
    assert (host, demand.level, demand.names) == (
        "www.safe.test",
        TlsLevel.DANE,
        ("mx.safe.test", "www.safe.test", "alias.safe.test"),
    )
    ((_, demand),) = await demands("own.safe.test")
    assert (demand.level, demand.names) == (TlsLevel.DANE, ("ftp.safe.test", "own.safe.test")), "RFC 7672 §2.2.3"
    ((_, demand),) = await demands("implicit.safe.test")
    assert demand.level is TlsLevel.DANE


async def test_a_signed_alias_of_what_is_not_signed() -> None:
    """RFC 7672 §2.2.2: only records of the alias itself are sure."""
    found = await demands("cloud.safe.test")
    assert [(host, demand.level, demand.names) for host, demand in found] == [
        ("mx.cloud.safe.test", TlsLevel.DANE, ("mx.cloud.safe.test", "cloud.safe.test")),
        ("mx2.cloud.safe.test", TlsLevel.OPPORTUNISTIC, ()),
    ]


async def test_no_dane() -> None:
    assert (await demands("bare.safe.test"))[0][1].level is TlsLevel.OPPORTUNISTIC, "a secure denial"
    assert (await demands("unsigned.test"))[0][1].level is TlsLevel.OPPORTUNISTIC, "anybody may have changed the MX"
    assert (await demands("useless.safe.test"))[0][1].level is TlsLevel.ENCRYPTED, "RFC 7672 §2.2: none can be used"
    unsafe = routing(SIGNED)
    assert {demand.level for _, demand in await demands("safe.test", unsafe)} == {TlsLevel.OPPORTUNISTIC}


@pytest.mark.parametrize("how", [Found.SERVFAIL, Found.TIMEOUT])
async def test_tlsa_records_that_cannot_be_had(how: Found) -> None:
    """RFC 7672 §2.1.2, §2.2: that host is not tried; where none is left the message waits."""
    way = routing(SIGNED, secure=["safe.test"], failing={"_25._tcp.mx.safe.test TLSA": how})
    assert await demands("safe.test", way) == [("mx.plain.test", TlsDemand())]
    refused(await find("alias.safe.test", way), "4.4.3", "TLSA")


def with_policy(mode: Mode, *patterns: str, way: Routing | None = None) -> Routing:
    async def policy(domain: str) -> Policy:
        return Policy(mode, 86_400, patterns)

    return replace(way or routing(), policy=policy)


async def test_mta_sts() -> None:
    """RFC 8461 §5."""
    verified = TlsDemand(TlsLevel.VERIFIED, ("a.two.test",), why="MTA-STS of two.test")
    assert await demands("two.test", with_policy(Mode.ENFORCE, "a.two.test")) == [("a.two.test", verified)]
    assert len(await demands("two.test", with_policy(Mode.ENFORCE, "*.two.test"))) == 2
    refused(await find("two.test", with_policy(Mode.ENFORCE, "*.other.test")), "4.7.5", "MTA-STS")
    loose = await demands("two.test", with_policy(Mode.NONE, "a.two.test"))
    assert {demand.level for _, demand in loose} == {TlsLevel.OPPORTUNISTIC}


async def test_a_policy_that_is_being_tested_is_tried_and_changes_nothing() -> None:
    """RFC 8461 §5: failures are reported, and mail goes as if there were no policy."""
    told: list[tuple[str, str]] = []
    way = replace(
        with_policy(Mode.TESTING, "a.two.test"), unnamed=lambda shown, host: told.append((shown.kind.value, host))
    )
    found = await find("two.test", way)
    assert not isinstance(found, Unreachable)
    assert [(t.host, t.preference, t.tls.level, t.applied is not None) for t in found] == [
        ("a.two.test", 20, TlsLevel.VERIFIED, True),
        ("a.two.test", 21, TlsLevel.OPPORTUNISTIC, False),
        ("b.two.test", 41, TlsLevel.OPPORTUNISTIC, False),
    ]
    assert told == [("sts", "b.two.test")]
    zone = "".join(f"many.test. MX 10 m{i}.test.\nm{i}.test. A 5.5.4.{i + 1}\n" for i in range(8))
    found = await find("many.test", with_policy(Mode.TESTING, "*.test", way=routing(zone)))
    assert not isinstance(found, Unreachable)
    assert [target.preference for target in found].count(20) == 3
    assert [target.preference for target in found].count(21) == 8
    told.clear()
    await find("two.test", replace(way, policy=with_policy(Mode.ENFORCE, "*.other.test").policy))
    assert told == [("sts", "a.two.test"), ("sts", "b.two.test")]


async def test_as_what_sessions_are_reported() -> None:
    """RFC 8460 §4.4."""
    found = await find("safe.test", with_policy(Mode.ENFORCE, "mx.plain.test", way=signed()))
    assert not isinstance(found, Unreachable)
    assert [target.applied and (target.applied.kind.value, target.applied.domain) for target in found] == [
        ("tlsa", "safe.test"),
        ("sts", "safe.test"),
    ]
    assert found[0].applied is not None
    assert found[0].applied.lines == (f"3 1 1 {DIGEST}",)
    [plain] = await find("implicit.test")  # type: ignore[misc]
    assert plain.applied.kind.value == "no-policy-found"
    [relayed] = await find("two.test", replace(routing(), relays=RelayPlan(everything=SMART)))  # type: ignore[misc]
    assert relayed.applied is None, "a smart host is nobody's policy"


async def test_dane_goes_before_mta_sts() -> None:
    """RFC 8461 §2: a failing DANE is not overridden, and a host that DANE knows needs no policy."""
    found = await demands("safe.test", with_policy(Mode.ENFORCE, "mx.plain.test", way=signed()))
    assert [demand.level for _, demand in found] == [TlsLevel.DANE, TlsLevel.VERIFIED]


async def test_what_is_remembered() -> None:
    async def remembered(domain: str) -> TlsLevel:
        return TlsLevel.ENCRYPTED

    found = await demands("safe.test", replace(signed(), remembered=remembered))
    assert [demand.level for _, demand in found] == [TlsLevel.DANE, TlsLevel.ENCRYPTED]
    assert "safe.test" in found[1][1].why


async def test_require_tls() -> None:
    """RFC 8689 §4.2.1."""
    wish = replace(ANNA, require_tls=True)
    found = await demands("safe.test", envelope=wish)
    assert [demand.level for _, demand in found] == [TlsLevel.DANE, TlsLevel.VERIFIED]
    assert found[1][1].names == ("mx.plain.test",)
    refused(await find("two.test", envelope=wish), "5.7.10", "REQUIRETLS")
    assert (await demands("two.test", with_policy(Mode.ENFORCE, "*.two.test"), wish))[0][1].level is TlsLevel.VERIFIED
    assert (await demands("implicit.test", routing(), wish))[0][1].level is TlsLevel.VERIFIED
    refused(await find("[5.5.1.1]", envelope=wish), "5.7.10")
    assert fields(await find("two.test", envelope=replace(BOUNCE, require_tls=True))) == [A, B], "a bounce goes on"


async def test_tls_that_is_optional() -> None:
    """RFC 8689 §4.2.2: neither DANE nor MTA-STS stands in the way."""
    wish = replace(ANNA, tls_optional=True)
    found = await demands("safe.test", envelope=wish)
    assert [demand.level for _, demand in found] == [TlsLevel.OPPORTUNISTIC] * 2
    found = await demands("two.test", with_policy(Mode.ENFORCE, "nobody.test"), wish)
    assert [demand.level for _, demand in found] == [TlsLevel.OPPORTUNISTIC] * 2


# --- smart hosts and sources

LOGIN = RelayLogin("house", "secret")
SMART = Relay("smart.test", 587, LOGIN)


async def test_a_smart_host_for_everything() -> None:
    way = replace(routing(), relays=RelayPlan(everything=SMART))
    for name in ("two.test", "no.such.test", "[127.0.0.1]", "us.test"):
        (target,) = await find(name, way)  # type: ignore[misc]
        assert (target.host, target.ips, target.port, target.login) == ("smart.test", ("10.1.1.1",), 587, LOGIN)
        assert (target.tls.level, target.tls.names, target.implicit_tls) == (TlsLevel.VERIFIED, ("smart.test",), False)
    (target,) = await find("two.test", replace(way, relays=RelayPlan(everything=replace(SMART, port=465))))  # type: ignore[misc]
    assert target.implicit_tls, "RFC 8314 §7.3"
    by_address = Relay("10.0.0.9", 2525, tls=TlsLevel.OPPORTUNISTIC)
    (target,) = await find("two.test", replace(way, relays=RelayPlan(everything=by_address)))  # type: ignore[misc]
    assert (target.ips, target.port, target.login) == (("10.0.0.9",), 2525, None)


async def test_smart_hosts_of_domains() -> None:
    inner, direct = Relay("10.0.0.9", 25, tls=TlsLevel.OPPORTUNISTIC), Relay("")
    routes = ((frozenset({"two.test"}), direct), (frozenset({"inner.test", ".inner.test"}), inner))
    way = replace(routing(), relays=RelayPlan(routes, SMART))
    assert fields(await find("two.test", way)) == [A, B]
    for name in ("inner.test", "a.b.inner.test"):
        assert fields(await find(name, way)) == [("10.0.0.9", ("10.0.0.9",))]
    assert fields(await find("xinner.test", way)) == [("smart.test", ("10.1.1.1",))]


async def test_a_smart_host_only_while_port_25_is_blocked() -> None:
    async def blocked() -> bool:
        return True

    plan = RelayPlan(everything=SMART, use=Use.BLOCKED)
    assert fields(await find("two.test", replace(routing(), relays=plan))) == [A, B]
    plan = replace(plan, blocked=blocked)
    assert fields(await find("two.test", replace(routing(), relays=plan))) == [("smart.test", ("10.1.1.1",))]


async def test_a_smart_host_that_is_lost() -> None:
    """Settings that are wrong let mail wait; they do not send it back."""
    way = replace(routing(), relays=RelayPlan(everything=replace(SMART, host="gone.test")))
    refused(await find("two.test", way), "4.3.5", "gone.test", "[relay]")
    way = routing(failing={"smart.test": Found.SERVFAIL})
    refused(await find("two.test", replace(way, relays=RelayPlan(everything=SMART))), "4.4.3", "smart.test")


async def test_source_addresses_of_the_senders_domain() -> None:
    sources = {"home.test": ("2a01::9", "5.5.9.9"), "*": ("5.5.9.1",)}
    way = replace(routing(), sources=sources)
    found = await find("two.test", way)
    assert not isinstance(found, Unreachable)
    assert [(t.host, t.source) for t in found] == [
        ("a.two.test", "2a01::9"),
        ("a.two.test", "5.5.9.9"),
        ("b.two.test", "5.5.9.9"),
    ]
    found = await find("two.test", way, BOUNCE)
    assert not isinstance(found, Unreachable)
    assert {t.source for t in found} == {"5.5.9.1"}
    six = replace(way, sources={"*": ("2a01::9",)})
    assert fields(await find("two.test", six)) == [("a.two.test", ("2a01::1",))]
    refused(await find("implicit.test", six), "4.3.5", "2a01::9", "sending.sources")
