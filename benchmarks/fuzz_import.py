"""Changed files of every kind that is imported: each must give a Diagnostic or a graph that runs, soon, and in little
memory.

    python benchmarks/fuzz_import.py [--files 5000] [--seed 0] [--only NUMBER]

Changes know what a file consists of: bytes, the members of an archive, JSON, protobuf fields, the text of a graph.
A file's number fixes its content; `--only` runs a single one, to look at what it ended in.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  # the path is set above

from tests.frontend.fuzzing import outcome, seeds  # noqa: E402

SLOWEST_SECONDS = 30.0  # of the processor, for one file
HANG_SECONDS = 300  # of the clock: then the stack is printed, and the run ends
MOST_MEMORY_MB = 2048


def main() -> int:
    """Print how the files ended, the slowest one and the memory; the exit code is 1 if one crashed or took too much."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run a single file, and let its exception through")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    crashes, slowest, slow_file = 0, 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = seeds(folder)
        for number in range(options.files) if options.only is None else [options.only]:
            rng = random.Random(f"{options.seed}.{number}")
            seed = originals[number % len(originals)]
            content = rng.choice(seed.mutations)(seed.content, rng)
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
            start = time.process_time()
            try:
                found = outcome(content, seed.suffix, folder)
            except Exception as error:  # whatever it is, it must not be there, and the others go on
                if options.only is not None:
                    raise
                crashes += 1
                found = f"CRASH {type(error).__name__}"
                print(f"file {number} ({seed.suffix}): {type(error).__name__}: {str(error)[:200]}", flush=True)
            seconds = time.process_time() - start
            outcomes[seed.suffix][found] += 1
            if seconds > slowest:
                slowest, slow_file = seconds, number
    faulthandler.cancel_dump_traceback_later()
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for suffix, counts in sorted(outcomes.items()):
        print(f"{suffix:7}{counts.total():>6} files: {dict(counts.most_common())}")
    print(f"{crashes} crashes, slowest file {slow_file}: {slowest:.1f} s, peak memory {memory_mb:.0f} MB")
    return 1 if crashes or slowest > SLOWEST_SECONDS or memory_mb > MOST_MEMORY_MB else 0


if __name__ == "__main__":
    sys.exit(main())
