"""TUL PYNQ-Z2: Zynq XC7Z020, two ARM cores that run PYNQ beside the logic. Its projects are generated, not run."""

from .board import Resources
from .vendor_board import ProcessorSystem, VendorBoard

PYNQ_Z2 = VendorBoard(
    name="pynq-z2",
    title="PYNQ-Z2 (Zynq XC7Z020)",
    part="xc7z020clg400-1",
    board_part="tul.com.tw:pynq-z2:part0:1.0",
    clock_hz=100_000_000,
    max_clock_hz=250_000_000,
    # AMD DS190 (Zynq-7000 overview), table 1: 53,200 LUTs, 106,400 flip-flops, 140 block RAMs of 36 kbit, 220 DSP
    # slices. 17,400 of the LUTs can be memories of 64 bits (Vivado's utilisation report, "LUT as Memory").
    resources=Resources(lut=53_200, ff=106_400, bram=140, dsp=220),
    uram=0,
    distributed_bits=17_400 * 64,
    host=ProcessorSystem(
        vlnv="xilinx.com:ip:processing_system7:5.5",
        rule="xilinx.com:bd_rule:processing_system7",
        rule_options='make_external "FIXED_IO, DDR" apply_board_preset "1" Master "Disable" Slave "Disable"',
        properties=(("CONFIG.PCW_USE_M_AXI_GP0", "1"), ("CONFIG.PCW_USE_S_AXI_HP0", "1")),
        clock_property="CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ",
        clock="FCLK_CLK0",
        reset="FCLK_RESET0_N",
        master="M_AXI_GP0",
        master_clock="M_AXI_GP0_ACLK",
        slave="S_AXI_HP0",
        slave_clock="S_AXI_HP0_ACLK",
    ),
    source="https://www.tulembedded.com/FPGA/ProductsPYNQ-Z2.html",
)
