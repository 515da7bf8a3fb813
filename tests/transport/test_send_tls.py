"""transport/connection.py: what a TlsDemand asks must be shown by the session, or no mail flows; logging in.

RFC 3207 §4, RFC 7435 §3, RFC 7672 §2.2, RFC 8461 §4.1, RFC 8689 §4.2.1, RFC 4954 §4.
"""

import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from fakes import comes_true
from posthouse.mail.address import ReversePath
from posthouse.mail.ids import Trail
from posthouse.mail.outcome import Action
from posthouse.net.authority import authority, issue, self_signed
from posthouse.net.peer import TlsFailure
from posthouse.net.tls import CertificateFiles, load
from posthouse.transport.connection import Connection, Sending
from posthouse.transport.target import RelayLogin, Target, TlsDemand, TlsLevel
from posthouse.trust.resolver import Tlsa
from posthouse.wire import sasl
from posthouse.wire.scram import derive
from posthouse.wire.smtp.conversation import Conversation
from sink import CLOSE, OFFERS, RESET, STALL, After, Answer, Say, Sink, sink
from transport.sending import MESSAGE, Item, brief, item, rig, seconds, target

DELAYED, FAILED, RELAYED = Action.DELAYED, Action.FAILED, Action.RELAYED
TAKEN = (RELAYED, "dot", "2.0.0")
STRICT = (TlsLevel.ENCRYPTED, TlsLevel.VERIFIED, TlsLevel.DANE)
RECORD = Tlsa(3, 1, 1, b"x" * 32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """The authority that we trust."""
    return authority(tmp_path_factory.mktemp("root"), "Root of a test")


@pytest.fixture(scope="module")
def good(root: CertificateFiles, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server that is mx.test, and can show it."""
    return load(issue(root, tmp_path_factory.mktemp("leaf"), ["mx.test", "*.cloud.test"]))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server with a certificate of its own making."""
    return load(self_signed(tmp_path_factory.mktemp("own"), "mx.test"))


@pytest.fixture(scope="module")
def sending(root: CertificateFiles) -> Sending:
    """Who trusts that authority; of the DNS, everything that is asked with RECORD."""
    return Sending("us.test", dane=lambda chain, demand: RECORD in demand.tlsa, authorities=root.certificate)


def demanding(server: Sink, level: TlsLevel, *names: str, tlsa: Sequence[Tlsa] = (RECORD,)) -> Target:
    """The server, with what its TLS must show."""
    records = tuple(tlsa) if level is TlsLevel.DANE else ()
    return replace(target(server), tls=TlsDemand(level, names, records, "the policy of work.test"))


@pytest.mark.parametrize(
    ("level", "worth"),
    [
        (TlsLevel.OPPORTUNISTIC, "unverified"),
        (TlsLevel.ENCRYPTED, "unverified"),
        (TlsLevel.VERIFIED, "verified"),
        (TlsLevel.DANE, "dane"),
    ],
)
@pytest.mark.parametrize("implicit", [False, True])
async def test_a_good_server(
    good: ssl.SSLContext, sending: Sending, level: TlsLevel, worth: str, implicit: bool
) -> None:
    async with sink(tls=good, implicit=implicit) as server:
        where = replace(demanding(server, level), implicit_tls=implicit)
        async with rig(where, sending=sending) as ours:
            outcome = await ours.outcome()
            assert brief([outcome]) == [TAKEN]
            assert outcome.tls == f"TLSv1.3 TLS_AES_256_GCM_SHA384 {worth}"
            assert server.taken[0].tls
            assert server.taken[0].octets == MESSAGE
            assert server.heard.count("EHLO us.test") == (1 if implicit else 2)


async def test_opportunistic_takes_any_certificate(own: ssl.SSLContext, sending: Sending) -> None:
    async with sink(tls=own) as server, rig(demanding(server, TlsLevel.OPPORTUNISTIC), sending=sending) as ours:
        assert brief([await ours.outcome()]) == [TAKEN]
        assert server.taken[0].tls


@pytest.mark.parametrize(
    "answer",
    [
        "454 4.7.0 not now",
        "500 what?",
        Say("220 go", After.CLOSE),
        Say("220 go", After.RESET),
        Say("220 and then garbage"),
        STALL,
        CLOSE,
        RESET,
    ],
)
async def test_tls_that_fails(sending: Sending, answer: Answer) -> None:
    """Opportunistic: plain text instead. All else: nothing is said about the mail."""
    offers = (*OFFERS, "STARTTLS")
    limits = seconds(hello=0.4) if answer is STALL else seconds(handshake=1)
    async with sink({"starttls": answer}, offers) as server:
        async with rig(demanding(server, TlsLevel.OPPORTUNISTIC), sending=sending, limits=limits) as ours:
            outcome = await ours.outcome()
            assert brief([outcome]) == [TAKEN]
            assert outcome.tls == ""
            assert server.connections == (1 if isinstance(answer, str) else 2)
        for level in STRICT:
            server.heard.clear()
            async with rig(demanding(server, level), sending=sending, limits=limits) as ours:
                outcome = await ours.outcome()
                assert brief([outcome])[0][:2] == (DELAYED, "tls")
                assert str(outcome.status) in ("4.7.4", "4.7.5", "4.4.2")
                assert not [line for line in server.heard if line.startswith(("MAIL", "RCPT", "DATA", "BDAT"))]
        assert len(server.taken) == 1


@pytest.mark.parametrize("level", STRICT)
async def test_a_server_without_tls(sending: Sending, level: TlsLevel) -> None:
    """STARTTLS that is not offered, perhaps because somebody in the middle took it out."""
    async with sink() as server, rig(demanding(server, level), sending=sending) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, "tls", "4.7.4")]
        assert outcome.reason == "the server offers no TLS, and the policy of work.test does not allow that"
        await comes_true(lambda: server.heard == ["EHLO us.test", "QUIT"])


