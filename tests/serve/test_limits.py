"""serve/limits.py: what one peer may ask of us (limits.md §1)."""

from contextlib import ExitStack
from dataclasses import fields

import pytest

from posthouse.serve.limits import (
    GOOD_SECONDS,
    TABLE,
    WHOLE,
    PeerLimits,
    Peers,
    Refusal,
    Service,
    SessionLimits,
    Window,
    loopback,
    network,
    share,
)
from posthouse.serve.stress import Stress, StressLimits

ANNA = "anna@home.test"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_networks_are_counted_by_prefix() -> None:
    assert network("192.0.2.77", 32, 64) == "192.0.2.77/32"
    assert network("192.0.2.77", 24, 48) == "192.0.2.0/24"
    assert network("2001:db8:1:2:3:4:5:6", 32, 64) == "2001:db8:1:2::/64"
    assert network("2001:db8:1:2:3:4:5:6", 16, 32) == "2001:db8::/32"
    assert network("::ffff:192.0.2.77", 32, 64) == "192.0.2.77/32"
    assert network("", 32, 64) == ""


@pytest.mark.parametrize(
    ("ip", "is_loopback"), [("127.0.0.1", True), ("::1", True), ("", True), ("192.0.2.1", False), ("junk", False)]
)
def test_loopback(ip: str, is_loopback: bool) -> None:
    assert loopback(ip) is is_loopback


def test_a_worker_has_its_share_of_counts_but_not_of_times() -> None:
    limits = share(PeerLimits(exempt_loopback=True), 3)
    assert limits.smtp_connections == 17
    limits = share(PeerLimits(exempt_loopback=True), 4)
    assert limits.smtp_connections == 13
    assert limits.unknown_recipients_seconds == 600
    assert limits.exempt_loopback
    assert share(PeerLimits(login_failures_minute=1), 8).login_failures_minute == 1


def test_a_share_is_never_below_a_quarter_and_users_have_all_of_theirs() -> None:
    limits, whole = share(PeerLimits(), 16), PeerLimits()
    assert limits.smtp_connections == 13
    assert limits.new_connections == 75
    assert limits.login_failures_minute == 3
    for name in WHOLE:
        assert getattr(limits, name) == getattr(whole, name)
    named = {f.name for f in fields(PeerLimits) if "user" in f.name or "account" in f.name}
    of_a_day = {"messages_hour", "recipients_day", "first_recipients_day", "login_failures_day"}
    assert named | of_a_day | {"domain_failures_hour"} == WHOLE


def test_a_window_forgets_what_is_old(clock: Clock) -> None:
    window = Window(60.0, 5)
    assert [window.add("a", clock.now + second) for second in (0, 10, 20)] == [1, 2, 3]
    assert window.count("a", clock.now + 60) == 2
    assert window.count("a", clock.now + 80) == 0
    assert window.count("b", clock.now) == 0


def test_a_window_is_bounded(clock: Clock) -> None:
    window = Window(60.0, 3)
    for _ in range(100):
        window.add("busy", clock.now)
    assert window.count("busy", clock.now) == 4
    for number in range(TABLE):
        window.add(str(number), clock.now)
    assert window.count("busy", clock.now) == 0  # the oldest was forgotten
    assert len(window._times) == TABLE


def test_too_many_connections_of_one_address(clock: Clock) -> None:
    peers = Peers(PeerLimits(smtp_connections=2, imap_connections=1), clock)
    with ExitStack() as stack:
        assert stack.enter_context(peers.connection("192.0.2.1", Service.SMTP)) is None
        assert stack.enter_context(peers.connection("192.0.2.1", Service.SMTP)) is None
        with peers.connection("192.0.2.1", Service.SMTP) as third:
            assert third is Refusal.CONNECTIONS
        with peers.connection("192.0.2.1", Service.IMAP) as other_service:
            assert other_service is None
        with peers.connection("192.0.2.2", Service.SMTP) as neighbour:
            assert neighbour is None
    with peers.connection("192.0.2.1", Service.SMTP) as again:
        assert again is None


