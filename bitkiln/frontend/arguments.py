"""The arguments of every verb. Only argparse is imported, so that `--help` and completion are fast."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

import bitkiln


class WrongArguments(Exception):  # noqa: N818  # it is caught where it is raised for, and says what is wrong
    """The arguments cannot be understood. `usage` is that of the verb, or of the command."""

    def __init__(self, usage: str, message: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """Raises WrongArguments instead of ending the process, so that `--json` holds for these errors, too."""

    def error(self, message: str) -> NoReturn:
        raise WrongArguments(self.format_usage(), f"{self.prog}: error: {message}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command `bitkiln`, one sub-command a verb."""
    result = _Parser(
        prog="bitkiln",
        description="From a trained PyTorch network to a verified bitstream.",
        epilog="Exit codes: 0 done, 1 the design falls short, 2 the input is wrong.",
    )
    result.add_argument("--version", action="version", version=f"bitkiln {bitkiln.__version__}")
    verbs = result.add_subparsers(dest="verb", required=True, metavar="VERB")
    adders = (
        _run,
        _import,
        _compress,
        _explore,
        _simulate,
        _generate,
        _verify,
        _build,
        _flash,
        _infer,
        _report,
        _list,
        _completion,
    )
    for add in adders:
        add(verbs)
    return result


Verbs = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _verb(verbs: Verbs, name: str, text: str, example: str) -> argparse.ArgumentParser:  # type: ignore[valid-type]  # private in argparse
    verb: argparse.ArgumentParser = verbs.add_parser(  # type: ignore[attr-defined]
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--json", action="store_true", help="the result, or what went wrong, as JSON on standard output")
    return verb


def _run(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs, "run", "do all steps of a project, but those that are done", "bitkiln run examples/digits/project.toml"
    )
    verb.add_argument("project", type=Path, help="project.toml, or the folder that holds it")
    verb.add_argument("--force", action="store_true", help="do finished steps again")
    verb.add_argument("--until", metavar="STEP", help="stop after this step")
    verb.add_argument("--data", metavar="PATH", help="take the samples from here instead of [data] path")
    verb.add_argument("-o", "--output", type=Path, help="output folder instead of [output] folder")


def _import(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs,
        "import",
        "read a model into a graph file",
        "bitkiln import model.py:build --input-size 1,1,8,8 -o net.graph",
    )
    verb.add_argument("model", help="model.py:build(width=8), net.pt2, net.onnx, or torchvision:resnet18")
    verb.add_argument("--input-size", type=_shape, help="shape of the input with a batch of 1, e.g. 1,3,32,32")
    verb.add_argument("--weights", type=Path, help="state dict (.safetensors or .pt) for the model")
    verb.add_argument("-o", "--output", type=Path, help="graph file to write")
    verb.add_argument("--svg", type=Path, help="drawing of the graph to write")


def _compress(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs,
        "compress",
        "run passes on a graph",
        "bitkiln compress net.graph --pass 'quantise{weight_bits=8}' --data digits -o small.kiln",
    )
    verb.add_argument("graph", type=Path, help="graph file written by import")
    verb.add_argument(
        "--pass",
        dest="passes",
        action="append",
        default=[],
        metavar="PASS",
        help="pass with options, in order; repeatable",
    )
    _data_argument(verb, required=False)
    verb.add_argument(
        "-o", "--output", type=Path, help="file to write: a container if it ends in .kiln, else a graph file"
    )
    verb.add_argument("--groups", action="store_true", help="only list what is cut together with which channels")


def _explore(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs,
        "explore",
        "scan how sensitive each layer is to pruning and rounding, and choose densities",
        "bitkiln explore net.graph --data digits --budget 0.01 --html scan.html",
    )
    verb.add_argument("graph", type=Path, help="graph file written by import")
    _data_argument(verb)
    verb.add_argument("--densities", type=_shares, default=(), help="of weights that stay, e.g. 0.05,0.1,0.3")
    verb.add_argument("--bits", type=_shape, default=(), help="of rounded weights, e.g. 2,4,8; then without densities")
    verb.add_argument("--samples", type=int, default=1000, help="of the training data to scan with (default: 1000)")
    verb.add_argument("--budget", type=float, help="accuracy to lose, e.g. 0.01: prints densities for `prune`")
    verb.add_argument("--html", type=Path, metavar="FILE", help="write a page with the curves")


def _simulate(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs,
        "simulate",
        "predict cycles, memory traffic and energy: of the generated hardware, or on a described accelerator",
        "bitkiln simulate alexnet.csv -a systolic-32 --dataflow os --json",
    )
    _plan_arguments(verb, "graph file (quantised for the generated hardware); with -a a model or a topology .csv, too")
    _board_argument(verb)
    verb.add_argument(
        "-a",
        "--accelerator",
        action="append",
        default=[],
        help="see `bitkiln list accelerators`, or a description's .toml; repeatable, to compare several",
    )
    verb.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="MODEL",
        help="another model to compare with, as before compression; repeatable",
    )
    verb.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts of accelerators")
    verb.add_argument(
        "--data",
        metavar="FORMAT[:PATH]",
        help="take activations from the first test samples of digits, idx:FOLDER or npz:FILE; else they are drawn",
    )
    verb.add_argument("-t", "--technology", help="energy table, or its .toml (default: the accelerator's, or 45nm)")
    verb.add_argument("--dataflow", choices=("ws", "os", "is"), help="stationary operand of a systolic array")
    verb.add_argument("--batch", type=int, default=1, help="images at a time (default: 1)")
    verb.add_argument(
        "--objective",
        choices=("traffic", "energy", "cycles"),
        default="traffic",
        help="what tiles and loop orders are chosen for (default: traffic)",
    )
    verb.add_argument(
        "--nothing-stays", action="store_true", help="fetch weights and feature maps for every layer anew"
    )
    verb.add_argument("--input-size", type=_shape, help="shape of a model's input with a batch of 1, e.g. 1,3,224,224")
    verb.add_argument("--weights", type=Path, help="state dict (.safetensors or .pt) for a model")
    verb.add_argument("--csv", action="store_true", help="the result as CSV, a line a layer")


