"""MTA-STS policies fetched, kept, refreshed (RFC 8461 §3.3, §5.1), and HTTPS to strangers within bounds."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakes import FakeClock, ZoneResolver
from posthouse.mail.ids import Millis
from posthouse.net import https
from posthouse.net.https import Https, https_context
from posthouse.net.peer import verified_context
from posthouse.net.reach import networks
from posthouse.store import tlsmemory
from posthouse.store.store import Store
from posthouse.store.tlsmemory import DAY, KeptPolicy
from posthouse.transport.policies import Policies, fetch_policy
from posthouse.trust.mtasts import Mode, Policy
from posthouse.trust.resolver import Found
from webserver import Page, Web, https_server, page

ZONE = """
a.test. MX 10 mx.a.test.
_mta-sts.a.test. TXT "v=STSv1; id=1"
mta-sts.a.test. A 127.0.0.1
_mta-sts.b.test. TXT "v=STSv1; id=1"
mta-sts.b.test. A 127.0.0.1
_mta-sts.lost.test. TXT "v=STSv1; id=1"
_mta-sts.inside.test. TXT "v=STSv1; id=1"
mta-sts.inside.test. A 10.0.0.1
"""
TEXT = b"version: STSv1\r\nmode: enforce\r\nmx: mx.a.test\r\nmax_age: 604800\r\n"
POLICY = Policy(Mode.ENFORCE, 604_800, ("mx.a.test",))
LOOPBACK = networks(["127.0.0.0/8"])


@contextlib.asynccontextmanager
async def web(folder: Path, answer: Page = b"") -> AsyncIterator[tuple[Web, Https, ZoneResolver]]:
    resolver = ZoneResolver(ZONE)
    async with https_server(folder, "mta-sts.a.test") as server:
        server.pages["mta-sts.a.test"] = answer or page(TEXT)
        server.pages["mta-sts.b.test"] = page(TEXT)
        yield server, Https(resolver, https_context(server.authority), LOOPBACK, server.port), resolver


async def test_a_policy_is_fetched(tmp_path: Path) -> None:
    async with web(tmp_path) as (server, way, _):
        assert await fetch_policy("a.test", way) == POLICY
        (request,) = server.requests
        assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
        assert server.names == ["mta-sts.a.test"], "the name is shown in TLS, though the address was dialled"
        assert f"host: mta-sts.a.test:{server.port}".encode() in request.lower()


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (page(TEXT, status="404 Not Found"), "status 404"),
        (page(b"", "text/plain", "301 Moved", "Location: https://mta-sts.a.test/x"), "status 301"),
        (page(TEXT, "text/html"), "no text/plain"),
        (page(b"x" * 70_000), "more than 65536"),
        (page(gzip.compress(TEXT), "text/plain", "200 OK", "Content-Encoding: gzip"), "encoding"),
        (b"garbage\r\n\r\n", "mta-sts.a.test"),
        (b"", "mta-sts.a.test"),
        (page(TEXT)[:-20], "mta-sts.a.test"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Much: y\r\n" * 20_000 + b"\r\n", "mta-sts.a.test"),
        (page(b"version: STSv1\n"), "max_age"),
    ],
)
async def test_policies_that_cannot_be_had(tmp_path: Path, answer: bytes, wrong: str) -> None:
    async with web(tmp_path, lambda _: answer) as (server, way, _):
        said = await fetch_policy("a.test", way)
        assert isinstance(said, str)
        assert wrong in said
        assert len(server.requests) == 1


async def test_certificates_and_addresses(tmp_path: Path) -> None:
    async with web(tmp_path) as (server, way, resolver):
        assert "certificate is not good" in str(await fetch_policy("b.test", way)), "it is for another name"
        strict = Https(resolver, https_context(), LOOPBACK, server.port)
        assert "certificate is not good" in str(await fetch_policy("a.test", strict)), "nobody knows who signed it"
        assert "not part of the Internet" in str(await fetch_policy("inside.test", way))
        outside = Https(resolver, way.context, (), server.port)
        assert "not part of the Internet" in str(await fetch_policy("a.test", outside))
        assert "no host" in str(await fetch_policy("lost.test", way))
        resolver.failing = {"mta-sts.a.test": Found.TIMEOUT}
        assert "DNS" in str(await fetch_policy("a.test", way))
        assert server.requests == []
        with pytest.raises(ValueError, match="any host"):
            Https(resolver, verified_context())


async def test_a_server_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "SECONDS", 0.2)
    release = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    way = Https(ZoneResolver(ZONE), https_context(), LOOPBACK, server.sockets[0].getsockname()[1])
    assert "a.test" in str(await fetch_policy("a.test", way))
    release.set()
    server.close()
    await server.wait_closed()


async def test_a_policy_is_kept_until_it_expires(tmp_path: Path, store: Store) -> None:
    clock = FakeClock()
    async with web(tmp_path) as (server, way, resolver):
        policies = Policies(store, way, clock.now)
        assert await asyncio.gather(*[policies.find("a.test") for _ in range(5)]) == [POLICY] * 5
        assert server.connections == 1, "what many want is fetched once"
        other = Policies(store, way, clock.now)
        assert await other.find("a.test") == POLICY
        assert server.connections == 1, "the workers share it"

        for zone in ("", '_mta-sts.a.test. TXT "v=STSv1; id=1"\n_mta-sts.a.test. TXT "v=STSv1; id=2"'):
            resolver.replace(zone)
            assert await policies.find("a.test") == POLICY, "RFC 8461 §5.1: whoever hides the record changes nothing"
        resolver.failing = {"_mta-sts.a.test": Found.SERVFAIL}
        assert await policies.find("a.test") == POLICY
        clock.advance(604_801)
        assert await policies.find("a.test") is None
        assert server.connections == 1


async def test_a_new_id_means_a_new_policy(tmp_path: Path, store: Store) -> None:
    async with web(tmp_path) as (server, way, resolver):
        policies = Policies(store, way, FakeClock().now)
        await policies.find("a.test")
        resolver.replace(ZONE.replace('_mta-sts.a.test. TXT "v=STSv1; id=1"', '_mta-sts.a.test. TXT "v=STSv1; id=2"'))
        server.pages["mta-sts.a.test"] = page(TEXT.replace(b"enforce", b"none"))
        found = await policies.find("a.test")
        assert found is not None
        assert found.mode is Mode.NONE


async def test_a_policy_that_cannot_be_refreshed_still_counts(tmp_path: Path, store: Store) -> None:
    clock = FakeClock()
    async with web(tmp_path) as (server, way, resolver):
        policies = Policies(store, way, clock.now)
        await policies.find("a.test")
        resolver.replace(ZONE.replace("id=1", "id=2"))
        server.pages["mta-sts.a.test"] = page(b"", status="503 Busy")
        assert await policies.find("a.test") == POLICY
        assert "503" in policies.failure("a.test")
        assert await policies.find("a.test") == POLICY
        assert server.connections == 2, "a failure is not repeated at once"
        clock.advance(301)
        await policies.find("a.test")
        assert server.connections == 3
        server.pages["mta-sts.a.test"] = page(TEXT)
        clock.advance(301)
        await policies.find("a.test")
        assert policies.failure("a.test") == ""


async def test_policies_in_use_are_refreshed(tmp_path: Path, store: Store) -> None:
    """RFC 8461 §10.2."""
    clock = FakeClock()
    async with web(tmp_path) as (server, way, _):
        policies = Policies(store, way, clock.now)
        await policies.find("a.test")
        await policies.refresh()
        assert server.connections == 1
        clock.advance(2 * 86_400)
        await policies.refresh()
        assert server.connections == 2
        kept = await store.read(tlsmemory.policy, "a.test")
        assert kept is not None
        assert kept.fetched == clock.now()
        clock.advance(40 * 86_400)
        await policies.refresh()
        assert server.connections == 2, "nobody has sent there for a month"
        await policies.close()


async def test_old_rows_are_removed(store: Store) -> None:
    now = Millis(100 * DAY)

    def kept(days: int) -> KeptPolicy:
        return KeptPolicy("1", "", now, Millis(now + days * DAY), now)

    await store.run(tlsmemory.keep_policy, "old.test", kept(-1))
    await store.run(tlsmemory.keep_policy, "new.test", kept(1))
    await store.run(tlsmemory.saw_tls, "long.test", Millis(DAY))
    await store.run(tlsmemory.saw_tls, "soon.test", now)
    await store.run(tlsmemory.forget_old, now, Millis(50 * DAY))
    assert await store.read(tlsmemory.policy, "old.test") is None
    assert await store.read(tlsmemory.policy, "new.test") is not None
    assert await store.read(tlsmemory.seen, "long.test") is None
    assert await store.read(tlsmemory.seen, "soon.test") is not None
