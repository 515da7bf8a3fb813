"""Charsets of mail: their names, and octets to text without ever raising (RFC 2045 §5.1, RFC 2978).

Only charsets of a fixed table are looked up. Python's codec registry remembers every unknown name it is asked for,
and has codecs that are no charsets (`zip`, `unicode_escape`, `punycode`); mail must reach neither.
"""

import codecs
import sys
from collections.abc import Callable, Iterable
from encodings.aliases import aliases
from functools import cache

# Codecs of Python that are not charsets of mail: transforms, escapes of programming languages, and slow ones.
_NOT_CHARSETS = frozenset(
    {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
    | {"unicode_escape", "raw_unicode_escape", "unicode_internal", "idna", "punycode", "undefined", "mbcs", "oem"}
)
# Labels that name a charset but in practice mean a larger one that contains it (the WHATWG Encoding Standard §4.2).
_MEANT = {
    "ascii": "cp1252",
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "tis_620": "cp874",
    "iso8859_11": "cp874",
}
# Names seen in mail that Python's table lacks.
_MORE_NAMES = {
    "ks_c_5601_1987": "euc_kr",
    "x_sjis": "shift_jis",
    "x_gbk": "gbk",
    "unicode_1_1_utf_8": "utf_8",
    "unicode_1_1_utf_7": "utf_7",
    "x_unknown": "ascii",
    "unknown_8bit": "ascii",
    "unknown": "ascii",
    "8bit": "ascii",
    "7bit": "ascii",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "iso_8859_6_i": "iso8859_6",
    "x_mac_roman": "mac_roman",
    "windows_874": "cp874",
    "dos_874": "cp874",
    "ansi_x3.110_1983": "latin_1",
}
_CODECS = {
    **{name: codec for name, codec in aliases.items() if codec not in _NOT_CHARSETS},
    **{codec: codec for codec in aliases.values() if codec not in _NOT_CHARSETS},
    **_MORE_NAMES,
}
# Charsets that say in octets below 128 that what follows means something else.
_SHIFTING = ("iso2022", "hz", "utf_7")
# Charsets whose octets come in an order that a mark at the beginning tells.
_MARKED = {
    "utf_16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf_32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
_ASCII = bytes(range(128))
_NAME_LENGTH = 64  # octets; RFC 2978 §2.3 allows 40


def _codec(name: str) -> str | None:
    if len(name) > _NAME_LENGTH:
        return None
    normal = name.strip(" \"'\t").lower().replace("-", "_").replace(" ", "_")
    return _CODECS.get(normal) or _CODECS.get(normal.replace(".", "_").replace(":", "_"))


def known(name: str) -> bool:
    """Whether text in this charset can be decoded."""
    return _codec(name) is not None


def codec(name: str) -> str | None:
    """Python's name of the charset, for text that must be exactly that; None where it cannot be decoded."""
    found = _codec(name)
    try:
        return None if found is None else codecs.lookup(found).name
    except LookupError:  # a table of names may be ahead of the codecs that this Python was built with
        return None


def western(octets: bytes) -> str:
    """Windows-1252, with its five holes read as the control characters they are in ISO 8859-1."""
    try:
        return octets.decode("cp1252")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def decode_known(octets: bytes, name: str) -> str:
    """Text in a charset that is known; malformed sections become U+FFFD."""
    text, _ = decode(octets, name)
    return text


def decode(octets: bytes, name: str) -> tuple[str, bool]:
    """Text, and whether there was a problem: malformed sections, or a charset that is unknown (RFC 8621 §4.1.4,
    isEncodingProblem). An unknown charset, and US-ASCII with octets above 127, is read as UTF-8 if it is valid UTF-8,
    else as windows-1252."""
    codec = _codec(name)
    if codec is None or codec == "ascii":
        return _guess(octets), codec is None or not octets.isascii()
    codec = _MEANT.get(codec, codec)
    if octets.isascii() and _contains_ascii(codec):
        return octets.decode("ascii"), False
    try:
        return whole(octets.decode(codec)), False
    except (UnicodeError, LookupError):
        pass
    try:
        return octets.decode("utf-8"), True
    except UnicodeDecodeError:
        return _replaced(octets, codec), True


def reading(name: str, pieces: Callable[[], Iterable[bytes]]) -> tuple[str, str]:
    """For text that comes in pieces, each time it is asked for: the codec by which `decode` would read it, and how that
    treats malformed sections."""
    codec = _codec(name)
    known = codec is not None and codec != "ascii"
    wanted = _MEANT.get(codec, codec) if codec is not None and known else "utf-8"
    if wanted in _MARKED and not _beginning(pieces()).startswith(_MARKED[wanted]):
        wanted += f"_{sys.byteorder[0]}e"  # of a text in pieces Python wants the mark, of a whole one it does not
    for one in (wanted, "utf-8"):
        if _readable(one, pieces()):
            return one, "strict"
    if known and wanted != "cp1252":
        return wanted, "replace"
    return ("cp1252" if _readable("cp1252", pieces()) else "latin-1"), "strict"


def _beginning(pieces: Iterable[bytes]) -> bytes:
    """The first octets, as many as a byte order mark may have."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= len(codecs.BOM_UTF32_LE):
            break
    return head


def _readable(codec: str, pieces: Iterable[bytes]) -> bool:
    """Whether no section of a text is malformed in this charset."""
    try:
        decoder = codecs.getincrementaldecoder(codec)("strict")
        for piece in pieces:
            decoder.decode(piece)
        decoder.decode(b"", True)
    except (UnicodeError, LookupError):
        return False
    return True


@cache
def _contains_ascii(codec: str) -> bool:
    """Whether octets below 128 mean ASCII in this charset. Only called with names of the fixed table."""
    if codec.startswith(_SHIFTING):
        return False
    try:
        return _ASCII.decode(codec) == _ASCII.decode("ascii")
    except (UnicodeError, LookupError):
        return False


def whole(text: str) -> str:
    """The text without halves of surrogate pairs, which the decoder of UTF-7 lets through and no encoder takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _guess(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return western(octets)


def _replaced(octets: bytes, codec: str) -> str:
    if codec == "cp1252":
        return western(octets)
    return whole(octets.decode(codec, "replace"))
