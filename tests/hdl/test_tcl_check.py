"""The check of generated Tcl finds each kind of mistake, and nothing in a right script."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tcl_check import WrongTclError, check_tcl
from .tcl_commands import VITIS_HLS, VIVADO

BLOCK_DESIGN = """\
create_bd_design system
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 reset
create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 ps
connect_bd_net [get_bd_pins ps/FCLK_CLK0] [get_bd_pins reset/slowest_sync_clk]
"""


def check(folder: Path, text: str, commands: str = "vivado") -> list[tuple[str, ...]]:
    script = folder / "script.tcl"
    script.write_text(text)
    return check_tcl(script, VIVADO if commands == "vivado" else VITIS_HLS)


def test_a_right_script_gives_its_calls(tmp_path: Path) -> None:
    (tmp_path / "top.v").write_text("")
    calls = check(
        tmp_path,
        "set here [file dirname [file normalize [info script]]]\n"
        "create_project -force -part xc7z020clg400-1 p $here/p\n"
        "add_files [file join $here top.v]\n"
        "set_property top top [current_fileset]\n",
    )
    assert calls[0] == ("create_project", "-force", "-part", "xc7z020clg400-1", "p", f"{tmp_path}/p")
    assert [call[0] for call in calls[1:]] == ["add_files", "current_fileset", "set_property"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("create_projekt p\n", 'invalid command name "create_projekt" (1)'),
        ("\ncreate_project -prat xc7z020 p\n", "create_project: no option -prat (2)"),
        ("create_project -part\n", "create_project: -part without a value (1)"),
        ("create_project a b c\n", "create_project: 0 to 2 arguments, not 3 (1)"),
        ("set part x\ncreate_project $prat\n", 'can\'t read "prat": no such variable (2)'),
        ("add_files nowhere.v\n", "add_files: no such file: nowhere.v (1)"),
        ("set_property top\n", "set_property: expected 3 arguments beside the options, not 1 (1)"),
        ("exec ls\n", 'invalid command name "exec" (1)'),
        ("create_bd_cell -type ip -vlnv x:y:z:1 a\n", "create_bd_cell: there is no block x:y:z:1 (1)"),
        (BLOCK_DESIGN + "get_bd_pins ps/FCLK_CLK9\n", "get_bd_pins: ps has no pin FCLK_CLK9 (5)"),
        (BLOCK_DESIGN + "get_bd_cells dma\n", "get_bd_cells: there is no cell dma (5)"),
        (
            BLOCK_DESIGN + "set_property CONFIG.PCW_USE_S_AXI_HP9 1 [get_bd_cells ps]\n",
            "set_property: ps has no parameter CONFIG.PCW_USE_S_AXI_HP9 (5)",
        ),
        (
            BLOCK_DESIGN + "connect_bd_net [get_bd_pins ps/FCLK_CLK1] [get_bd_pins reset/slowest_sync_clk]\n",
            "connect_bd_net: connected twice: reset/slowest_sync_clk (5)",
        ),
        (
            BLOCK_DESIGN + "connect_bd_net [get_bd_pins ps/FCLK_CLK0] [get_bd_pins ps/FCLK_CLK1]\n",
            "connect_bd_net: not one out and otherwise ins: ps/FCLK_CLK0, ps/FCLK_CLK1 (5)",
        ),
        (
            BLOCK_DESIGN + "validate_bd_design\n",
            "validate_bd_design: left open: reset/ext_reset_in, reset/peripheral_aresetn, ps/M_AXI_GP0_ACLK, "
            "ps/S_AXI_HP0_ACLK, ps/FCLK_RESET0_N, ps/M_AXI_GP0, ps/S_AXI_HP0 (5)",
        ),
    ],
)
def test_a_mistake_is_found_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(WrongTclError) as caught:
        check(tmp_path, text)
    assert str(caught.value) == message


def test_vitis_has_its_own_commands(tmp_path: Path) -> None:
    assert check(tmp_path, "open_project -reset p\nset_top net\ncsynth_design\n", "vitis") == [
        ("open_project", "-reset", "p"),
        ("set_top", "net"),
        ("csynth_design",),
    ]
    with pytest.raises(WrongTclError, match=r"csim_design: no option -clena \(1\)"):
        check(tmp_path, "csim_design -clena\n", "vitis")


def test_what_stands_behind_an_exit_is_not_run(tmp_path: Path) -> None:
    assert check(tmp_path, "close_project\nexit 3\nnonsense\n") == [("close_project",)]
