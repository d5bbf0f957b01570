"""Every table and key of project.toml, out of the dataclasses that it is read into."""

from __future__ import annotations

from bitkiln.frontend.datasets import DataSpec
from bitkiln.frontend.project import BuildSpec, ModelSpec, OutputSpec, SimulateSpec
from bitkiln.hdl.verification import VerifyOptions
from bitkiln.passes import LayerFolding, PlanOptions

from .markdown import fields_table, prose

TABLES = {
    "[model]": ModelSpec,
    "[data]": DataSpec,
    "[plan]": PlanOptions,
    "[[plan.layers]]": LayerFolding,
    "[simulate]": SimulateSpec,
    "[verify]": VerifyOptions,
    "[build]": BuildSpec,
    "[output]": OutputSpec,
}


def page() -> str:
    """Return a section for each table but `[[passes]]`, whose keys depend on the pass."""
    return "\n\n".join(f"## `{name}`\n\n{prose(kind)}\n\n{fields_table(kind)}" for name, kind in TABLES.items())
