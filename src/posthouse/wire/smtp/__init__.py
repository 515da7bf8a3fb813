"""SMTP and LMTP as spoken on the wire (RFC 5321, RFC 2033)."""
