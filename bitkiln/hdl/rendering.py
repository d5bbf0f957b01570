"""Jinja2 templates of the package: text with values, nothing else. A value that a template does not get is an error."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jinja2


def rendered(template: str, values: Mapping[str, object]) -> str:
    """Return a template of `bitkiln/templates` with its values."""
    return _environment().get_template(template).render(values)


def plain_text(path: str) -> str:
    """Return a file of `bitkiln/templates` as it is."""
    environment = _environment()
    assert environment.loader is not None
    text, _, _ = environment.loader.get_source(environment, path)
    return text


@functools.cache
def _environment() -> jinja2.Environment:
    """One for all, so that a template is compiled once."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("bitkiln", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
