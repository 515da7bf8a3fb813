"""Who may come in: passwords and SCRAM proofs against the store, and the brakes on guessing (limits.md).

Every failure costs the same two seconds and has the same words, whether the user exists or not. Hashing runs in two
threads with a bounded queue. A password that has been proved is remembered under a keyed hash for a few minutes, so
that a mail program which logs in for every folder costs no second Argon2id. Every login goes by the account as it is at
that moment (entrances.py), and a session looks again while it lasts (`Door.holds`): an old password opens nothing, on
any worker.

A device password (store/devices.py) opens what it is for. One that does not is a wrong password like any other: only
the owner learns why (logbook.py).

The user name is the full address: `anna@home.test`. There is no guessing of a domain.
"""

import asyncio
import contextlib
import hmac
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from secrets import token_bytes, token_hex, token_urlsafe
from typing import TypeVar

from posthouse.mail.address import Address, parse_address
from posthouse.mail.ids import AccountId
from posthouse.serve.caller import Caller
from posthouse.serve.entrances import Entrances
from posthouse.serve.guesses import Guesses
from posthouse.serve.limits import Peers, Refusal, Service, WorkerLimits
from posthouse.serve.logbook import Logbook, Why
from posthouse.serve.memory import give_back
from posthouse.serve.oauth import NotNow, Tokens, Untrusted
from posthouse.serve.passwords import (
    NOBODY,
    device_digest,
    device_scram,
    hash_of,
    keys_of,
    outdated,
    password_matches,
    scram_keys,
)
from posthouse.store import accounts, devices, logins
from posthouse.store.accounts import Login, canonical, fold
from posthouse.store.devices import Asked, Device, Entrance, Hold, Seen
from posthouse.store.script import DirectoryDown, StoreError
from posthouse.store.store import Store
from posthouse.transport.directory import Directory
from posthouse.transport.recent import Recent
from posthouse.trust.tokens import Fault
from posthouse.wire import sasl, scram
from posthouse.wire.oauth import Bearer
from posthouse.wire.scram import Hash

VOUCH_SECONDS = 1.0  # a session looks whether its login still holds at most so often: one small read
PROVEN_SECONDS = 600.0  # how long a proven password is remembered
PROVEN_ENTRIES = 10_000  # about 2 MiB
TOGETHER_SECONDS = 0.1  # that hashing threads wait for each other to give back memory
REST_SECONDS = 2.0  # without a password to check: then the 19 MiB of each hashing thread are given back
SECRET_FILE = "secret"  # beside the database
SECRET_LENGTH = 32
LOGGED_NAME = 100  # characters of a user name in the log; a stranger may send thousands
NONCE_LENGTH = 18  # octets of chance in a SCRAM nonce; RFC 5802 §5.1 leaves the length to us

NOTHING_SEEN = Seen(None)

log = logging.getLogger("posthouse.login")

Malformed = TypeVar("Malformed")
Ask = Callable[[bytes], Awaitable[bytes | None]]
Outcome = sasl.Credentials | sasl.Proven | sasl.Certified | sasl.Failed


@dataclass(slots=True)
class Attempt:
    """One question: may this user come in? `name` is what the client said, "" until it has said one. `seen` is what the
    store knew of it when the name was said; `why` is for the owner of the account. `over` is called when a failure was
    counted: no password of this attempt is being checked any more."""

    name: str
    caller: Caller
    began: float
    mechanism: str
    seen: Seen = NOTHING_SEEN
    why: Why = Why.PASSWORD
    over: Callable[[], None] = lambda: None


