"""Messages of the SASL mechanisms that carry a token: OAUTHBEARER (RFC 7628 §3), and XOAUTH2, which came before it.

`read` gives the token of a client's first message and the user that it names, or None where that is no such message;
`failure` prints what is said of a token that is not good.

It does NOT check the token (trust/tokens.py). XOAUTH2 has no RFC; it is as Google and Microsoft describe it.
"""

import json
import re
from dataclasses import dataclass

TOKEN_LENGTH = 16_384  # octets; those of real providers have 800 to 4,000, and a line of AUTH has 12,288
NAME_LENGTH = 255  # octets of an authzid, as in RFC 4616 §2

# RFC 6750 §2.1   b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<token>[A-Za-z0-9._~+/-]+=*)\Z")
# RFC 5801 §4   gs2-header = [gs2-nonstd-flag ","] gs2-cb-flag "," [gs2-authzid] "," ; there is nothing to bind to here
_GS2_HEADER = re.compile(rb"[ny],(?:a=(?P<authzid>(?:[^\x00,=]|=2C|=3D)+))?,\Z")
# RFC 7628 §3.1   kvpair = key "=" value kvsep ; key = 1*(ALPHA) ; value = *(VCHAR / SP / HTAB / CR / LF )
_PAIR = re.compile(rb"(?P<key>[A-Za-z]+)=(?P<value>[\x21-\x7e \t\r\n]*)\Z")
KVSEP = b"\x01"


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token to be checked. `user`: who the client says it is for, "" where it does not say. `google`: what is wrong
    with it has to be told as XOAUTH2 tells it."""

    user: str
    token: str
    google: bool = False

    def __repr__(self) -> str:
        return f"Bearer(user={self.user!r}, token=...)"


class OAuthBearer:
    """OAUTHBEARER (RFC 7628 §3.1): client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep.

    `host` and `port` are not compared with ours: this server has as many names as the DNS gives it."""

    __slots__ = ()

    def read(self, message: bytes) -> Bearer | None:
        """The token, and the authzid."""
        pieces = message.split(KVSEP)
        if len(message) > TOKEN_LENGTH or len(pieces) < 3 or pieces[-2:] != [b"", b""]:
            return None
        header = _GS2_HEADER.match(pieces[0])
        pairs = [_PAIR.match(piece) for piece in pieces[1:-2]]
        if header is None or None in pairs:
            return None
        values = [pair["value"] for pair in pairs if pair is not None and pair["key"].lower() == b"auth"]
        if len(values) != 1:
            return None
        user = _text((header["authzid"] or b"").replace(b"=2C", b",").replace(b"=3D", b"="))
        return _bearer(user, values[0])


class XOAuth2:
    """XOAUTH2: "user=" user kvsep "auth=Bearer " token kvsep kvsep."""

    __slots__ = ()

    def read(self, message: bytes) -> Bearer | None:
        """The token and its user, who must be named."""
        match message.split(KVSEP):
            case [user, auth, b"", b""] if user.startswith(b"user=") and auth.startswith(b"auth="):
                name = _text(user.removeprefix(b"user="))
                return _bearer(name, auth.removeprefix(b"auth="), google=True) if name else None
        return None


def failure(*, google: bool, scope: str, configuration: str) -> bytes:
    """What is said of a token that is not good (RFC 7628 §3.2.2). Never why: that is for the log."""
    said = {"status": "401", "schemes": "bearer"} if google else {"status": "invalid_token"}
    if scope or google:
        said["scope"] = scope
    if configuration and not google:
        said["openid-configuration"] = configuration
    return json.dumps(said).encode("ascii")


def _bearer(user: str | None, auth: bytes, *, google: bool = False) -> Bearer | None:
    match = _BEARER.match(auth) if len(auth) <= TOKEN_LENGTH else None
    return None if match is None or user is None else Bearer(user, match["token"].decode("ascii"), google)


def _text(octets: bytes) -> str | None:
    if b"\0" in octets or len(octets) > NAME_LENGTH:
        return None
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
