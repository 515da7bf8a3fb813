"""serve/login.py: who may come in (limits.md §1 and S8; RFC 4422, RFC 4616, RFC 5802)."""

import asyncio
import logging
import stat
import threading
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from household import ANNA, BEN, PASSWORD, credential
from posthouse.mail.address import Address, Domain
from posthouse.serve import login as login_module
from posthouse.serve.caller import Caller
from posthouse.serve.limits import PeerLimits, Peers, Refusal, Service, WorkerLimits
from posthouse.serve.login import PROVEN_SECONDS, Ask, Door, load_secret
from posthouse.serve.passwords import make_credential, password_matches
from posthouse.store import accounts, aliases, renaming
from posthouse.store.accounts import Login
from posthouse.store.store import Store
from posthouse.wire.sasl import PASSWORD_LENGTH
from scram_peer import ScramPeer

IP = "192.0.2.1"
IMAP = Service.IMAP
KINDS = ("SCRAM-SHA-256", "SCRAM-SHA-1")
CALLER = Caller(IP, IMAP)
NAME = str(ANNA)
RIGHT = PASSWORD.encode()


class Time:
    """A clock that stands still, and a sleep that says for how long it was asked."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def time_() -> Time:
    return Time()


@pytest.fixture
async def gate(store: Store, time_: Time) -> AsyncIterator[Door]:
    door = Door(store, Peers(PeerLimits(), lambda: time_.now), secret=b"k" * 32, sleep=time_.sleep)
    yield door
    door.close()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords for which Argon2id really ran."""
    seen: list[bytes] = []

    def spy(stored: str, password: bytes) -> bool:
        seen.append(password)
        return password_matches(stored, password)

    monkeypatch.setattr(login_module, "password_matches", spy)
    return seen


async def test_the_right_password_opens_the_account(gate: Door, time_: Time) -> None:
    login = await gate.verify(NAME, RIGHT, CALLER)
    assert isinstance(login, Login)
    assert login.address == ANNA
    assert time_.slept == []


async def test_names_are_compared_without_regard_to_case(gate: Door) -> None:
    login = await gate.verify("ANNA@Home.Test", RIGHT, CALLER)
    assert isinstance(login, Login)
    assert login.address == ANNA


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (NAME, b"wrong"),
        (NAME, b""),
        (NAME, b"\xff\xfe"),
        (NAME, RIGHT + b"\0x"),
        (f"{NAME}\0x", RIGHT),
        ("nobody@home.test", RIGHT),
        ("nobody@elsewhere.test", RIGHT),
        ("anna", RIGHT),  # the name is the whole address
        ("hello@home.test", RIGHT),  # an alias is no user
        ("anna+tag@home.test", RIGHT),
        ("", b""),
        ("a" * 300 + "@home.test", RIGHT),
        ("anna@home.test\r\n", RIGHT),
    ],
)
async def test_every_failure_looks_the_same(gate: Door, time_: Time, name: str, password: bytes) -> None:
    assert await gate.verify(name, password, CALLER) is Refusal.WRONG
    assert time_.slept == [PeerLimits().refusal_seconds]


async def test_an_unknown_user_costs_a_hash_too(gate: Door, hashed: list[bytes]) -> None:
    await gate.verify("nobody@home.test", b"guess", CALLER)
    await gate.verify(NAME, b"guess", CALLER)
    assert hashed == [b"guess", b"guess"]


async def test_the_delay_counts_from_the_question(store: Store) -> None:
    door = Door(store, Peers(), sleep=asyncio.sleep)
    began = time.monotonic()
    assert await door.verify("nobody@home.test", b"x", Caller("192.0.2.2", IMAP)) is Refusal.WRONG
    assert time.monotonic() - began >= 1.95
    door.close()


async def test_a_proven_password_is_remembered(gate: Door, time_: Time, hashed: list[bytes]) -> None:
    for _ in range(3):
        assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    assert len(hashed) == 1
    time_.now += PROVEN_SECONDS + 1
    assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    assert len(hashed) == 2


