"""Programs as they are exported write into tensors (`relu_`, `add_`); a Graph only makes new ones.

Writing over a whole tensor is making a new one under the old name. Writing into a part of a tensor that has other views
would change them too; such programs are refused, because torch itself can rewrite them.
"""

from __future__ import annotations

from dataclasses import replace

from bitkiln.ir import fail

from ._check import overload
from ._program import Argument, Call, Program, Ref

# They return their argument itself in evaluation mode, though their schemas do not say so; in place they write nothing.
_SAME_TENSOR = tuple(
    f"aten.{name}.default" for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
)


def functionalise(program: Program) -> Program:
    """Return the program without calls that write into their argument; raises ToolError `writes-view`."""
    newest: dict[str, str] = {}
    shared: set[str] = set()
    calls: list[Call] = []
    for old in program.calls:
        call = replace(old, arguments={key: _renamed(value, newest) for key, value in old.arguments.items()})
        target = _out_of_place(call.target)
        is_same_tensor = target in _SAME_TENSOR
        found = overload(call.target)
        if found is None:
            calls.append(call)
            continue
        subject = next((value.name for value in call.arguments.values() if isinstance(value, Ref)), "")
        if target != call.target and not is_same_tensor:
            if subject in shared:
                raise fail(
                    "writes-view",
                    f"{call.target} writes into a tensor that is seen under several names",
                    call.loc,
                    "save exported.run_decompositions({}) instead",
                )
            call = replace(call, target=target, arguments=_as_functional(call, target))
            newest |= {old_name: call.results[0] for old_name in (subject,) if call.results}
        elif is_same_tensor or any(
            result.alias_info is not None and not result.alias_info.is_write for result in found._schema.returns
        ):
            shared.update((subject, *call.results))
            call = replace(call, target=target, arguments=_as_functional(call, target))
        calls.append(call)
    outputs = tuple(newest.get(name, name) for name in program.outputs)
    return replace(program, calls=tuple(calls), outputs=outputs)


def _as_functional(call: Call, target: str) -> dict[str, Argument]:
    """The arguments under the names that the functional overload gives them."""
    found = overload(target)
    if found is None:
        return dict(call.arguments)
    names = [argument.name for argument in found._schema.arguments]
    return dict(zip(names, call.arguments.values(), strict=False))


def _out_of_place(target: str) -> str:
    """The overload that returns what this one writes: `aten.relu_.default` has `aten.relu.default`."""
    namespace, _, rest = target.partition(".")
    packet, _, variant = rest.partition(".")
    if packet.endswith("_") and not packet.startswith("__"):
        return f"{namespace}.{packet.removesuffix('_')}.{variant}"
    return target


def _renamed(argument: Argument, newest: dict[str, str]) -> Argument:
    if isinstance(argument, Ref):
        name = argument.name
        while name in newest:
            name = newest[name]
        return Ref(name)
    if isinstance(argument, tuple):
        return tuple(_renamed(item, newest) for item in argument)
    return argument
