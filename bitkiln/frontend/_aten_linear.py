"""ATen's matrix products, convolutions and attention."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from bitkiln.ir.ops import Add, Attention, Conv2d, ConvTranspose2d, Linear, MatMul, Pad

from ._aten_shape import join, part, taken
from ._lower import MOST_ITEMS, Activation, At, Known, Rule, Value
from ._program import bad_program

Pair = tuple[int, int]

# Stands for minus infinity in a mask: exp() of it is 0 as well, and it stays a number in every sum.
HIDDEN = torch.finfo(torch.float32).min / 2


def linear(at: At) -> Value:
    x = at.activation("input")
    return at.emit(Linear(), x.name, *_weights(at))


def conv2d(at: At) -> Value:
    top, left = at.pair("padding")
    return _conv2d(at, ((top, top), (left, left)))


def conv2d_padding(at: At) -> Value:
    """`same` puts the odd row or column of padding behind the image."""
    height, width = (_implied_padding(at, axis) for axis in range(2))
    return _conv2d(at, (height, width))


def _implied_padding(at: At, axis: int) -> Pair:
    match at.optional("padding"):
        case "valid":
            return 0, 0
        case "same":
            weight = at.value("weight").shape
            spatial = len(weight) - 2
            total = at.ints("dilation", spatial)[axis] * (weight[2 + axis] - 1)
            return total // 2, total - total // 2
        case other:
            raise bad_program(f"{at.call.target}: padding must be 'same' or 'valid', not {other}", at.call.loc)


def _conv2d(at: At, padding: tuple[Pair, Pair]) -> Value:
    op = Conv2d(at.pair("stride"), padding, at.pair("dilation"), at.integer("groups"))
    x, weights = at.activation("input"), _weights(at)
    if len(x.shape) == 3:  # one image, without a batch axis
        result = at.emit(op, at.under(x, (1, *x.shape)), *weights, shape=(1, *at.shape))
        return at.reshape(result, at.shape)
    return at.each(x, lambda image, shape: at.emit(op, image, *weights, shape=shape))


def convolution(at: At) -> Value:
    """What core ATen has instead of the other overloads."""
    spatial = len(at.value("weight").shape) - 2
    if not at.flag("transposed"):
        return {1: conv1d, 3: conv3d}.get(spatial, conv2d)(at)
    if spatial == 3:
        raise at.unsupported("it is a transposed convolution over 3 axes", "use two axes")
    return conv_transpose1d(at) if spatial == 1 else conv_transpose2d(at)


def conv1d(at: At) -> Value:
    (size,) = at.ints("padding", 1)
    return _conv1d(at, (size, size))


def conv1d_padding(at: At) -> Value:
    return _conv1d(at, _implied_padding(at, 0))


def _conv1d(at: At, padding: Pair) -> Value:
    (stride,), (dilation,) = at.ints("stride", 1), at.ints("dilation", 1)
    return _on_rows(at, Conv2d((1, stride), ((0, 0), padding), (1, dilation), at.integer("groups")))


def conv_transpose1d(at: At) -> Value:
    names = ("stride", "padding", "output_padding", "dilation")
    stride, padding, after, dilation = (at.ints(name, 1)[0] for name in names)
    return _on_rows(at, ConvTranspose2d((1, stride), (0, padding), (0, after), (1, dilation), at.integer("groups")))


def _on_rows(at: At, op: Conv2d | ConvTranspose2d) -> Value:
    """A convolution over images of height 1."""
    x, weight = at.activation("input"), at.known("weight")
    if len(x.shape) != 3 or x.shape[0] != 1 or weight is None:
        raise at.unsupported(f"its input is {list(x.shape)}", "give it [batch, channels, length]")
    _, channels, length = x.shape
    image = at.under(x, (1, channels, 1, length))
    kernel = at.lowering.constant(weight, at.call.loc, (*weight.shape[:2], 1, weight.shape[2]))
    bias = at.weight("bias")
    args = (image, kernel) if bias is None else (image, kernel, bias)
    result = at.emit(op, *args, shape=(1, at.shape[1], 1, at.shape[2]))
    return at.reshape(result, at.shape)


def conv3d(at: At) -> Value:
    """For each slice of the result a convolution over the slices that it sees, which become channels."""
    x, weight = at.activation("input"), at.known("weight")
    if len(x.shape) != 5 or x.shape[0] != 1 or weight is None or at.shape[2] > MOST_ITEMS:
        raise at.unsupported(f"its input is {list(x.shape)}", "give it [batch, channels, depth, height, width]")
    (stride, *strides), (padding, *pads), (dilation, *dilations) = (
        at.ints(name, 3) for name in ("stride", "padding", "dilation")
    )
    _, channels, depth, height, width = x.shape
    if padding:
        padded = at.emit(
            Pad(((0, 0), (padding, padding), (0, 0), (0, 0))),
            x.name,
            shape=(1, channels, depth + 2 * padding, height, width),
        )
        x = padded
    out, inner, kernel, *window = weight.shape
    matrix = at.lowering.constant(weight, at.call.loc, (out, inner * kernel, *window))
    bias = at.weight("bias")
    op = Conv2d(
        (strides[0], strides[1]),
        ((pads[0], pads[0]), (pads[1], pads[1])),
        (dilations[0], dilations[1]),
        at.integer("groups"),
    )
    slices = []
    for start in range(0, at.shape[2] * stride, stride):
        seen = part(at, x, 2, start, start + dilation * (kernel - 1) + 1, dilation)
        image = at.under(seen, (1, channels * kernel, height, width))
        args = (image, matrix) if bias is None else (image, matrix, bias)
        result = at.emit(op, *args, shape=(1, out, *at.shape[3:]))
        slices.append(at.reshape(result, (1, out, 1, *at.shape[3:])))
    return join(at, tuple(slices), 2)


def conv_transpose2d(at: At) -> Value:
    op = ConvTranspose2d(
        at.pair("stride"), at.pair("padding"), at.pair("output_padding"), at.pair("dilation"), at.integer("groups")
    )
    return at.emit(op, at.activation("input").name, *_weights(at))


def col2im(at: At) -> Value:
    """Windows laid over one another and added (fold): a transposed convolution with a 1 for each place of a window."""
    x = at.activation("self")
    kernel, stride = at.pair("kernel_size"), at.pair("stride")
    padding, dilation, size = at.pair("padding"), at.pair("dilation"), at.pair("output_size")
    if len(x.shape) != 3 or x.shape[0] != 1:
        raise at.unsupported(f"its input is {list(x.shape)}", "give it [batch, channels, windows]")
    area = kernel[0] * kernel[1]
    channels = x.shape[1] // area
    reach = [size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1 for i in range(2)]
    rows, columns = (reach[i] // stride[i] + 1 for i in range(2))
    op = ConvTranspose2d(stride, padding, (reach[0] % stride[0], reach[1] % stride[1]), dilation, channels)
    places = torch.eye(area).reshape(area, 1, *kernel).repeat(channels, 1, 1, 1)
    weight = at.lowering.constant(Known(at.name_of("places"), places), at.call.loc)
    return at.emit(op, at.under(x, (1, x.shape[1], rows, columns)), weight)


def _weights(at: At) -> tuple[str, ...]:
    weight, bias = at.weight("weight"), at.weight("bias")
    return tuple(name for name in (weight, bias) if name is not None)


def matmul(at: At) -> Value:
    x_name, y_name = list(at.call.arguments)[:2]
    return product(at, at.value(x_name), at.value(y_name))


def product(at: At, x: Value, y: Value) -> Activation:
    """x times y; with a known matrix on the right it is a linear layer."""
    if isinstance(y, Known) and len(y.shape) == 2:
        weight = at.lowering.constant(Known(y.path, y.data.t().contiguous()), at.call.loc)
        return at.emit(Linear(), at.as_activation(x).name, weight)
    if min(len(x.shape), len(y.shape)) < 2:
        return _vector_product(at, x, y)
    rank = max(len(x.shape), len(y.shape))
    if rank == 2:
        return at.emit(MatMul(), *(at.under(at.as_activation(value), (1, *value.shape)) for value in (x, y)))
    return at.emit(MatMul(), at.aligned(x, rank), at.aligned(y, rank))


def _vector_product(at: At, x: Value, y: Value) -> Activation:
    """A vector is a matrix of one row on the left, and of one column on the right."""
    row = at.reshape(at.as_activation(x), (1, *x.shape)) if len(x.shape) == 1 else at.as_activation(x)
    if len(y.shape) == 1 and isinstance(y, Known):
        weight = at.lowering.constant(y, at.call.loc, (1, *y.shape))
        product = at.emit(Linear(), row.name, weight, shape=(*row.shape[:-1], 1))
        return at.reshape(product, at.shape)
    column = at.as_activation(y)
    column = at.reshape(column, (*y.shape, 1)) if len(y.shape) == 1 else column
    rank = max(len(row.shape), len(column.shape))
    names = [at.under(value, (*[1] * (rank + 1 - len(value.shape)), *value.shape)) for value in (row, column)]
    batch = torch.broadcast_shapes(row.shape[:-2], column.shape[:-2])
    result = at.emit(MatMul(), *names, shape=(*batch, row.shape[-2], column.shape[-1]))
    return at.reshape(result, at.shape)


def addmm(at: At) -> Value:
    if at.number("alpha") != 1 or at.number("beta") != 1:
        raise at.unsupported("alpha or beta is not 1", "multiply separately")
    bias, weight = at.known("self"), at.known("mat2")
    x = at.activation("mat1")
    assert bias is not None and weight is not None
    matrix = at.lowering.constant(Known(weight.path, weight.data.t().contiguous()), at.call.loc)
    return at.emit(Add(), at.emit(Linear(), x.name, matrix).name, at.lowering.constant(bias, at.call.loc))


def attention(at: At) -> Value:
    q, k, v = at.value("query"), at.value("key"), at.value("value")
    if at.number("dropout_p") != 0:
        raise at.unsupported("it uses dropout", "call model.eval() before the import")
    if min(len(value.shape) for value in (q, k, v)) < 3:
        raise at.unsupported(f"its queries are {list(q.shape)}", "give them [batch, heads, length, size]")
    if at.flag("enable_gqa"):
        k, v = (_repeated_heads(at, value, q.shape[-3]) for value in (k, v))
    rank = len(at.shape)
    scale = 1 / math.sqrt(q.shape[-1]) if at.optional("scale") is None else at.number("scale")
    args = [at.aligned(value, rank) for value in (q, k, v)]
    if at.optional("attn_mask") is not None:
        mask = at.value("attn_mask")
        args.append(at.aligned(Known(mask.path, _additive(mask.data)) if isinstance(mask, Known) else mask, rank))
    return at.emit(Attention(scale, at.flag("is_causal")), *args)


def _repeated_heads(at: At, x: Value, heads: int) -> Activation:
    """Grouped queries: each head of x serves several of q, one after the other."""
    dim = len(x.shape) - 3
    share = heads // x.shape[dim]
    return taken(at, at.as_activation(x), dim, [head // share for head in range(heads)])


def _additive(mask: torch.Tensor) -> torch.Tensor:
    """The mask as numbers to add to the scores; a bool mask says which may stay."""
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape).masked_fill(~mask, HIDDEN)
    return mask.clamp(min=HIDDEN)


LINEAR: Mapping[str, Rule] = {
    "aten.linear.default": linear,
    "aten.conv1d.default": conv1d,
    "aten.conv1d.padding": conv1d_padding,
    "aten.conv2d.default": conv2d,
    "aten.conv2d.padding": conv2d_padding,
    "aten.conv3d.default": conv3d,
    "aten.convolution.default": convolution,
    "aten.conv_transpose1d.default": conv_transpose1d,
    "aten.conv_transpose2d.input": conv_transpose2d,
    "aten.col2im.default": col2im,
    "aten.matmul.default": matmul,
    "aten.mm.default": matmul,
    "aten.bmm.default": matmul,
    "aten.addmm.default": addmm,
    "aten.scaled_dot_product_attention.default": attention,
}
