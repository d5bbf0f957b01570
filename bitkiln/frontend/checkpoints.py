"""States of training in files: a killed run goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bitkiln.ir import write_whole


@dataclass(frozen=True)
class FileCheckpoints:
    """One safetensors file a key in `folder`, which holds those of one chain of passes on one set of samples."""

    folder: Path

    def load(self, key: str) -> Mapping[str, Tensor] | None:
        """Return the saved state; None without one, and for a file that something else has changed."""
        try:
            state: Mapping[str, Tensor] = load(self._file(key).read_bytes())
        except (FileNotFoundError, SafetensorError):
            return None
        return state

    def save(self, key: str, state: Mapping[str, Tensor]) -> None:
        """Write the state whole or not at all; raises ToolError `cannot-write`."""
        write_whole(self._file(key), save({name: value.contiguous() for name, value in state.items()}))

    def clear_others(self) -> None:
        """Remove what other chains left beside this one."""
        for folder in self.folder.parent.glob("*"):
            if folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)

    def clear_all(self) -> None:
        """Remove everything, when the result is safe."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"
