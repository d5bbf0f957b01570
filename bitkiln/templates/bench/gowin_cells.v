// Gowin's cells of which yosys has no behaviour, or one that simulates three states. As Gowin describes them in UG285 (memory),
// UG287 (multipliers) and UG289 (pins), in the modes that yosys maps to: no registers in multipliers and memory outputs.

module TBUF(input I, OEN, output O);
// A pin that is not driven floats high, as an idle serial line does.
assign O = OEN ? 1'b1 : I;
endmodule

// What a PLL drives is simulated at its own rate: the clock that is given to the design stands for the PLL's output.
module rPLL(
    input CLKIN, CLKFB, RESET, RESET_P, input [5:0] FBDSEL, IDSEL, ODSEL, input [3:0] PSDA, DUTYDA, FDLY, output CLKOUT, LOCK
);
parameter FCLKIN = "", DEVICE = "", IDIV_SEL = 0, FBDIV_SEL = 0, ODIV_SEL = 8, DYN_SDIV_SEL = 2;
parameter DYN_IDIV_SEL = "", DYN_FBDIV_SEL = "", DYN_ODIV_SEL = "", DYN_DA_EN = "", PSDA_SEL = "", DUTYDA_SEL = "";
parameter CLKFB_SEL = "", CLKOUT_BYPASS = "", CLKOUTP_BYPASS = "", CLKOUTD_BYPASS = "", CLKOUTD_SRC = "", CLKOUTD3_SRC = "";
assign CLKOUT = CLKIN;
assign LOCK = !RESET;
endmodule

module MULT9X9(
    input CLK, CE, RESET, ASEL, ASIGN, BSEL, BSIGN, input [8:0] A, B, SIA, SIB, output [17:0] DOUT
);
wire signed [9:0] x = {ASIGN & A[8], A};
wire signed [9:0] y = {BSIGN & B[8], B};
wire signed [19:0] product = x * y;
assign DOUT = product[17:0];
endmodule

module MULT18X18(
    input CLK, CE, RESET, ASEL, ASIGN, BSEL, BSIGN, input [17:0] A, B, SIA, SIB, output [35:0] DOUT
);
wire signed [18:0] x = {ASIGN & A[17], A};
wire signed [18:0] y = {BSIGN & B[17], B};
wire signed [37:0] product = x * y;
assign DOUT = product[35:0];
endmodule

// The contents of a memory: 64 parameters, and all of them as one word.
`define CONTENTS(BITS) \
parameter [BITS-1:0] INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0, INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0; \
parameter [BITS-1:0] INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0, INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0; \
parameter [BITS-1:0] INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0, INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0; \
parameter [BITS-1:0] INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0, INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0; \
parameter [BITS-1:0] INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0, INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0; \
parameter [BITS-1:0] INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0, INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0; \
parameter [BITS-1:0] INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0, INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0; \
parameter [BITS-1:0] INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0, INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0; \
localparam [64*BITS-1:0] INIT = { \
    INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38, \
    INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30, \
    INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, \
    INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, \
    INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, \
    INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, \
    INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08, \
    INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00 \
};

module SP(input CLK, CE, WRE, RESET, OCE, input [2:0] BLKSEL, input [13:0] AD, input [31:0] DI, output [31:0] DO);
parameter READ_MODE = 1'b0, WRITE_MODE = 0, BIT_WIDTH = 32, BLK_SEL = 3'b000, RESET_MODE = "SYNC";
`CONTENTS(256)
wire [35:0] out;
bitkiln_block_ram #(
    .WIDTH_A(BIT_WIDTH == 32 ? 36 : BIT_WIDTH == 16 ? 18 : BIT_WIDTH == 8 ? 9 : BIT_WIDTH), .WRITE_MODE_A(WRITE_MODE), .STORED(32), .INIT(INIT)
) ram (
    .CLK_A(CLK), .CE_A(CE), .WE_A(WRE), .RESET_A(RESET), .AD_A(AD), .DI_A({1'b0, DI[31:24], 1'b0, DI[23:16], 1'b0, DI[15:8], 1'b0, DI[7:0]}), .DO_A(out),
    .CLK_B(1'b0), .CE_B(1'b0), .WE_B(1'b0), .RESET_B(1'b0), .AD_B(14'b0), .DI_B(36'b0)
);
assign DO = {out[34:27], out[25:18], out[16:9], out[7:0]};
endmodule

