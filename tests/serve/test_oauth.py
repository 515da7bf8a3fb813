"""serve/oauth.py: keys of providers, fetched from a real server on loopback, kept and refreshed; whose a token is."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fakes import ZoneResolver, comes_true
from posthouse.net import https as https_module
from posthouse.net.https import Https, https_context
from posthouse.net.reach import networks
from posthouse.serve import oauth
from posthouse.serve.oauth import (
    KEEP_SECONDS,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    WAITING,
    NotNow,
    Provider,
    Tokens,
    Untrusted,
)
from posthouse.trust.tokens import Fault, Rules
from posthouse.wire.oauth import Bearer
from provider import ISSUER, Signer, claims, documents
from webserver import Web, https_server, page

ZONE = "id.home.test. A 127.0.0.1\nkeys.home.test. A 127.0.0.1\ninside.home.test. A 10.0.0.1\n"
LOOPBACK = networks(["127.0.0.0/8"])
RULES = Rules(ISSUER, frozenset({"posthouse"}))
NOW = 1_800_000_000


@dataclass
class Rig:
    """A provider on loopback, and what checks its tokens. `now` is what the clock of the cache shows."""

    web: Web
    provider: Provider
    tokens: Tokens
    now: float = 0.0

    async def user(self, signer: Signer, user: str = "", google: bool = False, **changes: object) -> str | Fault:
        """Whose a token of this signer is."""
        return await self.token(signer.sign(claims(NOW, **changes)), user, google=google)

    async def token(self, token: str, user: str = "", *, google: bool = False) -> str | Fault:
        found = await self.tokens.user_of(Bearer(user, token, google))
        return found.fault if isinstance(found, Untrusted) else found

    def asked(self) -> list[str]:
        """What the provider was asked for so far."""
        return [request.split(b" ", 2)[1].decode() for request in self.web.requests]


@contextlib.asynccontextmanager
async def rig(folder: Path, *signers: Signer, keys_url: str = "", public: bool = True) -> AsyncIterator[Rig]:
    async with https_server(folder, "id.home.test", "keys.home.test") as web:
        documents(web, *signers)
        named = Https(ZoneResolver(ZONE), https_context(web.authority), LOOPBACK, web.port)
        strangers = named if public else replace(named, allowed=())
        provider = Provider(RULES, named, lambda: found.now, keys_url, public=strangers)
        found = Rig(web, provider, Tokens([provider], lambda: NOW))
        yield found
        await found.tokens.close()


ONE, TWO = Signer("ES256", "one"), Signer("ES256", "two")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_token_is_good(tmp_path: Path, algorithm: str) -> None:
    """OpenID Connect Discovery §4, RFC 7517 §5."""
    signer = Signer(algorithm, "one")
    async with rig(tmp_path, signer) as ours:
        assert await ours.user(signer) == "anna@home.test"
        assert await ours.user(signer, email="ben@home.test") == "ben@home.test"
        assert ours.asked() == ["/.well-known/openid-configuration", "/keys"]


async def test_a_token_is_not_good(tmp_path: Path) -> None:
    async with rig(tmp_path, ONE) as ours:
        assert await ours.user(ONE, iss="https://elsewhere.test") is Fault.ISSUER
        assert await ours.user(ONE, aud="other") is Fault.AUDIENCE
        assert await ours.user(ONE, exp=NOW - 61) is Fault.EXPIRED
        assert await ours.token("x.y.z") is Fault.MALFORMED
        assert ours.asked() == []  # none of these needs a key
        assert await ours.user(Signer("ES256", "one")) is Fault.SIGNATURE
        assert await ours.user(Signer("RS256", "one")) is Fault.KEY
        good = ONE.sign(claims(NOW))
        head, body, signature = good.split(".")
        other = ONE.sign(claims(NOW, email="ben@home.test")).split(".")[1]
        assert await ours.token(f"{head}.{other}.{signature}") is Fault.SIGNATURE
        assert await ours.token(f"{head}.{body}.") is Fault.MALFORMED
        assert await ours.token(good) == "anna@home.test"


async def test_what_the_client_is_told(tmp_path: Path) -> None:
    """RFC 7628 §3.2.2: not why."""
    async with rig(tmp_path, ONE) as ours:
        told = []
        for token in ("x", ONE.sign(claims(NOW, aud="other")), Signer("ES256", "one").sign(claims(NOW))):
            found = await ours.tokens.user_of(Bearer("", token))
            assert isinstance(found, Untrusted)
            told.append(json.loads(found.said))
        assert (
            told
            == [{"status": "invalid_token", "openid-configuration": f"{ISSUER}/.well-known/openid-configuration"}] * 3
        )


async def test_a_new_key_is_looked_for(tmp_path: Path) -> None:
    async with rig(tmp_path, ONE) as ours:
        assert await ours.user(ONE) == "anna@home.test"
        documents(ours.web, ONE, TWO)
        assert await ours.user(TWO) is Fault.KEY  # asked a moment ago
        ours.now += REFRESH_SECONDS
        assert await ours.user(TWO) == "anna@home.test"
        assert len(ours.asked()) == 4


async def test_invented_keys_cost_the_provider_nothing(tmp_path: Path) -> None:
    """A flood of `kid`."""
    async with rig(tmp_path, ONE) as ours:
        invented = [Signer("ES256", f"k{number}", ONE.key) for number in range(200)]
        found = await asyncio.gather(*(ours.user(signer) for signer in invented[:100]))
        assert set(found) == {Fault.KEY}
        ours.now += 1
        assert {await ours.user(signer) for signer in invented[100:]} == {Fault.KEY}
        assert len(ours.asked()) <= 4
        assert await ours.user(ONE) == "anna@home.test"


async def test_old_keys_count_while_new_ones_are_fetched(tmp_path: Path) -> None:
    async with rig(tmp_path, ONE) as ours:
        assert await ours.user(ONE) == "anna@home.test"
        documents(ours.web, TWO)
        ours.now += KEEP_SECONDS
        assert await ours.user(ONE) == "anna@home.test"  # and nobody waited
        await asyncio.gather(*filter(None, [ours.provider._fetching]))
        assert await ours.user(ONE) is Fault.KEY
        assert await ours.user(TWO) == "anna@home.test"


async def test_a_provider_that_is_down(tmp_path: Path) -> None:
    async with rig(tmp_path, ONE) as ours:
        good, ours.web.pages["id.home.test"] = ours.web.pages["id.home.test"], page(b"", status="503 Down")
        for _ in range(3):
            with pytest.raises(NotNow):
                await ours.user(ONE)
        assert len(ours.asked()) == 1  # it is not asked again at once
        ours.web.pages["id.home.test"] = good
        ours.now += RETRY_SECONDS
        assert await ours.user(ONE) == "anna@home.test"
        ours.web.pages["id.home.test"] = page(b"", status="503 Down")
        ours.now += STALE_SECONDS - 1
        assert await ours.user(ONE) == "anna@home.test"  # what is known counts for a day
        await asyncio.gather(*filter(None, [ours.provider._fetching]))
        ours.now += RETRY_SECONDS
        with pytest.raises(NotNow):
            await ours.user(ONE)


KEYS = json.dumps({"keys": [ONE.public()]})


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{" * 50_000,
        json.dumps({"issuer": ISSUER}),
        json.dumps({"issuer": ISSUER + "/", "jwks_uri": f"{ISSUER}/keys"}),
        json.dumps({"issuer": "https://evil.test", "jwks_uri": f"{ISSUER}/keys"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": "http://id.home.test/keys"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": "https://id.home.test:99999/keys"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": "https://u:p@id.home.test/keys"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": "https://inside.home.test/keys"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": "https://169.254.169.254/latest"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": "https://nowhere.test/keys"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": ["https://id.home.test/keys"]}),
        json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/a b\r\nX: y"}),
        json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys", "pad": "x" * 70_000}),
    ],
)
async def test_documents_that_lead_nowhere(tmp_path: Path, document: str) -> None:
    """OpenID Connect Discovery §4.3; limits.md, S19."""
    async with rig(tmp_path, ONE) as ours:
        keys = ours.web.pages["id.home.test"]
        assert callable(keys)

        def answer(request: bytes) -> bytes:
            return page(document.encode(), "application/json") if b"openid" in request else keys(request)

        ours.web.pages["id.home.test"] = answer
        with pytest.raises(NotNow):
            await ours.user(ONE)


@pytest.mark.parametrize(
    "answer",
    [
        page(b"", status="302 Found"),
        page(b"x" * 10_000_000),
        page(b'{"keys":[' + b'{"kty":"oct"},' * 600_000 + b"{}]}"),
        page(b"{}"),
        page(b'{"keys":[]}'),
        page(json.dumps({"keys": [{**ONE.public(), "crv": "P-384"}]}).encode()),
        page(KEYS.encode(), "application/json", "200 OK", "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\n\r\n" + b'{"a":' * 1_000,
        b"nothing of HTTP\r\n\r\n",
        b"",
    ],
    ids=["redirection", "10 MB", "many keys", "no set", "empty", "other keys", "packed", "deep", "garbage", "silence"],
)
async def test_keys_that_are_none(tmp_path: Path, answer: bytes) -> None:
    """limits.md, S19."""
    async with rig(tmp_path, ONE, keys_url="https://keys.home.test/keys") as ours:
        ours.web.pages["keys.home.test"] = answer
        with pytest.raises(NotNow):
            await ours.user(ONE)
        assert len(ours.web.requests) == 1


async def test_only_hosts_that_were_named_may_be_private(tmp_path: Path) -> None:
    """limits.md, S19: the administrator has named id.home.test; keys.home.test is what its document names."""
    async with rig(tmp_path, ONE, public=False) as ours:
        documents(ours.web, ONE, keys="https://keys.home.test/keys")
        ours.web.pages["keys.home.test"] = page(KEYS.encode())
        with pytest.raises(NotNow):
            await ours.user(ONE)
        documents(ours.web, ONE)
        ours.now += RETRY_SECONDS
        assert await ours.user(ONE) == "anna@home.test"


async def test_a_slow_provider_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who need its keys wait for one fetch, and only so many; it is given up in its time."""
    monkeypatch.setattr(https_module, "SECONDS", 0.5)
    async with rig(tmp_path, ONE) as ours:

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            await reader.read()

        connections: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ours.provider._https = replace(ours.provider._https, port=port)
        waiting = [asyncio.create_task(ours.user(ONE)) for _ in range(WAITING + 5)]
        await comes_true(lambda: sum(task.done() for task in waiting) == 5)  # told to come back
        assert await ours.user(ONE, aud="other") is Fault.AUDIENCE  # who does not need it
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(one) for one in found} == {NotNow}
        assert len(connections) == 1
        server.close()
        for writer in connections:
            writer.close()


