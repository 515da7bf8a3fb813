"""IMAP sessions: the meaning of each command (RFC 9051 §6)."""
