"""What a Plan says, as plain data: for people, hosts and other tools, beside generated files."""

from __future__ import annotations

import dataclasses
from typing import Any

from bitkiln.ir import Plan, Stage, Stream, to_plain


def plan_summary(plan: Plan) -> dict[str, object]:
    """Return the Plan as plain data, without the weights."""
    return {
        "graph": plan.graph.name,
        "clock_hz": plan.clock_hz,
        "multipliers": plan.multipliers,
        "input": {"stream": plan.input_stream, "value": plan.input_value, "order": plan.input_order.tolist()},
        "output": {"stream": plan.output_stream, "value": plan.output_value, "order": plan.output_order.tolist()},
        "stages": [_plain_stage(stage) for stage in plan.stages],
        "streams": [_plain_stream(stream) for stream in plan.streams],
    }


def _plain_stage(stage: Stage) -> dict[str, object]:
    return {
        "name": stage.name,
        "kind": stage.unit.kind,
        "node": stage.node,
        "inputs": list(stage.inputs),
        "outputs": list(stage.outputs),
        "place": str(stage.loc),
        "unit": {name: _plain(value) for name, value in _shown_fields(stage.unit)},
    }


def _shown_fields(thing: Any) -> list[tuple[str, object]]:
    """Weights, biases and thresholds have no repr."""
    return [(field.name, getattr(thing, field.name)) for field in dataclasses.fields(thing) if field.repr]


def _plain(value: object) -> object:
    """`to_plain` of what is shown, inside other units and thresholds as well."""
    if not dataclasses.is_dataclass(value) or all(field.repr for field in dataclasses.fields(value)):
        return to_plain(value)
    return {name: _plain(inner) for name, inner in _shown_fields(value)}


def _plain_stream(stream: Stream) -> dict[str, object]:
    return {**to_plain(stream), "beat": to_plain(stream.beat), "bits": stream.beat.width, "is_memory": stream.is_memory}
