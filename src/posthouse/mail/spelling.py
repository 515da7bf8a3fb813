"""What is wrong with an address or a domain that a person has typed, in words (RFC 5321 §4.1.2, RFC 6531 §3.3).

`why_no_domain` and `why_no_address` explain what the parsers of address.py refuse. `doubt` looks at what they take and
nobody should be called: letters of several scripts in one word, as in a Cyrillic `а` among Latin ones (RFC 5890 §4.4,
UTS #39 §5.1), characters that PRECIS takes in user names in another form or not at all (RFC 8265 §3.3, RFC 8264 §9),
and names that lead back to somebody else (srs.py).
"""

import re
import unicodedata
from collections.abc import Iterator

from posthouse.mail.address import (
    DOMAIN_LENGTH,
    LOCAL_LENGTH,
    PATH_LENGTH,
    Address,
    Domain,
    parse_domain,
    parse_local,
)
from posthouse.mail.srs import is_rewritten

LABEL_LENGTH = 63  # RFC 1035 §2.3.4

# Scripts that are written together (UTS #39 §5.1, "highly restrictive").
_TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
_NO_SCRIPT = {"", "MODIFIER", "MASCULINE", "FEMININE", "MICRO"}  # letters of every script
# Letters that look as Latin ones do, from UTS #39's confusables: those that name real addresses' doubles.
_LOOKS = dict(
    zip(
        "авсԁеһіјкӏмопрԛѕтѵԝхуАВСЕНІЈКМОРЅТХУαικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
        "abcdehijklmonpqstvwxyABCEHIJKMOPSTXYaiknoptuxABEZHIKMNOPTYX",
        strict=False,
    )
)
_WIDE = {"<wide>", "<narrow>", "<font>", "<circle>", "<super>", "<sub>", "<square>", "<compat>"}
_AFTER_AT = re.compile(r"[A-Za-z0-9.+_-]{1,64}(?: at |\(at\)|\[at\])[A-Za-z0-9.-]{1,255}\Z", re.IGNORECASE)

# RFC 6761 §6.3, §6.4: names that never lead to a server elsewhere; and the tree of reverse names.
_NOT_OURS = {
    "localhost": "every machine itself, and nobody can write to it",
    "invalid": "no domain, by definition",
    "arpa": "for the DNS itself",
}
# Where others register theirs. Not the whole list of public suffixes, which changes every week: what people mistype.
_REGISTRIES = frozenset(("com", "org", "net", "edu", "gov", "mil", "int", "co", "ac"))
_NAMED = re.compile(r"[^<>]*<([^<>\s]+@[^<>\s]+)>\s*\Z")  # as in a header field (RFC 5322 §3.4)


def why_no_domain(text: str) -> str:
    """Why `parse_domain` takes it for none."""
    if "@" in text:
        return f"it is an address; its domain is {text.rpartition('@')[2]}"
    if not text or any(c.isspace() for c in text):
        return "a domain has no blanks and is not empty"
    if "://" in text or "/" in text:
        return "it is the address of a page; the domain is the part between // and the next /"
    if "," in text:
        return "there is a comma in it; between labels stands a dot"
    if any(len(label) > LABEL_LENGTH for label in text.split(".")) or len(text) > DOMAIN_LENGTH:
        return f"a label has at most {LABEL_LENGTH} characters, the whole at most {DOMAIN_LENGTH}"
    if ".." in text or text.startswith("."):
        return "a label between two dots is empty"
    if not text.isascii():
        return "a label of it cannot be the name of a domain (IDNA); perhaps a character was lost or is a symbol"
    return "letters, digits, dots and hyphens, such as example.org, and no label begins or ends with a hyphen"


def why_no_address(text: str) -> str:
    """Why `parse_address` takes it for none."""
    local, at, domain = text.rpartition("@")
    if not at:
        return _why_no_at(text)
    if text != text.strip():
        return "there are blanks before or after it"
    if text.startswith("<") and text.endswith(">"):
        return f"write it without the brackets: {text[1:-1]}"
    if (named := _NAMED.match(text)) is not None:
        return f"only the address is wanted, without a name: {named[1]}"
    if not local:
        return "the part before the @ is missing"
    if "@" in local and not local.startswith('"'):
        return "there are two @ in it"
    if not domain:
        return f"the domain behind the @ is missing, as in {local}@example.org"
    if parse_domain(domain) is None:
        return f"{domain!r} is not a domain: {why_no_domain(domain)}"
    return _why_no_local(local)


def _why_no_at(text: str) -> str:
    if _AFTER_AT.match(text):
        return "the @ is spelled out; write anna@example.org"
    if "＠" in text:
        return "the @ is a wide one (U+FF20); write it as @"
    return "the @ and the domain are missing, as in anna@example.org"