@pytest.mark.parametrize(
    ("level", "names", "reason"),
    [
        (TlsLevel.VERIFIED, ("other.test",), "is not for other.test"),
        (TlsLevel.VERIFIED, ("a.b.cloud.test", "x.test"), "is not for a.b.cloud.test or x.test"),
        (TlsLevel.DANE, (), "is not the one in the DNS"),
    ],
)
async def test_the_wrong_certificate(
    good: ssl.SSLContext, sending: Sending, level: TlsLevel, names: tuple[str, ...], reason: str
) -> None:
    async with sink(tls=good) as server, rig(demanding(server, level, *names, tlsa=()), sending=sending) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, "tls", "4.7.5")]
        assert (
            outcome.reason == f"the certificate of the server {reason}, and the policy of work.test does not allow that"
        )
        assert not [line for line in server.heard if line.startswith("MAIL")]


async def test_names_that_fit(good: ssl.SSLContext, sending: Sending) -> None:
    async with (
        sink(tls=good) as server,
        rig(demanding(server, TlsLevel.VERIFIED, "x.test", "a.cloud.test"), sending=sending) as ours,
    ):
        assert brief([await ours.outcome()]) == [TAKEN]


async def test_nobody_vouches_for_it(own: ssl.SSLContext, sending: Sending) -> None:
    async with sink(tls=own) as server, rig(demanding(server, TlsLevel.VERIFIED), sending=sending) as ours:
        outcome = await ours.outcome()
        assert brief([outcome]) == [(DELAYED, "tls", "4.7.5")]
        assert outcome.reason.startswith("TLS could not be begun: self-signed certificate")


async def test_the_next_server_shows_what_is_asked(good: ssl.SSLContext, own: ssl.SSLContext, sending: Sending) -> None:
    async with sink(tls=own) as first, sink(tls=good) as second:
        targets = [demanding(one, TlsLevel.VERIFIED) for one in (first, second)]
        async with rig(*targets, sending=sending) as ours:
            assert brief([await ours.outcome()]) == [TAKEN]
            assert not first.taken