def _generate(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs,
        "generate",
        "write the accelerator's Verilog, an HLS project in C++, or a block with AXI ports",
        "bitkiln generate hls small.graph --data digits -o hls",
    )
    verb.add_argument(
        "backend", choices=("rtl", "hls", "ip"), help="what to generate: RTL, C++, or a block with AXI ports for Vivado"
    )
    _plan_arguments(verb)
    verb.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    verb.add_argument("--force", action="store_true", help="replace the folder even if it holds something else")
    _hls_arguments(verb)
    verb.add_argument("--data", metavar="FORMAT[:PATH]", help="images of a test bench or host program; else drawn")
    verb.add_argument("--images", type=int, default=10, help="how many of them (default: 10)")
    verb.add_argument("--board", help="ip: also a Vivado project for pynq-z2, kv260 or arty-a7-35t")


def _verify(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs,
        "verify",
        "run the RTL on test images against golden model and prediction, or the HLS C++ against the golden model",
        "bitkiln verify small.graph --data digits --images 20 --simulator cocotb",
    )
    verb.add_argument("graph", type=Path, nargs="?", help="quantised graph file")
    _folding_arguments(verb)
    _data_argument(verb, required=False)
    verb.add_argument("--backend", choices=("rtl", "hls"), default="rtl", help="what is verified (default: rtl)")
    _hls_arguments(verb)
    verb.add_argument("--random", type=int, metavar="N", help="verify N random networks over all units instead")
    verb.add_argument("--jobs", type=int, metavar="J", help="processes for random networks (default: one a core)")
    verb.add_argument(
        "-o", "--output", type=Path, default=Path("failing"), help="folder for random networks that fail (failing)"
    )
    verb.add_argument("--images", type=int, default=200, help="test images to stream (default: 200)")
    verb.add_argument("--simulator", choices=("compiled", "cocotb", "icarus", "amaranth"), default="compiled")
    verb.add_argument("--no-back-pressure", action="store_true", help="skip the run with random stalls on both sides")
    verb.add_argument("--seed", type=int, default=1, help="of the random stalls, and of the first random network")
    verb.add_argument(
        "--level",
        choices=("rtl", "ip", "netlist", "routed", "bitstream"),
        default="rtl",
        help="how far down (default: rtl); ip: the block of `generate ip`; others need --board; below netlist iCE40",
    )
    verb.add_argument("--board", help="see `bitkiln list boards`")
    verb.add_argument("--bitstream", type=Path, metavar="FILE", help="verify this file, not one that is built now")
    verb.add_argument("--clock", type=float, metavar="MHZ", help="of the chip's PLL (default: the board's clock)")


