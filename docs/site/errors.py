"""The table of error slugs: which there are and where is read off the source, what they mean stands in errors.toml."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bitkiln.ir.diagnostics import Diagnostic

from .markdown import table

ROOT = Path(__file__).parents[2]
MEANINGS = Path(__file__).with_name("errors.toml")


def meanings() -> dict[str, dict[str, str]]:
    """Return the meaning of each slug, by part and slug."""
    return tomllib.loads(MEANINGS.read_text("utf-8"))


@cache
def trees() -> dict[str, ast.Module]:
    """Return the package's files that can name a slug, by their path in it."""
    package = ROOT / "bitkiln"
    texts = {file.relative_to(package).as_posix(): file.read_text("utf-8") for file in sorted(package.rglob("*.py"))}
    return {file: ast.parse(text) for file, text in texts.items() if re.search(r"fail\(|Diagnostic\(|slug", text)}


@cache
def slugs() -> dict[str, list[str]]:
    """Return each slug with the files that can raise it."""
    raisers = {Diagnostic.__name__, *(name for tree in trees().values() for name in _takers(tree))}
    places: defaultdict[str, list[str]] = defaultdict(list)
    for file, tree in trees().items():
        for slug in sorted(set(_named(tree, raisers))):
            places[slug].append(file)
    return dict(places)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Return the calls in a file, each with the last name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr, node


def _takers(tree: ast.Module) -> Iterator[str]:
    """Functions whose first argument is a slug."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and [arg.arg for arg in node.args.args][:1] == ["slug"]:
            yield node.name


def _named(tree: ast.Module, raisers: set[str]) -> Iterator[str]:
    """Slugs that are written down: as first argument, as keyword, or as what a function `_slug` returns."""
    for name, call in calls(tree):
        if name in raisers and call.args:
            yield from _literals(call.args[0])
        yield from (slug for key in call.keywords if key.arg == "slug" for slug in _literals(key.value))
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "_slug":
            returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value)
            yield from (slug for value in returned for slug in _literals(value))


def _literals(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.Constant(value=str(slug)):
            yield slug
        case ast.IfExp():
            yield from _literals(value.body)
            yield from _literals(value.orelse)
        case _:
            return


def page() -> str:
    """Return a table for each part, in Markdown."""
    found = slugs()
    parts = []
    for part, rows in meanings().items():
        lines = [(f"`{slug}`", meaning, _files(found[slug])) for slug, meaning in rows.items()]
        parts.append(f"## {part}\n\n{table(('slug', 'meaning', 'raised in `bitkiln/`'), lines)}")
    return "\n\n".join(parts)


def _files(files: list[str]) -> str:
    return ", ".join(f"`{file}`" for file in files)
