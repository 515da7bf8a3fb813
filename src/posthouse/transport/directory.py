"""Users who are known elsewhere: a directory is asked whether an address is a user's, and whether a password is right.

Who is a user here with a password of their own is never looked for there (decision 0113). A user of the directory gets
a mailbox here with the first mail or at the first sign-in. Answers are remembered for a moment. That a directory does
not answer is an error that passes: nobody hears that there is no such user because of it, and users with a mailbox here
get their mail meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from secrets import token_bytes

from posthouse.mail.address import Address, parse_address
from posthouse.net.directory import NoAnswer, Person, Source
from posthouse.store import accounts
from posthouse.store.accounts import NOWHERE, TAG, Login, NoSuchUser, Resolution, User, canonical
from posthouse.store.script import DirectoryDown, Script, sql
from posthouse.store.store import Store
from posthouse.transport.recent import Recent

REMEMBERED = 10_000  # addresses, and proven passwords: about 3 MiB
MARGIN = 3.0  # a question may have two connections, and time to end; then it is given up
REST = 5.0  # seconds for which a directory that was waited for in vain is not asked again

log = logging.getLogger("posthouse.directory")

Own = tuple[str, ...]  # addresses of one user, as the directory has them


@dataclass(frozen=True, slots=True)
class DirectoryLimits:
    """How long the directory is waited for, how long an answer holds, and how many may ask and wait. Settable."""

    seconds: float = 5.0
    remember_seconds: float = 30.0
    threads: int = 2
    waiting: int = 32


class Directory:
    """A Source with a few threads to ask it, and what it has said lately. One per worker."""

    def __init__(
        self, source: Source, store: Store, limits: DirectoryLimits, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._source, self._store, self._limits, self._now = source, store, limits, now
        self._threads = ThreadPoolExecutor(limits.threads, "directory")
        self._asking = 0
        self._rests_until = 0.0
        self._key = token_bytes(32)
        self._known: Recent[str, tuple[Person | None]] = Recent(REMEMBERED, limits.remember_seconds)
        self._proven: Recent[bytes, Own] = Recent(REMEMBERED, limits.remember_seconds)

    def close(self) -> None:
        """Let the threads end, and the source."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._source.close()

    async def sign_in(self, address: Address, password: bytes) -> Login | None:
        """The login of a user of the directory whose password this is. Raises DirectoryDown, Unavailable."""
        asked = await self._store.read(addressee, address)
        if asked is None or not password:
            return None
        try:
            text = password.decode("utf-8")
        except UnicodeDecodeError:
            return None
        named = canonical(asked)
        key = blake2b(named.encode() + b"\0" + password, key=self._key, digest_size=32).digest()
        own = self._proven.get(key, self._now())
        if own is None:
            person = await self._ask(lambda: self._source.prove(asked, text))
            if person is None:
                self._proven.forget(key)
                return None
            own = person.own
            self._proven.put(key, own, self._now())
            self._known.put(named, (person,), self._now())
        user = await self._admit(asked, own)
        return None if user is None else Login(user.account, user.address, NOWHERE)

    async def vouched(self, address: Address) -> Login | None:
        """The login of a user of the directory for whom a provider's token or a certificate vouches, so that nothing is
        proved here. Raises DirectoryDown, Unavailable."""
        asked = await self._store.read(addressee, address)
        person = None if asked is None else await self._person(asked)
        if asked is None or person is None or person.locked:
            return None
        user = await self._admit(asked, person.own)
        return None if user is None else Login(user.account, user.address, NOWHERE, vouched=True)

    async def named(self, address: Address) -> Address | None:
        """One address for all that a user of the directory has: that of the mailbox here, or else always the same one.
        None where nobody has it, or the directory does not answer. Raises Unavailable."""
        asked = await self._store.read(addressee, address)
        try:
            person = None if asked is None else await self._person(asked)
        except DirectoryDown:
            return None
        if asked is None or person is None:
            return None
        names = names_of(asked, person.own)
        found = await self._store.read(mailbox_of, names)
        return min(names, key=canonical) if found is None else found.address

    async def lets_in(self, address: Address) -> bool:
        """Whether the user of this address, who has a mailbox here, is in the directory and not locked there, so that
        what was proved here counts (decision 0138). Raises DirectoryDown."""
        person = await self._person(address)
        return person is not None and not person.locked

    async def still(self, address: Address) -> bool:
        """The same of the user of an open session: while the directory does not answer, nobody is gone."""
        try:
            return await self.lets_in(address)
        except DirectoryDown:
            return True

    async def resolve(self, address: Address, look: Callable[[], Awaitable[Resolution]]) -> Resolution:
        """Where mail for the address goes; `look` asks the house alone, its catch-all included. Raises DirectoryDown,
        Unavailable."""
        found = await self._store.read(accounts.resolve, address, catch_all=False)
        if isinstance(found, NoSuchUser):
            user = await self._arrival(address)
            return await look() if user is None else (user,)
        if isinstance(found, tuple) and len(found) == 1 and await self._gone(address, found[0]):
            return NoSuchUser(address)
        return found

    async def _arrival(self, address: Address) -> User | None:
        """The mailbox of a user of the directory, made where there was none."""
        asked = await self._store.read(addressee, address)
        base = None if asked is None else asked.local.partition(TAG)[0]
        if asked is None or not base:
            return None
        for local in dict.fromkeys((asked.local, base)):  # two at most
            name = Address(local, asked.domain)
            person = await self._person(name)
            if person is not None:
                return await self._admit(name, person.own)
        return None

    async def _admit(self, asked: Address, own: Own) -> User | None:
        """The account of whom the directory knows by this address; None where that is a local user, or elsewhere."""
        names = names_of(asked, own)
        found = await self._store.read(mailbox_of, names)
        if found is None:
            found = await self._store.run(admit, names)
        if found is None:
            log.warning("a user of the directory has no address that is free here", extra={"user": str(asked)})
        return found

    async def _gone(self, address: Address, user: User) -> bool:
        """Whether a user of the directory, written to by name, is there no more. What leads to the user otherwise still
        does: a duty of the domain (RFC 5321 §4.5.1), an alias."""
        named = accounts.fold(address.local.partition(TAG)[0]) == accounts.fold(user.address.local)
        if not named or await self._store.read(mailbox_of, (user.address,)) is None:
            return False
        try:
            return await self._person(user.address) is None
        except DirectoryDown:
            return False

    async def _person(self, address: Address) -> Person | None:
        name = canonical(address)
        known = self._known.get(name, self._now())
        if known is not None:
            return known[0]
        person = await self._ask(lambda: self._source.find(address))
        self._known.put(name, (person,), self._now())
        return person

    async def _ask(self, question: Callable[[], Person | None]) -> Person | None:
        """Ask in a thread, when one is free, for a while."""
        if self._asking >= self._limits.threads + self._limits.waiting:
            raise DirectoryDown("too many questions wait for the directory of users")
        self._asking += 1
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._patiently, question)
        asked.add_done_callback(self._answered)
        try:
            async with asyncio.timeout(self._limits.seconds * MARGIN):
                return await asyncio.shield(asked)
        except TimeoutError:
            log.warning("the directory of users does not answer in time")
            raise DirectoryDown("the directory of users does not answer in time") from None
        except NoAnswer as error:
            log.warning("the directory of users gives no answer", extra={"why": str(error)})
            raise DirectoryDown("the directory of users does not answer") from error

    def _patiently(self, question: Callable[[], Person | None]) -> Person | None:
        """In a thread: ask, but not a directory that somebody has just waited for in vain: whoever is next in the queue
        would wait as long. Raises NoAnswer."""
        if self._now() < self._rests_until:
            raise NoAnswer("it did not answer in time a moment ago")
        began = self._now()
        try:
            return question()
        except NoAnswer:
            if self._now() - began >= self._limits.seconds:
                self._rests_until = self._now() + REST
            raise

    def _answered(self, done: "asyncio.Future[Person | None]") -> None:
        self._asking -= 1
        if not done.cancelled():
            done.exception()  # seen, also where nobody waits any more


