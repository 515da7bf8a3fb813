"""docs/operate/limits.md names tests that exist, and every limit that can be set."""

import re
from pathlib import Path

import msgspec
import pytest

from posthouse.config_sections import Limits

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "operate" / "limits.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:[a-z_]+/)*test_\w+\.py::\w+|transcripts/[\w/-]+\.txt)`", PAGE)))
NO_LIMIT = {".peer.exempt_loopback"}  # a switch


@pytest.mark.parametrize("name", NAMED)
def test_named_tests_exist(name: str) -> None:
    file, _, function = name.partition("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    assert not function or re.search(rf"^(?:async )?def {function}\(", text, re.MULTILINE)


def test_every_limit_is_on_the_page() -> None:
    sections = {field.name: msgspec.structs.fields(field.type) for field in msgspec.structs.fields(Limits)}
    names = {f".{section}.{field.name}" for section, fields in sections.items() for field in fields}
    assert {name for name in names - NO_LIMIT if f"`{name}`" not in PAGE} == set()
    assert set(re.findall(r"`(\.[a-z]+\.[a-z_]+)`", PAGE)) <= names


def test_every_row_has_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.endswith("| test |")]
    assert len(rows) > 60
    assert [row for row in rows if "descriptors run out" not in row and "::" not in row and ".txt" not in row] == []