def test_addresses_of_one_ipv6_network_count_together(clock: Clock) -> None:
    peers = Peers(PeerLimits(smtp_connections=1), clock)
    with (
        peers.connection("2001:db8::1", Service.SMTP) as first,
        peers.connection("2001:db8::ffff", Service.SMTP) as second,
    ):
        assert (first, second) == (None, Refusal.CONNECTIONS)


def test_too_many_new_connections_in_a_minute(clock: Clock) -> None:
    peers = Peers(PeerLimits(new_connections=3, new_connections_wide=5), clock)

    def connect(ip: str) -> Refusal | None:
        with peers.connection(ip, Service.SMTP) as refusal:
            return refusal

    assert [connect("192.0.2.1") for _ in range(4)] == [None, None, None, Refusal.RATE]
    assert connect("192.0.2.2") is None
    assert connect("192.0.2.3") is Refusal.RATE  # the sixth of the /24
    assert connect("198.51.100.1") is None
    clock.now += 61
    assert connect("192.0.2.1") is None


def test_loopback_may_be_exempt(clock: Clock) -> None:
    peers = Peers(PeerLimits(smtp_connections=1, exempt_loopback=True), clock)
    with peers.connection("127.0.0.1", Service.SMTP), peers.connection("127.0.0.1", Service.SMTP) as second:
        assert second is None
    strict = Peers(PeerLimits(smtp_connections=1), clock)
    with strict.connection("127.0.0.1", Service.SMTP), strict.connection("127.0.0.1", Service.SMTP) as second:
        assert second is Refusal.CONNECTIONS


def test_a_unix_socket_is_never_counted(clock: Clock) -> None:
    peers = Peers(PeerLimits(smtp_connections=0), clock)
    with peers.connection("", Service.SMTP) as refusal:
        assert refusal is None


def test_imap_connections_of_one_user_from_one_address(clock: Clock) -> None:
    peers = Peers(PeerLimits(imap_connections_of_user=1), clock)
    with peers.user_connection("anna@home.test", "192.0.2.1") as first:
        assert first is None
        with peers.user_connection("anna@home.test", "192.0.2.1") as second:
            assert second is Refusal.CONNECTIONS
        with peers.user_connection("anna@home.test", "192.0.2.9") as elsewhere:
            assert elsewhere is None


def test_unknown_recipients_defer_the_address_for_ten_minutes(clock: Clock) -> None:
    peers = Peers(PeerLimits(unknown_recipients=3), clock)
    for _ in range(2):
        peers.unknown_recipient("192.0.2.1")
    assert not peers.deferred("192.0.2.1")
    peers.unknown_recipient("192.0.2.1")
    assert peers.deferred("192.0.2.1")
    assert not peers.deferred("192.0.2.2")
    clock.now += 599
    assert peers.deferred("192.0.2.1")
    clock.now += 2
    assert not peers.deferred("192.0.2.1")


def test_failed_logins_lock_an_address_out_and_time_lets_it_in(clock: Clock) -> None:
    peers = Peers(PeerLimits(login_failures_minute=3), clock)
    for _ in range(3):
        assert not peers.locked_out("192.0.2.1", ANNA)
        peers.login_failed("anna@home.test", "192.0.2.1")
    assert peers.locked_out("192.0.2.1", ANNA)
    assert not peers.locked_out("192.0.2.2", ANNA)
    clock.now += 61
    assert not peers.locked_out("192.0.2.1", ANNA)


def test_failed_logins_of_a_day(clock: Clock) -> None:
    peers = Peers(PeerLimits(login_failures_day=5), clock)
    for _ in range(5):
        peers.login_failed("anna@home.test", "192.0.2.1")
        clock.now += 61
    assert peers.locked_out("192.0.2.1", ANNA)
    clock.now += 86_400
    assert not peers.locked_out("192.0.2.1", ANNA)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside", "factor"),
    [("192.0.2.{}", "192.0.2.200", "192.0.3.1", 3), ("192.0.{}.1", "192.0.200.9", "192.1.0.1", 9)],
)
def test_failed_logins_of_a_network_count_together(
    clock: Clock, pattern: str, inside: str, outside: str, factor: int
) -> None:
    peers = Peers(PeerLimits(login_failures_minute=2), clock)
    for number in range(2 * factor):
        assert not peers.locked_out(inside, ANNA)
        peers.login_failed("anna@home.test", pattern.format(number + 1))
    assert peers.locked_out(inside, ANNA)
    assert not peers.locked_out(outside, ANNA)


