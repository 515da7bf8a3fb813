"""transport/trace.py: Return-Path and Received (RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from household import ANNA, BEN, HOSTNAME, NOW, credential
from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.header import header_end, split, unfold
from posthouse.mail.ids import AccountId, Trail
from posthouse.net.link import TlsState
from posthouse.store.accounts import Login
from posthouse.transport.client import Client
from posthouse.transport.trace import hops, protocol, received_field, return_path

TLS = TlsState("TLSv1.3", "TLS_AES_256_GCM_SHA384")
LOGIN = Login(AccountId(1), ANNA, credential())


def envelope(*recipients: Address, utf8: bool = False, sender: Address | None = BEN) -> Envelope:
    return Envelope(ReversePath(sender), tuple(Recipient(ForwardPath(a)) for a in recipients), utf8=utf8)


def fields(client: Client, of: Envelope) -> dict[bytes, bytes]:
    octets = return_path(of) + received_field(client, of, HOSTNAME, NOW, Trail("0123456789abcdef"))
    found = split(octets)
    assert octets.endswith(b"\r\n")
    assert found[-1].stop == len(octets)
    return {field.name: unfold(octets[field.value_start : field.stop]).strip() for field in found}


def test_what_is_put_in_front() -> None:
    found = fields(Client("192.0.2.1", "mx.work.test", tls=TLS), envelope(ANNA))
    assert list(found) == [b"Return-Path", b"Received"]
    assert found[b"Return-Path"] == b"<ben@work.test>"
    assert re.fullmatch(
        rb"from mx\.work\.test \(\[192\.0\.2\.1\]\)\s+by mail\.home\.test \(Posthouse\) with ESMTPS id [0-9a-f]{16}\s+"
        rb"\(TLSv1\.3 TLS_AES_256_GCM_SHA384\)\s+for <anna@home\.test>; Tue, 14 Nov 2023 22:13:20 \+0000",
        found[b"Received"],
    )


def test_the_null_reverse_path() -> None:
    """RFC 5321 §4.5.5."""
    assert fields(Client("192.0.2.1", "x"), envelope(ANNA, sender=None))[b"Return-Path"] == b"<>"


def test_one_recipient_is_not_told_about_the_others() -> None:
    """RFC 5321 §7.2."""
    received = fields(Client("192.0.2.1", "x"), envelope(ANNA, BEN))[b"Received"]
    assert b"anna" not in received
    assert b"ben" not in received


def test_postmaster_alone() -> None:
    received = fields(Client("192.0.2.1", "x"), envelope(Address("Postmaster", Domain(""))))[b"Received"]
    assert b"for <Postmaster>;" in received


@pytest.mark.parametrize(
    ("client", "utf8", "expected"),
    [
        (Client("", extended=False), False, "SMTP"),
        (Client(""), False, "ESMTP"),
        (Client("", tls=TLS), False, "ESMTPS"),
        (Client("", login=LOGIN), False, "ESMTPA"),
        (Client("", tls=TLS, login=LOGIN), False, "ESMTPSA"),
        (Client("", lmtp=True), False, "LMTP"),
        (Client("", lmtp=True, tls=TLS), False, "LMTPS"),
        (Client(""), True, "UTF8SMTP"),
        (Client("", tls=TLS, login=LOGIN), True, "UTF8SMTPSA"),
        (Client("", lmtp=True), True, "UTF8LMTP"),
    ],
)
def test_the_with_clause(client: Client, utf8: bool, expected: str) -> None:
    """RFC 3848; RFC 6531 §4.3."""
    assert protocol(client, envelope(ANNA, utf8=utf8)) == expected


def test_an_ipv6_address_is_a_literal() -> None:
    assert b"([IPv6:2001:db8::1])" in fields(Client("2001:db8::1", "x"), envelope(ANNA))[b"Received"]


def test_a_unix_socket_has_no_address() -> None:
    assert fields(Client("", "front", lmtp=True), envelope(ANNA))[b"Received"].startswith(b"from front\t")


@given(st.text(max_size=300))
def test_no_name_of_a_peer_can_forge_a_field(name: str) -> None:
    octets = received_field(Client("192.0.2.1", name), envelope(ANNA), HOSTNAME, NOW, Trail("0123456789abcdef"))
    assert [field.name for field in split(octets)] == [b"Received"]
    assert header_end(octets + b"\r\nbody") == len(octets) + 2


def test_hops_are_counted_in_the_header_only() -> None:
    octets = b"Received: a\r\nRECEIVED : b\r\n\tReceived: folded\r\nX-Received: c\r\nTo: d\r\n\r\nReceived: body\r\n"
    assert hops(octets, header_end(octets)) == 2
