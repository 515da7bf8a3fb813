"""Header address lists (RFC 5322 §3.4, with the obsolete forms of §4.4 and UTF-8 of RFC 6532 §3.2).

Reads what people and programs really write: quoted strings without an end, commas missing or doubled, source routes,
comments as names, groups, addresses without a domain. Values stay octets as received, without quotes and comments;
encoded-words are decoded by whoever shows them (`NamedAddress.text`). Never raises; linear time.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from posthouse.mail.header import FIELD_VALUE, decode_text, decode_words, unfold

ADDRESSES = 2_000  # of one field; what follows is not looked at (limits.md)
COMMENT_DEPTH = 50  # nested comments; deeper ones end the comment early
WORDS = 40_000  # words and signs of one field that is not in the usual forms: 20 for each address; no more are read

_SPECIALS = rb'()<>\[\]:;@\\,"'
# The usual forms at once: `local@domain`, `Phrase <local@domain>`, `"Quoted" <local@domain>`, up to a comma or the end.
_USUAL = re.compile(
    rb"""[ \t]*+(?:(?:"([^"\\]*+)"|([^%(s)s\x00-\x1f]*+))[ \t]*+<([^%(s)s\s\x00]++)@([^%(s)s\s\x00]++)>"""
    rb"""|([^%(s)s\s\x00]++)@([^%(s)s\s\x00]++))[ \t]*+(?:,|\Z)""" % {b"s": _SPECIALS},
)
# One word or sign of the full grammar. A quoted string or literal without an end goes to the end of the field.
_WORD = re.compile(
    rb"""([ \t\r\n]++)|"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|\\?\Z)|(\[[^\[\]\\]*+(?:\\.[^\[\]\\]*+)*+(?:\]|\\?\Z)?)"""
    rb"""|([<>@,;:().\]\\])|([^%b\s.]++)""" % _SPECIALS,
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT_SIGN = re.compile(rb"\\.|[()]", re.DOTALL)


class NamedAddress(NamedTuple):
    """A mailbox of an address list (RFC 5322 §3.4): display name, or the comment used as one, or None; source
    route as `@a,@b` or None; local part, unquoted; domain, "" where there is none. Octets as received."""

    name: bytes | None
    route: bytes | None
    local: bytes
    domain: bytes

    @property
    def text(self) -> str | None:
        """The name with its encoded-words decoded, or None (RFC 8621 §4.1.2.3)."""
        return None if self.name is None else decode_words(self.name).strip() or None

    @property
    def addr_spec(self) -> str:
        """The addr-spec as it is written (RFC 5322 §3.4.1); only the local part where there is no domain."""
        local = decode_text(self.local)
        if not _DOT_ATOM.fullmatch(local) and (local or self.domain):
            local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
        return f"{local}@{decode_text(self.domain)}" if self.domain else decode_text(self.local)


_DOT_ATOM = re.compile(r"[^\s()<>\[\]:;@\\,.\"\x00-\x1f\x7f]+(?:\.[^\s()<>\[\]:;@\\,.\"\x00-\x1f\x7f]+)*")


class AddressGroup(NamedTuple):
    """A group of an address list: its display name and its mailboxes (RFC 5322 §3.4)."""

    name: bytes
    members: tuple[NamedAddress, ...]


def parse_address_list(value: bytes) -> list[NamedAddress | AddressGroup]:
    """The addresses of a raw or unfolded field value, at most ADDRESSES of them (RFC 5322 §3.4)."""
    line = unfold(value[:FIELD_VALUE])
    found: list[NamedAddress | AddressGroup] = []
    usual = _USUAL.match
    at, stop = 0, len(line)
    while at < stop and len(found) < ADDRESSES:
        match = usual(line, at)
        if match is None:
            return _full(line, at, found)
        quoted, phrase, local, domain, bare_local, bare_domain = match.groups()
        at = match.end()
        if bare_local is not None:
            found.append(NamedAddress(None, None, bare_local, bare_domain))
            continue
        name = quoted if quoted is not None else phrase.rstrip(b" \t")
        found.append(NamedAddress(name or None, None, local, domain))
    return found


def first_address(value: bytes) -> NamedAddress | AddressGroup | None:
    """The first of `parse_address_list`, without reading on; of a group only its name."""
    line = unfold(value[:FIELD_VALUE])
    match = _USUAL.match(line)
    if match is not None:
        quoted, phrase, local, domain, bare_local, bare_domain = match.groups()
        if bare_local is not None:
            return NamedAddress(None, None, bare_local, bare_domain)
        return NamedAddress((quoted if quoted is not None else phrase.rstrip(b" \t")) or None, None, local, domain)
    reader = _Reader([])
    for token in islice(_tokens(line, 0), WORDS):
        reader.take(token)
        if reader.group is not None:
            return AddressGroup(reader.group, ())
        if reader.found:
            return reader.found[0]
    reader.end_group()
    return reader.found[0] if reader.found else None


def mailboxes(value: bytes) -> list[NamedAddress]:
    """The addresses of a field with groups dissolved (RFC 8621 §4.1.2.3)."""
    flat: list[NamedAddress] = []
    for item in parse_address_list(value):
        if isinstance(item, AddressGroup):
            flat.extend(item.members)
        else:
            flat.append(item)
    return flat


class _Token(NamedTuple):
    """`kind`: `a` atom, `q` quoted string, `l` literal, `c` comment, or the sign itself. `gap`: space before it."""

    kind: str
    octets: bytes
    gap: bool


def _tokens(line: bytes, at: int) -> Iterator[_Token]:
    gap = False
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:  # an octet that is nothing, such as a stray control character
            at += 1
            continue
        at = match.end()
        space, quoted, literal, sign, atom = match.groups()
        if space is not None:
            gap = True
            continue
        if sign == b"(":
            at, comment = _comment(line, at)
            yield _Token("c", comment, gap)
        elif quoted is not None:
            yield _Token("q", _QUOTED_PAIR.sub(rb"\1", quoted), gap)
        elif sign is not None:
            yield _Token(sign.decode("ascii"), sign, gap)
        else:
            yield _Token("l" if literal is not None else "a", atom if literal is None else literal, gap)
        gap = False


def _comment(line: bytes, at: int) -> tuple[int, bytes]:
    """Where the comment opened before `at` ends, and what it says (RFC 5322 §3.2.2)."""
    depth, begin = 1, at
    for match in _COMMENT_SIGN.finditer(line, at):
        if match[0] == b"(":
            depth += 1
        elif match[0] == b")":
            depth -= 1
        if depth == 0 or depth > COMMENT_DEPTH:
            return match.end(), _QUOTED_PAIR.sub(rb"\1", line[begin : match.start()])
    return len(line), _QUOTED_PAIR.sub(rb"\1", line[begin:])


def _full(line: bytes, at: int, found: list[NamedAddress | AddressGroup]) -> list[NamedAddress | AddressGroup]:
    """The addresses from `at` on by the full grammar, behind those already found."""
    reader = _Reader(found)
    for token in islice(_tokens(line, at), WORDS):
        reader.take(token)
        if reader.full:
            break
    reader.end_group()
    return found


class _Reader:
    """Collects the words of one address, and the addresses of one group."""

    __slots__ = ("angle", "comment", "count", "found", "group", "inside", "members", "outside", "routed")

    def __init__(self, found: list[NamedAddress | AddressGroup]) -> None:
        self.found = found
        self.count = len(found)
        self.group: bytes | None = None  # the name of the group we are in
        self.members: list[NamedAddress] = []
        self.clear()

    @property
    def full(self) -> bool:
        return self.count >= ADDRESSES

    @property
    def in_route(self) -> bool:
        """Whether a comma here separates the domains of a source route (RFC 5322 §4.4, obs-domain-list)."""
        return bool(self.angle and not self.routed and self.inside and self.inside[0].kind == "@")

    def clear(self) -> None:
        self.outside: list[_Token] = []  # the phrase, or a bare addr-spec
        self.inside: list[_Token] | None = None  # what stands between < and >
        self.angle = False  # whether we stand between them
        self.routed = False  # whether a colon has ended the source route
        self.comment: bytes | None = None

    def take(self, token: _Token) -> None:
        if token.kind == "c":
            self.comment = token.octets.strip() if self.comment is None else self.comment
        elif token.kind in ",;:<>":
            self.sign(token)
        elif self.angle and self.inside is not None:
            self.inside.append(token)
        else:
            if self.inside is not None:  # a comma was forgotten behind >
                self.end_address()
            self.outside.append(token)

    def sign(self, token: _Token) -> None:
        match token.kind:
            case "<":
                if self.inside is not None:  # a comma, or a >, was forgotten
                    self.end_address()
                self.inside, self.angle = [], True
            case ">":
                self.angle = False
            case ":" if self.angle and self.inside is not None:
                self.inside.append(token)
                self.routed = True
            case ":":
                self.begin_group()
            case "," if self.in_route and self.inside is not None:
                self.inside.append(token)
            case ",":
                self.end_address()
            case _:
                self.end_group()

    def begin_group(self) -> None:
        name = _phrase(self.outside)
        self.end_group(keep=False)
        self.group = name or b""

    def end_group(self, *, keep: bool = True) -> None:
        """At a semicolon or the end. Without `keep`, the words read so far are a group's name, not an address."""
        if keep:
            self.end_address()
        else:
            self.clear()
        if self.group is not None:
            self.found.append(AddressGroup(self.group, tuple(self.members)))
            self.count += 1
            self.group = None
            self.members = []

    def end_address(self) -> None:
        address = self.address()
        self.clear()
        if address is None:
            return
        self.count += 1
        if self.group is None:
            self.found.append(address)
        else:
            self.members.append(address)

    def address(self) -> NamedAddress | None:
        if self.inside is not None:
            return _angle_address(_phrase(self.outside) or self.comment or None, self.inside)
        if not self.outside:
            return None
        return _bare_address(self.outside, self.comment or None)


def _phrase(tokens: list[_Token]) -> bytes:
    """A display name: its words, with one space where there was white space (RFC 5322 §3.2.5)."""
    return b"".join(b" " + token.octets if token.gap else token.octets for token in tokens).strip()


def _joined(tokens: list[_Token]) -> bytes:
    return b"".join(token.octets for token in tokens)


def _last_at(tokens: list[_Token]) -> int:
    for index in range(len(tokens) - 1, -1, -1):
        if tokens[index].kind == "@":
            return index
    return -1


def _angle_address(name: bytes | None, tokens: list[_Token]) -> NamedAddress | None:
    """What stands between angle brackets: a route, if there is one, and an addr-spec (RFC 5322 §3.4, §4.4)."""
    route = None
    if tokens and tokens[0].kind == "@":
        for index, token in enumerate(tokens):
            if token.kind == ":":
                route, tokens = _joined(tokens[:index]), tokens[index + 1 :]
                break
    at = _last_at(tokens)
    local, domain = (tokens, []) if at < 0 else (tokens[:at], tokens[at + 1 :])
    if name is None and not tokens:
        return None
    return NamedAddress(name, route, _joined(local), _joined(domain))


def _bare_address(tokens: list[_Token], comment: bytes | None) -> NamedAddress:
    """An addr-spec without angle brackets. Words before it are a name; several words without an @ are only that."""
    at = _last_at(tokens)
    if at < 0:
        if len(tokens) > 1 and any(token.gap for token in tokens[1:]):
            return NamedAddress(_phrase(tokens), None, b"", b"")
        return NamedAddress(comment, None, _joined(tokens), b"")
    begin = at - 1
    while begin > 0 and (not tokens[begin].gap or tokens[begin].kind == "." or tokens[begin - 1].kind == "."):
        begin -= 1
    begin = max(begin, 0)
    stop = at + 1
    while stop < len(tokens) and (
        stop == at + 1 or not tokens[stop].gap or "." in (tokens[stop].kind, tokens[stop - 1].kind)
    ):
        stop += 1
    name = _phrase(tokens[:begin] + tokens[stop:])
    return NamedAddress(name or comment, None, _joined(tokens[begin:at]), _joined(tokens[at + 1 : stop]))