def test_a_user_who_logged_in_well_is_never_locked_out_there(clock: Clock) -> None:
    peers = Peers(PeerLimits(login_failures_minute=2, login_failures_day=4), clock)
    peers.logged_in("192.0.2.1", ANNA)
    for _ in range(10):
        peers.login_failed("anna@home.test", "192.0.2.1")
    assert not peers.locked_out("192.0.2.1", ANNA)
    assert peers.locked_out("192.0.2.1", "ben@work.test")
    assert peers.locked_out("192.0.2.1", "")
    assert peers.locked_out("192.0.2.2", ANNA)  # the network has failed ten times: more than three times two
    clock.now += GOOD_SECONDS + 1
    for _ in range(2):
        peers.login_failed("anna@home.test", "192.0.2.1")
    assert peers.locked_out("192.0.2.1", ANNA)


def test_a_good_login_forgets_no_failures(clock: Clock) -> None:
    """An account of one's own between two guesses must not make the guesses free."""
    peers = Peers(PeerLimits(login_failures_minute=2), clock)
    for _ in range(2):
        peers.login_failed("ben@work.test", "192.0.2.1")
        peers.logged_in("192.0.2.1", ANNA)
    assert not peers.locked_out("192.0.2.1", ANNA)
    assert peers.locked_out("192.0.2.1", "ben@work.test")


def test_good_logins_are_bounded(clock: Clock) -> None:
    peers = Peers(PeerLimits(), clock)
    for number in range(TABLE + 10):
        peers.logged_in("192.0.2.1", f"u{number}@home.test")
    assert len(peers._at_home) == TABLE
    assert len(peers._good) == 1


def test_an_account_guessed_at_from_everywhere_answers_slowly(clock: Clock) -> None:
    peers = Peers(PeerLimits(account_failures_hour=3), clock)
    slow = []
    for number in range(4):
        peers.login_failed("anna@home.test", f"198.51.{number}.1")
        slow.append(peers.guessed("anna@home.test", 0))
    assert slow == [False, False, False, True]
    peers.login_failed("ben@work.test", "203.0.113.1")
    assert not peers.guessed("ben@work.test", 3)
    assert peers.guessed("ben@work.test", 4)  # all workers together
    assert not peers.guessed("", 4)


def test_a_domain_guessed_at_from_everywhere_answers_slowly(clock: Clock) -> None:
    peers = Peers(PeerLimits(domain_failures_hour=3), clock)
    slow = []
    for number in range(4):
        peers.login_failed(f"n{number}@home.test", f"198.51.{number}.1", "home.test")
        slow.append(peers.searched("home.test", 0))
    assert slow == [False, False, False, True]
    assert not peers.searched("work.test", 3)
    assert peers.searched("work.test", 4)  # all workers together
    assert not peers.searched("", 4)  # a domain that is not served here
    clock.now += 3_600
    assert not peers.searched("home.test", 0)


def test_what_goes_on_is_not_pushed_out_by_many_others(clock: Clock) -> None:
    """Failures at names of chance must not make those of one user forgotten."""
    window = Window(60.0, 3)
    for number in range(2 * TABLE):
        window.add(str(number), clock.now)
        if number % 10_000 == 0:
            window.add(ANNA, clock.now)
    assert window.count(ANNA, clock.now) == 4
    assert len(window._times) == TABLE


def test_a_worker_takes_so_many_connections_in_all(clock: Clock) -> None:
    peers = Peers(PeerLimits(exempt_loopback=True), clock, connections=2, stress=Stress(StressLimits(100)))
    with (
        peers.connection("192.0.2.1", Service.SMTP) as first,
        peers.connection("127.0.0.1", Service.IMAP) as second,
        peers.connection("", Service.SMTP) as third,
    ):
        assert (first, second, third) == (None, None, Refusal.FULL)
        assert peers.open == 3
    assert peers.open == 0


