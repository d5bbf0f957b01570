"""How iCE40's block RAMs are mapped, fast: the same cells as yosys' own map gives, in a tenth of the time.

An SB_RAM40_4K keeps its words with address and data bits in another order. yosys' map (ice40/brams_map.v) reorders
a memory's contents with a function that yosys evaluates bit by bit, half a second for each block RAM; here the
order is written out.
"""

from __future__ import annotations

WORD_BITS = 256
WORDS = 16
# By the width of a port: the mode that the cell calls it, and the first of its data bits.
_MODES = {2: (3, 3), 4: (2, 1), 8: (1, 0), 16: (0, 0)}

_TEMPLATE = """\
(* techmap_celltype = "$__ICE40_RAM4K_" *)
module ram4k(PORT_R_CLK, PORT_R_RD_EN, PORT_R_ADDR, PORT_R_RD_DATA,
             PORT_W_CLK, PORT_W_WR_EN, PORT_W_WR_BE, PORT_W_ADDR, PORT_W_WR_DATA);
parameter [4095:0] INIT = 0;
parameter OPTION_HAS_BE = 1;
parameter PORT_R_WIDTH = 16;
parameter PORT_W_WIDTH = 16;
parameter PORT_W_WR_BE_WIDTH = 16;
parameter PORT_R_CLK_POL = 1;
parameter PORT_W_CLK_POL = 1;
input PORT_R_CLK, PORT_R_RD_EN, PORT_W_CLK, PORT_W_WR_EN;
input [10:0] PORT_R_ADDR, PORT_W_ADDR;
output [PORT_R_WIDTH-1:0] PORT_R_RD_DATA;
input [15:0] PORT_W_WR_BE;
input [PORT_W_WIDTH-1:0] PORT_W_WR_DATA;
// Falling edges are left to yosys' own map.
wire _TECHMAP_FAIL_ = !PORT_R_CLK_POL || !PORT_W_CLK_POL;
wire [15:0] RDATA, WDATA, MASK;
generate
@PORTS@
endgenerate
SB_RAM40_4K #(
@INIT@
    .READ_MODE(@MODE_R@),
    .WRITE_MODE(@MODE_W@)
) _TECHMAP_REPLACE_ (
    .RDATA(RDATA), .RCLK(PORT_R_CLK), .RCLKE(PORT_R_RD_EN), .RE(1'b1),
    .RADDR({PORT_R_ADDR[0], PORT_R_ADDR[1], PORT_R_ADDR[2], PORT_R_ADDR[10:3]}),
    .WDATA(WDATA), .WCLK(PORT_W_CLK), .WCLKE(PORT_W_WR_EN), .WE(1'b1), .MASK(MASK),
    .WADDR({PORT_W_ADDR[0], PORT_W_ADDR[1], PORT_W_ADDR[2], PORT_W_ADDR[10:3]})
);
endmodule
"""


def bram_map() -> str:
    """Return a techmap file for yosys' `$__ICE40_RAM4K_`; apply it before ice40/brams_map.v."""
    parts = {
        "PORTS": "\n".join(_port(width, first) for width, (_, first) in _MODES.items()),
        "INIT": "\n".join(f"    .INIT_{word:X}({_contents(word)})," for word in range(WORDS)),
        "MODE_R": _mode("PORT_R_WIDTH"),
        "MODE_W": _mode("PORT_W_WIDTH"),
    }
    text = _TEMPLATE
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text


def physical_bits(width: int) -> list[list[int]]:
    """Return, for each data bit of a port of `width`, which bit of a block RAM's contents it is in each word."""
    words = range(WORD_BITS * WORDS // width)
    logical = [[word * width + lane for word in words] for lane in range(width)]
    return [[(bit & ~15) + _reversed(bit & 15) for bit in lane] for lane in logical]


def _reversed(nibble: int) -> int:
    return int(f"{nibble:04b}"[::-1], 2)


def _contents(word: int) -> str:
    """The bits of one INIT parameter, the highest first: the four lowest address bits are mirrored."""
    bits = (word * WORD_BITS + (bit & ~15) + _reversed(bit & 15) for bit in reversed(range(WORD_BITS)))
    return "{" + ", ".join(f"INIT[{bit}]" for bit in bits) + "}"


def _mode(width: str) -> str:
    return " : ".join(f"{width} == {value} ? 2'd{mode}" for value, (mode, _) in _MODES.items()) + " : 2'd0"


def _port(width: int, first: int) -> str:
    """The data bits of ports of `width`; only whole words have a mask."""
    pins = [_reversed(bit) + first for bit in range(width)]
    read = ", ".join(f"RDATA[{pin}]" for pin in reversed(pins))
    write = ", ".join(f"WDATA[{pin}]" for pin in reversed(pins))
    mask = ", ".join(f"MASK[{pin}]" for pin in reversed(pins))
    lines = [
        f"if (PORT_R_WIDTH == {width}) assign PORT_R_RD_DATA = {{{read}}};",
        f"if (PORT_W_WIDTH == {width}) assign {{{write}}} = PORT_W_WR_DATA;",
    ]
    if width == WORDS:
        lines.append(f"if (PORT_W_WIDTH == {width}) assign {{{mask}}} = ~PORT_W_WR_BE;")
    return "\n".join(lines)
