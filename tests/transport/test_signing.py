"""What leaves in the name of the house is signed (RFC 6376 §5, RFC 8460 §3), by keys whose records were seen."""

import asyncio
import mmap
from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes import Seconds, ZoneResolver
from household import ANNA, BEN, HOSTNAME, NOW, inbox
from posthouse.mail import content
from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.downgrade import Unfit
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import AccountId, Millis, Trail
from posthouse.mail.mime import parse
from posthouse.net.dkimkeys import Pair, check_seal, make_pair, record
from posthouse.store import accounts, domainkeys, journal
from posthouse.store.domainkeys import KEPT, DomainKey, KeyPhase, phases
from posthouse.store.script import Script, Unavailable, sql
from posthouse.store.store import Store
from posthouse.trace import sentences
from posthouse.transport import encoding, journey, receive, signing
from posthouse.transport.bounce import Letter
from posthouse.transport.client import Client
from posthouse.transport.house import House
from posthouse.transport.keep import Incoming
from posthouse.transport.letter import make_ready, take_letter
from posthouse.transport.parcel import Parcel, fitted, measured
from posthouse.transport.route import Leads
from posthouse.transport.signing import Signing, above, author_domain, due, look_at
from posthouse.trust.dkim import Algorithm, Checked, Rules, find_signatures, queries, record_name, verify
from posthouse.trust.resolver import Found
from posthouse.wire.smtp.replied import Announced

PAIRS: dict[Algorithm, Pair] = {algorithm: make_pair(algorithm) for algorithm in Algorithm}
FAR = Address("carl", Domain("far.test"))
TRAIL = Trail("0" * 16)
HOUR = 3_600_000


def keys_of(domain: str, name: str = "s", made: int = NOW, seen: int | None = NOW) -> list[DomainKey]:
    return [
        DomainKey(
            domain, name + algorithm.kind, algorithm.value, *pair, Millis(made), None if seen is None else Millis(seen)
        )
        for algorithm, pair in PAIRS.items()
    ]


def zone(*keys: DomainKey) -> ZoneResolver:
    lines = []
    for key in keys:
        text = record(Algorithm(key.algorithm), key.public)
        strings = " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))
        lines.append(f"{record_name(key.selector, Domain(key.domain))}. TXT {strings}")
    return ZoneResolver("\n".join(lines) or "nothing.test. A 5.5.5.5")