@pytest.mark.parametrize(
    ("level", "names", "shows", "answer", "failures"),
    [
        (TlsLevel.OPPORTUNISTIC, (), "good", None, [None]),
        (TlsLevel.VERIFIED, (), "good", None, [None]),
        (TlsLevel.VERIFIED, ("x.test",), "good", None, [TlsFailure.HOST_MISMATCH]),
        (TlsLevel.VERIFIED, (), "own", None, [TlsFailure.NOT_TRUSTED]),
        (TlsLevel.VERIFIED, (), "nothing", None, [TlsFailure.NOT_OFFERED]),
        (TlsLevel.OPPORTUNISTIC, (), "nothing", None, [TlsFailure.NOT_OFFERED]),
        (TlsLevel.ENCRYPTED, (), "good", "454 no", [TlsFailure.NOT_OFFERED]),
        (TlsLevel.OPPORTUNISTIC, (), "good", Say("220 go", After.CLOSE), [TlsFailure.OTHER]),
        (TlsLevel.DANE, ("x.test",), "good", None, [TlsFailure.OTHER]),
    ],
)
async def test_how_tls_went_is_told(
    good: ssl.SSLContext,
    own: ssl.SSLContext,
    sending: Sending,
    level: TlsLevel,
    names: tuple[str, ...],
    shows: str,
    answer: Answer | None,
    failures: list[TlsFailure | None],
) -> None:
    """For each session, in the words of RFC 8460 §4.3."""
    told: list[tuple[str, TlsFailure | None]] = []
    context = {"good": good, "own": own}.get(shows)
    async with sink({} if answer is None else {"starttls": answer}, tls=context) as server:
        where = demanding(server, level, *names, tlsa=() if names else (RECORD,))
        listening = replace(sending, saw_tls=lambda target, ip, failure: told.append((ip, failure)))
        async with rig(where, sending=listening) as ours:
            await ours.outcome()
    assert told == [("127.0.0.1", failure) for failure in failures]


async def test_a_conversation_is_handed_over_at_the_end(good: ssl.SSLContext, sending: Sending) -> None:
    """With the messages that it had to do with; the password is not in it."""
    over: list[tuple[Conversation, list[Trail]]] = []

    def ended(connection: Connection) -> None:
        assert connection.engine.conversation is not None
        over.append((connection.engine.conversation, connection.trails))

    listening = replace(sending, listen=lambda target, ip: Conversation(lambda: 0), ended=ended)
    async with sink(offers=(*OFFERS, "AUTH PLAIN"), tls=good) as server, rig(relay(server), sending=listening) as ours:
        for _ in range(2):
            await ours.outcome()
        assert not over
        await ours.sender.close()
    [(conversation, trails)] = over
    assert trails == [item().trail] * 2
    lines = [line.text for line in conversation.lines]
    assert lines[0] == "220 sink.test ESMTP"
    assert "(TLS: TLSv1.3 TLS_AES_256_GCM_SHA384 verified)" in lines
    assert "AUTH PLAIN ***" in lines
    assert "(36 octets of the message)" in lines
    assert lines[-1] == "QUIT"
    assert "cret" not in "".join(lines)


async def test_dane_is_handed_the_chain(good: ssl.SSLContext, sending: Sending) -> None:
    """The server's own certificate first, then its issuer (RFC 7672 §3.1.2)."""
    seen: list[tuple[list[bytes], TlsDemand]] = []

    def judge(chain: Sequence[bytes], demand: TlsDemand) -> bool:
        seen.append((list(chain), demand))
        return True

    async with sink(tls=good) as server:
        where = demanding(server, TlsLevel.DANE, "mx.test")
        async with rig(where, sending=replace(sending, dane=judge)) as ours:
            assert brief([await ours.outcome()]) == [TAKEN]
    [(chain, demand)] = seen
    assert len(chain) == 2
    assert demand == where.tls


@pytest.mark.parametrize("words", ["220 go\n250-evil.test\n250 AUTH PLAIN", "220 go\n250 2.0.0 ok\n250 ok\n250 ok"])
async def test_nothing_is_injected_behind_starttls(good: ssl.SSLContext, sending: Sending, words: str) -> None:
    """Replies that somebody put behind the 220 in plain text are for nothing."""
    async with sink({"starttls": words}, tls=good) as server:
        where = replace(demanding(server, TlsLevel.VERIFIED), login=RelayLogin("anna", "secret"))
        async with rig(where, sending=sending) as ours:
            outcome = await ours.outcome()
            assert brief([outcome]) == [(DELAYED, "login", "4.7.0")]  # AUTH was only offered in plain text
        async with rig(demanding(server, TlsLevel.VERIFIED), sending=sending) as ours:
            assert brief([await ours.outcome()]) == [TAKEN]
            assert server.heard.count("EHLO us.test") == 4


async def test_a_connection_serves_no_stricter_demand(good: ssl.SSLContext, sending: Sending) -> None:
    async with sink(tls=good) as server, rig(demanding(server, TlsLevel.OPPORTUNISTIC), sending=sending) as ours:
        for level, connections in (
            (TlsLevel.OPPORTUNISTIC, 1),
            (TlsLevel.OPPORTUNISTIC, 1),
            (TlsLevel.VERIFIED, 2),
            (TlsLevel.DANE, 3),
            (TlsLevel.VERIFIED, 3),
        ):
            ours.targets = [demanding(server, level)]
            assert brief([await ours.outcome()]) == [TAKEN]
            assert server.connections == connections
        ours.targets = [replace(ours.targets[0], tls=replace(ours.targets[0].tls, why="in other words"))]
        await ours.outcome()
        assert server.connections == 3


