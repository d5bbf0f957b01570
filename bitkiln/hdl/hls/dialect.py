"""The HLS tools whose C++ can be written, and where their headers for C simulation are."""

from __future__ import annotations

import importlib.util
import os
from enum import Enum
from pathlib import Path

from bitkiln.ir import fail


class Dialect(Enum):
    """AMD Vitis HLS (ap_int, hls::stream) or Siemens Catapult (ac_int, ac_channel)."""

    VITIS = "vitis"
    CATAPULT = "catapult"

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers that the dialect's own types need."""
        match self:
            case Dialect.VITIS:
                return ("ap_int.h", "hls_stream.h")
            case Dialect.CATAPULT:
                return ("ac_int.h", "ac_channel.h")

    @property
    def has_own_types(self) -> bool:
        """True if the project brings types that do for C simulation."""
        return self is Dialect.VITIS

    @property
    def places(self) -> tuple[Path, ...]:
        """Where the headers may be: the tool's own installation, and hls4ml's copy of them."""
        match self:
            case Dialect.VITIS:
                return (*_installed("XILINX_HLS", "include"), *_in_hls4ml("vivado/ap_types"))
            case Dialect.CATAPULT:
                return (*_installed("MGC_HOME", "shared/include"), *_in_hls4ml("catapult/ac_types/include"))


def _installed(variable: str, folder: str) -> tuple[Path, ...]:
    home = os.environ.get(variable, "")
    return (Path(home) / folder,) if home else ()


def _in_hls4ml(folder: str) -> tuple[Path, ...]:
    package = importlib.util.find_spec("hls4ml")
    return (Path(package.origin).parent / "templates" / folder,) if package and package.origin else ()


def checked_types(dialect: Dialect, folder: Path) -> Path:
    """Return the absolute folder of the dialect's headers. Raises `no-ap-types` if one is not in it."""
    missing = [name for name in dialect.headers if not (folder / name).is_file()]
    if missing:
        hint = f"name the folder that holds {' and '.join(dialect.headers)}, e.g. that of the hls4ml 1.3.0 wheel"
        raise fail("no-ap-types", f"{folder} does not hold {' and '.join(missing)}", hint=hint)
    return folder.absolute()


def found_types(dialect: Dialect) -> Path:
    """Return the folder of the dialect's headers, wherever it is installed. Raises `no-ap-types`."""
    for folder in dialect.places:
        if all((folder / name).is_file() for name in dialect.headers):
            return folder.absolute()
    looked = ", ".join(map(str, dialect.places)) or "no place: nothing is installed"
    hint = "pip install hls4ml==1.3.0, or name their folder"
    raise fail("no-ap-types", f"{' and '.join(dialect.headers)} were not found; looked in {looked}", hint=hint)
