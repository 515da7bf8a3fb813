"""The TLS of a domain never falls silently (decision 0083)."""

import logging
import re

import pytest

from fakes import FakeClock
from posthouse.mail.address import ForwardPath, parse_address
from posthouse.mail.envelope import Recipient
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.store import tlsmemory
from posthouse.store.store import Store
from posthouse.transport.recent import Recent
from posthouse.transport.remembered import Remembered
from posthouse.transport.target import TlsLevel

BEN = parse_address("ben@a.test")
assert BEN is not None
TO_BEN = Recipient(ForwardPath(BEN))
DAY = 86_400.0


def outcome(clock: FakeClock, action: Action, tls: str = "", where: str = "dot") -> Outcome:
    return Outcome(TO_BEN, action, Status(2, 0, 0), "", clock.now(), tls=tls, where=where)


def over_tls(clock: FakeClock) -> list[Outcome]:
    return [outcome(clock, Action.RELAYED, "TLSv1.3 TLS_AES_256_GCM_SHA384 unverified")]


def refused(clock: FakeClock) -> list[Outcome]:
    return [outcome(clock, Action.DELAYED, where="tls")]


async def test_tls_once_is_tls_from_then_on(store: Store) -> None:
    clock = FakeClock()
    memory = Remembered(store, clock.now)
    assert await memory.level("a.test") is TlsLevel.OPPORTUNISTIC
    await memory.learn("a.test", [outcome(clock, Action.RELAYED)])
    await memory.learn("a.test", refused(clock))
    assert await memory.level("a.test") is TlsLevel.OPPORTUNISTIC, "it never had TLS"
    await memory.learn("a.test", over_tls(clock))
    assert await memory.level("a.test") is TlsLevel.ENCRYPTED
    assert await Remembered(store, clock.now).level("a.test") is TlsLevel.ENCRYPTED, "by every worker"
    assert await memory.level("b.test") is TlsLevel.OPPORTUNISTIC
    clock.advance(89 * DAY)
    assert await memory.level("a.test") is TlsLevel.ENCRYPTED
    await memory.learn("a.test", over_tls(clock))
    clock.advance(89 * DAY)
    assert await memory.level("a.test") is TlsLevel.ENCRYPTED
    clock.advance(2 * DAY)
    assert await memory.level("a.test") is TlsLevel.OPPORTUNISTIC


async def test_it_gives_way_after_three_days_and_says_so(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    memory = Remembered(store, clock.now)
    await memory.learn("a.test", over_tls(clock))
    with caplog.at_level(logging.WARNING):
        for _ in range(12):
            await memory.learn("a.test", refused(clock))
            assert await memory.level("a.test") is TlsLevel.ENCRYPTED
            clock.advance(6 * 3_600)
        await memory.learn("a.test", refused(clock))
        assert await memory.level("a.test") is TlsLevel.OPPORTUNISTIC
        assert "refuses it now" in caplog.text
        await memory.learn("a.test", [outcome(clock, Action.RELAYED)])
        assert "takes mail without it" in caplog.text
        told = caplog.records[-1].__dict__
        for field in ("last_tls", "refused_since"):  # a time for people
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", told[field])
    assert await store.read(tlsmemory.seen, "a.test") is None


async def test_a_failure_now_and_then_is_no_refusal(store: Store) -> None:
    clock = FakeClock()
    memory = Remembered(store, clock.now)
    await memory.learn("a.test", over_tls(clock))
    for _ in range(10):
        await memory.learn("a.test", refused(clock))
        clock.advance(2 * DAY)
    assert await memory.level("a.test") is TlsLevel.ENCRYPTED
    await memory.learn("a.test", over_tls(clock))
    seen = await store.read(tlsmemory.seen, "a.test")
    assert seen is not None
    assert seen.failing == 0


async def test_it_can_be_forgotten(store: Store) -> None:
    clock = FakeClock()
    memory = Remembered(store, clock.now)
    await memory.learn("a.test", over_tls(clock))
    assert await store.run(tlsmemory.forget_tls, "a.test")
    assert not await store.run(tlsmemory.forget_tls, "a.test")
    clock.advance(31)
    assert await memory.level("a.test") is TlsLevel.OPPORTUNISTIC


def test_what_is_recent_is_bounded() -> None:
    clock = FakeClock()
    recent: Recent[int] = Recent(entries=3, life=1_000)
    for number in range(5):
        recent.put(str(number), number, clock.now())
    assert [recent.get(str(number), clock.now()) for number in range(5)] == [None, None, 2, 3, 4]
    clock.advance(-10)
    assert recent.get("4", clock.now()) is None
    clock.advance(11)
    assert recent.get("4", clock.now()) is None
    recent.forget("4")