async def test_a_host_that_is_no_name(good: ssl.SSLContext, sending: Sending) -> None:
    """RFC 6066 §3: an address is not said as a name; nor is what Python would not send."""
    for host in ("[127.0.0.1]", ".test", "x" * 70 + ".test", "ü.test", ""):
        async with sink(tls=good) as server:
            where = replace(demanding(server, TlsLevel.ENCRYPTED), host=host)
            async with rig(where, sending=sending) as ours:
                assert brief([await ours.outcome()]) == [TAKEN]
                assert server.taken[0].tls


# --- REQUIRETLS


REQUIRING = Item(replace(item().envelope, require_tls=True))


async def test_requiretls_goes_on(good: ssl.SSLContext, sending: Sending) -> None:
    async with sink(offers=(*OFFERS, "REQUIRETLS"), tls=good) as server:
        for level in (TlsLevel.VERIFIED, TlsLevel.DANE):
            async with rig(demanding(server, level), sending=sending) as ours:
                assert brief(await ours.send(REQUIRING)) == [TAKEN]
                assert server.taken[-1].mail.endswith(" REQUIRETLS")


async def test_requiretls_goes_nowhere_else(good: ssl.SSLContext, sending: Sending) -> None:
    """RFC 8689 §4.2.1: each server is tried, then it has failed."""
    async with sink(tls=good) as deaf, sink(offers=(*OFFERS, "REQUIRETLS"), tls=good) as server:
        async with rig(demanding(deaf, TlsLevel.VERIFIED), sending=sending) as ours:
            assert brief(await ours.send(REQUIRING)) == [(FAILED, "tls", "5.7.30")]
            assert brief([await ours.outcome()]) == [TAKEN]  # other mail may
        for level in (TlsLevel.OPPORTUNISTIC, TlsLevel.ENCRYPTED):
            async with rig(demanding(server, level), sending=sending) as ours:
                assert brief(await ours.send(REQUIRING)) == [(FAILED, "tls", "5.7.10")]
        targets = [demanding(one, TlsLevel.VERIFIED) for one in (deaf, server)]
        async with rig(*targets, sending=sending) as ours:
            assert brief(await ours.send(REQUIRING)) == [TAKEN]
        assert not [one for one in deaf.taken if "REQUIRETLS" in one.mail]


async def test_a_bounce_is_not_lost_for_requiretls(sending: Sending) -> None:
    """RFC 8689 §5."""
    async with sink() as server, rig(demanding(server, TlsLevel.OPPORTUNISTIC), sending=sending) as ours:
        bounce = replace(REQUIRING.envelope, sender=ReversePath())
        assert brief(await ours.send(Item(bounce))) == [TAKEN]


# --- logging in


LOGIN = RelayLogin("anna", "s,e=cret")


def relay(server: Sink, login: RelayLogin = LOGIN) -> Target:
    """A smart host."""
    return replace(demanding(server, TlsLevel.VERIFIED), login=login)


def scram(password: str) -> Callable[[str], Answer]:
    """A server that knows SCRAM and a password, by the code of our own."""
    exchange = sasl.Scram("SCRAM-SHA-256", "server-nonce")

    def answer(line: str) -> Answer:
        assert exchange is not None
        step = exchange.step(b64decode(line.split()[-1]) if line else b"")
        if isinstance(step, sasl.KeysWanted):
            step = exchange.keys(derive(password, b"salt" * 4))
        if isinstance(step, sasl.Challenge):
            return "334 " + b64encode(step.octets).decode()
        return "235 2.7.0 welcome" if isinstance(step, sasl.Proven) else "535 5.7.8 wrong"

    return answer


