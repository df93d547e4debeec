"""A measurement in a process of its own, whose peak memory is then its own too.

outcome = in_child("benchmarks.performance.decode:ours", size=[64, 64, 64])
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from typing import Any

from genaug.jobs.memory import PeakMemory
from genaug.strict import Strict

from benchmarks.data import ROOT


class Outcome(Strict):
    """What a child did.

    Attributes:
        seconds: of the function, without start and imports.
        peak_bytes: largest resident set of the process.
        value: what the function gave back, as JSON.
    """

    seconds: float
    peak_bytes: int
    value: Any


def in_child(function: str, threads: int | None = None, **arguments: Any) -> Outcome:
    """Run `module:function` with JSON arguments in a fresh interpreter.

    Args:
        function: its module and name; what it gives back must be JSON.
        threads: torch may use; as many as here when None.
        arguments: of the function.

    Raises:
        subprocess.CalledProcessError: the child failed; its last words are on the standard error.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(threads)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.performance.child", function, json.dumps(arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return Outcome.model_validate_json(done.stdout.splitlines()[-1])


def _main() -> None:
    module, _, name = sys.argv[1].partition(":")
    function = getattr(importlib.import_module(module), name)
    with PeakMemory() as memory:
        started = time.perf_counter()
        value = function(**json.loads(sys.argv[2]))
        seconds = time.perf_counter() - started
        memory.measure()
    print(Outcome(seconds=seconds, peak_bytes=memory.rss_bytes, value=value).model_dump_json())


if __name__ == "__main__":
    _main()
