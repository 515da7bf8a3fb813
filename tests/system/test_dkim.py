"""Signatures of ours before verifiers of others, and theirs before ours, over real mail: dkimpy and OpenDKIM."""

import asyncio
import json
import smtplib
import subprocess
import time
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from mail.corpus import corpus
from posthouse.mail import header
from posthouse.mail.address import Domain
from posthouse.net.dkimkeys import check_seal, make_pair, make_seal, record
from posthouse.trust.dkim import Algorithm, Fault, Rules, Signer, Times, find_signatures, sign, verify
from posthouse.trust.resolver import Answer, Found
from sink import sink
from system.nameserver import Zone, real_dns
from system.running import Person, Running

KEYS = {algorithm: make_pair(algorithm) for algorithm in Algorithm}
NAMES = {f"{algorithm.kind}._domainkey.example.org": algorithm for algorithm in Algorithm}
EVERY = 25  # of how many messages one is tried
CANONS = ("simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed")

VERIFY = """
import json, sys, dkim
zone = json.load(open("zone.json"))
def txt(name, timeout=5):
    return zone[name.decode().rstrip(".")].encode()
for path in sys.argv[1:]:
    message, said = open(path, "rb").read(), []
    for index in range(2):
        try:
            said.append(dkim.DKIM(message).verify(idx=index, dnsfunc=txt))
        except dkim.ValidationError:
            said.append(False)
    print(json.dumps(said))
"""
SIGN = """
import sys, dkim
canons = sys.argv[1].encode().split(b"/")
for path in sys.argv[2:]:
    message = open(path, "rb").read()
    for kind in (b"rsa", b"ed25519"):
        more = {"include_headers": [b"from", b"from", b"to", b"subject", b"sender", b"sender", b"x-none"]}
        key = open(kind.decode() + ".key", "rb").read()
        message = dkim.sign(message, kind, b"example.org", key, canonicalize=tuple(canons),
                            signature_algorithm=kind + b"-sha256", length=path.endswith("3"), **more) + message
    open(path, "wb").write(message)
"""


def messages() -> list[bytes]:
    """Real ones, as they go over the wire, each with a From field."""
    found = (path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for path in corpus()[::EVERY])
    return [octets for octets in found if header.first(octets, b"from") is not None]


def written(folder: Path, octets: list[bytes]) -> list[str]:
    for number, message in enumerate(octets):
        (folder / str(number)).write_bytes(message)
    return [str(number) for number in range(len(octets))]


def dkimpy(folder: Path, script: str, *words: str) -> str:
    """Debian's python3-dkim, which only Debian's own Python finds."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, *words], cwd=folder, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def signed(tmp_path: Path) -> list[str]:
    """Messages with two signatures of ours, and the zone with their keys."""
    signers = [
        Signer(Domain("example.org"), algorithm.kind, algorithm, make_seal(pair.private))
        for algorithm, pair in KEYS.items()
    ]
    now = int(time.time())
    made = []
    for octets in messages():
        start = header.header_end(octets)
        fields = sign(octets[:start], (octets, start), signers, Times(now, now + 3_600))
        assert fields.count(b"DKIM-Signature:") == 2
        made.append(fields + octets)
    zone = {name: record(algorithm, KEYS[algorithm].public) for name, algorithm in NAMES.items()}
    (tmp_path / "zone.json").write_text(json.dumps(zone))
    (tmp_path / "zone.txt").write_text("".join(f"{name} {text}\n" for name, text in zone.items()))
    return written(tmp_path, made)


def test_dkimpy_verifies_ours(tmp_path: Path, signed: list[str]) -> None:
    said = dkimpy(tmp_path, VERIFY, *signed).splitlines()
    assert said == ["[true, true]"] * len(signed)
    (tmp_path / "changed").write_bytes((tmp_path / signed[0]).read_bytes() + b"more\r\n")
    assert dkimpy(tmp_path, VERIFY, "changed") == "[false, false]\n"


def test_opendkim_verifies_ours(tmp_path: Path, signed: list[str]) -> None:
    """It looks at one signature of a message: the RSA one stands first."""
    settings = tmp_path / "opendkim.conf"
    settings.write_text(f"Mode v\nTestPublicKeys {tmp_path}/zone.txt\n")
    (tmp_path / "changed").write_bytes((tmp_path / signed[0]).read_bytes() + b"more\r\n")
    for name in [*signed, "changed"]:
        done = subprocess.run(
            ["opendkim", "-x", settings, "-t", name], cwd=tmp_path, capture_output=True, check=False, timeout=60,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert (b"(s=rsa, d=example.org, 2048-bit key) succeeded" in said) is (name != "changed"), said


@pytest.mark.parametrize("canons", CANONS)
def test_we_verify_those_of_dkimpy(tmp_path: Path, canons: str) -> None:
    """Some with l=, and fields that are signed twice, or are not there."""
    own = serialization.load_der_private_key(KEYS[Algorithm.RSA].private, None)
    (tmp_path / "rsa.key").write_bytes(
        own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    other = serialization.load_der_private_key(KEYS[Algorithm.ED25519].private, None)
    assert isinstance(other, ed25519.Ed25519PrivateKey)
    (tmp_path / "ed25519.key").write_bytes(b64encode(other.private_bytes_raw()))
    names = written(tmp_path, messages())
    dkimpy(tmp_path, SIGN, canons, *names)
    records = {
        name: Answer(Found.RECORDS, (record(algorithm, KEYS[algorithm].public).encode(),))
        for name, algorithm in NAMES.items()
    }
    rules = Rules(check_seal, int(time.time()))
    for name in names:
        octets = (tmp_path / name).read_bytes()
        found = [one for one in find_signatures(octets) if getattr(one.read, "domain", None) == Domain("example.org")]
        assert len(found) == 2
        assert [one.fault for one in verify(octets, found, records, rules)] == [None, None], name
        for one in verify(octets + b"more\r\n", found, records, rules):
            assert one.fault is (Fault.UNSIGNED if name.endswith("3") else Fault.BODY)


SERVER = """
[dns]
servers = ["127.0.0.1:{dns}"]

