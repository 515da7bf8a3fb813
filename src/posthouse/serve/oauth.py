"""Tokens of OpenID providers: whose they are, by the provider's own keys (RFC 7628, RFC 8725).

The keys are found by the discovery document (OpenID Connect Discovery 1.0 §4) of the issuer that the settings name,
fetched once and kept. A token with a key that is not known makes us look again, but not more often than
REFRESH_SECONDS: tokens with invented names of keys cost the provider nothing. Who logs in waits for the provider when
no keys are there yet; all wait for the same fetch, at most WAITING of them, and no other login waits with them.

What a provider says is bounded (limits.md, S19): by time and size in net/https.py, by kind and count in net/jwks.py.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from posthouse.net.https import Https, Request, exchange, https_url
from posthouse.net.jwks import Key, read_keys, verify
from posthouse.trust import tokens
from posthouse.trust.tokens import Fault, Rules, Token, json_object
from posthouse.wire.oauth import Bearer, failure

KEEP_SECONDS = 3_600.0  # keys that are older are fetched again, while the old ones still count
STALE_SECONDS = 86_400.0  # how long they count where the provider does not answer
REFRESH_SECONDS = 60.0  # between two fetches for a key that is not known
RETRY_SECONDS = 10.0  # between two fetches where the first went wrong
WAITING = 100  # logins of one worker that wait for one provider; more are told to come back
DOCUMENT = 65_536  # octets of a discovery document; real ones have 2,000 to 6,000
KEY_SET = 262_144  # octets of a set of keys, certificates included; real ones have 1,000 to 20,000
DEPTH = 10  # of a discovery document
WELL_KNOWN = "/.well-known/openid-configuration"  # OpenID Connect Discovery §4

log = logging.getLogger("posthouse.login")


@dataclass(frozen=True, slots=True)
class Untrusted:
    """A token that opens nothing. `said` is what the client is told (RFC 7628 §3.2.2)."""

    fault: Fault
    said: bytes


class NotNow(Exception):
    """Nobody can say now whether a token is good: its provider does not answer, or too many wait for it."""


class Provider:
    """One provider: its rules, and a cache of its keys."""

    def __init__(
        self, rules: Rules, https: Https, clock: Callable[[], float], keys_url: str = "", *, public: Https | None = None
    ) -> None:
        """`https` reaches the hosts that the administrator names, `public` (by default the same) those that the
        provider's own document names. `keys_url` spares the discovery. `clock`: seconds that only go forward."""
        self.rules = rules
        self._https = https
        self._public = public or https
        self._clock = clock
        self._keys_url = keys_url
        self._keys: tuple[Key, ...] = ()
        self._fetched = float("-inf")  # when the keys came
        self._tried = float("-inf")  # when the last fetch began
        self._fetching: asyncio.Task[None] | None = None
        self._waiting = 0

    @property
    def configuration(self) -> str:
        """The address of the discovery document."""
        return self.rules.issuer.rstrip("/") + WELL_KNOWN

    async def verify(self, token: Token) -> Fault | None:
        """Whether the provider has signed the token; None for yes. Raises NotNow."""
        await self._have_keys()
        wrong = verify(self._keys, token)
        if wrong is Fault.KEY and self._may_fetch(REFRESH_SECONDS):
            await self._fetch()
            wrong = verify(self._keys, token)
        return wrong

    async def close(self) -> None:
        """Give up what is being fetched."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _have_keys(self) -> None:
        age = self._clock() - self._fetched
        if age < KEEP_SECONDS:
            return
        if age < STALE_SECONDS:
            if self._may_fetch(RETRY_SECONDS):
                self._begin()  # nobody waits: the old keys count meanwhile
            return
        if self._may_fetch(RETRY_SECONDS):
            await self._fetch()
        if self._clock() - self._fetched >= STALE_SECONDS:
            raise NotNow(f"{self.rules.issuer} gives no keys")

    def _may_fetch(self, seconds: float) -> bool:
        return self._fetching is not None or self._clock() - self._tried >= seconds

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._tried = self._clock()
            self._fetching = asyncio.get_running_loop().create_task(self._find_keys())
            self._fetching.add_done_callback(self._over)
        return self._fetching

    def _over(self, fetching: asyncio.Task[None]) -> None:
        self._fetching = None
        if not fetching.cancelled() and (error := fetching.exception()) is not None:
            log.error("the keys of a provider were not fetched", exc_info=error)

    async def _fetch(self) -> None:
        """Wait for a fetch, the one that is under way or a new one. It goes on where this login is given up."""
        if self._waiting >= WAITING:
            raise NotNow(f"too many logins wait for {self.rules.issuer}")
        self._waiting += 1
        try:
            await asyncio.wait([self._begin()])
        finally:
            self._waiting -= 1

    async def _find_keys(self) -> None:
        """Fetch the keys; what goes wrong is in the log, and the keys are as they were."""
        url, https = self._keys_url, self._https
        if not url:
            found = await self._discover()
            if isinstance(found, Untold):
                self._note(found)
                return
            url = found
            if urlsplit(url).hostname != urlsplit(self.rules.issuer).hostname:
                https = self._public
        octets = await _get(url, https, KEY_SET)
        # In a thread: what reads keys takes 70 ms to import, and a hundred keys some more.
        keys = octets if isinstance(octets, Untold) else await asyncio.to_thread(read_keys, octets)
        if isinstance(keys, Untold) or not keys:
            self._note(keys if isinstance(keys, Untold) else Untold(f"{url} holds no keys that can be used"))
            return
        self._keys, self._fetched = keys, self._clock()

    def _note(self, untold: "Untold") -> None:
        log.warning("the keys of a provider were not fetched: %s", untold.reason, extra={"issuer": self.rules.issuer})

    async def _discover(self) -> "str | Untold":
        """`jwks_uri` of the discovery document, which must be about the issuer (OpenID Connect Discovery §4.3)."""
        octets = await _get(self.configuration, self._https, DOCUMENT)
        if isinstance(octets, Untold):
            return octets
        document = json_object(octets, DEPTH)
        if document is None:
            return Untold(f"{self.configuration} is no JSON object")
        if document.get("issuer") != self.rules.issuer:
            return Untold(f"{self.configuration} is about another issuer")
        url = document.get("jwks_uri")
        return url if isinstance(url, str) else Untold(f"{self.configuration} names no keys")


@dataclass(frozen=True, slots=True)
class Untold:
    """What a provider has not told, and why."""

    reason: str


async def _get(url: str, https: Https, most: int) -> bytes | Untold:
    parts = https_url(url)
    if parts is None or parts.hostname is None:
        return Untold(f"{url[:200]!r} is no https address")
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    request = Request(parts.hostname, target, most, headers={"Accept": "application/json"})
    answer = await exchange(request, replace(https, port=parts.port or https.port))
    if isinstance(answer, str):
        return Untold(answer)
    return answer.content if answer.status == 200 else Untold(f"{parts.hostname} answers with {answer.status}")


class Tokens:
    """All providers of the settings: the first is told to clients whose token names none of them."""

    def __init__(self, providers: Sequence[Provider], wall: Callable[[], float]) -> None:
        """`wall`: seconds since 1970."""
        self._providers = {provider.rules.issuer: provider for provider in providers}
        self._first = providers[0]
        self._wall = wall

    async def user_of(self, bearer: Bearer) -> str | Untrusted:
        """The user of a token, once it is proved. Raises NotNow."""
        token = tokens.read(bearer.token)
        if isinstance(token, Fault):
            return self.refused(bearer, token)
        provider = self._providers.get(token.issuer)
        if provider is None:
            return self.refused(bearer, Fault.ISSUER)
        # Claims first: what is over or for somebody else needs no keys.
        user = tokens.judge(token, provider.rules, int(self._wall()))
        if isinstance(user, Fault):
            return self.refused(bearer, user)
        wrong = await provider.verify(token)
        return user if wrong is None else self.refused(bearer, wrong)

    def refused(self, bearer: Bearer, fault: Fault) -> Untrusted:
        """What is said of a token that is not good."""
        token = tokens.read(bearer.token)
        issuer = token.issuer if isinstance(token, Token) else ""
        provider = self._providers.get(issuer, self._first)
        said = failure(google=bearer.google, scope=provider.rules.scope, configuration=provider.configuration)
        return Untrusted(fault, said)

    async def close(self) -> None:
        """Give up what is being fetched."""
        await asyncio.gather(*(provider.close() for provider in self._providers.values()))
