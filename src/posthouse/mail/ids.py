"""Identifiers, each with a type of its own, so that one is never taken for another."""

from typing import NewType

AccountId = NewType("AccountId", int)
MailboxId = NewType("MailboxId", int)
EmailId = NewType("EmailId", int)
#: The EmailId of the first Email of the thread.
ThreadId = NewType("ThreadId", int)
#: Hexadecimal SHA-256 of the octets: the same octets have the same BlobId.
BlobId = NewType("BlobId", str)
UID = NewType("UID", int)
UIDValidity = NewType("UIDValidity", int)
ModSeq = NewType("ModSeq", int)
#: What joins all that is known of one message that came in: the id of our Received field, 16 hexadecimal digits.
Trail = NewType("Trail", str)
QueueId = NewType("QueueId", int)
#: A device password of a user (store/devices.py).
DeviceId = NewType("DeviceId", int)
#: Milliseconds since 1970-01-01T00:00:00Z. Every stored time has this form.
Millis = NewType("Millis", int)

# How these ids look outside (RFC 8474 §4 and §5, RFC 8620 §1.2): a letter before the number, so that ids of different
# kinds are never equal, and none begins with a digit (RFC 8474 §8.1).
MAILBOX_LETTER = "F"
EMAIL_LETTER = "M"
THREAD_LETTER = "T"
QUEUE_LETTER = "Q"


def parse_object_id(text: str, letter: str) -> int | None:
    """The number behind an id of this kind; None where the text is no id that we ever gave."""
    number = text[1:]
    if text[:1] != letter or not number.isascii() or not number.isdigit() or number[0] == "0" or len(number) > 18:
        return None
    return int(number)
