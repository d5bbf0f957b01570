"""Transformations of the Graph: canonical form, fixed point, fine-tuning; and accuracy, to judge them by."""

from ._base import Context, Keeps, Pass, Progress, no_progress
from ._pipeline import PASSES, Canonicalise, read_passes, run_passes
from .accuracy import accuracy, class_count
from .calibrate import Calibration, calibrate
from .canonicalise import canonicalise
from .quantise import LayerBits, Quantise
from .tune import Optimizer, Schedule, Tune

__all__ = [
    "PASSES",
    "Calibration",
    "Canonicalise",
    "Context",
    "Keeps",
    "LayerBits",
    "Optimizer",
    "Pass",
    "Progress",
    "Quantise",
    "Schedule",
    "Tune",
    "accuracy",
    "calibrate",
    "canonicalise",
    "class_count",
    "no_progress",
    "read_passes",
    "run_passes",
]