def _build(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(verbs, "build", "make a bitstream", "bitkiln build small.graph --board icebreaker -o out")
    _plan_arguments(verb)
    verb.add_argument("--board", required=True, help="see `bitkiln list boards`")
    verb.add_argument("--no-dsp", action="store_true", help="multipliers of LUTs: such a bitstream can be read back")
    verb.add_argument(
        "--clock",
        type=_clock,
        metavar="fastest|MHZ",
        help="from the chip's PLL: so many MHz, or the fastest that the design meets (default: the board's clock)",
    )
    verb.add_argument(
        "--patch",
        type=Path,
        metavar="OLD.bin",
        help="put the weights into this bitstream of a --renewable build, without place and route (iCE40)",
    )
    verb.add_argument("-o", "--output", type=Path, required=True, help="folder to write")


def _flash(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(verbs, "flash", "write a bitstream into a board", "bitkiln flash out/model.bin --board icebreaker")
    verb.add_argument("bitstream", type=Path, help="what build wrote")
    verb.add_argument("--board", required=True, help="see `bitkiln list boards`")
    verb.add_argument("--volatile", action="store_true", help="into the chip only, gone when the power is")


def _infer(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs,
        "infer",
        "run images on a flashed board",
        "bitkiln infer image.npy --port /dev/ttyUSB1 --graph small.graph",
    )
    verb.add_argument("images", type=Path, help=".npy file: one image, or several along the first axis")
    verb.add_argument("--port", required=True, help="the board's serial port")
    verb.add_argument("--baud", type=int, help="of the port (default: the board's, or 1000000)")
    verb.add_argument("--board", help="see `bitkiln list boards`; only for its baud rate and clock")
    verb.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for the device (default: 5)")
    verb.add_argument(
        "--graph",
        type=Path,
        help="quantised graph file that the bitstream was built from: images are its inputs, results are compared with "
        "the golden model; without it images are integer codes in the order of the stream",
    )
    verb.add_argument("--project", type=Path, help="the same by the project.toml that was run")
    _folding_arguments(verb)


def _report(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(
        verbs,
        "report",
        "show what a run found, and write report.html anew; or compare several runs",
        "bitkiln report examples/digits/project.toml",
    )
    verb.add_argument(
        "project",
        type=Path,
        nargs="+",
        help="project.toml, or the folder that holds it; of several, which are compared, report.json files, too",
    )
    verb.add_argument("-o", "--output", type=Path, help="page to write of several runs (default: comparison.html)")
    verb.add_argument(
        "--csynth", type=Path, metavar="FILE", help="synthesis report of Vitis HLS (csynth.xml) to show beside it"
    )


def _list(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(verbs, "list", "list what there is", "bitkiln list boards")
    things = ("ops", "passes", "units", "boards", "tools", "accelerators", "technologies")
    verb.add_argument("what", choices=things, help="what to list")


def _hls_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--dialect", choices=("vitis", "catapult"), default="vitis", help="HLS tool (default: vitis)")
    verb.add_argument(
        "--ap-types",
        type=Path,
        nargs="?",
        const=Path("found"),
        metavar="PATH",
        help="folder of ap_int.h (Catapult: ac_int.h) for C simulation; without PATH it is looked for; else our own",
    )
    verb.add_argument("--part", default="xc7z020clg400-1", help="AMD part of the HLS project (default: a Zynq-7020)")


def _completion(verbs: Verbs) -> None:  # type: ignore[valid-type]
    verb = _verb(verbs, "completion", "print what makes a shell complete bitkiln's words", "bitkiln completion bash")
    verb.add_argument("shell", choices=("bash", "zsh", "fish"), help="whose script to print")


def _data_argument(verb: argparse.ArgumentParser, required: bool = True) -> None:
    verb.add_argument("--data", required=required, metavar="FORMAT[:PATH]", help="digits, idx:FOLDER or npz:FILE")


def _plan_arguments(verb: argparse.ArgumentParser, graph: str = "quantised graph file") -> None:
    verb.add_argument("graph", type=Path, help=graph)
    _folding_arguments(verb)


def _board_argument(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--board", help="fold for this board; see `bitkiln list boards`")


def _folding_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--max-multipliers", type=int, help="budget for the automatic folding")
    verb.add_argument("--target-interval", type=int, help="cycles an image to reach with the fewest multipliers")
    verb.add_argument("--frames-per-second", type=float, help="the same as images a second at the clock")
    verb.add_argument(
        "--goal",
        choices=("fastest", "smallest", "latency"),
        help="what to seek on the board (default: the fastest that fits, or the smallest that reaches a rate)",
    )
    verb.add_argument("--dsp", type=int, help="how many multipliers may be DSP blocks")
    verb.add_argument("--clock-mhz", type=float, help="clock for rates (default: 12, or the board's)")
    verb.add_argument(
        "--storage",
        action="append",
        default=[],
        metavar="[LAYER=]KIND",
        help="where weights live: block, lut, or, written by the host, loaded or big (iCE40's SPRAM); repeatable",
    )
    verb.add_argument("--renewable", action="store_true", help="hardware for any weights and biases of these formats")
    verb.add_argument("--weight-banks", type=int, help="2: the host loads a second set while the first is in use")


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers like 1,3,32,32, not {text!r}") from None


def _clock(text: str) -> float | str:
    if text == "fastest":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected fastest, or MHz like 48, not {text!r}") from None


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers like 0.05,0.1,0.3, not {text!r}") from None