def _why_no_local(local: str) -> str:
    """Why `parse_local` takes it for none; where it does not, the whole is too long."""
    if len(local.encode("utf-8", "replace")) > LOCAL_LENGTH:
        return f"the part before the @ has more than {LOCAL_LENGTH} octets"
    if parse_local(local) is not None:
        return f"it is longer than {PATH_LENGTH - 2} octets"
    if local.startswith('"') or local.endswith('"'):
        return f"in {local} the quotes are not closed, or a quote or backslash inside has no backslash before it"
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return f"{local!r} has a dot at an end or two in a row"
    if any(c.isspace() for c in local):
        return f"{local!r} has a blank in it"
    bad = next((c for c in local if parse_local(f"a{c}a") is None), "")
    return f"{local!r} has a character that must not stand there: {bad!r}"


def doubt(address: Address) -> str | None:
    """Why nobody should get this address, though it is one; None where nothing is against it."""
    if is_rewritten(address):
        return f"names that begin with {address.local[:5]} are for mail that is sent on (SRS), and it would get none"
    return _doubt_of_local(address.local) or doubt_of_domain(address.domain)


def doubt_of_domain(domain: Domain) -> str | None:
    """The same for a domain."""
    if domain.name.rpartition(".")[2].isdigit():  # a top-level domain is never all digits
        return "its last part has only digits, as in the address of a machine, and there is no such domain"
    for label in unicode_of(domain).split("."):
        mixed = _mixed(label)
        if mixed:
            return mixed
    return None


def doubt_of_new_domain(domain: Domain) -> str | None:
    """Why no domain of this name should come into being here, beside what is said of every one; None where nothing is
    against it."""
    labels = domain.name.split(".")
    if labels[-1] in _NOT_OURS:
        return f"{labels[-1]} is {_NOT_OURS[labels[-1]]}"
    if "_" in domain.name:  # RFC 5321 §4.1.2: sub-domain = Let-dig [Ldh-str]
        return "a mail domain has no _ in it, and many servers refuse such addresses; a hyphen is allowed"
    if len(labels) == 1 and (domain.name in _REGISTRIES or (len(domain.name) == 2 and domain.name.isascii())):
        return "it is a top-level domain, below which others have theirs; what is before its dot is missing"
    return None


def beware_of_domain(domain: Domain) -> str | None:
    """What somebody should know who takes mail for it; None where it is a domain as any other."""
    labels = domain.name.split(".")
    if len(labels) == 1:
        return "a name without a dot is known in your own network only: no other server can write to it or answer"
    if len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _REGISTRIES:
        return "below it others probably have domains of theirs, as below co.uk: is a part before it missing?"
    return None


def _doubt_of_local(local: str) -> str | None:
    # RFC 8265 §3.3: the IdentifierClass has no blanks, no symbols, and only one form of each letter.
    for c in local:
        if c in "/%":
            return f"{c!r} in a name means something else to many programs (a path, a route); leave it out"
        if c == '"' or c.isspace():
            return "a name that must be written in quotes is refused by many programs; leave blanks and quotes out"
        if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn", "Zs"):
            return f"U+{ord(c):04X} ({unicodedata.name(c, 'a control character')}) cannot be seen or typed"
        form = unicodedata.decomposition(c).partition(" ")[0]
        if form in _WIDE:
            return f"{c!r} is another form of {unicodedata.normalize('NFKC', c)!r}; write it so"
    if unicodedata.normalize("NFC", local) != unicodedata.normalize("NFKC", local):
        return f"it has characters in another form than usual; write {unicodedata.normalize('NFKC', local)!r}"
    if local == "*":
        return "* alone stands for everybody"
    return next((mixed for word in re.split(r"[.+_-]", local) if (mixed := _mixed(word))), None)


def unicode_of(domain: Domain) -> str:
    """The domain with its U-labels, as people read it (RFC 5890 §2.3.2.1); an A-label that is none stays."""
    return ".".join(_u_label(label) for label in domain.name.split("."))


def readable(text: str) -> str:
    """An address or a domain as people write it: with U-labels, where these are beyond doubt and mean the same."""
    local, at, name = text.rpartition("@")
    if "xn--" not in name:
        return text
    domain = Domain(name)
    spelled = unicode_of(domain)
    sure = spelled.isprintable() and parse_domain(spelled) == domain and doubt_of_domain(domain) is None
    return f"{local}{at}{spelled}" if sure else text


def _u_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label


def _mixed(word: str) -> str | None:
    scripts = set(_scripts(word))
    if len(scripts) < 2 or any(scripts <= together for together in _TOGETHER):
        return None
    strange = next((c for c in word if c in _LOOKS and not c.isascii()), None) or next(
        c for c in word if not c.isascii()
    )
    seems = "".join(_LOOKS.get(c, c) for c in word)
    names = " and ".join(sorted(script.capitalize() for script in scripts))
    hint = f"; did you mean {seems}?" if seems.isascii() else ""
    return f"{word} mixes {names} letters: {strange!r} is {unicodedata.name(strange, '')}{hint}"


def _scripts(word: str) -> Iterator[str]:
    for c in word:
        if c.isalpha():
            script = re.split(r"[ -]", unicodedata.name(c, ""))[0]
            if script not in _NO_SCRIPT:
                yield script


def skeleton(text: str) -> str:
    """What the text looks like, to find a name that is easily taken for it (UTS #39 §4)."""
    return "".join(_LOOKS.get(c, c) for c in unicodedata.normalize("NFKC", text)).casefold()
