"""The documents are true: what they name exists, and what exists is named."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import msgspec
from cyclopts import App

from posthouse.cli import app
from posthouse.config_sections import Listen, Settings

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "posthouse"
DOCS = ROOT / "docs"
CODE = {p: p.read_text(encoding="utf-8") for p in sorted(SRC.rglob("*.py"))}
TESTS = {
    p: p.read_text(encoding="utf-8")
    for p in sorted((ROOT / "tests").rglob("*"))
    if p.suffix in {".py", ".txt"} and p != Path(__file__)
}


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of every table row of a page, heads and rules left out."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def rfc_rows() -> list[list[str]]:
    return [row for row in rows(DOCS / "rfc.md") if row[0].isdigit()]


def test_rfcs_marked_yes_are_cited() -> None:
    for number, subject, status, *_ in rfc_rows():
        cited = re.compile(rf"RFC {number}\b")
        if status.startswith("yes"):
            assert any(cited.search(text) for text in CODE.values()), f"RFC {number} ({subject}) in no file of src"
            assert any(cited.search(text) for text in TESTS.values()), f"RFC {number} ({subject}) in no test"


def test_rfcs_cited_have_a_row() -> None:
    known = {row[0] for row in rfc_rows()}
    cited = {number for text in CODE.values() for number in re.findall(r"RFC (\d+)", text)}
    assert not cited - known, "cited in src, without a row in docs/rfc.md"


def test_rfc_table_names_real_files() -> None:
    for _number, _subject, _status, *places in rfc_rows():
        for place in re.findall(r"`([^`]+)`", " ".join(places)):
            assert (SRC / place).exists(), place


def test_quirks_name_real_files_and_every_client() -> None:
    page = (DOCS / "quirks.md").read_text(encoding="utf-8")
    transcripts = ROOT / "tests" / "transcripts"
    for place in re.findall(r"`([\w/-]+\.(?:py|txt))`", page):
        test = "/test_" in place
        assert ((transcripts if place.endswith(".txt") else ROOT / "tests" if test else SRC) / place).exists(), place
    for path in transcripts.glob("imap/clients/*.txt"):
        assert f"`imap/clients/{path.name}`" in page, f"{path.name} is not in docs/quirks.md"


def test_glossary_words_exist() -> None:
    everything = "\n".join(CODE.values())
    for row in rows(DOCS / "glossary.md"):
        for word in re.findall(r"^`(\w+)`", row[0]):
            assert re.search(rf"^(?:class {word}\b|{word}\s*(?::[^=]*)?=)", everything, re.MULTILINE), word


def tree() -> set[str]:
    """The paths of the tree in architecture.md."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## The tree")[2]
    block = page.split("```")[1]
    found, folders = set(), list[str]()
    for line in filter(None, block.splitlines()):
        level = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        del folders[level:]
        if name.endswith("/"):
            folders.append(name)
        else:
            found.add("".join(folders) + name)
    return found


def test_tree_is_what_stands_there() -> None:
    shown = tree()
    real = {str(p.relative_to(ROOT)) for p in [*CODE, *SRC.rglob("*.sql")] if p.name != "__init__.py"}
    assert {path for path in shown if not (ROOT / path).exists()} == set()
    assert real - shown == set(), "not in the tree of architecture.md"


def test_links_lead_somewhere() -> None:
    for page in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} -> {target}"


def test_decisions_are_listed() -> None:
    listed = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for page in (DOCS / "decisions").glob("[0-9]*.md"):
        assert page.name in listed, f"{page.name} is not in docs/decisions/README.md"


def test_crash_points_are_tested() -> None:
    from posthouse.store.crashpoint import CRASHPOINTS

    used = {name for text in CODE.values() for name in re.findall(r'crashpoint\("([\w.]+)"\)', text)}
    assert used == set(CRASHPOINTS), "listed and used differ"
    named = (DOCS / "operate" / "durability.md").read_text(encoding="utf-8")
    assert not [name for name in CRASHPOINTS if f"`{name}`" not in named], "not in docs/operate/durability.md"


def setting_names(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """The dotted name of every setting, tables in lists included."""
    for field in msgspec.structs.fields(kind):
        listed = get_origin(field.type) is tuple
        inner = get_args(field.type)[0] if listed else field.type
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and inner is not Listen:
            yield from setting_names(inner, f"{prefix}{field.name}{'[]' if listed else ''}.")
        else:
            yield prefix + field.name


def test_settings_are_documented() -> None:
    page = (DOCS / "operate" / "settings.md").read_text(encoding="utf-8")
    missing = [name for name in setting_names(Settings) if f"`{name}`" not in page]
    assert not missing, "not in docs/operate/settings.md"


def commands(place: App, before: str = "") -> Iterator[str]:
    """Every command as it is typed, without the word posthouse."""
    for name in place:
        if not name.startswith("-"):
            yield before + name
            yield from commands(place[name], f"{before}{name} ")


def test_commands_are_documented() -> None:
    page = (DOCS / "operate" / "commands.md").read_text(encoding="utf-8")
    groups = {name.split()[0] for name in commands(app) if " " in name} - {"try"}
    missing = [name for name in commands(app) if name not in groups and f"`posthouse {name}" not in page]
    assert not missing, "not in docs/operate/commands.md"


def test_commands_named_exist() -> None:
    known = set(commands(app))
    groups = {name.split()[0] for name in known if " " in name}
    for page in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]:
        for words in re.findall(r"(?:`|\$ |bin/)posthouse ([a-z][^`\n]*)", page.read_text(encoding="utf-8")):
            first, second, *_ = [*words.split(), "", ""]
            wanted = f"{first} {second}" if first in groups and second and second[0].isalpha() else first
            assert wanted in known, f"{page.name}: posthouse {wanted}"
