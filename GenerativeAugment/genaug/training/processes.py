"""Several processes for one training.

Each device is driven by a process of its own. Fabric starts them by running the first one's command again, so that
command is `python -m genaug.training` and not whatever process, a warm worker perhaps, was asked for the training.
"""

from __future__ import annotations

import sys
from pathlib import Path

from genaug.parameters import TrainingOptions
from genaug.processes import run_command
from genaug.progress import Reporter

LOG = "processes.log"
"""What the processes print, in the training folder."""


def train_in_processes(
    folder: Path,
    output: Path,
    options: TrainingOptions,
    device: str,
    reporter: Reporter,
    *,
    half: bool = False,
    title: str | None = None,
    note: str = "",
) -> None:
    """Do what `run.train_here` does in as many processes as `options.devices` says.

    Raises:
        GenaugError: what the training raised, in whichever process.
        RuntimeError: when a process ended without a word; the log's last lines are in the message.
    """
    command = [sys.executable, "-m", "genaug.training", str(folder.resolve()), str(output.resolve()), "--attended"]
    command += ["--device", device, "--options", options.model_dump_json(), f"--note={note}"]
    command += [*(["--half"] if half else []), *([f"--title={title}"] if title is not None else [])]
    run_command(command, folder / LOG, reporter)
