"""TLS reports counted, made and sent (RFC 8460 §3 to §5); RFC 6068 and RFC 3339 as far as they need them."""

import gzip
import json
import ssl
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import FakeClock, ZoneResolver
from household import ANNA, HOSTNAME, NOW, inbox
from posthouse.mail.outcome import Action
from posthouse.net.authority import authority, issue, self_signed
from posthouse.net.https import Https, https_context
from posthouse.net.peer import TlsFailure
from posthouse.net.reach import networks
from posthouse.net.tls import load
from posthouse.store import domainkeys, tlsreports
from posthouse.store.script import Script, sql
from posthouse.store.store import Store
from posthouse.store.tlsmemory import DAY
from posthouse.store.tlsreports import SessionRow
from posthouse.transport.connection import Sending
from posthouse.transport.house import House
from posthouse.transport.reports import send_due
from posthouse.transport.target import Target, TlsDemand, TlsLevel
from posthouse.transport.tlscount import TlsCount
from posthouse.trust.dkim import Fault
from posthouse.trust.reports import Applied, PolicyType
from posthouse.trust.resolver import Found
from sink import OFFERS, Sink, sink
from transport.sending import rig, target
from transport.test_signing import checked, keys_of, queued, zone
from webserver import https_server, page

STS = Applied("work.test", PolicyType.STS, ("version: STSv1", "mode: enforce"), ("mx.test",))
TODAY = NOW // DAY


def rows() -> Script[list[tuple[object, ...]]]:
    found = yield sql("SELECT domain, failure, host, reason, sessions FROM tls_session ORDER BY failure, host")
    return found


# --- counting


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


def reported(server: Sink, level: TlsLevel, *names: str) -> Target:
    return replace(target(server), tls=TlsDemand(level, names), applied=STS)


async def test_sessions_with_real_servers_are_counted(store: Store, folder: Path) -> None:
    """RFC 8460 §4.3: each kind of failure by its name."""
    root = authority(folder / "root", "Root")
    (folder / "good").mkdir()
    good = load(issue(root, folder / "good", ["mx.test"]))
    own = load(self_signed(folder / "own", "mx.test"))
    count = TlsCount(store, lambda: NOW)
    sending = Sending("us.test", saw_tls=count.saw_tls, authorities=root.certificate)
    without = tuple(offer for offer in OFFERS if offer != "STARTTLS")
    cases: Sequence[tuple[ssl.SSLContext | None, TlsLevel, str]] = [
        (good, TlsLevel.VERIFIED, "mx.test"),
        (good, TlsLevel.VERIFIED, "other.test"),
        (own, TlsLevel.VERIFIED, "mx.test"),
        (own, TlsLevel.DANE, "mx.test"),
        (own, TlsLevel.OPPORTUNISTIC, "mx.test"),
        (None, TlsLevel.VERIFIED, "mx.test"),
        (None, TlsLevel.OPPORTUNISTIC, "mx.test"),
    ]
    for context, level, name in cases:
        offers = without if context is None else OFFERS
        async with (
            sink(tls=context, offers=offers) as server,
            rig(reported(server, level, name), sending=sending) as ours,
        ):
            await ours.outcome()
    await count.write()
    found = await store.read(rows)
    told = {str(failure): int(str(sessions)) for _, failure, _, _, sessions in found}
    assert told == {
        "": 2,
        "certificate-host-mismatch": 1,
        "certificate-not-trusted": 1,
        "starttls-not-supported": 2,
        "validation-failure": 1,
    }
    assert len(found) == 5


async def test_what_is_counted_is_added_and_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    count = TlsCount(store, lambda: NOW)
    mx = Target("mx.test", ("5.5.5.5",), applied=STS)
    for _ in range(3):
        count.saw_tls(mx, "5.5.5.5", None)
        count.saw_tls(replace(mx, applied=None), "5.5.5.5", None)
        await count.write()
    await count.write()
    assert await store.read(rows) == [("work.test", "", "", "", 3)]

    monkeypatch.setattr(tlsreports, "ROWS", 3)
    for number in range(10):
        count.saw_tls(replace(mx, host=f"mx{number}.test"), "5.5.5.5", TlsFailure.EXPIRED)
    count.saw_tls(mx, "5.5.5.5", None)
    await count.write()
    found = await store.read(rows)
    assert len(found) == 3
    assert found[0] == ("work.test", "", "", "", 4), "what is known already is still counted"


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("mta-sts.a.test: its certificate is not good: x", "sts-webpki-invalid"),
        ("mta-sts.a.test answers with HTTP status 404", "sts-policy-fetch-error"),
        ("the policy names no mx", "sts-policy-invalid"),
        ("'x' is no field of a policy", "sts-policy-invalid"),
    ],
)
async def test_policies_that_could_not_be_had(store: Store, reason: str, failure: str) -> None:
    count = TlsCount(store, lambda: NOW)
    count.no_policy("a.test", reason)
    await count.write()
    assert await store.read(rows) == [("a.test", failure, "", reason, 1)]


