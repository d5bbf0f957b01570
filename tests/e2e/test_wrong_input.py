"""Every wrong input that a user may come with: one clear message, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.projects import BOARD_NAMES, Outcome, Tiny

Run = Callable[..., Outcome]
Wrong = Callable[..., str]

MODEL = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, images):
        {forward}

def build():
    {build}
"""


@pytest.fixture
def project(tiny: Tiny, tmp_path: Path) -> Path:
    return tiny.copy(tmp_path / "project")


@pytest.fixture
def wrong(project: Path, bitkiln: Run) -> Wrong:
    """Run the project, which must fail; return what it says, without the folder's name."""

    def run(*options: str, finished: tuple[str, ...] = ()) -> str:
        found = bitkiln("run", project, *options)
        assert (found.code, found.out) == (2, "")
        steps, start, message = found.err.partition("error[")
        assert [line.split()[0] for line in steps.splitlines()] == list(finished)
        _assert_whole(project.parent / "build", finished)
        return f"{start}{message}".replace(f"{project.parent}/", "")

    return run


def _assert_whole(folder: Path, finished: tuple[str, ...]) -> None:
    """Only finished steps left anything."""
    if folder.is_dir():
        stamps = {stamp.stem: json.loads(stamp.read_text()) for stamp in (folder / ".steps").glob("*.json")}
        assert sorted(stamps) == sorted(finished)
        written = {name.partition("/")[0] for stamp in stamps.values() for name in stamp["outputs"]}
        assert {path.name for path in folder.iterdir()} == {*written, ".steps"}


def edit(project: Path, old: str, new: str) -> None:
    text = project.read_text()
    assert old in text
    project.write_text(text.replace(old, new, 1))


def write_model(project: Path, forward: str = "return self.body(images)", build: str = "return Net()") -> None:
    """Put another network, without trained weights, in the place of the tiny one."""
    (project.parent / "model.py").write_text(MODEL.format(forward=forward, build=build))
    edit(project, 'weights = "weights.safetensors"\n', "")


def write_samples(project: Path, **changes: object) -> None:
    arrays: dict[str, object] = {}
    for name in ("train", "test"):
        arrays |= {f"{name}_x": np.zeros((20, 1, 8, 8), np.float32), f"{name}_y": np.arange(20) % 10}
    np.savez(project.parent / "data.npz", **cast(Any, arrays | changes))
    edit(project, '"digits"', '"npz"\npath = "data.npz"')


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model.py:build", "net.py:build", "error[missing-file]: The model file does not exist\n  --> net.py\n"),
        (
            "model.py:build",
            "model.py:bild",
            "error[bad-model-reference]: The model file defines no bild\n"
            "  --> model.py\n"
            "  help: did you mean build? Known: build\n",
        ),
        (
            "model.py:build",
            "model.py:build(width=8)",
            "error[bad-model-reference]: The arguments do not fit build(): got an unexpected keyword argument 'width'\n"
            "  --> model.py:13\n",
        ),
        (
            "weights.safetensors",
            "none.safetensors",
            "error[missing-file]: The weight file does not exist\n"
            "  --> none.safetensors\n"
            "  help: train the model first\n",
        ),
        (
            "weights.safetensors",
            "model.py",
            "error[unknown-format]: A weight file must end in .safetensors, .pt, .pth, not .py\n"
            "  --> model.py\n"
            "  help: other formats may run code when they are read: save model.state_dict() in one of these\n",
        ),
    ],
)
def test_files_of_the_model(old: str, new: str, message: str, project: Path, wrong: Wrong) -> None:
    edit(project, old, new)
    assert wrong() == message


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            "raise ValueError('no images today')",
            "error[model-raised]: the model's forward raises ValueError: no images today for an input of shape "
            "[1, 1, 8, 8]\n"
            "  --> model.py:10\n"
            "  help: check that the input shape is the one the model was made for\n",
        ),
        (
            "return self.body(images[:, :, 1:])",
            "error[model-raised]: the model's forward raises RuntimeError: a and b must have same reduction dim, but "
            "got [1, 56] X [64, 10]. for an input of shape [1, 1, 8, 8]\n"
            "  --> model.py:10 (body.1)\n"
            "  help: check that the input shape is the one the model was made for\n",
        ),
        (
            "return torch.special.bessel_j0(self.body(images))",
            "error[unsupported-op]: aten.special_bessel_j0.default is not supported\n"
            "  --> model.py:10\n"
            "  help: write this part with supported operations (`bitkiln list ops`), or cut it off the model\n",
        ),
        ("return 3", "error[constant-output]: an output of the model is a plain number or None, not a tensor\n"),
    ],
)
def test_forwards(forward: str, message: str, project: Path, wrong: Wrong) -> None:
    write_model(project, forward)
    assert wrong() == message


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            "raise OSError('disk on fire')",
            "error[model-raised]: build() raises OSError: disk on fire\n  --> model.py:13\n",
        ),
        ("return 5", "error[bad-model]: build() must return a torch.nn.Module, not int\n  --> model.py:12\n"),
        (
            "return nn.Sequential(nn.Flatten(), nn.Linear(64, 10).half()).eval()",
            "error[wrong-dtype]: 1.weight is torch.float16, expected torch.float32\n"
            "  --> model.py (1)\n"
            "  help: call model.float() before the import\n",
        ),
        (
            "net = Net(); net.body[1].weight.data[3, 5] = float('inf'); return net",
            "error[not-finite]: body.1.weight has 1 NaN or infinite values of 640\n"
            "  help: train again with a lower learning rate, or load another checkpoint\n",
        ),
    ],
)
def test_factories(build: str, message: str, project: Path, wrong: Wrong) -> None:
    write_model(project, build=build)
    assert wrong() == message


