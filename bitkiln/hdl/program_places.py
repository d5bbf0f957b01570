"""Where an outside program can be: on PATH, in a Python package, as a Python module, or as WebAssembly by YoWASP."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Executable:
    """A program found by its name on PATH, or beside the running Python (a venv that is not activated)."""

    program: str

    def places(self) -> tuple[str, ...]:
        return (f"{self.program} on PATH", f"{Path(sys.executable).parent / self.program}")

    def locate(self) -> tuple[str, ...] | None:
        beside_python = str(Path(sys.executable).parent)
        found = shutil.which(self.program) or shutil.which(self.program, path=beside_python)
        return (found,) if found else None


@dataclass(frozen=True)
class PackagedFile:
    """A program inside an installed Python package, `path` relative to the package's folder.

    `settings` are environment variables that each of its runs needs; an empty value stands for "not set".
    """

    package: str
    path: str
    distribution: str
    settings: tuple[tuple[str, str], ...] = ()

    def places(self) -> tuple[str, ...]:
        return (f"{self.path} inside the Python package {self.package}",)

    def locate(self) -> tuple[str, ...] | None:
        spec = importlib.util.find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        file = Path(folders[0]) / self.path if folders else None
        return (str(file),) if file and os.access(file, os.X_OK) else None


@dataclass(frozen=True)
class PythonModule:
    """A program that is a Python module: `python -m module arguments...`."""

    module: str
    arguments: tuple[str, ...]
    distribution: str

    def places(self) -> tuple[str, ...]:
        return (shlex.join(("python", "-m", self.module, *self.arguments)),)

    def locate(self) -> tuple[str, ...] | None:
        package = self.module.partition(".")[0]  # of a package that is missing no module can be looked for
        found = importlib.util.find_spec(package) and importlib.util.find_spec(self.module)
        return (sys.executable, "-m", self.module, *self.arguments) if found else None


@dataclass(frozen=True)
class Yowasp:
    """A program of a YoWASP package, which is WebAssembly: run with a stack that is deep enough for yosys."""

    program: str
    distribution: str

    def places(self) -> tuple[str, ...]:
        return (f"{self.program} of the Python package {self.distribution}", f"{self.program} on PATH")

    def locate(self) -> tuple[str, ...] | None:
        launcher = Path(__file__).with_name("_deep_stack.py")
        if is_installed(self.distribution):
            # -P: the launcher's folder has modules with names of the standard library's.
            return (sys.executable, "-P", str(launcher), self.program)
        found = shutil.which(self.program)
        return (found,) if found else None


Candidate = Executable | PackagedFile | PythonModule | Yowasp


def is_installed(distribution: str) -> bool:
    """Whether a PyPI package is there."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def distribution_of(candidate: Candidate) -> str:
    """Return the PyPI package of a candidate that was found, empty for a program from elsewhere."""
    if isinstance(candidate, Executable) or not is_installed(candidate.distribution):
        return ""
    return candidate.distribution
