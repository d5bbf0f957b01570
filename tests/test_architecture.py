"""The shape of the source: which folder imports which, sizes, and who may print or start a process.

Each rule is a function from a source file to its offences, and is itself tested on sources that break it.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bitkiln"

# No folder imports one to its right. `templates` holds text and imports nothing.
IMPORT_ORDER = ("templates", "ir", "boards", "passes", "sim", "hdl", "frontend", "cli")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
PROCESS_MODULES = ("subprocess", "pty", "multiprocessing", "concurrent")
PROCESS_CALLS = re.compile(r"os\.(system|popen|fork\w*|exec\w+|spawn\w+|posix_spawn\w*)")
STARTS_PROCESSES = (PurePosixPath("hdl/toolchain.py"), PurePosixPath("hdl/workers.py"))
PRINTS = "cli"


@dataclass(frozen=True)
class Source:
    """A Python file of the package; `path` is relative to the package's folder."""

    path: PurePosixPath
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def folder(self) -> str:
        """The top-level folder, or the module's name for a file beside the folders; `__main__` is the CLI's."""
        name = self.path.with_suffix("").parts[0]
        return "cli" if name == "__main__" else name


@dataclass(frozen=True)
class Import:
    """One imported module: `level` counts the leading dots, `module` is the rest."""

    level: int
    module: str
    line: int


def sources() -> list[Source]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [Source(PurePosixPath(file.relative_to(PACKAGE)), file.read_text("utf-8")) for file in files]


def imports(source: Source) -> Iterator[Import]:
    """Every imported module; `from bitkiln import ir` counts as `bitkiln.ir`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module == "bitkiln":
            yield from (Import(0, f"bitkiln.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.level, node.module or "", node.lineno)


def wrong_imports(source: Source) -> Iterator[str]:
    """Folders to the right, relative imports that leave their folder, absolute imports inside one folder."""
    for found in imports(source):
        name = found.module.split(".")
        if found.level > 1 or (found.level == 1 and source.path.parent == PurePosixPath()):
            yield f"{source.path}:{found.line}: write `from bitkiln...` for what is outside the file's folder"
        if found.level or name[0] != "bitkiln" or len(name) == 1 or name[1] not in IMPORT_ORDER:
            continue
        if source.folder not in IMPORT_ORDER:
            yield f"{source.path}:{found.line}: belongs to no folder, so it may not import {found.module}"
        elif IMPORT_ORDER.index(name[1]) > IMPORT_ORDER.index(source.folder):
            yield f"{source.path}:{found.line}: {source.folder} may not import {found.module}"
        elif PurePosixPath(*name[1:-1]) == source.path.parent and len(name) > 2:
            yield f"{source.path}:{found.line}: write `from .{name[-1]}` inside the folder"


def too_long(source: Source) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if lines > MAX_FILE_LINES:
        yield f"{source.path}: {lines} lines, at most {MAX_FILE_LINES}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                place = f"{source.path}:{node.lineno}: {node.name}"
                yield f"{place} has {length} lines, at most {MAX_FUNCTION_LINES}"


def processes(source: Source) -> Iterator[str]:
    if source.path in STARTS_PROCESSES:
        return
    places = " and ".join(map(str, STARTS_PROCESSES))
    for found in imports(source):
        if found.module.split(".")[0] in PROCESS_MODULES:
            yield f"{source.path}:{found.line}: only {places} import {found.module}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and PROCESS_CALLS.fullmatch(ast.unparse(node)):
            yield f"{source.path}:{node.lineno}: only {places} call {ast.unparse(node)}"


def prints(source: Source) -> Iterator[str]:
    if source.folder == PRINTS:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"{source.path}:{node.lineno}: print outside {PRINTS}"


def undocumented(source: Source) -> Iterator[str]:
    if not ast.get_docstring(source.tree):
        yield f"{source.path}: no docstring"


Rule = Callable[[Source], Iterator[str]]
RULES: tuple[Rule, ...] = (wrong_imports, too_long, processes, prints, undocumented)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_source(rule: Rule) -> None:
    assert [offence for source in sources() for offence in rule(source)] == []


@pytest.mark.parametrize(
    ("rule", "path", "text", "offence"),
    [
        (
            wrong_imports,
            "ir/a.py",
            "import bitkiln.sim.cycles",
            "ir/a.py:1: ir may not import bitkiln.sim.cycles",
        ),
        (wrong_imports, "sim/a.py", "from bitkiln import cli", "sim/a.py:1: sim may not import bitkiln.cli"),
        (
            wrong_imports,
            "ir/ops/a.py",
            "from ..types import T",
            "ir/ops/a.py:1: write `from bitkiln...` for what is outside the file's folder",
        ),
        (
            wrong_imports,
            "cli.py",
            "from .ir import Graph",
            "cli.py:1: write `from bitkiln...` for what is outside the file's folder",
        ),
        (
            wrong_imports,
            "ir/a.py",
            "from bitkiln.ir.b import c",
            "ir/a.py:1: write `from .b` inside the folder",
        ),
        (
            wrong_imports,
            "stray.py",
            "import bitkiln.ir",
            "stray.py:1: belongs to no folder, so it may not import bitkiln.ir",
        ),
        (too_long, "ir/a.py", "x = 1\n" * 401, "ir/a.py: 401 lines, at most 400"),
        (too_long, "ir/a.py", "def f():\n" + "    x = 1\n" * 50, "ir/a.py:1: f has 51 lines, at most 50"),
        (
            processes,
            "sim/a.py",
            "from subprocess import run",
            "sim/a.py:1: only hdl/toolchain.py and hdl/workers.py import subprocess",
        ),
        (
            processes,
            "cli.py",
            "import os\nos.system('ls')",
            "cli.py:2: only hdl/toolchain.py and hdl/workers.py call os.system",
        ),
        (prints, "ir/a.py", "print(1)", "ir/a.py:1: print outside cli"),
        (undocumented, "ir/a.py", "x = 1", "ir/a.py: no docstring"),
    ],
)
def test_rule_finds_its_offence(rule: Rule, path: str, text: str, offence: str) -> None:
    assert list(rule(Source(PurePosixPath(path), text))) == [offence]


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (
            wrong_imports,
            "cli.py",
            "import os\nfrom bitkiln.frontend import x\nfrom bitkiln import __version__",
        ),
        (wrong_imports, "ir/ops/a.py", "from ._base import Op\nfrom bitkiln.ir.types import TensorType"),
        (too_long, "ir/a.py", "def f():\n" + "    x = 1\n" * 49),
        (processes, "hdl/toolchain.py", "import subprocess"),
        (prints, "cli.py", "print(1)"),
    ],
)
def test_rule_allows(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(PurePosixPath(path), text))) == []


def test_every_folder_with_python_files_is_a_package() -> None:
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_top_level_is_the_list_of_folders() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(IMPORT_ORDER) - {"cli"}


def test_imported_packages_are_declared() -> None:
    """Nothing undeclared is imported, and the base install declares nothing that is not imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base = _distributions(project["dependencies"])
    extras = _distributions([line for lines in project["optional-dependencies"].values() for line in lines])
    found = {item.module.split(".")[0] for source in sources() for item in imports(source) if not item.level}
    modules = found - sys.stdlib_module_names - {"bitkiln"}
    renamed = {"sklearn": "scikit-learn", "cocotb_tools": "cocotb", "cocotbext": "cocotbext-axi", "google": "protobuf"}
    third_party = {renamed.get(module, module.replace("_", "-")) for module in modules}
    assert sorted(third_party - base - extras) == []
    assert sorted(base - third_party) == []


def _distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}
