"""The scripts that make shells complete the command's words."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.projects import BOARD_NAMES, Outcome

Run = Callable[..., Outcome]
BASH = shutil.which("bash") or ""

# Completes the last of the words as bash would at a TAB.
COMPLETE = """
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE={line}; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9
function compopt {{ :; }}
$(complete -p bitkiln | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_verb_is_in_the_script(shell: str, bitkiln: Run) -> None:
    script = bitkiln("completion", shell).out
    for word in ("simulate", "report", "icebreaker", "max-multipliers", "completion"):
        assert word in script
    machine = json.loads(bitkiln("completion", shell, "--json").out)
    assert (machine["shell"], machine["script"].rstrip()) == (shell, script.rstrip())


@pytest.mark.skipif(not BASH, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bitkiln rep", ["report"]),
        ("bitkiln report --j", ["--json"]),
        ("bitkiln generate ", ["rtl"]),
        ("bitkiln build net.graph --board ", BOARD_NAMES.split(", ")),
    ],
)
def test_bash_completes(line: str, words: list[str], bitkiln: Run) -> None:
    typed = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
    ask = COMPLETE.format(words=" ".join(map(shlex.quote, typed)), line=shlex.quote(line))
    script = bitkiln("completion", "bash").out + ask
    found = subprocess.run((BASH, "--norc"), input=script, capture_output=True, text=True, check=True)
    assert set(words) <= {word.strip() for word in found.stdout.split()}
