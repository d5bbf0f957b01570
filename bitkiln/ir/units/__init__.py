"""The hardware units of the dataflow template: what each computes and when. The RTL stands in `bitkiln.hdl`."""

from ._timing import NEVER, InputTiming, OutputTiming, Process, Steps, Wait
from ._unit import Beat, Rescale, Unit
from .accumulation import Accumulation, parity_of
from .gather import ConcatStreams, Gather
from .lookup import MOST_TABLE_BITS, LookupStream, MultiplyStreams
from .matrix_vector import MatrixVector, Multiplier, Products, Storage, WeightCode, count_stages
from .memories import COLUMN_BITS, SPRAM_WORDS, column_widths, spram_blocks
from .packing import DspBlock, Packing, separate_packing, shared_packings
from .plumbing import Fork, Resize
from .pointwise import AddStreams, Pool, Reduction, RescaleStream, TopKStream
from .sparse import QUEUE_PLACES, SparseMatrixVector, vector_cycles, walk_cycles
from .thresholds import Thresholds, ThresholdStream
from .window import Window

UNITS: tuple[type[Unit], ...] = (
    MatrixVector,
    SparseMatrixVector,
    Window,
    Pool,
    AddStreams,
    RescaleStream,
    ThresholdStream,
    LookupStream,
    MultiplyStreams,
    Gather,
    ConcatStreams,
    TopKStream,
    Resize,
    Fork,
)

__all__ = [
    "COLUMN_BITS",
    "MOST_TABLE_BITS",
    "NEVER",
    "QUEUE_PLACES",
    "SPRAM_WORDS",
    "UNITS",
    "Accumulation",
    "AddStreams",
    "Beat",
    "ConcatStreams",
    "DspBlock",
    "Fork",
    "Gather",
    "InputTiming",
    "LookupStream",
    "MatrixVector",
    "Multiplier",
    "MultiplyStreams",
    "OutputTiming",
    "Packing",
    "Pool",
    "Process",
    "Products",
    "Reduction",
    "Rescale",
    "RescaleStream",
    "Resize",
    "SparseMatrixVector",
    "Steps",
    "Storage",
    "ThresholdStream",
    "Thresholds",
    "TopKStream",
    "Unit",
    "Wait",
    "WeightCode",
    "Window",
    "column_widths",
    "count_stages",
    "parity_of",
    "separate_packing",
    "shared_packings",
    "spram_blocks",
    "vector_cycles",
    "walk_cycles",
]
