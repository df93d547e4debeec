"""Train what was planned in a folder, on one device or several: `python -m genaug.training FOLDER OUTPUT`.

This is the command that Fabric runs again for every further device. It writes what it does to stdout, one event a line
as `genaug worker` does; only the first process tells anything but its failure. Ctrl-C stops it at the next iteration,
with a checkpoint, from which the same command goes on.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import psutil
import torch

from genaug.jobs.events import EventReporter, Failed
from genaug.jobs.failures import explain
from genaug.parameters import TrainingOptions
from genaug.processes import end_all, stop_with_input, tell
from genaug.progress import Silent
from genaug.training.plan import TrainingPlan
from genaug.training.processes import LOG
from genaug.training.run import train_here


def main() -> None:
    """Run the command line and end the process, with code 0 when the package is written."""
    code = _run(_parse())
    sys.stderr.flush()
    # At once: after a failure an orderly exit would wait for processes that wait for this one.
    os._exit(code)


def _run(told: argparse.Namespace) -> int:
    # Fabric tells every process but the first which one it is.
    first = "LOCAL_RANK" not in os.environ
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # The first one tells the others to stop when it does.
        signal.signal(number, lambda *_: stop.set() if first else None)
    if first and told.attended:
        stop_with_input(stop)
    events = EventReporter(tell, stop=stop)
    try:
        options = TrainingPlan.read(told.folder).options
        if told.options is not None:
            options = TrainingOptions.model_validate_json(told.options)
        reporter = events if first else Silent()
        train_here(
            told.folder,
            told.output,
            options,
            told.device,
            reporter,
            half=told.half,
            title=told.title,
            note=told.note,
        )
        events.flush()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    except BaseException as error:
        traceback.print_exc()
        tell(Failed.of(explain(error, told.folder, told.folder / LOG)))
        if first:
            _end_the_others()
        return 1
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m genaug.training", description=__doc__)
    parser.add_argument("folder", type=Path, help="training folder that genaug train planned")
    parser.add_argument("output", type=Path, help="package folder to write")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--options", help="TrainingOptions in JSON; the plan's when not given")
    parser.add_argument("--half", action="store_true", help="store the weights as float16")
    parser.add_argument("--title", help="of the package")
    parser.add_argument("--note", default="", help="first paragraph of the model card")
    parser.add_argument("--attended", action="store_true", help="stop when stdin is closed")
    return parser.parse_args()


def _end_the_others() -> None:
    end_all(psutil.Process().children(recursive=True))


if __name__ == "__main__":
    main()