def test_an_unsupported_operation_is_named_with_its_module(project: Path, wrong: Wrong) -> None:
    write_model(project, build="net = Net(); net.body.append(nn.LSTM(10, 10)); return net")
    message = wrong()
    assert message.startswith("error[unsupported-op]: aten.")
    assert "\n  --> model.py:10 (body.2)\n" in message


def test_weights_that_are_not_finite(project: Path, wrong: Wrong) -> None:
    file = project.parent / "weights.safetensors"
    state = load_file(file)
    state["conv.weight"].view(-1)[:3] = torch.nan
    save_file(state, file)
    assert wrong() == (
        "error[not-finite]: Weights must be finite, but NaN or infinity is in conv.weight (3 of 36 values)\n"
        "  --> weights.safetensors\n"
        "  help: train again with a lower learning rate, or load another checkpoint\n"
    )


def test_weights_of_another_model(project: Path, wrong: Wrong) -> None:
    file = project.parent / "weights.safetensors"
    save_file({"conv.weight": torch.zeros(4, 1, 5, 5)}, file)
    assert wrong() == (
        "error[missing-weights]: The weight file lacks classify.bias, classify.weight, conv.bias\n"
        "  --> weights.safetensors\n"
        "  help: do the model file and the weight file belong together?\n"
        "error[mismatched-weights]: Weights do not fit the model: conv.weight (must be float32 [4, 1, 3, 3], not "
        "float32 [4, 1, 5, 5])\n"
        "  --> weights.safetensors\n"
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            "[1, 8, 8]",
            "error[model-raised]: the model's forward raises ",
        ),
        (
            "[1, 3, 8, 8]",
            "error[model-raised]: the model's forward raises RuntimeError: Given groups=1, weight of size [4, 1, 3, 3]",
        ),
        (
            "[1, 1, 65536, 65536]",
            "error[input-shape]: a sample has at most 2147483647 values, not 4294967296: [1, 1, 65536, 65536]\n",
        ),
    ],
)
def test_input_shapes(shape: str, message: str, project: Path, wrong: Wrong) -> None:
    edit(project, "[1, 1, 8, 8]", shape)
    assert wrong().startswith(message)


