"""The shipped energy tables: reading them, and scaling one to another node."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TypeVar

from bitkiln.ir import fail, from_plain, known_names

from .technology import EnergyUnit, MemoryPrice, Price, Technology

TABLES = ("22nm", "32nm", "45nm", "45nm-cacti", "45nm-eie", "65nm", "eyeriss-relative")
"""Names of the tables in the package; `45nm@16` is the first scaled to another node."""

T = TypeVar("T")


def find_technology(name: str) -> Technology:
    """Return the shipped table called `name`, the one in the file of that path if it ends in `.toml`, or either scaled.

    `45nm@16` is the table 45nm scaled to 16 nm. Raises `unknown-technology`, which lists the known ones.
    """
    name, at, node = name.partition("@")
    if name.endswith(".toml"):
        technology = load_technology(Path(name))
    elif name in TABLES:
        technology = read_technology(_shipped(f"energy_{name}.toml"), f"energy_{name}.toml")
    else:
        hint = known_names(name, TABLES)
        raise fail("unknown-technology", f"there is no energy table called {name!r}", hint=hint)
    return _at_node(technology, node) if at else technology


def _shipped(file: str) -> str:
    return resources.files("bitkiln.sim").joinpath("tables", file).read_text("utf-8")


def load_technology(path: Path) -> Technology:
    """Read a table from a file. Raises `missing-file` and what `read_technology` raises."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise fail("bad-toml", f"{path} is no text in UTF-8") from None
    except OSError as error:
        raise fail("missing-file", f"cannot read the energy table {path}: {error.strerror}") from None
    return read_technology(text, str(path))


def _read(kind: type[T], text: str, where: str) -> T:
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise fail("bad-toml", f"{where} is no TOML: {error}") from None
    return from_plain(kind, plain, where)


def read_technology(text: str, where: str) -> Technology:
    """Read a table in TOML; `where` names it in messages.

    Raises `bad-toml`, `unknown-key`, `missing-key` and `bad-value`; an entry without a source is `missing-source`.
    """
    return _read(Technology, text, where)


@dataclass(frozen=True)
class DramPrices:
    """The energy of off-chip accesses by kind of memory."""

    lpddr4: Price
    lpddr: Price
    ddr3: Price


def dram_prices() -> DramPrices:
    """Return the shipped table of kinds of DRAM."""
    return _read(DramPrices, _shipped("dram.toml"), "dram.toml")


@dataclass(frozen=True)
class NodeEnergy:
    """Energy of a gate at a node against the supply voltage V: proportional to a V^2 + b V + c."""

    node_nm: float
    a: float
    b: float
    c: float

    def at(self, volts: float) -> float:
        return self.a * volts**2 + self.b * volts + self.c


@dataclass(frozen=True)
class NodeScaling:
    """Nodes in descending order."""

    source: str
    node: tuple[NodeEnergy, ...]

    def energy(self, node_nm: float, volts: float) -> float:
        """Return the energy in the unit of the source; between two nodes on the straight line through both."""
        for coarse, fine in itertools.pairwise(self.node):
            if coarse.node_nm >= node_nm >= fine.node_nm:
                part = (node_nm - fine.node_nm) / (coarse.node_nm - fine.node_nm)
                return part * coarse.at(volts) + (1 - part) * fine.at(volts)
        most, least = self.node[0].node_nm, self.node[-1].node_nm
        raise fail("bad-node", f"energies can be scaled to nodes from {least:g} to {most:g} nm, not to {node_nm:g} nm")


def _at_node(technology: Technology, node: str) -> Technology:
    text = node.removesuffix("nm")
    if not text.replace(".", "", 1).isdigit():
        raise fail("bad-node", f"a node is a number of nanometres, not {node!r}", hint=f"{technology.name}@16")
    return scaled(technology, float(text))


def scaled(technology: Technology, node_nm: float) -> Technology:
    """Return the table at another node and the same supply voltage; what is off the chip stays as it is.

    Raises `bad-node` if the table has no node, or a node is outside of what the source covers.
    """
    if technology.node_nm is None or technology.volts is None or technology.unit is not EnergyUnit.PICOJOULE:
        raise fail("bad-node", f"the energy table {technology.name} belongs to no node, so it cannot be scaled")
    scaling = _read(NodeScaling, _shipped("node_scaling.toml"), "node_scaling.toml")
    volts = technology.volts
    factor = scaling.energy(node_nm, volts) / scaling.energy(technology.node_nm, volts)
    note = f"; scaled from {technology.node_nm:g} to {node_nm:g} nm at {volts:g} V by {factor:.4f} ({scaling.source})"

    def price(old: Price) -> Price:
        return replace(old, energy=old.energy * factor, source=old.source + note)

    def memory(old: MemoryPrice) -> MemoryPrice:
        write = None if old.write_energy is None else old.write_energy * factor
        return replace(old, energy=old.energy * factor, write_energy=write, source=old.source + note)

    return replace(
        technology,
        name=f"{technology.name}@{node_nm:g}",
        title=f"{technology.title}, scaled to {node_nm:g} nm",
        node_nm=node_nm,
        add=tuple(map(price, technology.add)),
        multiply=tuple(map(price, technology.multiply)),
        float_add=tuple(map(price, technology.float_add)),
        float_multiply=tuple(map(price, technology.float_multiply)),
        logic=tuple(map(price, technology.logic)),
        sram=tuple(map(memory, technology.sram)),
        register=price(technology.register),
        mac=price(technology.mac) if technology.mac else None,
        network=price(technology.network) if technology.network else None,
    )