class Door:
    """The one place where a name and a proof become a Login. One per worker, used by SMTP and IMAP sessions.

    `secret` keys the remembered passwords and the salts shown to users who do not exist (`load_secret`); `sleep` is
    asyncio.sleep or a test's own.
    """

    def __init__(
        self,
        store: Store,
        peers: Peers,
        *,
        secret: bytes | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        limits: WorkerLimits | None = None,
    ) -> None:
        limits = limits or WorkerLimits()
        self.peers = peers
        self.logbook = Logbook(store)
        self.tokens: Tokens | None = None  # who checks those of providers of identities, where there are some
        self.withheld = frozenset[str]()  # SASL mechanisms that are not offered
        self.devices_with_totp = False  # who has a second factor signs in to mail programs by device passwords only
        self.directory: Directory | None = None  # users whose passwords are elsewhere
        self._store = store
        self._secret = secret or token_bytes(SECRET_LENGTH)
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(limits.hash_threads, "argon2")
        self._hash_threads = limits.hash_threads
        self._most_checking = limits.hash_threads + limits.hash_queue  # beyond it 454 or [UNAVAILABLE]
        self._checking: dict[bytes, asyncio.Future[bool]] = {}
        self._proven: Recent[bytes, bool] = Recent(PROVEN_ENTRIES, PROVEN_SECONDS)
        self._guesses = Guesses()
        self._entrances = Entrances(peers.now)
        self._renewing: set[AccountId] = set()
        self._resting: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Let the hashing threads end; logins still being checked are given up."""
        if self._resting is not None:
            self._resting.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def verify(self, name: str, password: bytes, caller: Caller) -> Login | Refusal:
        """Check a name and a password (IMAP LOGIN). A refusal is in the log already. Raises Unavailable."""
        mechanism = "USER" if caller.service is Service.POP3 else "LOGIN"
        attempt = Attempt(name, caller, self.peers.now(), mechanism)
        return noted(attempt, await _heard(self._verify(attempt, password)))

    async def authenticate(
        self,
        mechanism: str,
        initial: bytes | None,
        ask: Callable[[bytes], Awaitable[bytes | Malformed | None]],
        caller: Caller,
    ) -> Login | Refusal | Malformed:
        """A whole SASL exchange (RFC 4422 §3), by a mechanism of the caller's offer.

        `initial` is the initial response without its base64, None where there was none. `ask` sends a challenge and
        gives the client's answer, both without base64; None means that the client cancelled. What is no answer at all
        `ask` gives as a value of its protocol: it ends the exchange and is given back. A refusal is in the log already.
        Raises Unavailable.
        """
        malformed: Malformed | None = None

        async def answer(challenge: bytes) -> bytes | None:
            nonlocal malformed
            said = await ask(challenge)
            if said is None or isinstance(said, bytes):
                return said
            malformed = said
            return None

        attempt = Attempt("", caller, self.peers.now(), mechanism.upper())
        exchange = sasl.start(mechanism, token_urlsafe(NONCE_LENGTH), caller.offer)
        if exchange is None:
            return noted(attempt, Refusal.MECHANISM)
        found = noted(attempt, await _heard(self._exchange(attempt, exchange, initial, answer)))
        return found if malformed is None else malformed

    async def holds(self, login: Login) -> bool:
        """Whether a login is still good: the account is there, and its password was not changed, or the device password
        not revoked; or the directory still knows the user. Raises Unavailable."""
        hold = await self._hold(login)
        if hold is Hold.IF_KNOWN:
            return self.directory is not None and await self.directory.still(login.address)
        return hold is Hold.YES

    async def _hold(self, login: Login) -> Hold:
        return await self._store.read(devices.still, login, self.logbook.clock(), totp_demands=self.devices_with_totp)

    def watch(self, login: Login, changed: Callable[[], None]) -> Callable[[], None]:
        """Call back when a login may hold no more, whichever process changed that. Gives the un-watch."""
        return self._store.watch(logins.sign_in_of(login.account), lambda _: changed())

    async def _verify(self, attempt: Attempt, password: bytes) -> Login | Refusal:
        if not await self._admitted(attempt):
            return await self._refuse(Refusal.FAILURES, attempt)
        entrance = attempt.seen.entrance
        device = None if entrance is None else self._device(attempt, entrance, password)
        if entrance is not None and device is not None:
            known = await self._known(attempt, entrance)
            return (
                self._let_in(attempt, entrance.login, device) if known else await self._refuse(Refusal.WRONG, attempt)
            )
        turn = await self._turn(attempt)
        if turn is not None:
            return turn if turn is Refusal.BUSY else await self._refuse(turn, attempt)
        elsewhere = entrance is None or entrance.elsewhere
        try:
            # A device password that opens nothing is not shown to the directory, which would count it as a guess.
            if elsewhere and self.directory is not None and attempt.why is Why.PASSWORD:
                return await self._of_directory(attempt, self.directory, password)
            return await self._by_password(attempt, None if elsewhere else entrance, password)
        finally:
            attempt.over()

    async def _turn(self, attempt: Attempt) -> Refusal | None:
        """Wait while so many passwords from there are being checked that, if all are wrong, the brake holds."""
        ip = attempt.caller.ip
        turn = await self._guesses.begin(partial(self.peers.failures_left, ip))
        if not isinstance(turn, Refusal):
            attempt.over = turn
            return None
        # Who is at home there is not held up by the failures of others.
        return None if turn is Refusal.FAILURES and await self._admitted(attempt) else turn

    async def _by_password(self, attempt: Attempt, entrance: Entrance | None, password: bytes) -> Login | Refusal:
        """The user's own password here; of who has none a hash of the same cost is checked."""
        login = None if entrance is None else entrance.login
        correct = await self._matches(login, password)
        if isinstance(correct, Refusal):
            return correct
        if entrance is None or not correct:
            return await self._refuse(Refusal.WRONG, attempt)
        if self._devices_only(entrance):
            attempt.why = Why.DEVICES_ONLY
            return await self._refuse(Refusal.WRONG, attempt)
        await self._renew(entrance.login, password)
        return self._let_in(attempt, entrance.login)

    async def _of_directory(self, attempt: Attempt, directory: Directory, password: bytes) -> Login | Refusal:
        """Who has no password here is perhaps somebody there. Raises DirectoryDown."""
        address = user_address(attempt.name)
        login = None if address is None else await directory.sign_in(address, password)
        if login is not None and await self._hold(login) is not Hold.NO:
            return self._let_in(attempt, login)
        if login is not None:
            attempt.why = Why.DEVICES_ONLY
            return await self._refuse(Refusal.WRONG, attempt)
        # A failure counts for the user, by whichever of the addresses that the directory knows.
        named = None if address is None else await directory.named(address)
        if named is not None and named != address:
            await self._look(attempt, named)
        return await self._refuse(Refusal.WRONG, attempt)

    async def _known(self, attempt: Attempt, entrance: Entrance) -> bool:
        """Whether a device password counts: that of a user of a directory, while the directory knows the user (decision
        0138). Raises DirectoryDown."""
        if not entrance.elsewhere:
            return True
        if self.directory is not None and await self.directory.lets_in(entrance.login.address):
            return True
        attempt.why = Why.DIRECTORY
        return False

    async def _exchange(
        self, attempt: Attempt, exchange: sasl.Exchange, initial: bytes | None, ask: Ask
    ) -> Login | Refusal:
        step = exchange.step(initial)
        while isinstance(step, sasl.Challenge | sasl.KeysWanted):
            if isinstance(step, sasl.KeysWanted):
                assert isinstance(exchange, sasl.Scram)
                attempt.name = step.authcid
                if not await self._admitted(attempt):
                    return await self._refuse(Refusal.FAILURES, attempt)
                step = exchange.keys(*self._keys(attempt, step.kind))
                continue
            entrance = attempt.seen.entrance
            # Only now, so that until the proof is right nothing depends on the directory; and before the server's own
            # proof, which says that it is right.
            if _proving(exchange) and entrance is not None and not await self._known(attempt, entrance):
                return await self._refuse(Refusal.WRONG, attempt)
            answer = await ask(step.octets)
            if answer is None:
                return Refusal.CANCELLED
            if await self._too_late(attempt):
                return await self._refuse(Refusal.FAILURES, attempt)
            step = exchange.step(answer)
        if isinstance(step, Bearer):
            return await self._by_token(step, attempt, ask)
        return await self._conclude(step, attempt)

    async def _too_late(self, attempt: Attempt) -> bool:
        """Whether the brake holds by now: many exchanges may come to their proof before the first of them fails."""
        suspect = bool(attempt.name) and self.peers.locked_out(attempt.caller.ip, attempt.seen.spelled)
        return suspect and not await self._admitted(attempt)

    async def _by_token(self, bearer: Bearer, attempt: Attempt, ask: Ask) -> Login | Refusal:
        """The token of a provider. Why it is not good stands in the log; the client hears that it is not, and answers
        with nothing that matters (RFC 7628 §3.2.3)."""
        attempt.name, attempt.began, attempt.why = bearer.user, self.peers.now(), Why.TOKEN
        if not await self._admitted(attempt):
            return await self._refuse(Refusal.FAILURES, attempt)
        try:
            found = await self._owner(bearer, attempt)
        except NotNow as reason:
            log.warning("a token was not checked: %s", reason, extra={"peer": attempt.caller.ip})
            return Refusal.PROVIDER
        if isinstance(found, Login):
            return self._let_in(attempt, found)
        log.info("a token opens nothing: %s", found.fault.value, extra={"peer": attempt.caller.ip})
        await ask(found.said)
        return await self._refuse(Refusal.WRONG, attempt)

    async def _owner(self, bearer: Bearer, attempt: Attempt) -> Login | Untrusted:
        """The account of a token's user, who must be the one that the client names, if it names one. Raises NotNow,
        DirectoryDown."""
        if self.tokens is None:
            raise NotNow("no provider is configured")  # and nothing that carries a token was offered
        user = await self.tokens.user_of(bearer)
        if isinstance(user, Untrusted):
            return user
        if bearer.user and user_key(bearer.user) != user_key(user):
            return self.tokens.refused(bearer, Fault.OTHER_USER)
        return await self._vouched(user, attempt) or self.tokens.refused(bearer, Fault.UNKNOWN_USER)

    async def _by_certificate(self, name: str, attempt: Attempt) -> Login | Refusal:
        """The account that a client's certificate is for (RFC 4422 Appendix A). Nothing can be guessed here, so nobody
        is kept out for guesses."""
        login = await self._vouched(name, attempt)
        return await self._refuse(Refusal.WRONG, attempt) if login is None else self._let_in(attempt, login)

    async def _vouched(self, name: str, attempt: Attempt) -> Login | None:
        """The account of a user for whom a provider or an authority vouches; None where there is none. Raises
        DirectoryDown."""
        attempt.name = name
        await self._admitted(attempt)
        entrance, address = attempt.seen.entrance, user_address(name)
        if entrance is not None and not entrance.elsewhere:
            return entrance.login._replace(vouched=True)
        return None if address is None or self.directory is None else await self.directory.vouched(address)

    async def _conclude(self, step: Outcome, attempt: Attempt) -> Login | Refusal:
        """What the end of an exchange means."""
        if isinstance(step, sasl.Credentials):
            attempt.name, attempt.began = step.authcid, self.peers.now()
            return await self._verify(attempt, step.password.encode("utf-8"))
        if isinstance(step, sasl.Proven):
            return await self._proved(attempt, step.keys)
        if isinstance(step, sasl.Certified):
            return await self._by_certificate(step.authcid, attempt)
        if step.malformed:
            return Refusal.MALFORMED
        return await self._refuse(Refusal.WRONG, attempt)

    async def _proved(self, attempt: Attempt, keys: scram.ScramKeys) -> Login | Refusal:
        """The client has the password of these keys. Those of nobody cannot be proved, but nobody must not come in
        either; and a client may have taken minutes to prove what was changed meanwhile."""
        entrance = attempt.seen.entrance
        if entrance is None:
            return await self._refuse(Refusal.WRONG, attempt)
        device = next((each for each in entrance.devices if keys in keys_of(each)), None)
        if device is None and entrance.elsewhere:
            return await self._refuse(Refusal.WRONG, attempt)
        login = entrance.login._replace(device=None if device is None else device.id)
        if not await self.holds(login):
            return await self._refuse(Refusal.WRONG, attempt)
        return self._let_in(attempt, entrance.login, device)

    async def _admitted(self, attempt: Attempt) -> bool:
        """Ask the store who that is. False where too many logins from there have failed to look at this one."""
        seen, ip = await self._look(attempt, user_address(attempt.name)), attempt.caller.ip
        return not self.peers.locked_out(ip, seen.spelled, seen.of_networks, at_home=seen.at_home)

    async def _look(self, attempt: Attempt, address: Address | None) -> Seen:
        user, ip = user_key(attempt.name), attempt.caller.ip
        nets = self.peers.failure_networks(ip)
        asked = Asked(
            address,
            tuple(logins.subject("network", net) for net in nets),
            nets[0] if nets else "",
            self.peers.locked_out(ip, user),
        )
        attempt.seen = await self._entrances.look(asked, self.logbook.clock(), self._store)
        return attempt.seen

    def _device(self, attempt: Attempt, entrance: Entrance, password: bytes) -> Device | None:
        """The device password that this is, if it opens the service now."""
        digest = device_digest(password)
        for device in entrance.devices:
            if digest is not None and hmac.compare_digest(device.digest, digest):
                if device.expired(self.logbook.clock()):
                    attempt.why = Why.EXPIRED
                elif attempt.caller.service.value not in device.services:
                    attempt.why = Why.SERVICE
                else:
                    return device
        return None

    def _devices_only(self, entrance: Entrance) -> bool:
        return entrance.devices_only or (self.devices_with_totp and entrance.totp)

    def _let_in(self, attempt: Attempt, login: Login, device: Device | None = None) -> Login:
        caller = attempt.caller
        self.peers.logged_in(caller.ip, canonical(login.address))
        for network in self.peers.failure_networks(caller.ip)[:1]:
            self.logbook.at_home(login.account, network)
        login = login if device is None else login._replace(device=device.id, expires=device.expires)
        self.logbook.came_in(login, caller, attempt.mechanism, "" if device is None else device.name)
        return login

    async def _matches(self, login: Login | None, password: bytes) -> bool | Refusal:
        """Whether the password is the login's: from memory, or by Argon2id in a thread. For nobody, a hash of the
        same cost is checked."""
        stored = NOBODY if login is None else login.credential.password_hash
        key = self._key(login, stored, password)
        if self._proven.get(key, self.peers.now()):
            return True
        checking = self._checking.get(key)
        if checking is None:
            if len(self._checking) >= self._most_checking:
                return Refusal.BUSY
            loop = asyncio.get_running_loop()
            checking = loop.run_in_executor(self._threads, password_matches, stored, password)
            self._checking[key] = checking
            checking.add_done_callback(lambda _: self._checked(key))
        # Shielded, because other sessions may wait for the same password.
        correct = await asyncio.shield(checking)
        if correct:
            self._proven.put(key, True, self.peers.now())
        return correct

    def _checked(self, key: bytes) -> None:
        """Where no other password comes soon, what hashing took is given back: the C library would keep it, once for
        each thread."""
        self._checking.pop(key, None)
        if self._resting is not None:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(REST_SECONDS, self._rest)

    def _rest(self) -> None:
        together = threading.Barrier(self._hash_threads)  # so that each thread takes one

        def give() -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(TOGETHER_SECONDS)
            give_back()

        with contextlib.suppress(RuntimeError):  # they have ended
            for _ in range(self._hash_threads):
                self._threads.submit(give)

    def _key(self, login: Login | None, stored: str, password: bytes) -> bytes:
        """A keyed hash that says nothing to who reads our memory, and changes when the stored password does."""
        name = b"" if login is None else str(login.address).encode()
        parts = (len(name).to_bytes(2), name, len(stored).to_bytes(2), stored.encode(), password)
        return blake2b(b"".join(parts), key=self._secret, digest_size=32).digest()

    def _keys(self, attempt: Attempt, kind: Hash) -> list[scram.ScramKeys]:
        """The keys of every password that opens the service now, which have one salt: first those of the user's own
        password. Where none does, keys nobody can prove (RFC 5802 §5.1)."""
        entrance = attempt.seen.entrance
        # One salt for all spellings of a name, as a user has it: two exchanges must not tell who is one.
        fake = scram.fake_keys(attempt.seen.spelled or attempt.name, self._secret, kind)
        salted = None if entrance is None else entrance.salted
        if entrance is None or salted is None:
            return [fake]
        credential = entrance.login.credential
        kept = credential.scram_sha256 if kind is Hash.SHA256 else credential.scram_sha1
        fake = replace(fake, salt=salted.salt, iterations=salted.iterations)
        own = fake if kept is None or entrance.elsewhere else scram_keys(kept)
        now, service = self.logbook.clock(), attempt.caller.service.value
        opening = [each for each in entrance.devices if service in each.services and not each.expired(now)]
        keys = [one for each in opening for one in keys_of(each, kind)]
        alike = [each for each in keys if (each.salt, each.iterations) == (own.salt, own.iterations)]
        return [fake if self._devices_only(entrance) else own, *alike]

    async def _renew(self, login: Login, password: bytes) -> None:
        """Keep of a password that is known now what would be kept of it today: a hash by today's parameters, and keys
        for SCRAM-SHA-1 (decision 0103). The login is good also where that fails."""
        credential = login.credential
        stored, own = credential.password_hash, credential.scram_sha256
        lacks_keys = credential.scram_sha1 is None and bool(own.stored_key)
        if login.account in self._renewing or not (lacks_keys or outdated(stored)):
            return
        self._renewing.add(login.account)
        loop = asyncio.get_running_loop()
        try:
            if outdated(stored):
                fresh = await loop.run_in_executor(self._threads, hash_of, password)
                await self._store.run(accounts.renew_hash, login.account, stored, fresh)
            if lacks_keys:
                make = partial(device_scram, password.decode("utf-8"), own, Hash.SHA1)
                secret = await loop.run_in_executor(self._threads, make)
                await self._store.run(accounts.add_scram_sha1, login.account, own, secret)
        except StoreError as error:
            log.warning("what is kept of a password could not be renewed: %s", error)
        finally:
            self._renewing.discard(login.account)

    async def _refuse(self, reason: Refusal, attempt: Attempt) -> Refusal:
        """Say no, not before `refusal_seconds` have passed since the question, whatever the reason."""
        caller, seen = attempt.caller, attempt.seen
        counts = self.peers.login_failed(seen.spelled, caller.ip, seen.domain)
        attempt.over()
        self.logbook.failed({logins.subject(*subject): count for subject, count in counts.items()})
        if seen.account is not None:
            why = Why.FAILURES if reason is Refusal.FAILURES else attempt.why
            self.logbook.refused(seen.account, caller, attempt.mechanism, why)
        guessed = bool(counts) and (
            self.peers.guessed(seen.spelled, seen.failures) or self.peers.searched(seen.domain, seen.of_domain)
        )
        wait = self.peers.limits.slow_refusal_seconds if guessed else self.peers.limits.refusal_seconds
        await self._sleep(max(0.0, attempt.began + wait - self.peers.now()))
        return reason


