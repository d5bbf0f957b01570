"""How multipliers become iCE40's SB_MAC16, round a fault of yosys 0.70.

yosys' ice40_dsp looks at all multipliers before it changes any. A register behind one product that is also in front of
another multiplier or of an adder that another SB_MAC16 takes in is given to both: one gets its input from a wire that
nothing drives any more, and the netlist computes nonsense (found by `bitkiln verify --level netlist`). So additions are
hidden from it, and a register between two multipliers stays a register. So are the pairs of products that units make of
SB_MAC16 themselves.
"""

from __future__ import annotations

_LARGEST = "-D DSP_A_MAXWIDTH=16 -D DSP_B_MAXWIDTH=16 -D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=11"

# The step `coarse` of synth_ice40 -dsp, as `help synth_ice40` lists it, with the lines marked as ours.
COARSE_WITH_DSP = (
    "opt_expr",
    "check",
    "opt_clean",
    "opt -nodffe -nosdff",
    "fsm",
    "opt",
    "wreduce",
    "peepopt",
    "opt_clean",
    "share",
    "techmap -map +/cmp2lut.v -D LUT_WIDTH=4",
    "opt_expr",
    "opt_clean",
    "memory_dff",
    "alumacc -macc-only",
    "maccmap -unmap",
    "opt_clean",
    "wreduce t:$mul",
    f"techmap -map +/mul2dsp.v -map +/ice40/dsp_map.v {_LARGEST} -D DSP_NAME=$__MUL16X16",
    "select a:mul2dsp",
    "setattr -unset mul2dsp",
    "opt_expr -fine",
    "wreduce",
    "select -clear",
    "opt_clean",  # ours, from here
    "select -set products t:SB_MAC16 %co1:+[O] w:* %i",
    "select -set registers @products %co1:+[D] c:* %i",
    "select -set registered @registers %co1:+[Q] w:* %i",
    "select -set between @registered %co1:+[A,B] t:SB_MAC16 %i %ci1:+[A,B] @registered %i",
    "setattr -set keep 1 @between",
    "chtype -set $__hidden_add t:$add",
    "chtype -set $__hidden_pair t:SB_MAC16 r:MODE_8x8=1'1 %i",
    "ice40_dsp",
    "chtype -set SB_MAC16 t:$__hidden_pair",
    "chtype -set $add t:$__hidden_add",
    "setattr -unset keep @between",
    "check -assert",  # no wire without a driver; to here
    "chtype -set $mul t:$__soft_mul",
    "alumacc",
    "opt",
    "memory -nomap",
    "opt_clean",
)