def test_the_last_fifth_is_for_those_with_a_good_history(clock: Clock) -> None:
    peers = Peers(PeerLimits(offences=2), clock, connections=10)
    peers.logged_in("192.0.2.1", ANNA)
    peers.delivered("198.51.100.1")
    with ExitStack() as stack:
        for number in range(8):
            assert stack.enter_context(peers.connection(f"203.0.113.{number}", Service.SMTP)) is None
        for ip, expected in (("192.0.2.1", None), ("198.51.100.1", None), ("192.0.2.9", Refusal.STRESS)):
            with peers.connection(ip, Service.IMAP) as refusal:
                assert refusal is expected
        for _ in range(2):
            peers.offended("198.51.100.1")  # mail it delivered does not make up for that
        with peers.connection("198.51.100.1", Service.SMTP) as refusal:
            assert refusal is Refusal.STRESS


def test_stress_refuses_strangers_whatever_room_there_is(clock: Clock) -> None:
    peers = Peers(PeerLimits(), clock)
    peers.stress.on = True
    with peers.connection("192.0.2.9", Service.SMTP) as refusal:
        assert refusal is Refusal.STRESS
    with peers.connection("192.0.2.9", Service.SMTP, admitted=True) as refusal:
        assert refusal is None  # asked before the handshake
    clock.now += 1
    peers.logged_in("192.0.2.9", ANNA)
    with peers.connection("192.0.2.9", Service.SMTP) as refusal:
        assert refusal is None


def test_who_was_admitted_before_the_handshake_is_no_new_connection(clock: Clock) -> None:
    peers = Peers(PeerLimits(new_connections=1), clock)
    for expected in (None, Refusal.RATE):
        with peers.connection("192.0.2.1", Service.IMAP) as refusal:
            assert refusal is expected
        with peers.connection("192.0.2.1", Service.IMAP, admitted=True) as refusal:
            assert refusal is None


def test_a_bad_reputation_lasts_an_hour_and_ends_with_a_login(clock: Clock) -> None:
    peers = Peers(PeerLimits(offences=2, recipients_of_offender=10), clock)
    assert peers.recipients("192.0.2.1", 1_000) == 1_000
    for _ in range(2):
        assert not peers.offender("192.0.2.1")
        peers.offended("192.0.2.1")
    assert peers.offender("192.0.2.1")
    assert peers.recipients("192.0.2.1", 1_000) == 10
    assert peers.recipients("192.0.2.2", 1_000) == 1_000
    clock.now += 3_601
    assert not peers.offender("192.0.2.1")
    for _ in range(2):
        peers.offended("192.0.2.1")
    peers.logged_in("192.0.2.1", ANNA)
    assert not peers.offender("192.0.2.1")


def test_a_harvest_is_one_offence(clock: Clock) -> None:
    peers = Peers(PeerLimits(unknown_recipients=2, offences=1), clock)
    peers.unknown_recipient("192.0.2.1")
    assert not peers.offender("192.0.2.1")
    for _ in range(5):
        peers.unknown_recipient("192.0.2.1")
    assert peers.offender("192.0.2.1")
    assert peers._offences.count("192.0.2.1/32", clock.now) == 1


def test_under_stress_strangers_may_do_less(clock: Clock) -> None:
    peers = Peers(PeerLimits(), clock)
    usual = SessionLimits()
    assert peers.patience("192.0.2.1", usual) is usual
    assert (peers.recipients("192.0.2.1", 1_000), peers.before_login("192.0.2.1", 60.0)) == (1_000, 60.0)
    peers.stress.on = True
    tight = peers.patience("192.0.2.1", usual)
    assert (tight.command_seconds, tight.hard_errors, tight.junk_commands) == (10.0, 1, 1)
    assert (peers.recipients("192.0.2.1", 1_000), peers.before_login("192.0.2.1", 60.0)) == (100, 10.0)
    assert peers.recipients("192.0.2.1", 5) == 5
    assert peers.patience("", usual) is usual  # LMTP on a Unix socket
