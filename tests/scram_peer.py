"""The client's side of SCRAM by scramp, in octets: a peer that was written by others (RFC 5802 §3)."""

from scramp import ScramClient, ScramException


class ScramPeer:
    """`first`, then `final` with the server's challenge, then `verify` with its last word."""

    def __init__(self, user: str, password: str, nonce: str, mechanism: str = "SCRAM-SHA-256") -> None:
        self._client = ScramClient([mechanism], user, password, c_nonce=nonce)

    def first(self) -> bytes:
        return bytes(self._client.get_client_first().encode())

    def final(self, challenge: bytes) -> bytes:
        """Raises ScramException where the challenge is none."""
        self._client.set_server_first(challenge.decode())
        return bytes(self._client.get_client_final().encode())

    def verify(self, final: bytes) -> bool:
        """Whether the server knows the password too."""
        try:
            self._client.set_server_final(final.decode())
        except ScramException:
            return False
        return True
