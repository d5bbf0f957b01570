"""Random networks through the RTL: equal bits, equal cycles. A failing one is shrunk and written as a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from bitkiln.ir import ToolError

from .bundle import Bundle
from .golden_codes import drawn_samples
from .random_coverage import coverage, features
from .random_network import End, RandomNetwork
from .random_plan import random_plan
from .verification import RtlSimulator, Verification, VerifyOptions
from .verify import verify_plan
from .workers import ordered_results

IMAGES = 4
SIMULATION_ERRORS = frozenset({"simulation-stuck", "unstable-output", "surplus-output", "deadlock"})
"""What a wrong unit can do besides giving wrong bits or cycles."""


@dataclass(frozen=True)
class Finding:
    """What one network showed: output beats with wrong bits, and in another cycle than predicted; why, if it failed.

    `features` are what its plan makes use of, `cycles` those that were simulated without back-pressure.
    """

    network: RandomNetwork
    bit_mismatches: int
    cycle_mismatches: int
    findings: str
    features: frozenset[str] = frozenset()
    cycles: int = 0

    @property
    def is_exact(self) -> bool:
        return not (self.bit_mismatches or self.cycle_mismatches)


Check = Callable[[RandomNetwork], Finding]
RTL_CHECKER = "bitkiln.hdl.random_verify.check_network"


@dataclass(frozen=True)
class RandomVerification:
    """What all networks showed; `failing` are the shrunk ones, one for each that failed.

    `coverage` says in how many networks each thing occurs that there is; `cycles` is the sum over all of them.
    """

    networks: int
    bit_mismatches: int
    cycle_mismatches: int
    failing: tuple[Finding, ...]
    coverage: Mapping[str, int]
    cycles: int
    checker: str = RTL_CHECKER

    def files(self) -> Bundle:
        """Return a program for each failing network that shows the failure again."""
        programs = {found.network.seed: program(found, self.checker) for found in self.failing}
        return Bundle.of({f"failing_{seed}.py": text.encode() for seed, text in programs.items()})


def verify_random(
    networks: int,
    seed: int,
    jobs: int = 1,
    on_network: Callable[[int], None] = lambda done: None,
    check: Check | None = None,
    checker: str = RTL_CHECKER,
) -> RandomVerification:
    """Verify the networks of the seeds `seed` to `seed + networks - 1` in `jobs` processes.

    Same networks and seed, same result, whatever the jobs. `check` is the function that `checker` names (the RTL's
    without it); it can be pickled.
    """
    found, failing = [], []
    for one, shrunken in ordered_results(partial(_checked, check=check), range(seed, seed + networks), jobs):
        found.append(one)
        failing += [shrunken] if shrunken else []
        on_network(len(found))
    return RandomVerification(
        networks,
        sum(one.bit_mismatches for one in found),
        sum(one.cycle_mismatches for one in found),
        tuple(failing),
        coverage(one.features for one in found),
        sum(one.cycles for one in found),
        checker,
    )


def _checked(seed: int, check: Check | None) -> tuple[Finding, Finding | None]:
    """What the network of this seed showed, and the shrunk one if it failed.

    One that makes bitkiln itself fail counts as one wrong beat, and is no reason to give up the others.
    """
    network = RandomNetwork.drawn(seed)
    try:
        found = (check or check_network)(network)
    except (AssertionError, ToolError) as error:
        broken = Finding(network, 1, 0, f"{type(error).__name__}: {error}")
        return broken, broken
    return found, None if found.is_exact else shrunk(found, check)


def check_network(network: RandomNetwork) -> Finding:
    """Run some random images, and again under random back-pressure, in Amaranth's simulator.

    A run that gets stuck counts as one wrong beat.
    """
    plan = random_plan(network)
    options = VerifyOptions(IMAGES, RtlSimulator.AMARANTH, seed=network.seed % 1000 + 1)
    used = features(network, plan)
    try:
        found: Verification = verify_plan(plan, drawn_samples(plan.graph, IMAGES, network.seed), options)
    except ToolError as error:
        if not SIMULATION_ERRORS.issuperset(item.slug for item in error.diagnostics):
            raise
        return Finding(network, 1, 0, str(error), used)
    return Finding(network, found.mismatches, found.cycle_mismatches, found.findings, used, found.cycles)


def shrunk(found: Finding, check: Check | None = None) -> Finding:
    """Return a failing network none of whose simpler neighbours fails."""
    check = check or check_network
    while True:
        for candidate in _simpler(found.network):
            try:
                simpler = check(candidate)
            except ToolError:  # no network any more
                continue
            if not simpler.is_exact:
                found = simpler
                break
        else:
            return found


def program(found: Finding, checker: str = RTL_CHECKER) -> str:
    """Return a Python program that checks the network by a function, and fails as long as it does."""
    module, _, name = checker.rpartition(".")
    why = "\n".join(f"# {line}" for line in found.findings.splitlines())
    return (
        '"""A random network whose hardware differs from the golden model or from the predicted cycles."""\n\n'
        "from bitkiln.hdl.random_network import End, RandomNetwork, Step, StepKind\n"
        f"from {module} import {name}\n"
        "from bitkiln.ir.units import DspBlock, Storage\n\n"
        f"NETWORK = {source(found.network)}\n\n"
        f"{why}\n"
        f"found = {name}(NETWORK)\n"
        "raise SystemExit(0 if found.is_exact else found.findings)\n"
    )


def source(network: RandomNetwork) -> str:
    """Return the network as a Python expression."""
    steps = "".join(f"        Step({step.kind}, {step.seed}),\n" for step in network.steps)
    sizes = f"seed={network.seed}, channels={network.channels}, height={network.height}, width={network.width}"
    return (
        f"RandomNetwork(\n    {sizes},\n    steps=(\n{steps}    ),\n"
        f"    end={network.end}, multipliers={network.multipliers},\n"
        f"    storage={network.storage}, renewable={network.renewable}, banks={network.banks},\n"
        f"    folding={network.folding}, queues={network.queues},\n"
        f"    dsp_block={network.dsp_block}, dsp={network.dsp},\n)"
    )


def _simpler(network: RandomNetwork) -> Iterator[RandomNetwork]:
    """Networks of fewer steps first, then plainer, then smaller ones."""
    for i in range(len(network.steps)):
        yield _begun_behind(network, i)
        yield replace(network, steps=(*network.steps[:i], *network.steps[i + 1 :]))
    plainer = (
        replace(network, end=End.MAP),
        replace(network, storage=None),
        replace(network, renewable=False),
        replace(network, banks=1),
        replace(network, queues=0),
        replace(network, folding=0),
        replace(network, dsp_block=None),
    )
    yield from (candidate for candidate in plainer if candidate != network)
    for size in _smaller(network.channels):
        yield replace(network, channels=size)
    for size in _smaller(network.height):
        yield replace(network, height=size)
    for size in _smaller(network.width):
        yield replace(network, width=size)


def _begun_behind(network: RandomNetwork, step: int) -> RandomNetwork:
    """Without the steps up to this one: those that follow find the map that it gave, and so draw the same."""
    graph = replace(network, steps=network.steps[: step + 1], end=End.MAP).graph()
    channels, height, width = graph.types[graph.outputs[0]].shape[1:]
    return replace(network, channels=channels, height=height, width=width, steps=network.steps[step + 1 :])


def _smaller(size: int) -> tuple[int, ...]:
    return (size // 2, size - 1) if size > 1 else ()
