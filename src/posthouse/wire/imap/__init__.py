"""IMAP as spoken on the wire (RFC 9051, RFC 3501)."""
