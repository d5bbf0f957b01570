// iCE40's pins, whose direction a design never changes here; yosys' own models of them are three-state.

module SB_IO(
    inout PACKAGE_PIN, input LATCH_INPUT_VALUE, input CLOCK_ENABLE, input INPUT_CLK, input OUTPUT_CLK,
    input OUTPUT_ENABLE, input D_OUT_0, input D_OUT_1, output D_IN_0, output D_IN_1
);
parameter [5:0] PIN_TYPE = 6'b000000;
parameter [0:0] PULLUP = 1'b0;
parameter [0:0] NEG_TRIGGER = 1'b0;
parameter IO_STANDARD = "SB_LVCMOS";
generate
if (PIN_TYPE[5:4] == 2'b00) begin
    assign D_IN_0 = PACKAGE_PIN;
end else begin
    // A pin that is not driven floats high, as an idle serial line does.
    assign PACKAGE_PIN = PIN_TYPE[5:4] == 2'b10 && !OUTPUT_ENABLE ? 1'b1 : D_OUT_0;
end
endgenerate
endmodule

module SB_GB_IO(
    inout PACKAGE_PIN, output GLOBAL_BUFFER_OUTPUT, input LATCH_INPUT_VALUE, input CLOCK_ENABLE, input INPUT_CLK,
    input OUTPUT_CLK, input OUTPUT_ENABLE, input D_OUT_0, input D_OUT_1, output D_IN_0, output D_IN_1
);
parameter [5:0] PIN_TYPE = 6'b000000;
parameter [0:0] PULLUP = 1'b0;
parameter [0:0] NEG_TRIGGER = 1'b0;
parameter IO_STANDARD = "SB_LVCMOS";
assign GLOBAL_BUFFER_OUTPUT = PACKAGE_PIN;
endmodule

// yosys' own model says the same, but takes half a minute for each block RAM to be read: it fills it bit by bit.
module SB_RAM40_4K(
    output [15:0] RDATA, input RCLK, input RCLKE, input RE, input [10:0] RADDR,
    input WCLK, input WCLKE, input WE, input [10:0] WADDR, input [15:0] MASK, input [15:0] WDATA
);
parameter WRITE_MODE = 0;
parameter READ_MODE = 0;
parameter [255:0] INIT_0 = 0, INIT_1 = 0, INIT_2 = 0, INIT_3 = 0, INIT_4 = 0, INIT_5 = 0, INIT_6 = 0, INIT_7 = 0;
parameter [255:0] INIT_8 = 0, INIT_9 = 0, INIT_A = 0, INIT_B = 0, INIT_C = 0, INIT_D = 0, INIT_E = 0, INIT_F = 0;
localparam [4095:0] INIT = {
    INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8,
    INIT_7, INIT_6, INIT_5, INIT_4, INIT_3, INIT_2, INIT_1, INIT_0
};

// A narrow port has the bit `lane` of each group of 2, 4 or 8 bits of a row.
wire [15:0] row, data, enable;
wire [2:0] write_lane = WADDR[10:8];
reg [2:0] read_lane = 0;
always @(posedge RCLK) if (RE && RCLKE) read_lane <= RADDR[10:8];
genvar bit;
generate
for (bit = 0; bit < 16; bit = bit + 1) begin : lanes
    case (WRITE_MODE)
        0: begin assign data[bit] = WDATA[bit]; assign enable[bit] = !MASK[bit]; end
        1: begin assign data[bit] = WDATA[bit & 14]; assign enable[bit] = write_lane[0] == bit % 2; end
        2: begin assign data[bit] = WDATA[bit & 12 | 1]; assign enable[bit] = write_lane[1:0] == bit % 4; end
        3: begin assign data[bit] = WDATA[bit & 8 | 3]; assign enable[bit] = write_lane == bit % 8; end
    endcase
    case (READ_MODE)
        0: assign RDATA[bit] = row[bit];
        1: assign RDATA[bit] = bit % 2 == 0 && row[bit & 14 | read_lane[0]];
        2: assign RDATA[bit] = bit % 4 == 1 && row[bit & 12 | read_lane[1:0]];
        3: assign RDATA[bit] = bit % 8 == 3 && row[bit & 8 | read_lane];
    endcase
end
endgenerate

\$mem_v2 #(
    .MEMID("\\memory"), .SIZE(256), .OFFSET(0), .ABITS(8), .WIDTH(16), .INIT(INIT),
    .RD_PORTS(1), .RD_CLK_ENABLE(1'b1), .RD_CLK_POLARITY(1'b1), .RD_TRANSPARENCY_MASK(1'b0),
    .RD_COLLISION_X_MASK(1'b0), .RD_WIDE_CONTINUATION(1'b0), .RD_CE_OVER_SRST(1'b0),
    .RD_ARST_VALUE(16'h0), .RD_SRST_VALUE(16'h0), .RD_INIT_VALUE(16'h0),
    .WR_PORTS(1), .WR_CLK_ENABLE(1'b1), .WR_CLK_POLARITY(1'b1), .WR_PRIORITY_MASK(1'b0), .WR_WIDE_CONTINUATION(1'b0)
) memory (
    .RD_CLK(RCLK), .RD_EN(RE && RCLKE), .RD_ARST(1'b0), .RD_SRST(1'b0), .RD_ADDR(RADDR[7:0]), .RD_DATA(row),
    .WR_CLK(WCLK), .WR_EN({16{WE && WCLKE}} & enable), .WR_ADDR(WADDR[7:0]), .WR_DATA(data)
);
endmodule

// What a PLL drives is simulated at its own rate: the clock that is given to the design stands for the PLL's output.
module SB_PLL40_CORE(input REFERENCECLK, RESETB, BYPASS, output PLLOUTCORE, PLLOUTGLOBAL, LOCK);
parameter FEEDBACK_PATH = "SIMPLE";
parameter [3:0] DIVR = 0;
parameter [6:0] DIVF = 0;
parameter [2:0] DIVQ = 0;
parameter [2:0] FILTER_RANGE = 0;
assign PLLOUTCORE = REFERENCECLK;
assign PLLOUTGLOBAL = REFERENCECLK;
assign LOCK = RESETB;
endmodule

module SB_PLL40_PAD(input PACKAGEPIN, RESETB, BYPASS, output PLLOUTCORE, PLLOUTGLOBAL, LOCK);
parameter FEEDBACK_PATH = "SIMPLE";
parameter [3:0] DIVR = 0;
parameter [6:0] DIVF = 0;
parameter [2:0] DIVQ = 0;
parameter [2:0] FILTER_RANGE = 0;
assign PLLOUTCORE = PACKAGEPIN;
assign PLLOUTGLOBAL = PACKAGEPIN;
assign LOCK = RESETB;
endmodule

// A large RAM that is always on; yosys' own model also forgets everything when it is switched off.
module SB_SPRAM256KA(
    input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN, input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF,
    output reg [15:0] DATAOUT
);
reg [15:0] memory [0:16383];
always @(posedge CLOCK) if (CHIPSELECT && POWEROFF && !SLEEP && !STANDBY) begin
    if (WREN) begin
        if (MASKWREN[0]) memory[ADDRESS][3:0] <= DATAIN[3:0];
        if (MASKWREN[1]) memory[ADDRESS][7:4] <= DATAIN[7:4];
        if (MASKWREN[2]) memory[ADDRESS][11:8] <= DATAIN[11:8];
        if (MASKWREN[3]) memory[ADDRESS][15:12] <= DATAIN[15:12];
    end else begin
        DATAOUT <= memory[ADDRESS];
    end
end
endmodule
