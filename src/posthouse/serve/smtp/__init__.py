"""SMTP and LMTP sessions (RFC 5321 §3, RFC 2033)."""
