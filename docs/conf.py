"""The documentation site: Sphinx with MyST over the Markdown files as they lie in the repository.

The source folder is the repository's, so that a link means the same here and on GitHub, and README.md is checked, too.
`make docs` builds it; docs/decisions/0008-docs-site.md says why so.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "bitkiln"
language = "en"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "benchmarks/README.md", "examples/**/README.md"]
exclude_patterns = [".*", "bitkiln", "tests", "build", "dist", "examples/**/build"]
myst_heading_anchors = 4
highlight_language = "text"  # indented blocks are commands and what they print
html_theme = "furo"
html_title = "bitkiln"
html_static_path = ["site/static"]
html_css_files = ["bitkiln.css"]
html_extra_path = ["site/index.html"]
html_use_index = False  # there is nothing in it
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def setup(app: Any) -> None:
    """Fill in the generated parts of a page when it is read."""
    from docs.site.generate import filled  # noqa: PLC0415  # after ROOT is on the path

    def fill(app: Any, docname: str, content: list[str]) -> None:
        content[0] = filled(content[0])

    app.connect("source-read", fill)
