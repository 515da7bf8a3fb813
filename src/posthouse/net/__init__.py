"""The outside world: sockets and TLS."""