def _proving(exchange: sasl.Exchange) -> bool:
    """Whether what the server says next is its own proof (RFC 5802 §3), because the client's was right."""
    return isinstance(exchange, sasl.Scram) and exchange.proven


def note(name: str, ip: str, service: Service, refusal: Refusal | None = None) -> None:
    """One line in the log for each login and each refusal, the same in all protocols. Never a password."""
    text = "".join(c if c.isprintable() and c != " " else f"\\x{ord(c):02x}" for c in name[:LOGGED_NAME])
    fields = {"peer": ip, "user": text[:LOGGED_NAME], "protocol": service.value}
    if refusal is None:
        log.info("logged in", extra=fields)
    else:
        log.info("login refused", extra=fields | {"reason": refusal.value})


async def _heard(asking: Awaitable[Login | Refusal]) -> Login | Refusal:
    """How it ended. While a directory does not answer, nobody has failed."""
    try:
        return await asking
    except DirectoryDown:
        return Refusal.DIRECTORY


def noted(attempt: Attempt, found: Login | Refusal) -> Login | Refusal:
    """The same, with a line in the log when it is a refusal; of a login the session tells, when it has let it in."""
    if isinstance(found, Refusal):
        note(attempt.name, attempt.caller.ip, attempt.caller.service, found)
    return found


