"""Transformations of the Graph: canonical form, fixed point, fine-tuning; accuracy; and from Graph to Plan."""

from ._base import Context, Keeps, Pass, Progress, no_progress
from ._kmeans import Initialisation
from ._pipeline import PASSES, Canonicalise, read_passes, run_passes
from ._quantisable import check_quantisable
from ._shared import unshare
from .accuracy import accuracy, class_count
from .calibrate import Calibration, calibrate
from .canonicalise import canonicalise
from .quantise import LayerBits, Quantise
from .schedule import LayerFolding, PlanOptions, schedule
from .share import LayerShare, Share
from .tune import Loss, Optimizer, Schedule, Tune

__all__ = [
    "PASSES",
    "Calibration",
    "Canonicalise",
    "Context",
    "Initialisation",
    "Keeps",
    "LayerBits",
    "LayerFolding",
    "LayerShare",
    "Loss",
    "Optimizer",
    "Pass",
    "PlanOptions",
    "Progress",
    "Quantise",
    "Schedule",
    "Share",
    "Tune",
    "accuracy",
    "calibrate",
    "canonicalise",
    "check_quantisable",
    "class_count",
    "no_progress",
    "read_passes",
    "run_passes",
    "schedule",
    "unshare",
]
