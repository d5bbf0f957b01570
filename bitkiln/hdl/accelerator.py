"""The whole accelerator of a Plan: its units, joined by their streams."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bitkiln.ir import Plan
from bitkiln.ir.units import MatrixVector

from .units import LOAD_BUS, Queue, UnitComponent, unit_component
from .weights import SelfLoading, has_loaded_weights, weight_banks, weights_of


class Accelerator(wiring.Component):
    """Stream in, stream out: `i` takes the input beats of image after image, `o` gives the result beats.

    A beat holds its elements as two's complement codes, element 0 in the lowest bits; their order is the Plan's
    `input_order` and `output_order`. If the host fills some of its memories, it has the port `load`, and nothing may
    come in before it has.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        source, sink = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
        streams = {
            "i": In(stream.Signature(unsigned(source.beat.width))),
            "o": Out(stream.Signature(unsigned(sink.beat.width))),
        }
        super().__init__(streams | ({"load": In(LOAD_BUS)} if has_loaded_weights(plan) else {}))

    @property
    def is_renewable(self) -> bool:
        """True if the bitstream has weights that may be replaced in it."""
        units = [stage.unit for stage in self.plan.stages]
        return any(isinstance(unit, MatrixVector) and unit.renewable and not unit.storage.is_loaded for unit in units)

    def elaborate(self, platform: object) -> Module:
        plan, m = self.plan, Module()
        source = plan.stream[plan.input_stream]
        m.submodules.input_queue = queue = Queue(source.beat.width, source.depth, source.is_memory)
        m.d.comb += [
            self.i.ready.eq(queue.room),
            queue.issue.eq(self.i.valid & queue.room),
            queue.push.eq(queue.issue),
            queue.payload.eq(self.i.payload),
        ]
        ends = {plan.input_stream: queue.o}
        components = []
        for stage in plan.stages:
            outputs = tuple(plan.stream[name] for name in stage.outputs)
            component = unit_component(stage.unit, outputs, plan.clock_hz)
            m.submodules[stage.name.replace(".", "_")] = component
            components.append(component)
            ends |= {name: getattr(component, f"o{port}") for port, name in enumerate(stage.outputs)}
        for stage, component in zip(plan.stages, components, strict=True):
            for port, name in enumerate(stage.inputs):
                wiring.connect(m, ends[name], getattr(component, f"i{port}"))
        wiring.connect(m, ends[plan.output_stream], wiring.flipped(self.o))
        self._load(m, [component for component in components if hasattr(component, "load")])
        return m

    def _load(self, m: Module, components: list[UnitComponent]) -> None:
        """Let the units take their part of what the host writes, one after the other."""
        is_loading: Value = Const(1)
        for component in components:
            wiring.connect(m, wiring.flipped(self.load), component.load)
            m.d.comb += component.is_loading.eq(is_loading)
            is_loading = component.is_loaded


def stream_accelerator(plan: Plan) -> wiring.Component:
    """Return the accelerator with nothing but its two streams: in simulation it loads its weights itself."""
    accelerator = Accelerator(plan)
    if not has_loaded_weights(plan):
        return accelerator
    return SelfLoading(accelerator, weights_of(plan), weight_banks(plan) - 1)
