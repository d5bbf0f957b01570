"""Shadow weights: the float tensors that training moves, and the constants of the graph that they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bitkiln.ir import Bipolar, Codebook, Const, Float, Graph, Int, Node, Ternary, fail

from ._codes import exact_const, int_const, rounded, scale, to_codes, to_values


@dataclass(frozen=True, eq=False)
class Shadow:
    """One trained constant. `value` is in units of value, float64 for biases (their codes may exceed 24 bits).

    A weight saturates at its format; a bias (`is_bias`) never does, its format grows instead. Floats are clipped to
    `limit` in magnitude. Where `kept` is 0 the value stays exactly 0: neither a gradient nor momentum moves it.
    """

    const: Const
    value: Tensor
    is_bias: bool
    limit: float | None = None
    kept: Tensor | None = None

    @property
    def is_weight(self) -> bool:
        """True for what connects neurons; false for what there is one of a channel or a table entry."""
        return not self.is_bias and self.value.dim() >= 2

    def constant(self, value: Tensor | None = None) -> Const:
        """Return the constant for the graph: rounded to codes, or the floats themselves; of another value if given."""
        number, value = self.const.type.number, self.value if value is None else value
        if not isinstance(number, Int):
            return Const(self.const.name, self.const.type, value.to(self.const.data.dtype).clone())
        codes = self._codes(value, number)
        if self.is_bias:
            return exact_const(self.const.name, codes, number)
        return int_const(self.const.name, codes, number)

    def leaf(self) -> Tensor:
        """Return what the constant is evaluated as in one step (codes or floats), to collect its gradient."""
        number = self.const.type.number
        now = self._codes(self.value, number) if isinstance(number, Int) else self.value
        return now.to(self.value.dtype).clone().requires_grad_()

    def take_gradient(self, leaf: Tensor, l1: float = 0.0, l2: float = 0.0) -> None:
        """Straight-through: the gradient of a code is that of the scaled shadow weight before rounding.

        For weights those of the penalties l1 |w| and l2 w^2 / 2 are added.
        """
        if leaf.grad is None:
            return
        number = self.const.type.number
        grad = leaf.grad if not isinstance(number, Int) else leaf.grad * scale(number, leaf.dim())
        self.value.grad = grad.to(self.value.dtype)
        if self.is_weight and l1:
            self.value.grad.add_(torch.sign(self.value), alpha=l1)
        if self.is_weight and l2:
            self.value.grad.add_(self.value, alpha=l2)
        if self.kept is not None:
            self.value.grad.mul_(self.kept)

    def keep_in_range(self) -> None:
        """Move weights that left their range back to its end, where rounding still answers to the gradient.

        What is to stay 0 becomes 0 again: momentum and weight decay of an optimiser know nothing of it.
        """
        number = self.const.type.number
        if self.kept is not None:
            self.value.mul_(self.kept)
        if isinstance(number, Float) and self.limit is not None:
            self.value.clamp_(-self.limit, self.limit)
        if isinstance(number, Int) and not self.is_bias:
            steps = scale(number, self.value.dim()).to(self.value.dtype)
            self.value.clamp_(number.lo / steps, number.hi / steps)

    def _codes(self, value: Tensor, number: Int) -> Tensor:
        return rounded(value, number) if self.is_bias else to_codes(value, number)


def shadows(graph: Graph, reference: Graph, keep_zeros: bool = True) -> tuple[Shadow, ...]:
    """Return a shadow for each constant of `graph` that training moves (`Op.trained`), by name.

    A shadow starts at the value in `reference` that rounds to the constant's code now, else at the code's own value:
    the first step starts from exactly this graph. With `keep_zeros` weights of exactly 0.0 stay 0: in a float graph its
    own, in fixed point those that are 0.0 in `reference`. Raises ToolError `cannot-tune` for weights of other formats.
    """
    found: dict[str, Shadow] = {}
    for node in graph.nodes:
        for position in node.op.trained:
            if position >= len(node.args) or (name := node.args[position]) in found or name not in graph.const:
                continue
            limit = node.op.latent_limit if position == node.op.trained[0] else None
            shadow = _start(graph.const[name], reference.const.get(name), position == 2, node)
            kept = _kept(shadow, reference.const.get(name)) if keep_zeros and shadow.is_weight else None
            found[name] = replace(shadow, limit=limit, kept=kept)
            found[name].keep_in_range()
    return tuple(found[name] for name in sorted(found))


def _kept(shadow: Shadow, origin: Const | None) -> Tensor | None:
    """0 where a weight stays 0, else 1; None if none does."""
    values = shadow.const.data
    if not shadow.const.type.is_float:
        if origin is None or origin.type.elements != shadow.const.type.elements:
            return None
        values = torch.where(shadow.const.data == 0, origin.data.reshape(shadow.const.type.shape), 1.0)
    kept = values.detach() != 0
    return None if bool(kept.all()) else kept.to(shadow.value.dtype)


def _start(const: Const, origin: Const | None, is_bias: bool, node: Node) -> Shadow:
    match const.type.number:
        case Float():
            return Shadow(const, const.data.detach().clone(), is_bias)
        case Int() as number:
            value = to_values(const.data, number)
            if origin is not None and origin.type.elements == const.type.elements:
                before = origin.data.detach().to(torch.float64).reshape(const.type.shape)
                codes = rounded(before, number) if is_bias else to_codes(before, number)
                value = torch.where(codes == const.data, before, value)
            return Shadow(const, value if is_bias else value.to(torch.float32), is_bias)
        case Bipolar() | Ternary() | Codebook() as other:
            raise fail("cannot-tune", f"%{const.name} is {other}; tune trains fixed point and floats", node.loc)
