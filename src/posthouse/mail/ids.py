"""Identifiers, each with a type of its own, so that one is never taken for another."""

from typing import NewType

AccountId = NewType("AccountId", int)
MailboxId = NewType("MailboxId", int)
EmailId = NewType("EmailId", int)
#: Hexadecimal SHA-256 of the octets: the same octets have the same BlobId.
BlobId = NewType("BlobId", str)
UID = NewType("UID", int)
UIDValidity = NewType("UIDValidity", int)
ModSeq = NewType("ModSeq", int)
#: Milliseconds since 1970-01-01T00:00:00Z. Every stored time has this form.
Millis = NewType("Millis", int)