@pytest.mark.parametrize(
    ("mechanisms", "answers", "said"),
    [
        ("PLAIN LOGIN", "235 ok", ["AUTH PLAIN AGFubmEAcyxlPWNyZXQ="]),
        ("LOGIN", ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 ok"], ["AUTH LOGIN", "YW5uYQ==", "cyxlPWNyZXQ="]),
    ],
)
async def test_login(
    good: ssl.SSLContext, sending: Sending, mechanisms: str, answers: list[Answer], said: list[str]
) -> None:
    async with (
        sink({"auth": answers}, (*OFFERS, f"AUTH {mechanisms}"), good) as server,
        rig(relay(server), sending=sending) as ours,
    ):
        assert brief([await ours.outcome()]) == [TAKEN]
        heard = server.heard[server.heard.index("STARTTLS") + 2 :]
        assert heard[0] == said[0]
        assert brief([await ours.outcome()]) == [TAKEN]
        assert server.connections == 1  # and it is not said again


async def test_login_by_scram(good: ssl.SSLContext, sending: Sending) -> None:
    """RFC 5802: the password does not go over the wire, and the server shows that it knows it."""
    async with (
        sink({"auth": scram("s,e=cret")}, (*OFFERS, "AUTH PLAIN SCRAM-SHA-256"), good) as server,
        rig(relay(server), sending=sending) as ours,
    ):
        assert brief([await ours.outcome()]) == [TAKEN]
        assert "AUTH SCRAM-SHA-256 " in " ".join(server.heard)


@pytest.mark.parametrize(
    ("mechanisms", "answers", "status"),
    [
        ("PLAIN", "535 5.7.8 wrong", "4.7.8"),
        ("PLAIN", "454 4.7.0 later", "4.7.0"),
        ("PLAIN", "334 ", "4.7.0"),
        ("PLAIN", ["334 ", "501 5.7.0 cancelled"], "4.7.0"),
        ("PLAIN", "334 ===", "4.7.0"),
        ("PLAIN", CLOSE, "4.4.2"),
        ("PLAIN", STALL, "4.4.2"),
        ("LOGIN", "235 nobody asked for the password", "4.7.0"),
        ("LOGIN", "334 YQ==", "4.7.0"),  # for ever
        ("SCRAM-SHA-256", "235 I believe you", "4.7.0"),  # it does not know the password
        ("SCRAM-SHA-256", "334 YQ==", "4.7.0"),
        ("GSSAPI CRAM-MD5", "235 ok", "4.7.0"),
        ("", "235 ok", "4.7.0"),
    ],
)
async def test_a_login_that_fails_bounces_nothing(
    good: ssl.SSLContext, sending: Sending, mechanisms: str, answers: Answer, status: str
) -> None:
    """It is for whoever keeps the settings to mend."""
    limits = seconds(hello=0.5) if answers is STALL else seconds()
    async with (
        sink({"auth": answers}, (*OFFERS, f"AUTH {mechanisms}"), good) as server,
        rig(relay(server), sending=sending, limits=limits) as ours,
    ):
        assert brief([await ours.outcome()]) == [(DELAYED, "login", status)]
        assert not server.taken


async def test_a_password_that_sasl_does_not_allow(good: ssl.SSLContext, sending: Sending) -> None:
    async with (
        sink(offers=(*OFFERS, "AUTH PLAIN SCRAM-SHA-1"), tls=good) as server,
        rig(relay(server, RelayLogin("anna", "a\0b")), sending=sending) as ours,
    ):
        assert brief([await ours.outcome()]) == [(DELAYED, "login", "4.7.0")]


async def test_no_password_in_plain_text(sending: Sending) -> None:
    """Unless that was asked for."""
    async with sink(offers=(*OFFERS, "AUTH PLAIN")) as server:
        where = replace(demanding(server, TlsLevel.OPPORTUNISTIC), login=LOGIN)
        async with rig(where, sending=sending) as ours:
            assert brief([await ours.outcome()]) == [(DELAYED, "login", "4.7.0")]
            assert "AUTH" not in " ".join(server.heard)
            ours.targets = [replace(where, login=replace(LOGIN, without_tls=True))]
            assert brief([await ours.outcome()]) == [TAKEN]
    assert "cret" not in repr(LOGIN)


async def test_tls_that_fails_is_no_reason_to_log_in_without(sending: Sending) -> None:
    async with sink({"starttls": Say("220 go", After.CLOSE)}, (*OFFERS, "STARTTLS", "AUTH PLAIN")) as server:
        login = replace(LOGIN, without_tls=True)
        async with rig(replace(demanding(server, TlsLevel.OPPORTUNISTIC), login=login), sending=sending) as ours:
            assert brief([await ours.outcome()])[0][:2] == (DELAYED, "tls")
            assert "AUTH" not in " ".join(server.heard)