async def checked(octets: bytes, resolver: ZoneResolver, service: str = "email") -> list[Checked]:
    found = find_signatures(octets)
    records = {name: await resolver.txt(name) for name in queries(found)}
    return list(verify(octets, found, records, Rules(check_seal, NOW // 1_000, service)))


async def queued(store: Store) -> list[bytes]:
    """What waits for other servers, as it goes out."""

    def items() -> Script[list[tuple[int, str]]]:
        rows = yield sql("SELECT skip, blob FROM queue_item ORDER BY id")
        return [(skip, blob) for skip, blob in rows]

    return [(await store.blobs.get(blob))[skip:] for skip, blob in await store.read(items)]  # type: ignore[arg-type]


# --- which keys sign


def test_what_keys_are_good_for() -> None:
    """RFC 6376 §5.2: the old record stays, for mail that is still on its way."""
    old, new = keys_of("home.test", "a")[:1], keys_of("home.test", "b", NOW + 1)[:1]
    unseen = [new[0]._replace(seen=None)]
    other = keys_of("home.test", "c", NOW + 2)[1:]

    def stand(keys: Sequence[DomainKey], now: int = NOW) -> list[KeyPhase]:
        return [phase for _, phase in phases(keys, Millis(now))]

    assert stand([old[0]._replace(seen=None)]) == [KeyPhase.WAITING]
    assert stand(old) == [KeyPhase.SIGNING]
    assert stand(old + unseen) == [KeyPhase.SIGNING, KeyPhase.WAITING]
    assert stand(old + new) == [KeyPhase.REPLACED, KeyPhase.SIGNING]
    assert stand(old + new, NOW + KEPT) == [KeyPhase.OVER, KeyPhase.SIGNING]
    assert stand(old + other) == [KeyPhase.SIGNING, KeyPhase.SIGNING], "of another algorithm"


async def test_keys_sign_once_their_records_are_seen(store: Store) -> None:
    clock = Seconds()
    ours = Signing(clock)
    old, new = keys_of("home.test", "a", seen=None), keys_of("home.test", "b", NOW + 1, None)
    await store.run(domainkeys.add, "home.test", old)

    async def selectors(domain: str = "home.test") -> list[str]:
        clock.now += signing.REMEMBERED_SECONDS
        return [signer.selector for signer in (await ours.keys((domain,), store)).signers]

    assert await selectors() == []
    await look_at(await store.read(domainkeys.every), zone(), Millis(NOW), store)
    assert {key.found for key in await store.read(domainkeys.of, "home.test")} == {"MISSING"}
    assert await selectors() == []
    await look_at(await store.read(domainkeys.every), zone(*old), Millis(NOW), store)
    assert await selectors() == ["arsa", "aed25519"]
    await store.run(domainkeys.add, "home.test", new)
    assert await selectors() == ["arsa", "aed25519"]
    await look_at(await store.read(domainkeys.every), zone(*old, new[0]), Millis(NOW + 1), store)
    assert await selectors() == ["brsa", "aed25519"], "each when it is seen"
    await look_at(await store.read(domainkeys.every), zone(*old, *new), Millis(NOW + 2), store)
    assert await selectors("work.test") == []
    assert await selectors() == ["brsa", "bed25519"]
    await store.run(domainkeys.remove, "home.test")
    assert len((await ours.keys(("home.test",), store)).signers) == 2, "for a moment more"
    assert await selectors() == []


async def test_a_dns_that_fails_changes_nothing(store: Store) -> None:
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    resolver = zone(*keys)
    resolver.failing |= {record_name(key.selector, Domain("home.test")): Found.TIMEOUT for key in keys}
    await look_at(keys, resolver, Millis(NOW), store)
    assert await store.read(domainkeys.of, "home.test") == sorted(keys, key=lambda key: key.selector)


async def test_a_key_that_cannot_be_read_is_passed_over(store: Store) -> None:
    first, second = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", [first._replace(private=b"no key"), second])
    [signer], _ = await Signing().keys(("home.test",), store)
    assert signer.selector == second.selector
    wrong = second._replace(domain="work.test", algorithm="dsa")
    await store.run(domainkeys.add, "work.test", [wrong])
    assert await Signing().keys(("work.test",), store) == ((), "the keys of work.test cannot be read")


async def test_somebody_keeps_looking(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot answer is asked again."""
    keys = keys_of("home.test", seen=None)
    await store.run(domainkeys.add, "home.test", keys)
    monkeypatch.setattr(signing, "LOOK_SECONDS", 0.01)
    fails = [Unavailable("not now")]

    def clock() -> Millis:
        if fails:
            raise fails.pop()
        return Millis(NOW)

    task = asyncio.create_task(signing.keep_looking(store, zone(*keys), clock))
    while len((await Signing().keys(("home.test",), store)).signers) < len(keys):
        assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [key.seen for key in await store.read(domainkeys.of, "home.test")] == [NOW, NOW]


def test_when_records_are_looked_at() -> None:
    key = keys_of("home.test")[0]._replace(looked=Millis(NOW), found="GOOD")
    assert due([key], Millis(NOW + HOUR - 1)) == []
    assert due([key], Millis(NOW + HOUR)) == [key]
    assert due([key], Millis(NOW - 1)) == [key], "the clock was set back"
    for wrong in (key._replace(seen=None), key._replace(found="CUT")):
        assert due([wrong], Millis(NOW)) == [wrong]


def test_whose_signature_it_is() -> None:
    assert above("mx.mail.Home.test") == ("mx.mail.home.test", "mail.home.test", "home.test")
    assert above("localhost") == ("localhost",)
    assert author_domain(b'From: "a@b.test" <x@HOME.test>\r\n\r\n') == ("home.test",)
    for nobody in (b"From: x\r\n\r\n", b"To: x@home.test\r\n\r\n", b""):
        assert author_domain(nobody) == ()


# --- mail of users

LETTER = b"From: Anna <anna@home.test>\r\nTo: carl@far.test\r\nBcc: secret@far.test\r\nSubject: x\r\n\r\nHello\r\n"


ELSEWHERE = Leads(leaves=True)


async def submit(
    house: House, octets: bytes | mmap.mmap, *, login: bool = True, leads: Leads = ELSEWHERE, release: int = 0
) -> None:
    anna = await house.store.read(accounts.find_login, ANNA)
    client = Client("192.0.2.1", "client.test", login=anna if login else None)
    envelope = Envelope(ReversePath(ANNA), (Recipient(ForwardPath(FAR)),))
    answer = await receive.take(Incoming(TRAIL, client, envelope, (leads,), octets, release), house)
    assert answer == receive.TAKEN


async def test_mail_of_users_is_signed(house: House, store: Store) -> None:
    """RFC 6376 §5.1, by the domain of the author; what we add is signed, what we take out is not."""
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    await submit(house, LETTER)
    [octets] = await queued(store)
    assert octets.startswith(b"Received: ")
    assert octets.index(b"\r\nDKIM-Signature: ") < octets.index(b"\r\nDate: ") < octets.index(b"\r\nFrom: ")
    assert b"Bcc" not in octets
    assert [(one.selector, one.fault) for one in await checked(octets, zone(*keys))] == [
        ("srsa", None),
        ("sed25519", None),
    ]
    signature = find_signatures(octets)[0].read
    assert getattr(signature, "at", None) == NOW // 1_000
    assert getattr(signature, "expires", None) == NOW // 1_000 + 7 * 86_400, "5 days in our queue, and 2 elsewhere"
    damaged = octets.replace(b"Date: Tue", b"Date: Wed")
    assert damaged != octets
    assert None not in [one.fault for one in await checked(damaged, zone(*keys))]


@pytest.mark.parametrize(
    "octets",
    [b"no header at all\r\n", b"\r\nno header either\r\n", b"Subject: only this\r\n", b"To: x@far.test\r\n\r\n"],
)
async def test_mail_that_is_hardly_any(house: House, store: Store, octets: bytes) -> None:
    """What we add makes it a message, and is signed."""
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    await submit(house, octets)
    [sent] = await queued(store)
    assert b"\r\nFrom: <anna@home.test>\r\n" in sent
    assert [one.fault for one in await checked(sent, zone(*keys))] == [None, None]


async def test_mail_that_is_held_back_is_signed_for_later(house: House, store: Store) -> None:
    """RFC 4865 §4."""
    await store.run(domainkeys.add, "home.test", keys_of("home.test"))
    anna = await store.read(accounts.find_login, ANNA)
    envelope = Envelope(ReversePath(ANNA), (Recipient(ForwardPath(FAR)),))
    client = Client("192.0.2.1", "client.test", login=anna)
    month = 31 * 86_400_000
    mail = Incoming(TRAIL, client, envelope, (Leads(leaves=True),), LETTER, release=NOW + month)
    assert await receive.take(mail, house) == receive.TAKEN
    [octets] = await queued(store)
    assert getattr(find_signatures(octets)[0].read, "expires", None) == (NOW + month) // 1_000 + 7 * 86_400


# --- mail that not every server takes as it is

GREETING = "Grüße aus Köln".encode()
EIGHT_BIT = (
    b"From: Anna <anna@home.test>\r\nTo: carl@far.test\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + GREETING + b"\r\n"
)
SEALED = (
    b"From: Anna <anna@home.test>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/signed; boundary=b; protocol="application/pgp-signature"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + GREETING + b"\r\n--b\r\n"
    b"Content-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
)
FORWARDED = (
    b"From: Anna <anna@home.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + GREETING + b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256\r\n" + EIGHT_BIT + b"\r\n--b--\r\n"
)
UTF8_SUBJECT = EIGHT_BIT.replace(b"MIME-", "Subject: Köln\r\nMIME-".encode(), 1)


async def as_sent(octets: bytes, *, eight_bit: bool) -> bytes:
    """As a server gets it."""
    parcel = await fitted(await measured(octets), Announced(eight_bit=eight_bit))
    assert isinstance(parcel, Parcel)
    return parcel.whole()


@pytest.mark.parametrize("text", [GREETING, b"<p>" + b"long " * 400, GREETING + b"\r\n" + b"x" * 1_200])
async def test_every_server_gets_what_was_signed(house: House, store: Store, text: bytes) -> None:
    """RFC 6376 §5.3: encoded before, and not behind the signature."""
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    await submit(house, EIGHT_BIT.replace(GREETING, text).replace(b"To:", b"Bcc: x@far.test\r\nTo:"))
    [octets] = await queued(store)
    assert octets.isascii()
    assert b"Bcc" not in octets
    for eight_bit in (True, False):
        sent = await as_sent(octets, eight_bit=eight_bit)
        assert sent == octets
        assert [one.fault for one in await checked(sent, zone(*keys))] == [None, None]
    root = parse(octets)
    assert content.decoded(octets, root) == text + b"\r\n"


@pytest.mark.parametrize("octets", [SEALED, UTF8_SUBJECT])
async def test_what_cannot_be_encoded_is_signed_as_it_is(house: House, store: Store, octets: bytes) -> None:
    """And goes to no server that must have it otherwise."""
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    await submit(house, octets)
    [kept] = await queued(store)
    assert GREETING in kept
    assert await as_sent(kept, eight_bit=True) == kept
    assert isinstance(await fitted(await measured(kept), Announced(eight_bit=False)), Unfit)
    assert [one.fault for one in await checked(kept, zone(*keys))] == [None, None]


async def test_long_lines_below_a_header_in_utf8(house: House, store: Store) -> None:
    """It goes to servers that take eight bits, and none of those takes long lines."""
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    await submit(house, UTF8_SUBJECT + b"x" * 1_200 + b"\r\n")
    [kept] = await queued(store)
    assert await as_sent(kept, eight_bit=True) == kept
    assert [one.fault for one in await checked(kept, zone(*keys))] == [None, None]


@pytest.mark.parametrize(
    ("domain", "leads", "release", "encoded"),
    [
        ("home.test", ELSEWHERE, 0, True),
        ("home.test", Leads(forwards=(FAR,)), 0, True),
        ("home.test", Leads(accounts=(AccountId(1),)), NOW + HOUR, True),
        ("home.test", Leads(accounts=(AccountId(1),)), 0, False),
        ("work.test", ELSEWHERE, 0, False),
    ],
)
async def test_only_what_leaves_signed_is_encoded(
    house: House, store: Store, domain: str, leads: Leads, release: int, encoded: bool
) -> None:
    """Everything else stays as it came, octet for octet."""
    await store.run(domainkeys.add, domain, keys_of(domain))
    await submit(house, EIGHT_BIT, leads=leads, release=release)
    rows = await store.read(journal.recent, Millis(0), ("taken",))
    story = journey.read(rows[0]).story
    octets = (await queued(store) or await inbox(store, ANNA))[0]
    assert (GREETING not in octets) is encoded
    assert story["size"] == len(EIGHT_BIT)


async def test_a_message_too_large_to_be_taken_apart(
    house: House, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    monkeypatch.setattr(encoding, "LARGEST", len(EIGHT_BIT) - 1)
    await submit(house, EIGHT_BIT)
    [octets] = await queued(store)
    assert octets.endswith(EIGHT_BIT[-100:])
    assert [one.fault for one in await checked(octets, zone(*keys))] == [None, None]


# --- told

UNSIGNED = "it leaves without a signature of ours (DKIM): "


@pytest.mark.parametrize(
    ("keys", "login", "told"),
    [
        (keys_of("home.test"), True, "signed by home.test (DKIM, selectors srsa and sed25519)"),
        (keys_of("home.test")[:1], True, "signed by home.test (DKIM, selector srsa)"),
        ([], True, UNSIGNED + "home.test has no keys"),
        (
            keys_of("home.test", seen=None),
            True,
            UNSIGNED + "the records of the keys of home.test were not seen in the DNS yet",
        ),
        (
            keys_of("home.test"),
            False,
            UNSIGNED + "it is only sent on, and a signature with which it came goes along",
        ),
    ],
)
async def test_the_journey_tells_who_signed(
    house: House, store: Store, keys: list[DomainKey], login: bool, told: str
) -> None:
    """Or why nobody did."""
    await store.run(domainkeys.add, "home.test", keys)
    await submit(house, LETTER, login=login, leads=ELSEWHERE if login else Leads(forwards=(FAR,)))
    [row] = await store.read(journal.recent, Millis(0), ("taken",))
    entry = journey.read(row)
    assert sentences(entry)[1] == told
    signed = [{"domain": "home.test", "selector": key.selector} for key in keys] if told.startswith("signed") else None
    assert entry.story.get("signed") == signed
    assert ("unsigned" in entry.story) is (signed is None)


@pytest.mark.parametrize(("leads", "login"), [(Leads(accounts=(AccountId(1),)), True), (Leads(waits=(BEN,)), False)])
async def test_what_stays_here_needs_no_word_of_signatures(
    house: House, store: Store, leads: Leads, login: bool
) -> None:
    """Nor what waits for somebody here who has no room."""
    await submit(house, LETTER, leads=leads, login=login)
    [row] = await store.read(journal.recent, Millis(0), ("taken",))
    assert not {"signed", "unsigned"} & set(journey.read(row).story)


@pytest.mark.parametrize("domain", ["work.test", "test", "mail.home.test"])
async def test_no_other_domain_signs_for_users(house: House, store: Store, domain: str) -> None:
    await store.run(domainkeys.add, domain, keys_of(domain))
    await submit(house, LETTER)
    [octets] = await queued(store)
    assert b"DKIM-Signature" not in octets


async def test_strangers_are_not_signed_for(house: House, store: Store) -> None:
    await store.run(domainkeys.add, "home.test", keys_of("home.test"))
    await submit(house, LETTER, login=False)
    [octets] = await queued(store)
    assert b"DKIM-Signature" not in octets


@pytest.mark.parametrize("head", [LETTER, EIGHT_BIT])
async def test_a_large_message_is_signed_beside_the_loop(
    house: House, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    in_threads: list[object] = []
    really = signing.asyncio.to_thread

    async def seen(work: object, *words: object) -> object:
        in_threads.append(work)
        return await really(work, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(signing.asyncio, "to_thread", seen)
    (tmp_path / "large").write_bytes(head + b"more  \r\n" * 200_000)
    with (tmp_path / "large").open("rb") as file:
        await submit(house, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    assert signing.sign in in_threads
    [octets] = await queued(store)
    assert octets[:].isascii()
    assert [one.fault for one in await checked(bytes(octets), zone(*keys))] == [None, None]


# --- mail of the house


async def test_an_enclosed_message_stays_as_it_is(house: House, store: Store) -> None:
    """It may have a signature of its own. At a server that takes seven bits ours is lost."""
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    await submit(house, FORWARDED)
    [kept] = await queued(store)
    assert EIGHT_BIT in kept
    assert await as_sent(kept, eight_bit=True) == kept
    assert [one.fault for one in await checked(kept, zone(*keys))] == [None, None]
    assert (await as_sent(kept, eight_bit=False)).isascii()


@pytest.mark.parametrize("domain", [HOSTNAME, "home.test"])
async def test_the_house_signs_what_it_says(house: House, store: Store, domain: str) -> None:
    """RFC 6376 §3.10: by its own name, or the domain above it."""
    keys = keys_of(domain)
    await store.run(domainkeys.add, domain, keys)
    text = f"From: <postmaster@{HOSTNAME}>\r\nTo: carl@far.test\r\n\r\nNo.\r\n".encode()
    for address in (FAR, BEN):
        letter = Letter(Envelope(ReversePath(), (Recipient(ForwardPath(address)),)), text)
        ready = await make_ready(letter, TRAIL, house)
        assert ready is not None
        await store.run(take_letter, ready)
    [octets] = await queued(store)
    assert octets.endswith(text)
    assert [(one.domain, one.fault) for one in await checked(octets, zone(*keys))] == [(domain, None)] * 2


async def test_what_the_house_says_in_eight_bits_is_encoded(house: House, store: Store) -> None:
    keys = keys_of("home.test")
    await store.run(domainkeys.add, "home.test", keys)
    letter = Letter(Envelope(ReversePath(), (Recipient(ForwardPath(FAR)),)), EIGHT_BIT)
    ready = await make_ready(letter, TRAIL, house)
    assert ready is not None
    await store.run(take_letter, ready)
    [octets] = await queued(store)
    assert octets.isascii()
    assert [one.fault for one in await checked(octets, zone(*keys))] == [None, None]
