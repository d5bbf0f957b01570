"""The vendor commands that our Tcl may use, with their options.

Vivado's by UG835, UG994 and UG1118, Vitis HLS's by UG1399.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """`flags` are options without a value, `values` options with one; `least` to `most` other arguments follow.

    `files` tells which words name files that must be there: "arguments", or the option.
    """

    name: str
    flags: frozenset[str]
    values: frozenset[str]
    least: int
    most: int
    files: str = ""


_MANY = 10_000


def _command(name: str, flags: str, values: str, least: int, most: int, files: str = "") -> Command:
    return Command(name, frozenset(flags.split()), frozenset(values.split()), least, most, files)


VIVADO = (
    _command("create_project", "-force -in_memory -ip -rtl_kernel -quiet -verbose", "-part", 0, 2),
    _command("close_project", "-delete -quiet -verbose", "", 0, 0),
    _command("current_project", "-quiet -verbose", "", 0, 1),
    _command("get_projects", "-regexp -nocase -quiet -verbose", "-filter", 0, 1),
    _command(
        "add_files",
        "-norecurse -force -quiet -verbose -scan_for_includes",
        "-fileset -of_objects -copy_to",
        1,
        _MANY,
        "arguments",
    ),
    _command("read_verilog", "-sv -quiet -verbose", "-library", 1, 1, "arguments"),
    _command("read_xdc", "-unmanaged -quiet -verbose", "-cells -ref -mode", 1, 1, "arguments"),
    _command("update_compile_order", "-force_gui -quiet -verbose", "-fileset", 0, 0),
    _command("set_property", "-quiet -verbose", "-dict -name -value -objects", 0, 3),
    _command("get_property", "-min -max -quiet -verbose", "", 2, 2),
    _command("get_files", "-regexp -nocase -all -quiet -verbose", "-filter -compile_order -used_in -of_objects", 0, 1),
    _command("get_filesets", "-regexp -nocase -quiet -verbose", "-filter -of_objects", 0, 1),
    _command("current_fileset", "-simset -constrset -blockset -quiet -verbose", "", 0, 1),
    _command("get_runs", "-regexp -nocase -quiet -verbose", "-filter", 0, 1),
    _command("get_ports", "-regexp -nocase -quiet -verbose", "-filter -of_objects", 0, 1),
    _command("get_board_parts", "-regexp -nocase -latest_file_version -latest_hw_revision -quiet", "-filter", 0, 1),
    _command("current_design", "-quiet -verbose", "", 0, 1),
    _command("update_ip_catalog", "-rebuild -scan_changes -quiet -verbose", "-add_ip -delete_ip -repo_path", 0, 0),
    _command("launch_runs", "-scripts_only -force -quiet -verbose", "-jobs -to_step -next_step -dir", 1, _MANY),
    _command("wait_on_run", "-quiet -verbose", "-timeout", 1, 1),
    _command("open_run", "-quiet -verbose", "-name -pr_config", 1, 1),
    _command("report_utilization", "-hierarchical -quiet -verbose -append", "-file -name -cells", 0, 0),
    _command("report_timing_summary", "-quiet -verbose -append", "-file -name -max_paths -delay_type", 0, 0),
    _command("write_hw_platform", "-fixed -force -include_bit -minimal -quiet -verbose", "-hw", 0, 1),
    _command("make_wrapper", "-top -testbench -import -inst_template -force -quiet -verbose", "-files -fileset", 0, 0),
    _command("generate_target", "-force -quiet -verbose", "", 2, 2),
    _command("create_clock", "-add -quiet -verbose", "-period -name -waveform", 0, 1),
    _command("set_false_path", "-setup -hold -quiet -verbose", "-from -to -through", 0, 0),
    _command("create_bd_design", "-quiet -verbose", "-dir -cell", 1, 1),
    _command("create_bd_cell", "-revision -quiet -verbose", "-type -vlnv -reference", 1, 1),
    _command("create_bd_port", "-quiet -verbose", "-from -to -dir -type -freq_hz", 1, 1),
    _command("create_bd_intf_port", "-quiet -verbose", "-vlnv -mode", 1, 1),
    _command("apply_bd_automation", "-quiet -verbose", "-rule -config -opts", 1, 1),
    _command("connect_bd_net", "-quiet -verbose", "-net", 1, _MANY),
    _command("connect_bd_intf_net", "-auto -quiet -verbose", "-intf_net", 2, 2),
    _command("get_bd_cells", "-regexp -hierarchical -quiet -verbose", "-filter -of_objects", 0, 1),
    _command("get_bd_pins", "-regexp -hierarchical -quiet -verbose", "-filter -of_objects", 0, 1),
    _command("get_bd_intf_pins", "-regexp -hierarchical -quiet -verbose", "-filter -of_objects", 0, 1),
    _command("get_bd_designs", "-regexp -quiet -verbose", "-filter", 0, 1),
    _command(
        "assign_bd_address",
        "-boundary -combine -export_to_gui -force -quiet",
        "-offset -range -target_address_space",
        0,
        1,
    ),
    _command("validate_bd_design", "-force -design -quiet -verbose", "", 0, 0),
    _command("save_bd_design", "-quiet -verbose", "", 0, 1),
    _command("regenerate_bd_layout", "-routing -quiet -verbose", "-hierarchy", 0, 0),
    _command(
        "ipx::package_project",
        "-import_files -generated_files -force -quiet -verbose",
        "-root_dir -vendor -library -taxonomy -module -set_current",
        0,
        1,
    ),
    _command("ipx::current_core", "-quiet -verbose", "", 0, 1),
    _command("ipx::infer_bus_interface", "-quiet -verbose", "", 3, 3),
    _command("ipx::associate_bus_interfaces", "-clear -remove -quiet -verbose", "-busif -clock -reset", 1, 1),
    _command("ipx::get_bus_interfaces", "-quiet -verbose", "-filter -of_objects", 0, 1),
    _command("ipx::get_bus_parameters", "-quiet -verbose", "-filter -of_objects", 0, 1),
    _command("ipx::add_bus_parameter", "-quiet -verbose", "", 2, 2),
    _command("ipx::get_memory_maps", "-quiet -verbose", "-filter -of_objects", 0, 1),
    _command("ipx::get_address_blocks", "-quiet -verbose", "-filter -of_objects", 0, 1),
    _command("ipx::add_register", "-quiet -verbose", "", 2, 2),
    _command("ipx::get_registers", "-quiet -verbose", "-filter -of_objects", 0, 1),
    _command("ipx::create_xgui_files", "-quiet -verbose", "-logo_file", 0, 1),
    _command("ipx::update_checksums", "-quiet -verbose", "", 1, 1),
    _command("ipx::check_integrity", "-quiet -verbose -xrt -kernel", "", 0, 1),
    _command("ipx::save_core", "-quiet -verbose", "", 0, 1),
)

VITIS_HLS = (
    _command("open_project", "-reset", "", 1, 1),
    _command("open_component", "-reset", "-flow_target", 1, 1),
    _command("open_solution", "-reset", "-flow_target", 1, 1),
    _command("close_project", "", "", 0, 0),
    _command("close_component", "", "", 0, 0),
    _command("close_solution", "", "", 0, 0),
    _command("set_top", "", "", 1, 1),
    _command("add_files", "-tb", "-cflags -csimflags", 1, 1, "arguments"),
    _command("set_part", "", "", 1, 1),
    _command("create_clock", "", "-name -period", 0, 1),
    _command("set_clock_uncertainty", "", "", 1, 2),
    _command("csim_design", "-O -clean -setup", "-argv -ldflags -mflags -profile", 0, 0),
    _command("csynth_design", "-dump_cfg -dump_post_cfg -synthesis_check", "-hw_syn", 0, 0),
    _command(
        "cosim_design",
        "-O -setup -disable_deadlock_detection -disable_dependency_check -enable_dataflow_profiling "
        "-enable_fifo_sizing -random_stall -user_stall",
        "-argv -ldflags -mflags -rtl -tool -trace_level -wave_debug -stable_axilite_update -compiled_library_dir",
        0,
        0,
    ),
    _command(
        "export_design",
        "",
        "-flow -format -rtl -output -ipname -vendor -library -version -display_name -description -taxonomy -xo",
        0,
        0,
    ),
    _command(
        "config_export",
        "",
        "-format -rtl -output -ipname -vendor -library -version -display_name -description -flow",
        0,
        0,
    ),
    _command("config_compile", "", "-name_max_length -pipeline_loops -pipeline_style -unsafe_math_optimizations", 0, 0),
    _command(
        "config_interface",
        "",
        "-m_axi_addr64 -s_axilite_data64 -default_slave_interface -clock_enable -m_axi_latency",
        0,
        0,
    ),
    _command(
        "config_rtl",
        "",
        "-reset -reset_level -reset_async -module_prefix -module_auto_prefix -register_reset_num",
        0,
        0,
    ),
    _command(
        "config_dataflow",
        "",
        "-default_channel -fifo_depth -start_fifo_depth -strict_mode -override_user_fifo_depth",
        0,
        0,
    ),
    _command("config_array_partition", "", "-complete_threshold -throughput_driven", 0, 0),
    _command("config_schedule", "-enable_dsp_full_reg", "-effort -relax_ii_for_timing -verbose", 0, 0),
)
