"""DKIM signatures read, made and verified (RFC 6376, RFC 8301, RFC 8463)."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import header
from posthouse.mail.address import Domain
from posthouse.net.dkimkeys import Pair, check_seal, make_pair, make_seal, record
from posthouse.trust import dkim
from posthouse.trust.canonical import Canon
from posthouse.trust.dkim import (
    Algorithm,
    Checked,
    Fault,
    Result,
    Rules,
    Signature,
    Signer,
    Times,
    find_signatures,
    queries,
    read_signature,
    sign,
    verify,
)
from posthouse.trust.resolver import Answer, Found

NOW = 1_790_000_000
HOUSE = Domain("example.org")
KEYS = {algorithm: make_pair(algorithm) for algorithm in Algorithm}
MESSAGE = (
    b"Received: from x by y; Thu, 26 Nov 2026 21:00:00 +0000\r\n"
    b"From: Anna <anna@example.org>\r\n"
    b"To: ben@example.net\r\n"
    b"Subject: A long subject that is\r\n folded\r\n"
    b"Date: Thu, 26 Nov 2026 21:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n"
    b"List-Id: <a.example.org>\r\n"
    b"\r\n"
    b"Hello Ben,\r\n\r\nhow  are you? \r\n\r\n\r\n"
)


def signer(algorithm: Algorithm, domain: Domain = HOUSE) -> Signer:
    return Signer(domain, f"s-{algorithm.kind}", algorithm, make_seal(KEYS[algorithm].private))


SIGNERS = [signer(algorithm) for algorithm in Algorithm]


def zone(**tags: str) -> dict[str, Answer[bytes]]:
    """Our records, with further tags in each."""
    more = "".join(f"; {name}={value}" for name, value in tags.items())
    return {
        f"s-{algorithm.kind}._domainkey.example.org": text(record(algorithm, pair.public) + more)
        for algorithm, pair in KEYS.items()
    }


def text(*records: str) -> Answer[bytes]:
    return Answer(Found.RECORDS, tuple(each.encode() for each in records))


def signed(message: bytes = MESSAGE, signers: Sequence[Signer] = SIGNERS) -> bytes:
    start = header.header_end(message)
    return sign(message[:start], (message, start), signers, Times(NOW, NOW + 604_800)) + message


def judged(message: bytes, records: Mapping[str, Answer[bytes]] | None = None, **rules: object) -> list[Checked]:
    by = Rules(check_seal, NOW)._replace(**rules)  # type: ignore[arg-type]
    return list(verify(message, find_signatures(message), zone() if records is None else records, by))


def faults(message: bytes, records: Mapping[str, Answer[bytes]] | None = None, **rules: object) -> list[Fault | None]:
    return [one.fault for one in judged(message, records, **rules)]


# --- the example of RFC 8463

EXAMPLE = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.

""".replace(b"\n", b"\r\n")
EXAMPLE_KEYS = {
    "brisbane._domainkey.football.example.com": text(
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    ),
    "test._domainkey.football.example.com": text(
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
        "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
        "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
        "Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    ),
}


def test_the_example_of_the_rfc() -> None:
    """RFC 8463 appendix A."""
    found = find_signatures(EXAMPLE)
    assert queries(found) == tuple(EXAMPLE_KEYS)
    checked = judged(EXAMPLE, EXAMPLE_KEYS)
    assert [(one.domain, one.selector, one.fault) for one in checked] == [
        ("football.example.com", "brisbane", None),
        ("football.example.com", "test", None),
    ]
    assert {one.result for one in checked} == {Result.PASS}
    assert faults(EXAMPLE.replace(b"hungry", b"angry"), EXAMPLE_KEYS) == [Fault.BODY] * 2
    assert faults(EXAMPLE.replace(b"dinner", b"supper"), EXAMPLE_KEYS) == [Fault.SEAL] * 2


# --- signing


def test_what_is_signed_is_verified() -> None:
    """RFC 6376 §5, RFC 8463 §3: a signature by each key."""
    message = signed()
    first, second = (message[field.start : field.stop] for field in header.split(message)[:2])
    assert first.startswith(
        b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s-rsa;\r\n t=17900"
    )
    assert b" a=ed25519-sha256;" in second
    assert all(len(line) <= 78 for line in message.split(b"\r\n"))
    assert b"l=" not in first.partition(b"bh=")[0]
    assert judged(message) == [Checked("example.org", "s-rsa", None), Checked("example.org", "s-ed25519", None)]


@pytest.mark.parametrize(
    "name", ["From", "To", "Cc", "Subject", "Date", "Reply-To", "Message-ID", "MIME-Version", "Content-Type"]
)
def test_nothing_can_be_added(name: str) -> None:
    """RFC 6376 §5.4: a field that is listed once more than it is there; at the top, or below."""
    message = signed()
    field = f"{name}: another@example.org\r\n".encode()
    for changed in (field + message, message.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n", 1)):
        assert faults(changed) == [Fault.SEAL] * 2


def test_what_is_there_is_signed_and_what_others_add_is_not() -> None:
    message = signed()
    for name in (b"From", b"To", b"Subject", b"Date", b"Message-ID", b"List-Id"):
        assert faults(message.replace(b"\r\n" + name + b": ", b"\r\n" + name + b": x", 1)) == [Fault.SEAL] * 2
    for name in (b"Received", b"Return-Path", b"X-Spam", b"Authentication-Results", b"Sender", b"DKIM-Signature"):
        verdicts = faults(name + b": v=1\r\n" + message)
        assert verdicts[-2:] == [None, None]


def test_what_relaxed_lets_happen_on_the_way() -> None:
    message = signed()
    changed = message.replace(b"how  are you? ", b"how are  you?").replace(b"that is\r\n folded", b"that is  folded ")
    changed = changed.replace(b"\r\nSubject: ", b"\r\nSUBJECT:") + b"\r\n"
    assert changed != message
    assert faults(changed) == [None, None]
    assert faults(message.replace(b"how  are", b"howare")) == [Fault.BODY] * 2


def test_nothing_is_signed_that_could_not_be_verified() -> None:
    message = b"To: x@example.org\r\n\r\nHi\r\n"
    assert signed(message) == message, "RFC 6376 §5.4: there is no From"
    assert signed(MESSAGE, []) == MESSAGE
    many = b"X: y\r\n" * header.FIELDS + MESSAGE
    assert signed(many) == many


@pytest.mark.parametrize(
    "message", [b"From: a@b.example\r\n\r\n", b"From: a@b.example\r\n", b"from :a@b.example\r\n\r\nx", MESSAGE * 3]
)
def test_messages_at_the_edge(message: bytes) -> None:
    message = message if message.endswith(b"\r\n") else message + b" "
    assert faults(signed(message)) == [None, None]


TEXT = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n", b";", b":", b"=", b"\xc3\xa4", b"From:"])).map(
    b"".join
)


@given(st.lists(st.tuples(st.sampled_from([b"From", b"to", b"SUBJECT", b"X-a", b"Date "]), TEXT), max_size=8), TEXT)
def test_whatever_is_signed_is_verified(fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Hostile content, with lines that look like fields."""
    head = b"".join(name + b":" + value.replace(b"\r\n\r\n", b"") + b"\r\n" for name, value in fields)
    message = b"From: a@example.org\r\n" + head.replace(b"\r\n\r\n", b"\r\n") + b"\r\n" + body
    assert faults(signed(message, SIGNERS[1:])) == [None]


# --- reading signatures

GOOD = b"v=1; a=rsa-sha256; d=example.org; s=s1; h=from:to; bh=AQAB; b=AQAB"


def test_a_signature_is_read() -> None:
    """RFC 6376 §3.5: what is said, and what holds where nothing is said."""
    read = read_signature(GOOD)
    expected = Signature(
        Algorithm.RSA, (Canon.SIMPLE, Canon.SIMPLE), HOUSE, "s1", (b"from", b"to"), b"\1\0\1", b"\1\0\1", HOUSE
    )
    assert read == expected
    assert expected.query == "s1._domainkey.example.org"
    full = (
        GOOD + b"; c=relaxed; i=anna@mail.example.org; l=10; q=x/y : dns/txt; t=1; x=2; z=From:x|To:y; unknown=1;\r\n"
    )
    assert read_signature(full) == replace(
        expected,
        canons=(Canon.RELAXED, Canon.SIMPLE),
        identity=Domain("mail.example.org"),
        length=10,
        at=1,
        expires=2,
    )


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"v=1; ", b"", Fault.MISSING),
        (b"a=rsa-sha256; ", b"", Fault.MISSING),
        (b"d=example.org; ", b"", Fault.MISSING),
        (b"s=s1; ", b"", Fault.MISSING),
        (b"h=from:to; ", b"", Fault.MISSING),
        (b"bh=AQAB; ", b"", Fault.MISSING),
        (b"; b=AQAB", b"", Fault.MISSING),
        (b"v=1", b"v=2", Fault.VERSION),
        (b"v=1", b"v=", Fault.VERSION),
        (b"sha256", b"sha1", Fault.HISTORIC),
        (b"rsa-sha256", b"dsa-sha256", Fault.ALGORITHM),
        (b"rsa-sha256", b"RSA-SHA256", Fault.ALGORITHM),
        (b"v=1", b"q=dns/x; v=1", Fault.QUERY),
        (b"h=from:to", b"h=to", Fault.FROM),
        (b"h=from:to", b"h=", Fault.SYNTAX),
        (b"h=from:to", b"h=from::to", Fault.SYNTAX),
        (b"h=from:to", b"h=from:a b", Fault.SYNTAX),
        (b"d=example.org", b"d=org", Fault.SYNTAX),
        (b"d=example.org", b"d=[127.0.0.1]", Fault.SYNTAX),
        (b"d=example.org", b"d=example..org", Fault.SYNTAX),
        (b"d=example.org", b"d=exa mple.org", Fault.SYNTAX),
        (b"d=example.org", b"d=\xff.org", Fault.SYNTAX),
        (b"s=s1", b"s=", Fault.SYNTAX),
        (b"s=s1", b"s=a..b", Fault.SYNTAX),
        (b"s=s1", b"s=x._domainkey.evil.example\0", Fault.SYNTAX),
        (b"s=s1", b"s=a/b", Fault.SYNTAX),
        (b"s=s1", b"s=" + b"a" * 191, Fault.SYNTAX),
        (b"bh=AQAB", b"bh=", Fault.SYNTAX),
        (b"bh=AQAB", b"bh=!", Fault.SYNTAX),
        (b"; b=AQAB", b"; b=", Fault.SYNTAX),
        (b"v=1", b"v=1; v=1", Fault.SYNTAX),
        (b"v=1", b"v=1; c=simple/", Fault.SYNTAX),
        (b"v=1", b"v=1; c=nofws", Fault.SYNTAX),
        (b"v=1", b"v=1; c=simple/simple/simple", Fault.SYNTAX),
        (b"v=1", b"v=1; l=-1", Fault.SYNTAX),
        (b"v=1", b"v=1; l=" + b"9" * 77, Fault.SYNTAX),
        (b"v=1", b"v=1; t=1x", Fault.SYNTAX),
        (b"v=1", b"v=1; t=2; x=2", Fault.SYNTAX),
        (b"v=1", b"v=1; x=1234567890123", Fault.SYNTAX),
        (b"v=1", b"v=1; i=example.org", Fault.SYNTAX),
        (b"v=1", b"v=1; i=", Fault.SYNTAX),
        (b"v=1", b"v=1; i=@example.net", Fault.DOMAIN),
        (b"v=1", b"v=1; i=@badexample.org", Fault.DOMAIN),
        (b"d=example.org", b"d=mail.example.org; i=@example.org", Fault.DOMAIN),
        (b"v=1", b"v=1;;", Fault.SYNTAX),
    ],
)
def test_signatures_that_are_none(old: bytes, new: bytes, fault: Fault) -> None:
    """RFC 6376 §6.1.1: any inconsistency."""
    assert GOOD.count(old) == 1
    assert read_signature(GOOD.replace(old, new)) is fault


@given(st.binary(max_size=300))
def test_garbage_is_never_a_surprise(octets: bytes) -> None:
    read_signature(octets)
    message = b"DKIM-Signature: " + GOOD + b";" + octets + b"\r\nFrom: a@b\r\n\r\n" + octets
    judged(message)
    judged(octets)


# --- verifying


def test_keys_that_are_no_help() -> None:
    """RFC 6376 §6.1.2, RFC 8460 §3."""
    message = signed(signers=SIGNERS[:1])
    name = "s-rsa._domainkey.example.org"
    key = record(Algorithm.RSA, KEYS[Algorithm.RSA].public)
    small = b64encode(make_small()).decode()
    cases: list[tuple[Answer[bytes] | None, Fault | None, Result]] = [
        (None, Fault.NO_ANSWER, Result.TEMPERROR),
        (Answer(Found.SERVFAIL), Fault.NO_ANSWER, Result.TEMPERROR),
        (Answer(Found.NXDOMAIN), Fault.NO_KEY, Result.PERMERROR),
        (Answer(Found.NO_DATA), Fault.NO_KEY, Result.PERMERROR),
        (text("v=spf1 -all"), Fault.KEY_SYNTAX, Result.PERMERROR),
        (text("p="), Fault.REVOKED, Result.PERMERROR),
        (text("p=AQAB"), Fault.KEY_SYNTAX, Result.PERMERROR),
        (text(f"p={small}"), Fault.KEY_SIZE, Result.POLICY),
        (text("k=ed25519; p=AQAB"), Fault.KEY_KIND, Result.PERMERROR),
        (text(f"{key}; h=sha1"), Fault.KEY_HASH, Result.PERMERROR),
        (text(f"{key}; s=tlsrpt"), Fault.KEY_SERVICE, Result.PERMERROR),
        (text(f"{key}; s=email; t=s"), None, Result.PASS),
        (text("p=!", key), None, Result.PASS),
        (text("p=!", "p="), Fault.KEY_SYNTAX, Result.PERMERROR),
        (text(*["p="] * dkim.RECORDS, key), Fault.REVOKED, Result.PERMERROR),
    ]
    for answer, fault, result in cases:
        [checked] = judged(message, {} if answer is None else {name: answer})
        assert (checked.fault, checked.result) == (fault, result), answer
    assert faults(message, {name: text(f"{key}; s=tlsrpt")}, service="tlsrpt") == [None]
    assert faults(message, {name: text(f"{key}; s=email")}, service="tlsrpt") == [Fault.KEY_SERVICE]


def make_small() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    numbers = rsa.RSAPublicNumbers(65_537, (1 << 767) + 0x1234567)
    return numbers.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_a_key_that_is_tested_says_so() -> None:
    """RFC 6376 §3.6.1: t=y."""
    assert [one.testing for one in judged(signed(), zone(t="y"))] == [True, True]
    assert [one.testing for one in judged(signed())] == [False, False]


def by_hand(tags: bytes, message: bytes = MESSAGE, pair: Pair = KEYS[Algorithm.ED25519]) -> bytes:
    """A signature with tags that we never write; `bh` and `b` are put in."""
    start = header.header_end(message)
    value = b"v=1; a=ed25519-sha256; d=example.org; s=s-ed25519; h=from:to; b=AQAB; " + tags
    guess = read_signature(value + b"; bh=AQAB")
    assert isinstance(guess, Signature)
    hashes, _ = dkim.body_hashes(message, start, guess.canons[1], (guess.length,))
    value += b"; bh=" + b64encode(hashes[guess.length])
    fields = header.split(b"DKIM-Signature: " + value + b"\r\n" + message)
    whole = b"DKIM-Signature: " + value + b"\r\n" + message
    read = read_signature(value)
    assert isinstance(read, Signature)
    seal = make_seal(pair.private)(dkim._digest(whole, fields, fields[0], read))
    return whole.replace(b"b=AQAB", b"b=" + b64encode(seal), 1)


@pytest.mark.parametrize("canons", [b"simple", b"relaxed", b"simple/relaxed", b"relaxed/simple", b"simple/simple"])
def test_all_canonicalizations(canons: bytes) -> None:
    message = by_hand(b"c=" + canons)
    assert faults(message) == [None]
    simple_header, simple_body = not canons.startswith(b"relaxed"), not canons.endswith(b"/relaxed")
    changed = faults(message.replace(b"To: ben", b"To:  ben"))
    assert changed == ([Fault.SEAL] if simple_header else [None])
    assert faults(message.replace(b"how  are", b"how are")) == ([Fault.BODY] if simple_body else [None])


def test_a_length_of_the_body_is_not_believed() -> None:
    """RFC 6376 §8.2: what stands behind l= anybody may have written."""
    whole = len(b"Hello Ben,\r\n\r\nhow  are you? \r\n")
    for length in (0, 1, whole - 1):
        [checked] = judged(by_hand(b"l=%d" % length))
        assert (checked.fault, checked.result, checked.unsigned) == (Fault.UNSIGNED, Result.POLICY, whole - length)
    assert faults(by_hand(b"l=%d" % whole)) == [None]
    assert faults(by_hand(b"l=%d" % whole) + b"Buy this\r\n") == [Fault.UNSIGNED]
    assert faults(by_hand(b"l=%d" % (whole + 1))) == [Fault.SYNTAX]
    assert faults(by_hand(b"l=" + b"9" * 76)) == [Fault.SYNTAX]


def test_signatures_end() -> None:
    """RFC 6376 §3.5, x=."""
    message = by_hand(b"t=1; x=%d" % NOW)
    assert faults(message, now=NOW + dkim.LEEWAY) == [None]
    assert faults(message, now=NOW + dkim.LEEWAY + 1) == [Fault.EXPIRED]
    assert judged(message, now=NOW * 2)[0].result is Result.POLICY


def test_identities_below_the_domain() -> None:
    """RFC 6376 §3.10: the flag s forbids them."""
    message = by_hand(b"i=anna@mail.example.org")
    assert faults(message) == [None]
    assert faults(message, zone(t="s")) == [Fault.DOMAIN]
    assert faults(by_hand(b"i=@EXAMPLE.org"), zone(t="y:s")) == [None]


def test_signatures_are_judged_for_themselves() -> None:
    """RFC 6376 §4.2, §6.1: broken ones beside good ones, and no more than a few."""
    message = b"DKIM-Signature: v=1; d=example.net; s=x\r\nDKIM-Signature: rubbish\r\n" + signed()
    assert judged(message)[:2] == [
        Checked("example.net", "x", Fault.MISSING),
        Checked("", "", Fault.SYNTAX),
    ]
    assert faults(message)[2:] == [None, None]
    flood = b"DKIM-Signature: x\r\n" * 500 + signed()
    assert faults(flood) == [Fault.SYNTAX] * dkim.SIGNATURES
    beyond = b"X: y\r\n" * header.FIELDS
    assert faults(signed().replace(b"Received:", beyond + b"Received:", 1)) == [Fault.FIELDS] * 2
    assert faults(MESSAGE) == []
    assert faults(b"") == []


def test_names_that_are_signed_are_bounded() -> None:
    many = GOOD.replace(b"h=from", b"h=from" + b":x" * (dkim.SIGNED_NAMES - 2))
    assert isinstance(read_signature(many), Signature)
    assert read_signature(many.replace(b"h=from", b"h=from:x")) is Fault.SYNTAX


def test_fields_of_one_name_are_signed_from_the_bottom() -> None:
    """RFC 6376 §5.4.2."""
    message = b"X: 1\r\nX: 2\r\n" + MESSAGE
    signature = by_hand(b"c=relaxed", message)
    assert faults(b"From: another\r\n" + signature) == [None], "only the last From was signed, and that once"
    assert faults(signature.replace(b"\r\n\r\n", b"\r\nFrom: another\r\n\r\n", 1)) == [Fault.SEAL]
