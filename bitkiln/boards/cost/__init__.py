"""What a Plan takes on a board before it is built: LUTs, flip-flops, blocks of RAM, multipliers, clock."""

from .bill import PARTS, Bill, Part
from .link import WeightSource, link_bill
from .memories import Mapped, Memory, Style, map_memory
from .model import (
    Coefficients,
    Prediction,
    clock_features,
    coefficients,
    has_model,
    plan_bill,
    predict,
    predict_resources,
    priced,
    stage_bill,
)
from .products import dsp_blocks
from .units import Facts, queue, unit_bill

__all__ = [
    "PARTS",
    "Bill",
    "Coefficients",
    "Facts",
    "Mapped",
    "Memory",
    "Part",
    "Prediction",
    "Style",
    "WeightSource",
    "clock_features",
    "coefficients",
    "dsp_blocks",
    "has_model",
    "link_bill",
    "map_memory",
    "plan_bill",
    "predict",
    "predict_resources",
    "priced",
    "queue",
    "stage_bill",
    "unit_bill",
]