module SPX9(input CLK, CE, WRE, RESET, OCE, input [2:0] BLKSEL, input [13:0] AD, input [35:0] DI, output [35:0] DO);
parameter READ_MODE = 1'b0, WRITE_MODE = 0, BIT_WIDTH = 36, BLK_SEL = 3'b000, RESET_MODE = "SYNC";
`CONTENTS(288)
wire [35:0] out;
bitkiln_block_ram #(
    .WIDTH_A(BIT_WIDTH), .WRITE_MODE_A(WRITE_MODE), .STORED(36), .INIT(INIT)
) ram (
    .CLK_A(CLK), .CE_A(CE), .WE_A(WRE), .RESET_A(RESET), .AD_A(AD), .DI_A(DI), .DO_A(out),
    .CLK_B(1'b0), .CE_B(1'b0), .WE_B(1'b0), .RESET_B(1'b0), .AD_B(14'b0), .DI_B(36'b0)
);
assign DO = out;
endmodule

module SDPB(
    input CLKA, CEA, RESETA, CLKB, CEB, RESETB, OCE, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input [31:0] DI, output [31:0] DO
);
parameter READ_MODE = 1'b0, BIT_WIDTH_0 = 32, BIT_WIDTH_1 = 32, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000, RESET_MODE = "SYNC";
`CONTENTS(256)
wire [35:0] out;
bitkiln_block_ram #(
    .WIDTH_A(BIT_WIDTH_0 == 32 ? 36 : BIT_WIDTH_0 == 16 ? 18 : BIT_WIDTH_0 == 8 ? 9 : BIT_WIDTH_0),
    .WIDTH_B(BIT_WIDTH_1 == 32 ? 36 : BIT_WIDTH_1 == 16 ? 18 : BIT_WIDTH_1 == 8 ? 9 : BIT_WIDTH_1), .STORED(32), .INIT(INIT)
) ram (
    .CLK_A(CLKA), .CE_A(CEA), .WE_A(1'b1), .RESET_A(RESETA), .AD_A(ADA), .DI_A({1'b0, DI[31:24], 1'b0, DI[23:16], 1'b0, DI[15:8], 1'b0, DI[7:0]}),
    .CLK_B(CLKB), .CE_B(CEB), .WE_B(1'b0), .RESET_B(RESETB), .AD_B(ADB), .DI_B(36'b0), .DO_B(out)
);
assign DO = {out[34:27], out[25:18], out[16:9], out[7:0]};
endmodule

module SDPX9B(
    input CLKA, CEA, RESETA, CLKB, CEB, RESETB, OCE, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input [35:0] DI, output [35:0] DO
);
parameter READ_MODE = 1'b0, BIT_WIDTH_0 = 36, BIT_WIDTH_1 = 36, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000, RESET_MODE = "SYNC";
`CONTENTS(288)
wire [35:0] out;
bitkiln_block_ram #(
    .WIDTH_A(BIT_WIDTH_0),
    .WIDTH_B(BIT_WIDTH_1), .STORED(36), .INIT(INIT)
) ram (
    .CLK_A(CLKA), .CE_A(CEA), .WE_A(1'b1), .RESET_A(RESETA), .AD_A(ADA), .DI_A(DI),
    .CLK_B(CLKB), .CE_B(CEB), .WE_B(1'b0), .RESET_B(RESETB), .AD_B(ADB), .DI_B(36'b0), .DO_B(out)
);
assign DO = out;
endmodule

module DPB(
    input CLKA, CEA, WREA, RESETA, OCEA, CLKB, CEB, WREB, RESETB, OCEB, input [2:0] BLKSELA, BLKSELB,
    input [13:0] ADA, ADB, input [15:0] DIA, DIB, output [15:0] DOA, DOB
);
parameter READ_MODE0 = 1'b0, READ_MODE1 = 1'b0, WRITE_MODE0 = 0, WRITE_MODE1 = 0, BIT_WIDTH_0 = 16, BIT_WIDTH_1 = 16;
parameter BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000, RESET_MODE = "SYNC";
`CONTENTS(256)
wire [35:0] out_a, out_b;
bitkiln_block_ram #(
    .WIDTH_A(BIT_WIDTH_0 == 32 ? 36 : BIT_WIDTH_0 == 16 ? 18 : BIT_WIDTH_0 == 8 ? 9 : BIT_WIDTH_0), .WRITE_MODE_A(WRITE_MODE0),
    .WIDTH_B(BIT_WIDTH_1 == 32 ? 36 : BIT_WIDTH_1 == 16 ? 18 : BIT_WIDTH_1 == 8 ? 9 : BIT_WIDTH_1), .WRITE_MODE_B(WRITE_MODE1), .STORED(32), .INIT(INIT)
) ram (
    .CLK_A(CLKA), .CE_A(CEA), .WE_A(WREA), .RESET_A(RESETA), .AD_A(ADA), .DI_A({19'b0, DIA[15:8], 1'b0, DIA[7:0]}), .DO_A(out_a),
    .CLK_B(CLKB), .CE_B(CEB), .WE_B(WREB), .RESET_B(RESETB), .AD_B(ADB), .DI_B({19'b0, DIB[15:8], 1'b0, DIB[7:0]}), .DO_B(out_b)
);
assign DOA = {out_a[16:9], out_a[7:0]};
assign DOB = {out_b[16:9], out_b[7:0]};
endmodule

module DPX9B(
    input CLKA, CEA, WREA, RESETA, OCEA, CLKB, CEB, WREB, RESETB, OCEB, input [2:0] BLKSELA, BLKSELB,
    input [13:0] ADA, ADB, input [17:0] DIA, DIB, output [17:0] DOA, DOB
);
parameter READ_MODE0 = 1'b0, READ_MODE1 = 1'b0, WRITE_MODE0 = 0, WRITE_MODE1 = 0, BIT_WIDTH_0 = 18, BIT_WIDTH_1 = 18;
parameter BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000, RESET_MODE = "SYNC";
`CONTENTS(288)
wire [35:0] out_a, out_b;
bitkiln_block_ram #(
    .WIDTH_A(BIT_WIDTH_0), .WRITE_MODE_A(WRITE_MODE0),
    .WIDTH_B(BIT_WIDTH_1), .WRITE_MODE_B(WRITE_MODE1), .STORED(36), .INIT(INIT)
) ram (
    .CLK_A(CLKA), .CE_A(CEA), .WE_A(WREA), .RESET_A(RESETA), .AD_A(ADA), .DI_A({18'b0, DIA}), .DO_A(out_a),
    .CLK_B(CLKB), .CE_B(CEB), .WE_B(WREB), .RESET_B(RESETB), .AD_B(ADB), .DI_B({18'b0, DIB}), .DO_B(out_b)
);
assign DOA = out_a[17:0];
assign DOB = out_b[17:0];
endmodule
