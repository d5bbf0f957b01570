"""HLS C++ of a Plan: a project for vendors' tools whose C simulation any C++ compiler runs."""

from .dialect import Dialect, checked_types, found_types
from .project import BenchImages, HlsOptions, hls_bundle
from .simulation import HlsSimulation, simulate_hls

__all__ = [
    "BenchImages",
    "Dialect",
    "HlsOptions",
    "HlsSimulation",
    "checked_types",
    "found_types",
    "hls_bundle",
    "simulate_hls",
]
