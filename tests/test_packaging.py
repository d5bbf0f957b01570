"""What is installed: the contents of the wheel, and dependencies with a reason and a pinned version."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")


def requirement_lines() -> list[str]:
    project = tomllib.loads(PYPROJECT)["project"]
    extras = project["optional-dependencies"].values()
    return [*project["dependencies"], *(line for extra in extras for line in extra)]


def requirements() -> list[Requirement]:
    """Return what others publish, without the extras that name bitkiln itself."""
    found = [Requirement(line) for line in requirement_lines()]
    return [requirement for requirement in found if requirement.name != "bitkiln"]


@pytest.mark.parametrize("line", sorted(set(requirement_lines())))
def test_requirement_has_its_reason_beside_it(line: str) -> None:
    found = re.findall(rf"^ *{re.escape(json.dumps(line))}, *(.*)$", PYPROJECT, re.MULTILINE)
    assert len(found) == requirement_lines().count(line)
    assert [reason for reason in found if not re.match(r"# \w+ ?\w+", reason)] == []


def test_every_requirement_is_pinned_within_its_range() -> None:
    pins: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            pins[canonicalize_name(name)] = version
    names = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert sorted(names - pins.keys()) == []
    wrong = [
        f"{requirement} is pinned to {pins[canonicalize_name(requirement.name)]}"
        for requirement in requirements()
        if not requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
    ]
    assert wrong == []


def test_types_are_published() -> None:
    assert (ROOT / "bitkiln" / "py.typed").is_file()


@pytest.mark.slow
def test_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    shutil.copytree(ROOT / "bitkiln", checkout / "bitkiln", ignore=shutil.ignore_patterns("__pycache__"))
    expected = {path.relative_to(checkout).as_posix() for path in (checkout / "bitkiln").rglob("*") if path.is_file()}

    build = (
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(tmp_path),
    )
    subprocess.run((sys.executable, *build, str(checkout)), check=True, cwd=tmp_path)

    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("bitkiln/")}
    assert sorted(expected - packed) == []
    assert sorted(packed - expected) == []