async def test_a_login_that_is_given_up_does_not_end_the_fetch(tmp_path: Path) -> None:
    async with rig(tmp_path, ONE) as ours:
        first = asyncio.create_task(ours.user(ONE))
        await asyncio.sleep(0)
        first.cancel()
        assert await ours.user(ONE) == "anna@home.test"
        assert len(ours.asked()) == 2


async def test_a_mistake_of_ours_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(octets: bytes) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(oauth, "read_keys", broken)
    async with rig(tmp_path, ONE) as ours:
        with pytest.raises(NotNow):
            await ours.user(ONE)
    assert "a bug" in caplog.text


async def test_two_providers(tmp_path: Path) -> None:
    """A token is checked by the keys of its own issuer only."""
    async with rig(tmp_path / "1", ONE) as first, rig(tmp_path / "2", TWO) as second:
        other = "https://id.home.test/second"
        second.provider.rules = Rules(other, frozenset({"posthouse"}), scope="mail")
        documents(second.web, TWO, issuer=other, keys=f"{ISSUER}/keys")
        second.provider._keys_url = f"{ISSUER}/keys"
        both = Tokens([first.provider, second.provider], lambda: NOW)
        ours = replace(first, tokens=both)
        assert await ours.user(ONE) == "anna@home.test"
        assert await ours.user(TWO, iss=other, scope="openid mail") == "anna@home.test"
        assert await ours.user(TWO) is Fault.KEY
        assert await ours.user(ONE, iss=other, scope="mail") is Fault.KEY
        refused = await both.user_of(Bearer("", TWO.sign(claims(NOW, iss=other))))
        assert isinstance(refused, Untrusted)
        assert json.loads(refused.said)["scope"] == "mail"
