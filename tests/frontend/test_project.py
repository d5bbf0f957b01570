"""project.toml: what is read, and every way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitkiln.boards import ICEBREAKER
from bitkiln.boards.clocks import board_at
from bitkiln.frontend.datasets import DataFormat, DataSpec
from bitkiln.frontend.project import ModelSpec, Project, load_project, with_data_path
from bitkiln.hdl.verification import RtlSimulator, VerifyOptions
from bitkiln.ir import ToolError
from bitkiln.ir.units import DspBlock
from bitkiln.passes import LayerBits, Quantise, Tune
from bitkiln.passes.schedule import LayerFolding, PlanOptions
from bitkiln.sim.technologies import find_technology
from tests.projects import BOARD_NAMES

EXAMPLES = Path(__file__).parents[2] / "examples"

SMALL = """\
[model]
reference = "model.py:build"
input_shape = [1, 1, 8, 8]
[data]
format = "digits"
"""

LARGE = """\
[model]
reference = "nets/model.py:build(width=8)"
weights = "../weights.safetensors"
input_shape = [1, 784]
name = "mlp-8.1"
[data]
format = "idx"
path = "mnist"
scale = 1
mean = [0.5]
calibration_samples = 100
[[passes]]
name = "quantise"
weight_bits = 4
layers = [{layer = "fc*", weight_bits = 3}]
[[passes]]
name = "tune"
epochs = 2
[plan]
max_multipliers = 28
layers = [{layer = "fc1", pe = 4}]
[simulate]
technology = "65nm"
[verify]
images = 20
simulator = "cocotb"
back_pressure = false
[build]
board = "icebreaker"
[output]
folder = "/tmp/out"
"""


def load(folder: Path, text: str) -> Project:
    file = folder / "project.toml"
    file.write_text(text, encoding="utf-8")
    return load_project(file)


def refusal(folder: Path, text: str) -> str:
    """The error without the folder of the test."""
    with pytest.raises(ToolError) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_defaults(tmp_path: Path) -> None:
    folder = tmp_path / "my digits"
    folder.mkdir()
    project = load(folder, SMALL)
    assert project == Project(
        file=folder / "project.toml",
        model=ModelSpec("model.py:build", (1, 1, 8, 8)),
        data=DataSpec(DataFormat.DIGITS),
        passes=(),
        plan=PlanOptions(),
        technology=find_technology("45nm"),
        verify=VerifyOptions(),
        board=None,
        seeks_clock=False,
        output=folder / "build",
    )
    assert (project.name, project.weights) == ("my_digits", None)
    assert project.reference == f"{folder}/model.py:build"


def test_everything(tmp_path: Path) -> None:
    project = load(tmp_path, LARGE)
    assert project == Project(
        file=tmp_path / "project.toml",
        model=ModelSpec("nets/model.py:build(width=8)", (1, 784), "../weights.safetensors", "mlp-8.1"),
        data=DataSpec(DataFormat.IDX, "mnist", scale=1.0, mean=(0.5,), calibration_samples=100),
        passes=(Quantise(weight_bits=4, layers=(LayerBits("fc*", weight_bits=3),)), Tune(epochs=2)),
        plan=PlanOptions(
            clock_mhz=12.0,
            max_multipliers=28,
            dsp=8,
            dsp_block=DspBlock.MAC16,
            board="icebreaker",
            layers=(LayerFolding("fc1", pe=4),),
        ),
        technology=find_technology("65nm"),
        verify=VerifyOptions(20, RtlSimulator.COCOTB, back_pressure=False),
        board=ICEBREAKER,
        seeks_clock=False,
        output=Path("/tmp/out"),
    )
    assert (project.name, project.weights) == ("mlp-8.1", tmp_path / "../weights.safetensors")


def test_the_clock_of_a_pll(tmp_path: Path) -> None:
    project = load(tmp_path, SMALL + '[build]\nboard = "icebreaker"\nclock = 28.5\n')
    assert project.board == board_at(ICEBREAKER, 28.5)
    assert project.plan.clock_mhz == 28.5
    sought = load(tmp_path, SMALL + '[build]\nboard = "icebreaker"\nclock = "fastest"\n')
    assert (sought.board, sought.seeks_clock, sought.plan.clock_mhz) == (ICEBREAKER, True, 12)


def test_a_folder_stands_for_its_project_file(tmp_path: Path) -> None:
    load(tmp_path, SMALL)
    assert load_project(tmp_path).file == tmp_path / "project.toml"


def test_the_name_does_not_depend_on_how_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    load(folder, SMALL)
    monkeypatch.chdir(folder)
    assert [load_project(Path(path)).name for path in (".", "project.toml", "../net/project.toml")] == ["net"] * 3


def test_samples_from_the_command_line_are_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_data_path(load(tmp_path, LARGE), "mnist").data.path == f"{tmp_path}/mnist"


def test_a_table_of_energies_is_relative_to_the_file(tmp_path: Path) -> None:
    text = f'{SMALL}[simulate]\ntechnology = "own.toml"\n'
    assert refusal(tmp_path, text) == (
        "error[missing-file]: project.toml [simulate]: cannot read the energy table own.toml: No such file or directory"
    )


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/*.toml")), ids=lambda file: file.stem)
def test_examples(file: Path) -> None:
    project = load_project(file)
    assert project.passes
    assert (file.parent / project.model.reference.partition(":")[0]).is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "error[missing-key]: project.toml: the table [model] is missing"),
        ('[model]\nreference = "m.py"\n', "error[missing-key]: project.toml: the table [data] is missing"),
        (
            "[model]\n[model]\n",
            "error[bad-toml]: project.toml cannot be read: Cannot declare ('model',) twice (at line 2, column 7)",
        ),
        (
            f"a = {'[' * 100_000}",
            "error[bad-toml]: project.toml cannot be read: maximum recursion depth exceeded",
        ),
        (
            "".join(f"k{i} = 1\n" for i in range(20_000)),
            "error[unknown-key]: project.toml: unknown table [k0]\n"
            "  help: known: build, data, model, output, passes, plan, simulate, verify",
        ),
        (
            f"{SMALL}[plane]\n",
            "error[unknown-key]: project.toml: unknown table [plane]\n"
            "  help: did you mean plan? Known: build, data, model, output, passes, plan, simulate, verify",
        ),
    ],
    ids=["empty", "no data", "twice", "deep", "huge", "unknown table"],
)
def test_files_that_are_no_project(content: str, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, content) == message


def test_an_editors_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "project.toml"
    file.write_text(SMALL, encoding="utf-8-sig")
    assert load_project(file).data == DataSpec(DataFormat.DIGITS)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "project.toml").write_bytes(b"\xff\xfe[model]")
    with pytest.raises(ToolError) as caught:
        load_project(tmp_path)
    assert str(caught.value) == (
        f"error[bad-toml]: {tmp_path / 'project.toml'} cannot be read: "
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    )


@pytest.mark.parametrize("path", ["none.toml", "."])
def test_no_file(path: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        load_project(tmp_path / path)
    file = tmp_path / ("project.toml" if path == "." else path)
    assert str(caught.value) == (
        f"error[missing-file]: {file} is no file\n  help: examples/digits/project.toml is one to start from"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "input_shape = [1, 1, 8, 8]",
            "",
            "error[missing-key]: project.toml [model]: the key 'input_shape' is missing",
        ),
        (
            "[1, 1, 8, 8]",
            '"1,1,8,8"',
            "error[bad-value]: project.toml [model].input_shape: expected list, not '1,1,8,8'",
        ),
        (
            "[1, 1, 8, 8]",
            "[1, 1, 8, 8.5]",
            "error[bad-value]: project.toml [model].input_shape[3]: expected whole number, not 8.5",
        ),
        (
            "[1, 1, 8, 8]",
            "[2, 1, 8, 8]",
            "error[bad-value]: project.toml [model].input_shape: expected [1, ...], a batch of one sample with sizes "
            "of at least 1, not [2, 1, 8, 8]",
        ),
        (
            "[1, 1, 8, 8]",
            "[1, 1, 8, 0]",
            "error[bad-value]: project.toml [model].input_shape: expected [1, ...], a batch of one sample with sizes "
            "of at least 1, not [1, 1, 8, 0]",
        ),
        (
            "[data]",
            'nam = "a"\n[data]',
            "error[unknown-key]: project.toml [model]: unknown key 'nam'\n"
            "  help: did you mean name? Known: input_shape, name, reference, weights",
        ),
        (
            "[data]",
            'name = "../net"\n[data]',
            "error[bad-value]: project.toml [model].name has letters, digits, '_', '.' and '-', not '../net'",
        ),
        (
            "[data]",
            'weights = "a\\u0000b"\n[data]',
            "error[bad-value]: project.toml: a path cannot hold the character U+0000, as 'a\\x00b' does",
        ),
        (
            '"digits"',
            '"digit"',
            "error[bad-value]: project.toml [data].format: 'digit' is not one of the known values\n"
            "  help: did you mean digits? Known: digits, idx, npz",
        ),
        (
            '"digits"',
            '"digits"\npath = "x"',
            'error[bad-data-spec]: project.toml [data]: format = "digits" takes no path\n'
            "  help: the images are part of scikit-learn",
        ),
    ],
)
def test_wrong_values(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, SMALL.replace(old, new, 1)) == message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "passes = 3\n",
            "error[bad-value]: project.toml [[passes]]: expected a list of tables, not 3\n"
            '  help: begin each pass with [[passes]] and its name = "..."',
        ),
        (
            '[[passes]]\nname = "quantize"\n',
            "error[unknown-pass]: project.toml [[passes]][0]: unknown pass 'quantize'\n"
            "  help: did you mean quantise or fake_quantise",
        ),
        (
            '[[passes]]\nname = "quantise"\nweight_bit = 8\n',
            "error[unknown-key]: project.toml [[passes]][0] quantise: unknown key 'weight_bit'\n"
            "  help: did you mean weight_bits or ",
        ),
        (
            '[[passes]]\nname = "quantise"\nweight_bits = 17\n',
            "error[number-range]: project.toml [[passes]][0] quantise: weight_bits must be between 2 and 16, not 17",
        ),
        (
            "[plan]\nmax_multiplier = 8\n",
            "error[unknown-key]: project.toml [plan]: unknown key 'max_multiplier'\n"
            "  help: did you mean max_multipliers? Known: board, clock_mhz, dsp, dsp_block, frames_per_second, goal, "
            "layers, max_multipliers, renewable, target_interval, weight_banks",
        ),
        (
            "[plan]\nclock_mhz = inf\n",
            "error[bad-value]: project.toml [plan]: clock_mhz must be above 0 and finite, not inf",
        ),
        (
            '[plan]\nclock_mhz = 25\n[build]\nboard = "icebreaker"\n',
            "error[bad-value]: project.toml [plan].clock_mhz is 25.0, but icebreaker runs at 12.0\n"
            "  help: leave clock_mhz out: the board's clock is the default",
        ),
        (
            '[plan]\nlayers = [{layer = "fc", storage = "tape"}]\n',
            "error[bad-value]: project.toml [plan].layers[0].storage: 'tape' is not one of the known values\n"
            "  help: known: big, block, loaded, lut",
        ),
        (
            '[simulate]\ntechnology = "7nm"\n',
            "error[unknown-technology]: project.toml [simulate]: there is no energy table called '7nm'\n  help: ",
        ),
        (
            "[verify]\nimages = 1\n",
            "error[bad-value]: project.toml [verify]: images must be at least 2 (an interval needs two), not 1",
        ),
        (
            '[verify]\nsimulator = "modelsim"\n',
            "error[bad-value]: project.toml [verify].simulator: 'modelsim' is not one of the known values\n"
            "  help: known: amaranth, cocotb, compiled, icarus",
        ),
        (
            '[build]\nboard = "icebraker"\n',
            "error[unknown-board]: project.toml [build]: there is no board called 'icebraker'\n"
            f"  help: did you mean icebreaker? Known: {BOARD_NAMES}",
        ),
        (
            '[build]\nboard = "icebreaker"\nclock = 13.5\n',
            "error[no-such-clock]: project.toml [build]: iCEBreaker (iCE40 UP5K) makes no clock of 13.5 MHz from its "
            "12 MHz\n  help: the nearest: 12 and 16.125 MHz; or take the fastest that the design allows",
        ),
        (
            '[build]\nclock = "fastest"\n',
            'error[bad-value]: project.toml [build]: clock is of a board, and none is named\n  help: board = "..."',
        ),
        (
            '[build]\nboard = "icebreaker"\nclock = "fast"\n',
            "error[bad-value]: project.toml [build].clock: 'fast' is not one of the known values\n"
            "  help: did you mean fastest? Known: board, fastest",
        ),
        ("[output]\nfolder = 3\n", "error[bad-value]: project.toml [output].folder: expected text, not 3"),
    ],
)
def test_wrong_tables(table: str, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, table + SMALL if table.startswith("passes") else SMALL + table).startswith(message)


@pytest.mark.parametrize("name", ["model", "data", "plan", "simulate", "verify", "build", "output"])
def test_a_table_that_is_a_number(name: str, tmp_path: Path) -> None:
    others = {"model": SMALL.partition("[data]")[0], "data": '[data]\nformat = "digits"\n'}
    others.pop(name, None)
    message = f"error[bad-value]: project.toml [{name}]: expected table, not 3"
    assert refusal(tmp_path, f"{name} = 3\n{''.join(others.values())}") == message
