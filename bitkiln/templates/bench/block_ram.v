// What the block RAMs of ECP5 and Gowin have in common: 512 rows of four units of 9 bits, and two ports of 1 to 36 bits.
// Ports of 1, 2 or 4 bits use the 8 lower bits of a unit. Of the 14 address bits, ports of 18 and 36 bits take the lowest
// two and four as enables of the units that they write.

module bitkiln_ram_port(
    input CLK, CE, WE, RESET, input [13:0] AD, input [35:0] DI, input [35:0] row,
    output [35:0] data, output [35:0] mask, output reg [35:0] DO
);
parameter WIDTH = 36;
// What it reads while it writes: 0 nothing, 1 the new word, 2 the old one.
parameter WRITE_MODE = 0;
wire [1:0] unit = AD[4:3];
wire [35:0] enables = {{9{AD[3]}}, {9{AD[2]}}, {9{AD[1]}}, {9{AD[0]}}};
wire [35:0] seen = WRITE_MODE == 1 && WE ? row & ~mask | data & mask : row;
wire [8:0] byte = seen >> 9 * unit;
wire [35:0] word;
generate
case (WIDTH)
    36: begin assign data = DI; assign mask = enables; assign word = seen; end
    18: begin
        assign data = {2{DI[17:0]}};
        assign mask = AD[4] ? {enables[17:0], 18'b0} : {18'b0, enables[17:0]};
        assign word = AD[4] ? seen[35:18] : seen[17:0];
    end
    9: begin assign data = {4{DI[8:0]}}; assign mask = 36'h1ff << 9 * unit; assign word = byte; end
    4: begin
        assign data = {4{1'b0, {2{DI[3:0]}}}};
        assign mask = 36'hf << (9 * unit + 4 * AD[2]);
        assign word = AD[2] ? byte[7:4] : byte[3:0];
    end
    2: begin
        assign data = {4{1'b0, {4{DI[1:0]}}}};
        assign mask = 36'h3 << (9 * unit + 2 * AD[2:1]);
        assign word = (byte >> 2 * AD[2:1]) & 2'b11;
    end
    1: begin
        assign data = {4{1'b0, {8{DI[0]}}}};
        assign mask = 36'h1 << (9 * unit + AD[2:0]);
        assign word = byte[AD[2:0]];
    end
endcase
endgenerate
initial DO = 0;
always @(posedge CLK)
    if (RESET) DO <= 0;
    else if (CE && (!WE || WRITE_MODE != 0)) DO <= word;
endmodule

module bitkiln_block_ram(
    input CLK_A, CE_A, WE_A, RESET_A, input [13:0] AD_A, input [35:0] DI_A, output [35:0] DO_A,
    input CLK_B, CE_B, WE_B, RESET_B, input [13:0] AD_B, input [35:0] DI_B, output [35:0] DO_B
);
parameter WIDTH_A = 36;
parameter WIDTH_B = 36;
parameter WRITE_MODE_A = 0;
parameter WRITE_MODE_B = 0;
// How many bits of the contents a row takes: 36, 40 with two unused ones above each 18, 32 without the ninth bits.
parameter STORED = 36;
parameter [512*STORED-1:0] INIT = 0;
wire [STORED-1:0] stored_a, stored_b;
wire [35:0] row_a, row_b, data_a, data_b, mask_a, mask_b;
wire [2*STORED-1:0] data, enable;
wire [35:0] enable_a = {36{WE_A && CE_A}} & mask_a;
wire [35:0] enable_b = {36{WE_B && CE_B}} & mask_b;
generate
case (STORED)
    36: begin
        assign row_a = stored_a;
        assign row_b = stored_b;
        assign data = {data_b, data_a};
        assign enable = {enable_b, enable_a};
    end
    40: begin
        assign row_a = {stored_a[37:20], stored_a[17:0]};
        assign row_b = {stored_b[37:20], stored_b[17:0]};
        assign data = {2'b0, data_b[35:18], 2'b0, data_b[17:0], 2'b0, data_a[35:18], 2'b0, data_a[17:0]};
        assign enable = {2'b0, enable_b[35:18], 2'b0, enable_b[17:0], 2'b0, enable_a[35:18], 2'b0, enable_a[17:0]};
    end
    32: begin
        assign row_a = {1'b0, stored_a[31:24], 1'b0, stored_a[23:16], 1'b0, stored_a[15:8], 1'b0, stored_a[7:0]};
        assign row_b = {1'b0, stored_b[31:24], 1'b0, stored_b[23:16], 1'b0, stored_b[15:8], 1'b0, stored_b[7:0]};
        assign data = {
            data_b[34:27], data_b[25:18], data_b[16:9], data_b[7:0], data_a[34:27], data_a[25:18], data_a[16:9], data_a[7:0]
        };
        assign enable = {
            enable_b[34:27], enable_b[25:18], enable_b[16:9], enable_b[7:0],
            enable_a[34:27], enable_a[25:18], enable_a[16:9], enable_a[7:0]
        };
    end
endcase
endgenerate
bitkiln_ram_port #(.WIDTH(WIDTH_A), .WRITE_MODE(WRITE_MODE_A)) a (
    .CLK(CLK_A), .CE(CE_A), .WE(WE_A), .RESET(RESET_A), .AD(AD_A), .DI(DI_A), .row(row_a),
    .data(data_a), .mask(mask_a), .DO(DO_A)
);
bitkiln_ram_port #(.WIDTH(WIDTH_B), .WRITE_MODE(WRITE_MODE_B)) b (
    .CLK(CLK_B), .CE(CE_B), .WE(WE_B), .RESET(RESET_B), .AD(AD_B), .DI(DI_B), .row(row_b),
    .data(data_b), .mask(mask_b), .DO(DO_B)
);
\$mem_v2 #(
    .MEMID("\\memory"), .SIZE(512), .OFFSET(0), .ABITS(9), .WIDTH(STORED), .INIT(INIT),
    .RD_PORTS(2), .RD_CLK_ENABLE(2'b0), .RD_CLK_POLARITY(2'b11), .RD_TRANSPARENCY_MASK(4'b0),
    .RD_COLLISION_X_MASK(4'b0), .RD_WIDE_CONTINUATION(2'b0), .RD_CE_OVER_SRST(2'b0),
    .RD_ARST_VALUE({2*STORED{1'b0}}), .RD_SRST_VALUE({2*STORED{1'b0}}), .RD_INIT_VALUE({2*STORED{1'b0}}),
    .WR_PORTS(2), .WR_CLK_ENABLE(2'b11), .WR_CLK_POLARITY(2'b11), .WR_PRIORITY_MASK(4'b0), .WR_WIDE_CONTINUATION(2'b0)
) memory (
    .RD_CLK(2'b0), .RD_EN(2'b11), .RD_ARST(2'b0), .RD_SRST(2'b0), .RD_ADDR({AD_B[13:5], AD_A[13:5]}),
    .RD_DATA({stored_b, stored_a}),
    .WR_CLK({CLK_B, CLK_A}), .WR_EN(enable), .WR_ADDR({AD_B[13:5], AD_A[13:5]}), .WR_DATA(data)
);
endmodule
