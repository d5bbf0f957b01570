"""How constants are stored: bit packing, sparse layouts, Huffman codes and the container `.kiln`. NumPy only, no torch.

A reader on a small machine needs this folder and nothing else of bitkiln; `docs/kiln_format.md` describes the bytes.
"""

from ._cursor import DamagedFileError
from .bits import pack_bits, packed_bytes, unpack_bits
from .huffman import LENGTH_LIMIT, code_lengths, huffman_decode, huffman_encode
from .kiln import MAGIC, MAX_TEXT_BYTES, STORAGE_RULE, VERSION, Container, is_kiln, read_kiln, write_kiln
from .layouts import RUN_BITS, BitMap, Compressed, Format, Mask, Order, Stored, best_run_length, stored
from .relative import MAX_GAP_BITS, MIN_GAP_BITS, Relative, relative_decode, relative_encode
from .stream import Form
from .tensor import SMALLEST, Encoding, Packing, Record, StoredTensor

__all__ = [
    "LENGTH_LIMIT",
    "MAGIC",
    "MAX_GAP_BITS",
    "MAX_TEXT_BYTES",
    "MIN_GAP_BITS",
    "RUN_BITS",
    "SMALLEST",
    "STORAGE_RULE",
    "VERSION",
    "BitMap",
    "Compressed",
    "Container",
    "DamagedFileError",
    "Encoding",
    "Form",
    "Format",
    "Mask",
    "Order",
    "Packing",
    "Record",
    "Relative",
    "Stored",
    "StoredTensor",
    "best_run_length",
    "code_lengths",
    "huffman_decode",
    "huffman_encode",
    "is_kiln",
    "pack_bits",
    "packed_bytes",
    "read_kiln",
    "relative_decode",
    "relative_encode",
    "stored",
    "unpack_bits",
    "write_kiln",
]