def test_samples_of_another_shape(project: Path, wrong: Wrong) -> None:
    write_samples(project, train_x=np.zeros((20, 1, 4, 8)), test_x=np.zeros((20, 1, 4, 8)))
    assert wrong(finished=("import",)) == (
        "error[data-mismatch]: Samples must have the model's input shape (1, 8, 8), not (1, 4, 8)\n"
        "  --> data.npz\n"
        "  help: use the samples that the model was trained on\n"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_x": np.zeros((0, 1, 8, 8)), "train_y": np.zeros(0, np.int64)},
            "error[bad-data]: A set must hold samples, but its shape is (0, 1, 8, 8)\n  --> data.npz[train_x]\n",
        ),
        (
            {"train_x": np.full((20, 1, 8, 8), np.nan)},
            "error[bad-data]: Samples must be finite, but 20 of 20 hold NaN or infinity (the first is sample 0)\n"
            "  --> data.npz[train_x]\n",
        ),
        (
            {"train_y": np.zeros(5, np.int64)},
            "error[data-mismatch]: There must be a label for each sample, but data.npz[train_x] holds 20 samples and "
            "data.npz[train_y] holds 5 labels\n"
            "  --> data.npz[train_y]\n",
        ),
        (
            {"test_y": np.arange(20)},
            "error[bad-labels]: The labels of the test data go from 0 to 19; the network has the classes 0 to 9\n",
        ),
        (
            {"test_x": np.zeros((2, 1, 8, 8)), "test_y": np.zeros(2, np.int64)},
            "error[too-few-samples]: project.toml [verify].images is 4, but there are only 2 test samples\n"
            "  help: at most images = 2\n",
        ),
    ],
    ids=["empty", "not finite", "labels missing", "labels too large", "too few"],
)
def test_samples(changes: dict[str, object], message: str, project: Path, wrong: Wrong) -> None:
    write_samples(project, **changes)
    assert wrong(finished=("import",)) == message


def test_samples_that_are_missing(project: Path, wrong: Wrong) -> None:
    edit(project, '"digits"', '"idx"\npath = "mnist"')
    message = wrong(finished=("import",))
    assert message.startswith(
        "error[missing-file]: [data] path does not exist\n  --> mnist\n  help: MNIST is at https://"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "weight_bits = 8",
            "weight_bits = 17",
            "error[number-range]: project.toml [[passes]][0] quantise: weight_bits must be between 2 and 16, not 17\n",
        ),
        ("[plan]", "[plans]", "error[unknown-key]: project.toml: unknown table [plans]\n  help: did you mean plan? "),
        (
            "images = 4",
            "image = 4",
            "error[unknown-key]: project.toml [verify]: unknown key 'image'\n  help: did you mean ",
        ),
        (
            '"quantise"',
            '"quantize"',
            "error[unknown-pass]: project.toml [[passes]][0]: unknown pass 'quantize'\n  help: ",
        ),
        (
            "[plan]",
            '[build]\nboard = "icebraker"\n[plan]',
            "error[unknown-board]: project.toml [build]: there is no board called 'icebraker'\n"
            f"  help: did you mean icebreaker? Known: {BOARD_NAMES}\n",
        ),
        (
            "[plan]",
            "[plan",
            "error[bad-toml]: project.toml cannot be read: Expected ']' at the end of a table declaration",
        ),
    ],
)
def test_project_files(old: str, new: str, message: str, project: Path, wrong: Wrong) -> None:
    edit(project, old, new)
    assert wrong().startswith(message)
    assert not (project.parent / "build").exists()


