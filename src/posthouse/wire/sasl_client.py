"""SASL exchanges from the client's side: PLAIN, LOGIN, and SCRAM with and without -PLUS (RFC 4422 §3, RFC 4616,
RFC 5802).

    mechanism = choose(announced.auth, bound)       the strongest that both know; None: there is none
    exchange = begin(mechanism, user, password, nonce, binding)
    exchange.initial                                the initial response, None where the mechanism has none
    exchange.answer(challenge)                      what to answer; None: cancel, the server is not to be trusted
    exchange.satisfied                              whether a success may be believed (RFC 5802 §5: SCRAM, both sides)

`answer` may be slow (SCRAM); call it in a thread.

It does NOT decide whether a password may be sent at all: without TLS it must not be, and who calls must see to that. It
knows no OAUTHBEARER yet and no security layer.
"""

from posthouse.wire.scram_client import HASHES, PLUS, Binding, ScramClient

# Strongest first. Any -PLUS before all without: who has seen one and says "y" is refused (RFC 5802 §6).
PREFERENCE = (*(name + PLUS for name in HASHES), *HASHES, "PLAIN", "LOGIN")


class PlainClient:
    """PLAIN (RFC 4616 §2): all is said at once."""

    __slots__ = ("initial",)

    satisfied = True

    def __init__(self, user: str, password: str) -> None:
        self.initial: bytes | None = f"\0{user}\0{password}".encode()

    def answer(self, challenge: bytes) -> bytes | None:
        """A server that asks although everything was said gets nothing."""
        return None


class LoginClient:
    """LOGIN (draft-murchison-sasl-login): the name, then the password, whatever the prompts say."""

    __slots__ = ("_left", "initial")

    def __init__(self, user: str, password: str) -> None:
        self.initial: bytes | None = None
        self._left = [password.encode("utf-8"), user.encode("utf-8")]

    @property
    def satisfied(self) -> bool:
        """Both were asked for."""
        return not self._left

    def answer(self, challenge: bytes) -> bytes | None:
        """The name, then the password."""
        return self._left.pop() if self._left else None


class ScramExchange:
    """SCRAM (RFC 5802 §5): the server proves itself too, in a last challenge that is answered with nothing."""

    __slots__ = ("_client", "_finished", "initial", "satisfied")

    def __init__(self, client: ScramClient) -> None:
        self._client = client
        self._finished = False
        self.initial: bytes | None = self._client.first()
        self.satisfied = False

    def answer(self, challenge: bytes) -> bytes | None:
        """client-final-message, then nothing where the server has proved itself."""
        if not self._finished:
            self._finished = True
            return self._client.final(challenge)
        self.satisfied = self._client.proves(challenge)
        return b"" if self.satisfied else None


ClientExchange = PlainClient | LoginClient | ScramExchange


def choose(announced: tuple[str, ...], *, bound: bool = False) -> str | None:
    """The mechanism to use of those that the server has announced, names in upper case. `bound`: there is a channel
    binding for -PLUS."""
    return next((name for name in PREFERENCE if name in announced and (bound or not name.endswith(PLUS))), None)


def begin(mechanism: str, user: str, password: str, nonce: str, binding: Binding | None = None) -> ClientExchange:
    """The exchange for a mechanism that `choose` gave. Raises ValueError for a name or password that it cannot carry:
    one with NUL, or, for SCRAM, with characters that SASLprep forbids (RFC 4616 §2, RFC 4013 §2.3)."""
    if "\0" in user or "\0" in password:
        raise ValueError("the name or password holds a NUL character")
    if mechanism.removesuffix(PLUS) in HASHES:
        return ScramExchange(ScramClient(mechanism, user, password, nonce, binding))
    return PlainClient(user, password) if mechanism == "PLAIN" else LoginClient(user, password)
