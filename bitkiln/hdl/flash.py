"""A bitstream into a board, by whichever loader is installed: openFPGALoader, or the board's own."""

from __future__ import annotations

import re
from pathlib import Path

from bitkiln.boards import Board, Family, Loader
from bitkiln.ir import ToolError, fail

from .toolchain import DFU_UTIL, FUJPROG, ICEPROG, OPENFPGALOADER, TINYPROG, Tool, ToolResult

TIMEOUT_S = 300.0
# How a bitstream of each family begins, within so many bytes.
MAGIC = {
    Family.ICE40: (b"\x7e\xaa\x99\x7e", 200),
    Family.ECP5: (b"\xff\xff\xbd\xb3", 4096),
    Family.GOWIN: (b"1010010111000011\n", 4096),  # A5C3 in text
}
_TOOLS = {
    Loader.OPENFPGALOADER: OPENFPGALOADER,
    Loader.ICEPROG: ICEPROG,
    Loader.TINYPROG: TINYPROG,
    Loader.FUJPROG: FUJPROG,
    Loader.DFU_UTIL: DFU_UTIL,
}
_NOT_WHOLE = re.compile(r"error while loading shared libraries: (\S+):")
_NO_ACCESS = re.compile(r"permission|access denied|LIBUSB_ERROR_ACCESS|insufficient", re.IGNORECASE)
_NO_BOARD = re.compile(
    r"unable to open|can't find|cannot find|could ?n[o']t (find|open)|not found|no (device|dfu|such|tinyfpga)|"
    r"no .*bootloaders? found|fails? to (open|find)|device.*absent",
    re.IGNORECASE,
)


def flash(bitstream: Path, board: Board, *, is_volatile: bool = False) -> str:
    """Write the bitstream into the board's flash and return the name of the tool that did it.

    With `is_volatile` it goes into the chip and is gone when the power is. Raises `missing-file`, `wrong-board`,
    `missing-tool`, `bad-arguments`, `no-board`, `no-permission` and `tool-failed`.
    """
    _check_family(bitstream, board)
    tool, loader = _installed(board, is_volatile)
    arguments = _arguments(loader, bitstream.absolute(), board, is_volatile)
    result = tool.run(arguments, bitstream.absolute().parent, timeout_s=TIMEOUT_S, check=False)
    if result.returncode != 0:
        raise _failure(tool, result, board)
    return tool.name


def _check_family(bitstream: Path, board: Board) -> None:
    try:
        start = bitstream.read_bytes()[:4096]
    except OSError as error:
        message = f"{bitstream} cannot be read: {error.strerror}"
        raise fail("missing-file", message, hint="`bitkiln build` writes one") from error
    found = [family for family, (magic, within) in MAGIC.items() if magic in start[:within]]
    if board.family not in found:
        what = f"a bitstream for {found[0].value}" if found else "no bitstream"
        message = f"{bitstream} is {what}, but {board.title} needs one for {board.family.value}"
        raise fail("wrong-board", message, hint=f"bitkiln build ... --board {board.name}")


def _installed(board: Board, is_volatile: bool) -> tuple[Tool, Loader]:
    loaders = [loader for loader in board.loaders if not is_volatile or loader is Loader.OPENFPGALOADER]
    if not loaders:
        raise fail("bad-arguments", f"{board.title} can only be flashed", hint="leave --volatile out")
    missing = []
    for loader in loaders:
        try:
            _TOOLS[loader].find()
        except ToolError as error:
            missing.append(error.diagnostics[0])
            continue
        return _TOOLS[loader], loader
    names = " or ".join(_TOOLS[loader].name for loader in loaders)
    hint = "; or ".join(found.hint for found in missing)
    raise fail("missing-tool", f"to flash {board.title} takes {names}, and none is installed", hint=hint)


def _arguments(loader: Loader, file: Path, board: Board, is_volatile: bool) -> tuple[str, ...]:
    match loader:
        case Loader.OPENFPGALOADER:
            return ("--board", board.loader_name, *(() if is_volatile else ("--write-flash",)), str(file))
        case Loader.ICEPROG:
            return (str(file),)
        case Loader.TINYPROG:
            return ("--program", str(file))
        case Loader.FUJPROG:
            return ("-j", "FLASH", str(file))
        case Loader.DFU_UTIL:
            return ("--alt", "0", "--download", str(file))


def _failure(tool: Tool, result: ToolResult, board: Board) -> ToolError:
    last = result.log.strip().splitlines()[-1:] or ["nothing"]
    said = f"{tool.name} said: {last[0].strip()}"
    library = _NOT_WHOLE.search(result.log)
    if library:
        message = f"{tool.name} cannot run: the system lacks {library[1]}"
        return fail("missing-tool", message, hint=f"{tool.install}; on Debian: apt install libusb-1.0-0 libftdi1-2")
    if _NO_ACCESS.search(result.log):
        hint = "let users write to USB programmers (udev rule), or join the group plugdev, and log in again"
        return fail("no-permission", f"you may not use the programmer of {board.title}; {said}", hint=hint)
    if _NO_BOARD.search(result.log):
        hint = "plug the board in; boards with a boot loader must be in it (see docs/boards.md)"
        return fail("no-board", f"no {board.title} was found; {said}", hint=hint)
    return tool.failure(result)