async def test_a_wrong_password_is_never_remembered(gate: Door, hashed: list[bytes]) -> None:
    for _ in range(2):
        await gate.verify(NAME, b"wrong", CALLER)
    assert len(hashed) == 2


async def test_a_warm_login_is_cheap(gate: Door) -> None:
    await gate.verify(NAME, RIGHT, CALLER)
    began = time.process_time()
    for _ in range(1_000):
        await gate.verify(NAME, RIGHT, CALLER)
    assert (time.process_time() - began) / 1_000 < 0.005  # seconds of CPU: a hash costs ten times as much at least


async def test_a_new_password_is_in_force_at_once(gate: Door, store: Store) -> None:
    assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    await store.run(accounts.set_password, ANNA, make_credential("another"))
    assert await gate.verify(NAME, RIGHT, CALLER) is Refusal.WRONG
    assert isinstance(await gate.verify(NAME, b"another", CALLER), Login)


async def test_a_new_user_may_log_in_at_once(gate: Door, store: Store) -> None:
    assert await gate.verify("carl@home.test", RIGHT, CALLER) is Refusal.WRONG
    await store.run(accounts.add_account, Address("carl", Domain("home.test")), credential())
    assert isinstance(await gate.verify("carl@home.test", RIGHT, CALLER), Login)


async def test_two_users_with_one_password_are_not_confused(gate: Door, store: Store) -> None:
    """S29 of limits.md: every key of a cache begins with the user."""
    await store.run(accounts.set_password, BEN, make_credential("other"))
    assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    assert await gate.verify(str(BEN), RIGHT, CALLER) is Refusal.WRONG
    ben = await gate.verify(str(BEN), b"other", CALLER)
    assert isinstance(ben, Login)
    assert ben.address == BEN


async def test_a_full_queue_of_hashes_refuses_for_now(gate: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(login_module, "password_matches", lambda stored, password: release.wait(60) and False)
    room = WorkerLimits().hash_threads + WorkerLimits().hash_queue
    from_everywhere = [Caller(f"{number}.0.2.1", IMAP) for number in range(1, room + 1)]
    waiting = [asyncio.create_task(gate.verify(NAME, each.ip.encode(), each)) for each in from_everywhere]
    for _ in range(10_000):
        await asyncio.sleep(0.001)
        if len(gate._checking) == room:
            break
    assert await gate.verify(NAME, b"one more", CALLER) is Refusal.BUSY
    release.set()
    assert await asyncio.gather(*waiting) == [Refusal.WRONG] * room
    assert gate._checking == {}


async def test_many_logins_at_once_with_one_password_cost_one_hash(gate: Door, hashed: list[bytes]) -> None:
    found = await asyncio.gather(*(gate.verify(NAME, RIGHT, CALLER) for _ in range(100)))
    assert all(isinstance(login, Login) for login in found)
    assert len(hashed) == 1


async def test_a_cancelled_login_does_not_disturb_the_other(gate: Door) -> None:
    await gate.verify(NAME, b"wrong", CALLER)
    first = asyncio.create_task(gate.verify(NAME, RIGHT, CALLER))
    second = asyncio.create_task(gate.verify(NAME, RIGHT, CALLER))
    for _ in range(100_000):
        await asyncio.sleep(0)
        if gate._checking:
            break
    assert len(gate._checking) == 1
    first.cancel()
    assert isinstance(await second, Login)


async def test_an_address_that_failed_too_often_is_locked_out(gate: Door, hashed: list[bytes], time_: Time) -> None:
    for _ in range(10):
        assert await gate.verify(NAME, b"wrong", CALLER) is Refusal.WRONG
    assert await gate.verify(NAME, RIGHT, CALLER) is Refusal.FAILURES
    assert len(hashed) == 10  # the eleventh costs no hash
    assert time_.slept == [PeerLimits().refusal_seconds] * 11
    assert isinstance(await gate.verify(NAME, RIGHT, Caller("198.51.100.1", IMAP)), Login)


async def test_an_address_that_logged_in_well_is_not(gate: Door) -> None:
    assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    for _ in range(20):
        await gate.verify(NAME, b"wrong", CALLER)
    assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)


