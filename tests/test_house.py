"""The house rules that a machine can check: floors and arrows, sizes, citations, names (see HACKING.md).

Everything is read with ast; nothing of Posthouse is imported.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "posthouse"
FILES = sorted(SRC.rglob("*.py"))

# Which rooms a room may import from, besides itself. "roof" is every file directly in src/posthouse.
MAY_IMPORT = {
    "mail": set[str](),
    "wire": {"mail"},
    "trust": {"mail"},
    "sieve": {"mail"},
    "net": {"mail", "wire", "trust"},
    "store": {"mail", "net"},
    "transport": {"mail", "wire", "trust", "sieve", "net", "store"},
    "serve": {"mail", "wire", "trust", "sieve", "net", "store", "transport"},
    "roof": {"mail", "wire", "trust", "sieve", "net", "store", "transport", "serve"},
}
PURE = {"mail", "wire", "trust", "sieve"}
# No clock, no chance, no socket, no file, no task in a pure room; and Python's own email package never.
IMPURE = {
    "asyncio",
    "concurrent",
    "email",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
}
IMPURE |= {"selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time"}
FILE_LINES, FUNCTION_LINES, PARAMETERS, NESTING = 600, 60, 5, 3
# (file, function, limit): the reason. An entry that is no longer needed fails the test too.
EXCEPTIONS: dict[tuple[str, str, str], str] = {}
FORBIDDEN_WORDS = {"Manager", "Handler", "Helper", "Util", "Utils", "Base", "Abstract", "Impl", "Data", "Info"}
FORBIDDEN_FILES = {"util", "utils", "helper", "helpers", "base", "common", "misc", "manager", "handlers"}
PROTOCOL_NAMES = {  # the RFC's own word wins over the list
    "Data": "RFC 5321 §4.1.1.4, the command",
    "DataStarted": "RFC 5321 §4.1.1.4",
    "DataEnded": "RFC 5321 §4.1.1.4",
}
NO_RFC = {"buffer.py"}  # a mechanism of our own, no protocol
COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def room_of(path: Path) -> str:
    parts = path.relative_to(SRC).parts
    return parts[0] if len(parts) > 1 else "roof"


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: say the whole name, not a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield prefix + child.name, child
        inner = f"{prefix}{child.name}." if isinstance(child, Function | ast.ClassDef) else prefix
        yield from functions(child, inner)


def depth(node: ast.AST, level: int = 0) -> int:
    """How deep compound statements stand in each other; an elif stands beside its if."""
    deepest = level
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, Function | ast.ClassDef):
                continue
            beside = isinstance(node, ast.If) and field == "orelse" and isinstance(child, ast.If) and len(value) == 1
            deeper = isinstance(child, COMPOUND) and not beside
            deepest = max(deepest, depth(child, level + deeper))
    return deepest


def parameters(function: Function) -> int:
    taken = function.args
    names = [a.arg for a in [*taken.posonlyargs, *taken.args, *taken.kwonlyargs]]
    return len([name for name in names if name not in ("self", "cls")])


def too_large() -> dict[tuple[str, str, str], str]:
    """Everything beyond a limit: (file, function, limit) -> what was found."""
    found = {}
    for path in FILES:
        file = str(path.relative_to(SRC))
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES:
            found[file, "", "lines"] = f"{lines} lines"
        for name, function in functions(tree_of(path)):
            length = (function.end_lineno or 0) - function.lineno + 1
            measured = {"lines": length, "parameters": parameters(function), "nesting": depth(function)}
            limits = {"lines": FUNCTION_LINES, "parameters": PARAMETERS, "nesting": NESTING}
            found |= {(file, name, k): f"{v} {k}" for k, v in measured.items() if v > limits[k]}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_point_down(room: str) -> None:
    for path in (p for p in FILES if room_of(p) == room):
        for line, name in imports(tree_of(path)):
            parts = name.split(".")
            where = f"{path.relative_to(ROOT)}:{line} imports {name}"
            if parts[0] == "posthouse" and len(parts) > 1:
                target = parts[1] if (SRC / parts[1]).is_dir() else "roof"
                inside = target == room or target in MAY_IMPORT[room] or parts[1] == "__version__"
                assert inside, where
            elif room in PURE:
                assert parts[0] in sys.stdlib_module_names, where
                assert parts[0] not in IMPURE, where


def test_every_folder_is_a_room() -> None:
    folders = {p.name for p in SRC.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= set(MAY_IMPORT)


def test_pure_rooms_ask_no_clock() -> None:
    for path in (p for p in FILES if room_of(p) in PURE):
        for node in ast.walk(tree_of(path)):
            asks = isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
            assert not (asks and isinstance(node, ast.Attribute) and "date" in ast.dump(node.value)), path


def test_sizes() -> None:
    found = too_large()
    assert not {k: v for k, v in found.items() if k not in EXCEPTIONS}
    assert not set(EXCEPTIONS) - set(found), "these exceptions are no longer needed"
    for path in sorted((ROOT / "tests").rglob("*.py")):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES, path


def test_citations_have_one_form() -> None:
    """RFC 9051 §6.4.5: on one line, with the sign, so that grep finds it."""
    cited = re.compile(r"\bRFC[\s_-]*(?!822\b)\d+.{0,12}", re.IGNORECASE | re.DOTALL)
    good = re.compile(r"RFC \d{3,5}(?!\d)(?!\W{0,3}(?:[Ss]ections?|[Ss]ec\.|Sect\.)\b)(?! ?§ )(?!§)")
    wrong = [
        f"{path.relative_to(ROOT)}: {match[0]!r}"
        for path in [*FILES, *sorted((ROOT / "tests").rglob("*.py"))]
        for match in cited.finditer(path.read_text(encoding="utf-8"))
        if path != Path(__file__) and not good.match(match[0])
    ]
    assert not wrong, "\n".join(wrong)


def test_pure_engines_have_a_manual_page() -> None:
    for path in (p for p in FILES if room_of(p) in {"wire", "trust", "sieve"} and p.name != "__init__.py"):
        page = ast.get_docstring(tree_of(path)) or ""
        where = path.relative_to(SRC)
        assert len(page.splitlines()) >= 3, f"{where}: say what it is, which RFC, what it does not do"
        assert "RFC " in page or path.name in NO_RFC, f"{where} names no RFC"
        assert re.search(r"\b(not|no|never|nothing)\b", page, re.IGNORECASE), f"{where}: what does it not do?"


def test_names_are_the_fields_words() -> None:
    for path in FILES:
        assert path.stem not in FORBIDDEN_FILES, path
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and node.name not in PROTOCOL_NAMES:
                words = set(re.findall(r"[A-Z][a-z0-9]*", node.name))
                assert not words & FORBIDDEN_WORDS, f"{path.name}: {node.name}"
            if isinstance(node, Function):
                assert not node.name.startswith(("process_", "do_", "handle_")), f"{path.name}: {node.name}"


def test_no_base_classes_of_our_own() -> None:
    classes = {n.name: n for p in FILES for n in ast.walk(tree_of(p)) if isinstance(n, ast.ClassDef)}
    for name, node in classes.items():
        own = [b.id for b in node.bases if isinstance(b, ast.Name) and b.id in classes]
        assert all(base.endswith("Error") for base in own), f"{name} inherits from {own}"


def test_no_path_of_this_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    first = ROOT.parts[1] if len(ROOT.parts) > 2 else ""
    everywhere = {"tmp", "home", "usr", "opt", "srv", "var", "etc"}
    marks = [f"/{top}/".encode() for top in ("ro" + "ot", first) if top and top not in everywhere]
    for name in filter(None, listed.decode().split("\0")):
        path = ROOT / name
        text = path.read_bytes() if path.is_file() else b""
        assert not [mark for mark in marks if mark in text], f"{name} names a folder of this machine"
