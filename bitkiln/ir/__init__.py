"""What to compute and with which hardware: types, ops, Graph, Plan and Diagnostics."""

from .diagnostics import Diagnostic, Location, Severity, ToolError, fail, known_names

__all__ = ["Diagnostic", "Location", "Severity", "ToolError", "fail", "known_names"]