async def test_a_good_login_lifts_limits_for_that_account_only(gate: Door) -> None:
    """Whoever has an account may not guess at all others."""
    for _ in range(10):
        assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
        assert await gate.verify(str(BEN), b"wrong", CALLER) is Refusal.WRONG
    assert await gate.verify(str(BEN), b"wrong", CALLER) is Refusal.FAILURES
    assert isinstance(await gate.verify("ANNA@Home.Test", RIGHT, CALLER), Login)
    assert (await scram(gate, str(BEN), PASSWORD))[0] is Refusal.FAILURES
    assert isinstance((await scram(gate, NAME, PASSWORD))[0], Login)


async def test_a_login_holds_until_the_account_changes(gate: Door, store: Store) -> None:
    login = await gate.verify(NAME, RIGHT, CALLER)
    assert isinstance(login, Login)
    assert await gate.holds(login)
    await store.run(aliases.remove_alias, Address("info", Domain("home.test")))
    await store.run(aliases.remove_alias, Address("hello", Domain("home.test")))
    await store.run(accounts.remove_account, ANNA)
    assert not await gate.holds(login)
    assert await gate.verify(NAME, RIGHT, CALLER) is Refusal.WRONG
    await store.run(accounts.add_account, ANNA, credential())
    assert not await gate.holds(login)  # another account of the same name


async def test_a_password_changed_during_scram(gate: Door, store: Store) -> None:
    client = ScramPeer(NAME, PASSWORD, "fyko+d2lbbFgONRv9qkxdawL")

    async def ask(challenge: bytes) -> bytes | None:
        if challenge.startswith(b"v="):
            return b""
        await store.run(accounts.set_password, ANNA, make_credential("another"))
        return client.final(challenge)

    assert await gate.authenticate("SCRAM-SHA-256", client.first(), ask, CALLER) is Refusal.WRONG


async def test_every_refusal_is_one_line_in_the_log(gate: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "posthouse.login")
    await gate.verify(NAME, b"sesame", CALLER)
    await gate.verify("nobody\r\n x" + "y" * 1_000, b"sesame", Caller(IP, Service.SMTP))
    await scram(gate, NAME, "sesame")
    await gate.authenticate("LOGIN", NAME.encode(), answers(None), Caller(IP, Service.SMTP))
    await gate.authenticate("PLAIN", b"sesame", answers(), CALLER)
    await gate.authenticate("CRAM-MD5", None, answers(), CALLER)
    lines = [(r.getMessage(), *(vars(r)[f] for f in ("peer", "user", "protocol", "reason"))) for r in caplog.records]
    wrong = "wrong user name or password"
    assert lines == [
        ("login refused", IP, NAME, "imap", wrong),
        ("login refused", IP, ("nobody\\x0d\\x0a\\x20x" + "y" * 100)[:100], "smtp", wrong),
        ("login refused", IP, NAME, "imap", wrong),
        ("login refused", IP, "", "smtp", "the client gave up"),
        ("login refused", IP, "", "imap", "not an answer to the challenge"),
        ("login refused", IP, "", "imap", "unknown mechanism"),
    ]
    assert "sesame" not in caplog.text + "".join(str(vars(record)) for record in caplog.records)


async def test_an_account_guessed_at_from_everywhere_answers_slowly(gate: Door, time_: Time) -> None:
    for number in range(101):
        await gate.verify("nobody@home.test", b"x", Caller(f"198.{18 + number % 2}.{number}.1", IMAP))
    assert time_.slept == [PeerLimits().refusal_seconds] * 100 + [PeerLimits().slow_refusal_seconds]