[relay]
host = "127.0.0.1"
port = {port}
tls = "opportunistic"
"""


async def test_from_the_first_key_to_the_mail_that_somebody_verifies(tmp_path: Path) -> None:
    """The records that are shown, in a real DNS; a user's mail, through the server, to one that takes seven bits."""
    (tmp_path / "server").mkdir()
    server = Running(tmp_path / "server", workers=1)
    server.command("domain", "add", "home.test")
    shown = await asyncio.to_thread(server.command, "domain", "dkim", "add", "home.test")
    keys = json.loads(server.command("domain", "dkim", "show", "--json"))
    assert all(key["zone"] in shown for key in keys)
    (tmp_path / "zone.json").write_text(json.dumps({key["name"]: key["value"] for key in keys}))
    lines = "\n".join(key["zone"] for key in keys)
    async with real_dns(tmp_path, {"home.test": Zone(lines)}) as dns, sink(offers=("PIPELINING",)) as far:
        with server.settings.open("a") as file:
            file.write(SERVER.format(dns=dns.port, port=far.port))
        said = await asyncio.to_thread(server.command, "domain", "dkim", "check")
        assert said.count(" signs.") == 2
        await asyncio.to_thread(server.start)
        try:
            await asyncio.to_thread(submit, server, server.person())
            for _ in range(1_200):
                if far.taken:
                    break
                await asyncio.sleep(0.1)
        finally:
            await asyncio.to_thread(server.stop)
    (tmp_path / "mail").write_bytes(far.taken[0].octets)
    assert far.taken[0].octets.isascii()
    assert dkimpy(tmp_path, VERIFY, "mail") == "[true, true]\n"
    [told] = [line for line in server.command("trace", "carl@far.test").splitlines() if "(DKIM" in line]
    rsa, ed25519 = sorted((key["selector"] for key in keys), reverse=True)  # ...r and ...e
    assert told.endswith(f"  signed by home.test (DKIM, selectors {rsa} and {ed25519})")


def submit(server: Running, person: Person) -> None:
    """As mail programs do."""
    octets = f"From: {person.address}\r\nTo: carl@far.test\r\nSubject: x\r\n\r\nWie geht's, Jürgen?\r\n".encode()
    with smtplib.SMTP("localhost", server.ports.submission, timeout=60) as client:
        client.starttls(context=server.trust())
        client.login(person.address, person.password)
        client.sendmail(person.address, "carl@far.test", octets, mail_options=["BODY=8BITMIME"])