@lru_cache(4_096)
def user_name(octets: bytes) -> str:
    """A user name as a client has sent it; of what is no UTF-8 a name that nobody has, whose refusal takes its time
    as any other."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def user_address(name: str) -> Address | None:
    """The address a user name spells, or None: names are full addresses without control octets (S12, S30)."""
    return _named(name)[0] if len(name) <= sasl.NAME_LENGTH else None  # long ones are not remembered


def user_key(name: str) -> str:
    """A user name without regard to case, as the store has it where no other name leads there; "" for no address."""
    return _named(name)[1] if len(name) <= sasl.NAME_LENGTH else ""


@lru_cache(4_096)
def _named(name: str) -> tuple[Address | None, str]:
    if len(name.encode("utf-8", "replace")) > sasl.NAME_LENGTH or not name.isprintable():
        return None, ""
    address = parse_address(name)
    return address, "" if address is None else str(Address(fold(address.local), address.domain))


def load_secret(directory: Path) -> bytes:
    """The store's secret, made at the first call. All workers share it, so that the salt SCRAM shows for a user who
    does not exist is the same every day, as a real one's is (RFC 5802 §9)."""
    path = directory / SECRET_FILE
    if not path.exists():
        fresh = path.with_name(f"{SECRET_FILE}.{token_hex(8)}")
        fresh.touch(0o600)
        fresh.write_bytes(token_bytes(SECRET_LENGTH))
        with contextlib.suppress(FileExistsError):  # another worker was faster: its secret is the one
            os.link(fresh, path)
        fresh.unlink()
    return path.read_bytes()