@pytest.mark.parametrize(
    ("name", "below", "reason"),
    [
        ("file", "", "Not a directory"),
        ("file", "/build", "Not a directory"),
        ("/proc", "/x", "No such file or directory"),
    ],
)
def test_output_that_cannot_be_written(
    name: str, below: str, reason: str, project: Path, bitkiln: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    output = f"{tmp_path / name}{below}"
    assert bitkiln("run", project, "-o", output) == Outcome(
        2,
        "",
        f"error[cannot-write]: the output folder {output} cannot be written: {reason}\n"
        "  help: -o, or [output] folder, names another one\n",
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk(project: Path) -> None:
    """A limit on the size of files stands in for it; 1 kB is enough for what comes before the first graph."""
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    source = f"import sys; {script}; from bitkiln.cli import main; sys.exit(main(sys.argv[1:]))"
    command = (sys.executable, "-B", "-c", source, "run", str(project))
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    file = project.parent / "build" / "model.graph.safetensors"
    assert (found.returncode, found.stderr) == (
        2,
        f"error[cannot-write]: cannot write {file}: File too large\n  help: check its permissions and the free space\n",
    )
    _assert_whole(project.parent / "build", ())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 kB, where the system lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = (str(mount), "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk))
    if not mount or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here")
    yield disk
    subprocess.run(("umount", str(disk)), check=True)


def test_a_disk_that_is_full(small_disk: Path, project: Path, bitkiln: Run) -> None:
    (small_disk / "mine").write_text("mine")
    found = bitkiln("run", project, "-o", small_disk)
    assert (found.code, found.out) == (2, "")
    assert found.err.endswith(
        f"error[cannot-write]: cannot write {small_disk}/compressed.graph.safetensors: No space left on device\n"
        "  help: check its permissions and the free space\n"
    )
    assert (small_disk / "mine").read_text() == "mine"
    assert not (small_disk / "compressed.graph.safetensors").exists()
    assert bitkiln("run", project, "-o", small_disk, "--until", "import").err == "import    up to date\n"


def test_a_disk_that_only_reads(small_disk: Path, project: Path, bitkiln: Run) -> None:
    (small_disk / "mine").write_text("mine")
    subprocess.run(("mount", "-o", "remount,ro", str(small_disk)), check=True)
    for output in (small_disk, small_disk / "build"):
        assert bitkiln("run", project, "-o", output) == Outcome(
            2,
            "",
            f"error[cannot-write]: the output folder {output} cannot be written: Read-only file system\n"
            "  help: -o, or [output] folder, names another one\n",
        )
    assert [file.name for file in small_disk.iterdir()] == ["mine"]


def test_a_folder_where_a_file_should_be(project: Path, wrong: Wrong, bitkiln: Run) -> None:
    (project.parent / "build" / "model.graph.safetensors").mkdir(parents=True)
    found = bitkiln("run", project)
    assert (found.code, found.out) == (2, "")
    assert found.err == (
        f"error[cannot-write]: cannot write {project.parent / 'build' / 'model.graph.safetensors'}: Is a directory\n"
        "  help: check its permissions and the free space\n"
    )


@pytest.mark.tools("yosys", "c++")
@pytest.mark.parametrize("tool", ["YOSYS", "CXX"])
def test_missing_tools(tool: str, project: Path, wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
    monkeypatch.setenv(tool, "/opt/none/tool")
    finished = ("import", "compress", "simulate", *(() if tool == "YOSYS" else ("generate",)))
    name, install = {
        "YOSYS": ("yosys", 'pip install "bitkiln[boards]"'),
        "CXX": ("c++", "install g++ (Debian: apt install g++) or pip install ziglang"),
    }[tool]
    assert wrong(finished=finished) == (
        f"error[missing-tool]: {name} was not found: {tool} is '/opt/none/tool', which is not a program\n"
        f"  help: {install}; or set {tool} to the command that runs it\n"
    )


def test_a_tool_that_is_nowhere(tiny: Tiny, bitkiln: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
    if shutil.which("iverilog", path=str(Path(sys.executable).parent)):
        pytest.skip("Icarus Verilog is beside Python")
    beside_python = Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ("verify", tiny.graph, "--data", "digits", "--images", "2", "--simulator", "icarus")
    assert bitkiln(*command) == Outcome(
        2,
        "",
        f"error[missing-tool]: iverilog was not found; looked for iverilog on PATH, {beside_python}/iverilog\n"
        "  help: install Icarus Verilog (Debian: apt install iverilog); or set IVERILOG to the command that runs it\n",
    )


@pytest.mark.slow
@pytest.mark.tools("yosys", "nextpnr-ice40")
def test_a_target_that_cannot_fit(project: Path, bitkiln: Run, tmp_path: Path) -> None:
    """Weights of 160 kbit do not fit into the 120 kbit of block RAM that an iCE40 UP5K has."""
    pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')
    layers = "nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)"
    write_model(project, build=f"return nn.Sequential({layers})")
    small, graph, out = tmp_path / "small.graph", tmp_path / "net.graph", tmp_path / "out"
    assert bitkiln("import", project.parent / "model.py", "--input-size", "1,1,8,8", "-o", graph).code == 0
    assert bitkiln("compress", graph, "--pass", "quantise", "--data", "digits", "-o", small).code == 0
    found = bitkiln("build", small, "--board", "icebreaker", "--max-multipliers", "2", "-o", out)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error[does-not-fit]: the design does not fit on iCEBreaker (iCE40 UP5K): it needs ")
    assert "but there are 30" in found.err
    assert "\n  help: " in found.err
    assert "ulx3s-85f" in found.err
    assert [path.name for path in out.iterdir()] == [".steps"]