def answers(*lines: bytes | None) -> Ask:
    """A client that gives these answers, whatever it is asked."""
    rest = list(lines)

    async def ask(challenge: bytes) -> bytes | None:
        return rest.pop(0)

    return ask


async def test_plain(gate: Door) -> None:
    """RFC 4616 §2."""
    message = b"\0" + NAME.encode() + b"\0" + RIGHT
    assert isinstance(await gate.authenticate("PLAIN", message, answers(), CALLER), Login)
    assert isinstance(await gate.authenticate("PLAIN", None, answers(message), CALLER), Login)
    same = NAME.encode() + message
    assert isinstance(await gate.authenticate("PLAIN", same, answers(), CALLER), Login)


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        (b"\0anna@home.test\0wrong", Refusal.WRONG),
        (b"ben@work.test\0anna@home.test\0" + RIGHT, Refusal.WRONG),  # nobody acts for another
        (b"anna@home.test", Refusal.MALFORMED),
        (b"\0anna@home.test\0" + RIGHT + b"\0more", Refusal.MALFORMED),
    ],
)
async def test_plain_refused(gate: Door, message: bytes, refusal: Refusal) -> None:
    assert await gate.authenticate("PLAIN", message, answers(), CALLER) is refusal


async def test_login(gate: Door) -> None:
    assert isinstance(await gate.authenticate("LOGIN", None, answers(NAME.encode(), RIGHT), CALLER), Login)
    assert isinstance(await gate.authenticate("LOGIN", NAME.encode(), answers(RIGHT), CALLER), Login)
    assert await gate.authenticate("LOGIN", None, answers(NAME.encode(), b"wrong"), CALLER) is Refusal.WRONG


async def test_a_client_may_give_up(gate: Door, time_: Time) -> None:
    """RFC 4954 §4."""
    assert await gate.authenticate("LOGIN", None, answers(NAME.encode(), None), CALLER) is Refusal.CANCELLED
    assert time_.slept == []


async def test_an_unknown_mechanism(gate: Door) -> None:
    assert await gate.authenticate("CRAM-MD5", None, answers(), CALLER) is Refusal.MECHANISM


async def scram(
    door: Door, user: str, password: str, mechanism: str = "SCRAM-SHA-256"
) -> tuple[Login | Refusal, list[bytes]]:
    """A SCRAM exchange; gives the result and what the server said."""
    client = ScramPeer(user, password, "fyko+d2lbbFgONRv9qkxdawL", mechanism)
    said: list[bytes] = []

    async def ask(challenge: bytes) -> bytes | None:
        said.append(challenge)
        if len(said) == 1:
            return client.final(challenge)
        assert client.verify(challenge)
        return b""

    return await door.authenticate(mechanism, client.first(), ask, CALLER), said


async def test_scram(gate: Door) -> None:
    """RFC 5802 §5, RFC 7677."""
    login, said = await scram(gate, NAME, PASSWORD)
    assert isinstance(login, Login)
    assert login.address == ANNA
    assert len(said) == 2


async def test_scram_refused_the_same_for_everyone(gate: Door, time_: Time) -> None:
    wrong, of_anna = await scram(gate, NAME, "wrong")
    unknown, of_nobody = await scram(gate, "nobody@home.test", PASSWORD)
    again, of_nobody_again = await scram(gate, "nobody@home.test", PASSWORD)
    assert (wrong, unknown, again) == (Refusal.WRONG,) * 3
    assert time_.slept == [PeerLimits().refusal_seconds] * 3

    def salt(said: list[bytes]) -> bytes:
        assert len(said) == 1
        return dict(piece.split(b"=", 1) for piece in said[0].split(b","))[b"s"]

    assert salt(of_nobody) == salt(of_nobody_again) != salt(of_anna)
    assert len(b64decode(salt(of_nobody))) == len(b64decode(salt(of_anna)))


