"""How multipliers become iCE40's SB_MAC16, round a fault of yosys 0.70.

yosys' ice40_dsp looks at all multipliers before it changes any. A register behind one product that is also in front of
another multiplier or of an adder that another SB_MAC16 takes in is given to both, and of two registers in a row behind
a product it can take in both but leave the second where it is: a wire has no driver any more (found by `bitkiln verify
--level netlist`). So what follows a product's register is hidden from it: additions, and by `keep` all else. So are
the pairs of products that units make of SB_MAC16 themselves.
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
    "setattr -set keep 1 @registered",
    "chtype -set $__hidden_add t:$add",
    "chtype -set $__hidden_pair t:SB_MAC16 r:MODE_8x8=1'1 %i",
    "ice40_dsp",
    "chtype -set SB_MAC16 t:$__hidden_pair",
    "chtype -set $add t:$__hidden_add",
    "setattr -unset keep @registered",  # to here
    "chtype -set $mul t:$__soft_mul",
    "check -assert",  # ours: no wire without a driver
    "alumacc",
    "opt",
    "memory -nomap",
    "opt_clean",
)