def names_of(asked: Address, own: Own) -> tuple[Address, ...]:
    """The addresses of a user of the directory; first the one that was asked for: another may have been somebody
    else's, whose mailbox is still here."""
    names = tuple(address for address in map(parse_address, own) if address is not None) if own else (asked,)
    return tuple(sorted(names, key=lambda name: canonical(name) != canonical(asked)))


def addressee(address: Address) -> Script[Address | None]:
    """Whom the directory is asked for: the user of this address where there is one; None for a domain that is not
    here."""
    known = yield from accounts.known_as(address)
    if known is not None:
        return known.address
    return (yield from accounts.at_home(address))


def mailbox_of(addresses: Sequence[Address]) -> Script[User | None]:
    """The account of the user of the directory who has one of these addresses."""
    for address in addresses:  # inside one script
        known = yield from accounts.known_as(address)
        rows = [] if known is None else (yield sql("SELECT 1 FROM directory_user WHERE account = $1", known.account))
        if rows:
            return known
    return None


def admit(addresses: Sequence[Address]) -> Script[User | None]:
    """The account of a user of the directory, made now where there is none, of the first address that is free. None
    where local users, aliases and groups have them, or no domain of them is here."""
    known = yield from mailbox_of(addresses)
    if known is not None:
        return known
    for address in addresses:  # inside one script
        here = yield from accounts.at_home(address)
        if here is None or here.local == accounts.EVERYBODY:
            continue
        if (yield from accounts.known_as(here)) is None and not (yield from accounts.targets_of(here)):
            return User((yield from accounts.add_account(here, None)), here)
    return None
