"""The octets of a section, put together as FETCH puts them together: where they stand, and of a header some fields."""

from posthouse.mail import content
from posthouse.mail.header import Octets, searchable, select_fields
from posthouse.mail.mime import Part, parse
from posthouse.mail.structure import Section, SectionText, find_part, span


def section_octets(octets: Octets, section: Section, root: Part | None = None) -> bytes | None:
    """BODY[section] (RFC 9051 §6.4.5.1), or None where there is no such section; `root` where it is known already."""
    octets = searchable(octets)
    found = span(root or parse(octets), len(octets), section)
    if found is None:
        return None
    part = octets[found.start : found.stop]
    if section.text not in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        return part
    names = frozenset(name.lower() for name in section.fields)
    return select_fields(part, names, matching=section.text is SectionText.HEADER_FIELDS)


def binary(octets: Octets, part: tuple[int, ...]) -> bytes | None:
    """BINARY[part] (RFC 9051 §6.4.5): None where the transfer encoding is unknown, b"" where there is no such part."""
    octets = searchable(octets)
    if not part:
        return octets[:]
    found = find_part(parse(octets), part)
    return b"" if found is None else content.decoded(octets, found)
