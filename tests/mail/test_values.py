"""The small values: Status, Reply, Envelope, Keyword (RFC 3463, RFC 5321 §4.2, RFC 9051 §2.3.2)."""

from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import BodyType, Envelope, Recipient
from posthouse.mail.keyword import BIT_OF_FLAG, DELETED_BIT, FLAG_BITS, SEEN, SEEN_BIT, SYSTEM_BITS
from posthouse.mail.status import Reply, Status, reply


def test_reply() -> None:
    refused = reply(550, "5.1.1", "No such user", "here")
    assert refused == Reply(550, Status(5, 1, 1), ("No such user", "here"))
    assert str(refused.status) == "5.1.1"
    assert refused.text == "No such user here"
    assert not refused.positive
    assert reply(354, "", "Go on").positive
    assert reply(421, "", "Bye", close=True) == Reply(421, None, ("Bye",), True)


def test_envelope_defaults() -> None:
    recipient = Recipient(ForwardPath(Address("anna", Domain("home.test"))))
    envelope = Envelope(ReversePath(), (recipient,))
    assert (envelope.body, envelope.utf8) == (BodyType.SEVEN_BIT, False)


def test_flag_bits_are_distinct() -> None:
    bits = [bit for _, bit in FLAG_BITS]
    assert len(set(bits)) == len(bits) == 5
    assert sum(bits) == 31
    assert BIT_OF_FLAG[b"\\deleted"] == DELETED_BIT
    assert SYSTEM_BITS[SEEN] == SEEN_BIT == BIT_OF_FLAG[b"\\seen"]