# --- sending


async def counted_yesterday(store: Store, *domains: str) -> None:
    count = TlsCount(store, FakeClock(NOW).now)
    for domain in domains:
        mx = Target("mx.test", ("5.5.5.5",), applied=STS._replace(domain=domain))
        count.saw_tls(mx, "5.5.5.5", None)
        count.saw_tls(mx, "5.5.5.5", TlsFailure.EXPIRED)
    await count.write()


def later(house: House, days: float) -> House:
    return replace(house, clock=FakeClock(type(NOW)((TODAY + 1) * DAY + int(days * DAY))).now)


def nobody(resolver: ZoneResolver) -> Https:
    return Https(resolver)


async def test_a_report_by_mail(house: House, store: Store) -> None:
    """To one of our own users, so that it can be read here."""
    resolver = ZoneResolver(f'_smtp._tls.work.test. TXT "v=TLSRPTv1; rua=mailto:{ANNA}"')
    await counted_yesterday(store, "work.test")
    await send_due(later(house, -0.5), nobody(resolver))
    assert await inbox(store, ANNA) == [], "the day is not over"
    await send_due(later(house, 0), nobody(resolver))
    await send_due(later(house, 0.2), nobody(resolver))
    await send_due(later(house, 0.3), nobody(resolver))
    [octets] = await inbox(store, ANNA)
    head, _, body = octets.partition(b"\r\n\r\n")
    head = head.replace(b"\r\n ", b" ")
    assert f"From: <postmaster@{HOSTNAME}>".encode() in head
    assert b"TLS-Report-Domain: work.test" in head
    assert b"TLS-Required: No" in head
    assert b'multipart/report; report-type="tlsrpt"' in head
    assert b"Subject: Report Domain: work.test Submitter: " in head
    packed = body.partition(b'.json.gz"\r\n\r\n')[2].partition(b"\r\n--")[0]
    document = json.loads(gzip.decompress(b64decode(packed)))
    assert document["policies"][0]["summary"] == {
        "total-successful-session-count": 1,
        "total-failure-session-count": 1,
    }
    assert document["policies"][0]["failure-details"][0]["result-type"] == "certificate-expired"
    assert document["date-range"]["start-datetime"].endswith("T00:00:00Z")
    assert await store.read(rows) == [], "what is sent is forgotten"


async def test_a_report_to_others_waits_in_the_queue(house: House, store: Store) -> None:
    resolver = ZoneResolver('_smtp._tls.work.test. TXT "v=TLSRPTv1; rua=mailto:tls@reports.example"')
    await counted_yesterday(store, "work.test")
    await send_due(later(house, 0.3), nobody(resolver))

    def waiting() -> Script[list[tuple[object, ...]]]:
        found = yield sql("SELECT destination, sender, account, CAST(envelope AS TEXT) FROM queue_item")
        return found

    [(destination, sender, account, envelope)] = await store.read(waiting)
    assert (destination, sender, account) == ("reports.example", "", 0)
    assert json.loads(str(envelope))["tls_optional"] is True, "RFC 8460 §3: despite any failure of TLS"


async def test_a_report_is_signed(house: House, store: Store) -> None:
    """RFC 8460 §3: by the reporting domain, all of its body, with a key that is for this service; §5.3: its fields."""
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    resolver = ZoneResolver('_smtp._tls.work.test. TXT "v=TLSRPTv1; rua=mailto:tls@reports.example"')
    await counted_yesterday(store, "work.test")
    await send_due(later(house, 0.3), nobody(resolver))
    [octets] = await queued(store)
    assert octets.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=home.test; s=srsa;\r\n")
    assert b"TLS-Report-Domain:\r\n TLS-Report-Submitter;" in octets
    for service in ("tlsrpt", "email"):
        assert [one.fault for one in await checked(octets, zone(*keys), service)] == [None, None]
    changed = octets.replace(b"TLS-Report-Domain: work", b"TLS-Report-Domain: wark")
    assert [one.fault for one in await checked(changed, zone(*keys), "tlsrpt")] == [Fault.SEAL] * 2
    assert [one.fault for one in await checked(octets + b"x\r\n", zone(*keys), "tlsrpt")] == [Fault.BODY] * 2


