"""ONNX's Resize and Upsample. Nearest neighbours are picked place by place if torch has other neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ._onnx_at import At, Entry, Value
from ._onnx_file import bad_onnx


@dataclass(frozen=True)
class _Target:
    """New sizes of all axes, and the factors that coordinates are computed with."""

    sizes: tuple[int, ...]
    factors: tuple[float, ...]


def upsample(at: At) -> Value:
    """Before opset 10: coordinates are divided by the factors, nearest ones rounded down."""
    x = at.value(0)
    mode = at.text("mode", "nearest")
    if at.version < 9:
        at.read_attributes.add("scales")
        found = at.node.attributes.get("scales")
        given = tuple(float(item) for item in found if isinstance(item, float)) if isinstance(found, tuple) else ()
    else:
        given = tuple(at.tensor(1).to(torch.float64).reshape(-1).tolist())
    return _resized(at, x, _by_factors(at, x, given), mode, "asymmetric", "floor")


def resize(at: At) -> Value:
    x = at.value(0)
    mode = at.text("mode", "nearest")
    if at.version < 11:
        given = tuple(at.tensor(1).to(torch.float64).reshape(-1).tolist())
        return _resized(at, x, _by_factors(at, x, given), mode, "asymmetric", "floor")
    coordinates = at.text("coordinate_transformation_mode", "half_pixel")
    nearest = at.text("nearest_mode", "round_prefer_floor")
    coefficient = at.number("cubic_coeff_a", -0.75)
    excludes = at.flag("exclude_outside")
    at.number("extrapolation_value", 0.0)
    if coordinates == "tf_crop_and_resize":
        raise at.unsupported("it crops (tf_crop_and_resize)", "use half_pixel or align_corners")
    if at.has(1):
        at.read_inputs.add(1)  # the region of tf_crop_and_resize
    if mode == "cubic" and (excludes or abs(coefficient + 0.75) > 1e-6):
        raise at.unsupported(f"its cubic weights are others (coefficient {coefficient})", "use -0.75, as torch does")
    if at.version >= 18 and at.flag("antialias"):
        raise at.unsupported("it smooths (antialias)", "use antialias=0")
    return _resized(at, x, _target(at, x), mode, coordinates, nearest)


def _target(at: At, x: Value) -> _Target:
    """Sizes or factors, for the axes that are named (opset 18) or for all."""
    rank = len(x.shape)
    axes = at.ints("axes") if at.version >= 18 else None
    places = list(range(rank)) if axes is None else [at.axis(axis, rank) for axis in axes]
    if at.version >= 18 and at.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise at.unsupported("it keeps the aspect ratio", "give the sizes themselves")
    has_sizes = at.has(3)
    given = [float(size) for size in at.integers(3)] if has_sizes else []
    factors = at.tensor(2).to(torch.float64).reshape(-1).tolist() if at.has(2) else []
    if bool(given) == bool(factors) or len(given or factors) != len(places):
        raise bad_onnx("Resize needs scales or sizes, one for each axis", at.node.loc)
    if has_sizes:
        sizes = list(x.shape)
        for axis, size in zip(places, given, strict=True):
            sizes[axis] = int(size)
        return _checked(at, x, sizes, [new / old for new, old in zip(sizes, x.shape, strict=True)])
    all_factors = [1.0] * rank
    for axis, factor in zip(places, factors, strict=True):
        all_factors[axis] = factor
    return _by_factors(at, x, tuple(all_factors))


def _by_factors(at: At, x: Value, factors: tuple[float, ...]) -> _Target:
    if len(factors) != len(x.shape) or not all(0 < factor < 1e6 for factor in factors):
        raise bad_onnx(f"{at.node.op} of {list(x.shape)} by {str(list(factors))[:80]}", at.node.loc)
    sizes = [math.floor(size * factor) for size, factor in zip(x.shape, factors, strict=True)]
    return _checked(at, x, sizes, list(factors))


def _checked(at: At, x: Value, sizes: list[int], factors: list[float]) -> _Target:
    if min(sizes) < 1 or max(sizes) > 65535:
        raise bad_onnx(f"{at.node.op} of {list(x.shape)} to {str(sizes)[:80]}", at.node.loc)
    return _Target(tuple(sizes), tuple(factors))


def _resized(at: At, x: Value, target: _Target, mode: str, coordinates: str, nearest: str) -> Value:
    if target.sizes == x.shape:
        return x
    if mode == "nearest":
        return _nearest(at, x, target, coordinates, nearest)
    if len(x.shape) != 4 or target.sizes[:2] != x.shape[:2]:
        raise at.unsupported(f"it resizes {list(x.shape)} to {list(target.sizes)}", "resize height and width")
    is_single = any(new == 1 and old > 1 for new, old in zip(target.sizes, x.shape, strict=True))
    is_half_pixel = coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and not is_single)
    targets = {"linear": "upsample_bilinear2d.vec", "cubic": "upsample_bicubic2d.vec"}
    if mode not in targets or not (is_half_pixel or coordinates == "align_corners"):
        raise at.unsupported(f"its mode is {mode[:40]} with {coordinates[:40]}", "use half_pixel or align_corners")
    sizes, factors = target.sizes[2:], target.factors[2:]
    is_exact = tuple(size * factor for size, factor in zip(x.shape[2:], factors, strict=True)) == sizes
    if coordinates == "align_corners" and not is_exact:
        raise at.unsupported(f"it aligns the corners of an image of broken size, by {list(factors)}", "give the sizes")
    by = (sizes, None) if is_exact else (None, factors)
    result = at.emit(targets[mode], x, by[0], coordinates == "align_corners", by[1])
    if result.shape != target.sizes:
        raise at.unsupported(f"its factors {list(factors)} are on the edge between two sizes", "give the sizes")
    return result


def _nearest(at: At, x: Value, target: _Target, coordinates: str, nearest: str) -> Value:
    places = [
        _places(at, new, old, factor, coordinates, nearest)
        for new, old, factor in zip(target.sizes, x.shape, target.factors, strict=True)
    ]
    plain = [
        [min(int(i * (old / new)), old - 1) for i in range(new)] for new, old in zip(target.sizes, x.shape, strict=True)
    ]
    if places == plain and len(x.shape) == 4 and target.sizes[:2] == x.shape[:2]:
        return at.emit("upsample_nearest2d.vec", x, target.sizes[2:], None)
    for axis, chosen in enumerate(places):
        if chosen != list(range(x.shape[axis])):
            x = at.emit("index_select.default", x, axis, at.fixed(torch.tensor(chosen), "places"))
    return x


def _places(at: At, new: int, old: int, factor: float, coordinates: str, nearest: str) -> list[int]:
    """For each new element along an axis the old one that it copies."""
    match coordinates:
        case "asymmetric":
            exact = [i / factor for i in range(new)]
        case "half_pixel":
            exact = [(i + 0.5) / factor - 0.5 for i in range(new)]
        case "pytorch_half_pixel":
            exact = [(i + 0.5) / factor - 0.5 if new > 1 else 0.0 for i in range(new)]
        case "half_pixel_symmetric":
            offset = old / 2 * (1 - new / (factor * old))
            exact = [offset + (i + 0.5) / factor - 0.5 for i in range(new)]
        case "align_corners":
            exact = [i * (old - 1) / (factor * old - 1) if factor * old != 1 else 0.0 for i in range(new)]
        case "tf_half_pixel_for_nn":
            exact = [(i + 0.5) / factor for i in range(new)]
        case other:
            raise at.unsupported(f"its coordinates are {other[:40]!r}", "use half_pixel or asymmetric")
    rounding = {
        "floor": math.floor,
        "ceil": math.ceil,
        "round_prefer_floor": lambda place: math.ceil(place - 0.5),
        "round_prefer_ceil": lambda place: math.floor(place + 0.5),
    }
    if nearest not in rounding:
        raise bad_onnx(f"Resize: nearest_mode is {nearest[:40]!r}", at.node.loc)
    return [min(max(rounding[nearest](place), 0), old - 1) for place in exact]


RESIZE: Mapping[str, Entry] = {
    "Upsample": Entry(upsample, (7, 9)),
    "Resize": Entry(resize, (10, 11, 13, 18, 19)),
}