async def test_scram_by_sha_1(gate: Door) -> None:
    """RFC 5802 §4."""
    login, said = await scram(gate, NAME, PASSWORD, "SCRAM-SHA-1")
    assert isinstance(login, Login)
    assert len(said) == 2
    assert (await scram(gate, NAME, "wrong", "SCRAM-SHA-1"))[0] is Refusal.WRONG


async def test_a_password_of_before_gets_its_keys_when_it_is_said(gate: Door, store: Store) -> None:
    """Decision 0103. Until then the exchange looks as for a wrong password, of the same salt."""
    await store.run(accounts.set_password, ANNA, make_credential(PASSWORD)._replace(scram_sha1=None))
    refused, said = await scram(gate, NAME, PASSWORD, "SCRAM-SHA-1")
    assert refused is Refusal.WRONG
    first = await gate.verify(NAME, PASSWORD.encode(), CALLER)
    assert isinstance(first, Login)
    accepted, said_now = await scram(gate, NAME, PASSWORD, "SCRAM-SHA-1")
    assert isinstance(accepted, Login)
    assert said[0].partition(b",")[2] == said_now[0].partition(b",")[2]
    assert await gate.holds(first)  # it was not the password that changed
    await store.run(accounts.set_password, ANNA, make_credential("another")._replace(scram_sha1=None))
    assert (await scram(gate, NAME, PASSWORD, "SCRAM-SHA-1"))[0] is Refusal.WRONG


async def test_keys_of_sha_1_are_not_those_of_another_password(store: Store) -> None:
    """An older Posthouse sets a password without them; and one may be changed while they are made."""
    old = make_credential(PASSWORD)
    await store.run(accounts.set_password, ANNA, old)
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    assert login.credential.scram_sha1 == old.scram_sha1 is not None
    new = make_credential("another")
    await store.run(accounts.set_password, ANNA, new._replace(scram_sha1=None))
    await store.run(accounts.add_scram_sha1, login.account, old.scram_sha256, old.scram_sha1)
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    assert login.credential.scram_sha1 is None


async def test_both_kinds_have_one_salt(gate: Door, time_: Time) -> None:
    """So that nobody learns from two exchanges whether a user exists (RFC 5802 §5.1)."""
    for name in (NAME, "nobody@home.test"):
        salts = [(await scram(gate, name, "wrong", kind))[1][0].partition(b",s=")[2] for kind in KINDS]
        assert salts[0] == salts[1]
    assert time_.slept == [PeerLimits().refusal_seconds] * 4


async def test_all_spellings_of_a_name_have_one_salt(gate: Door, store: Store) -> None:
    """A user's salt does not depend on how the name is spelled, so that of nobody must not either (RFC 5802 §5.1)."""
    await store.run(renaming.name_domain, Domain("house.test"), Domain("home.test"))
    for name in ("anna", "nobody"):
        spellings = (f"{name}@home.test", f"{name.upper()}@Home.Test", f"{name}@HOUSE.test", f"{name}@home.test.")
        salts = {(await scram(gate, each, "wrong"))[1][0].partition(b",s=")[2] for each in spellings}
        assert len(salts) == 1, name


def test_the_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    secret = load_secret(tmp_path)
    assert len(secret) == 32
    assert load_secret(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("password", ["", "with\0nul", "with\nline"])
def test_passwords_that_cannot_be(password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        make_credential(password)


@pytest.mark.parametrize("password", ["x" * (PASSWORD_LENGTH + 1), "\u00fc" * PASSWORD_LENGTH])
def test_a_password_that_is_too_long_is_said_to_be(password: str) -> None:
    with pytest.raises(ValueError, match="The password is too long: 1,024 octets are the most"):
        make_credential(password)


def test_passwords_outside_ascii_agree_in_every_spelling() -> None:
    """RFC 4013: what a keyboard composes and what another decomposes is one password."""
    stored = make_credential("Gr\u00fc\u00dfe \U0001f600").password_hash
    assert password_matches(stored, "Gru\u0308\u00dfe \U0001f600".encode())
    assert not password_matches(stored, "Grusse \U0001f600".encode())