async def test_a_report_by_https(house: House, store: Store, tmp_path: Path) -> None:
    """RFC 8460 §5.4."""
    async with https_server(tmp_path, "reports.test") as web:
        web.pages["reports.test"] = page(b"", status="201 Created")
        resolver = ZoneResolver(
            """_smtp._tls.work.test. TXT "v=TLSRPTv1; rua=https://reports.test/v1?x=1,https://reports.test:99/"
            reports.test. A 127.0.0.1"""
        )
        way = Https(resolver, https_context(web.authority), networks(["127.0.0.0/8"]), web.port)
        await counted_yesterday(store, "work.test")
        await send_due(later(house, 0.3), way)
        [request] = web.requests
        head, _, packed = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1?x=1 HTTP/1.1\r\n")
        assert b"application/tlsrpt+gzip" in head
        assert json.loads(gzip.decompress(packed))["organization-name"] == HOSTNAME
        assert await store.read(rows) == []


async def test_a_report_that_is_not_taken_is_tried_again(house: House, store: Store, tmp_path: Path) -> None:
    async with https_server(tmp_path, "reports.test") as web:
        web.pages["reports.test"] = page(b"", status="503 Busy")
        resolver = ZoneResolver(
            '_smtp._tls.work.test. TXT "v=TLSRPTv1; rua=https://reports.test/"\nreports.test. A 127.0.0.1'
        )
        way = Https(resolver, https_context(web.authority), networks(["127.0.0.0/8"]), web.port)
        await counted_yesterday(store, "work.test")
        await send_due(later(house, 0.3), way)
        await send_due(later(house, 0.3), way)
        assert len(web.requests) == 1, "not at once"
        await send_due(later(house, 0.4), way)
        assert len(web.requests) == 2
        await send_due(later(house, 5), way)
        assert await store.read(rows) == [], "nobody is told after two days"
        assert len(web.requests) == 2


async def test_nobody_wants_it_or_the_dns_fails(house: House, store: Store) -> None:
    resolver = ZoneResolver("a.test. A 5.5.5.5", failing={"_smtp._tls.sick.test": Found.SERVFAIL})
    await counted_yesterday(store, "a.test", "sick.test")
    await send_due(later(house, 0.3), nobody(resolver))
    assert {domain for domain, *_ in await store.read(rows)} == {"sick.test"}


async def test_one_worker_sends_it(house: House, store: Store) -> None:
    await counted_yesterday(store, "work.test")
    now = later(house, 0.3).clock()
    assert await store.run(tlsreports.take_next, TODAY + 1, now) == (TODAY, "work.test")
    assert await store.run(tlsreports.take_next, TODAY + 1, now) is None
    again = type(now)(now + tlsreports.LEASE)
    assert await store.run(tlsreports.take_next, TODAY + 1, again) == (TODAY, "work.test"), "its worker may have died"
    assert [row.sessions for row in await store.read(tlsreports.sessions, TODAY, "work.test")] == [1, 1]
    assert SessionRow(1, "", "", "", "", "", "", 1).sessions == 1


async def test_a_policy_that_is_being_tested_is_reported_and_mail_goes_out(store: Store, folder: Path) -> None:
    """RFC 8461 §5: first as if it were enforced, then without it, over one server."""
    count = TlsCount(store, lambda: NOW)
    sending = Sending("us.test", saw_tls=count.saw_tls)
    async with sink(tls=load(self_signed(folder / "tested", "mx.test"))) as server:
        strict = replace(reported(server, TlsLevel.VERIFIED, "mx.test"), preference=20)
        loose = replace(target(server), preference=21)
        async with rig(strict, loose, sending=sending) as ours:
            ours.targets[:] = [loose, strict]
            outcome = await ours.outcome()
            assert outcome.action is Action.RELAYED
            assert "unverified" in outcome.tls
        assert len(server.taken) == 1
    await count.write()
    assert [(failure, sessions) for _, failure, _, _, sessions in await store.read(rows)] == [
        ("certificate-not-trusted", 1)
    ]
