"""AMD Kria KV260: Zynq UltraScale+ on a K26 module, ARM cores beside the logic. Its projects are generated, not run."""

from .board import Resources
from .vendor_board import ProcessorSystem, VendorBoard

KV260 = VendorBoard(
    name="kv260",
    title="Kria KV260 (Zynq UltraScale+ K26)",
    part="xck26-sfvc784-2LV-c",
    board_part="xilinx.com:kv260_som:part0:1.4",
    clock_hz=100_000_000,
    max_clock_hz=300_000_000,
    # AMD DS987 (K26 SOM), programmable logic: 117,120 LUTs, 234,240 flip-flops, 144 block RAMs of 36 kbit, 64
    # UltraRAMs, 1,248 DSP slices, 3.5 Mbit of distributed RAM.
    resources=Resources(lut=117_120, ff=234_240, bram=144, dsp=1_248),
    uram=64,
    distributed_bits=3_500_000,
    host=ProcessorSystem(
        vlnv="xilinx.com:ip:zynq_ultra_ps_e:3.5",
        rule="xilinx.com:bd_rule:zynq_ultra_ps_e",
        rule_options='apply_board_preset "1"',
        properties=(
            ("CONFIG.PSU__USE__M_AXI_GP0", "1"),
            ("CONFIG.PSU__USE__M_AXI_GP1", "0"),
            ("CONFIG.PSU__USE__M_AXI_GP2", "0"),
            ("CONFIG.PSU__USE__S_AXI_GP2", "1"),
        ),
        clock_property="CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
        clock="pl_clk0",
        reset="pl_resetn0",
        master="M_AXI_HPM0_FPD",
        master_clock="maxihpm0_fpd_aclk",
        slave="S_AXI_HP0_FPD",
        slave_clock="saxihp0_fpd_aclk",
    ),
    source="https://www.amd.com/en/products/system-on-modules/kria/k26/kv260-vision-starter-kit.html",
)
