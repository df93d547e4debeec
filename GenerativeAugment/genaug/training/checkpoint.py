"""Checkpoints: written aside and renamed, read without running anything that is stored in them."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from genaug.errors import GenaugError, Reason
from genaug.files import write_bytes


def checkpoint_path(folder: Path, stage: str) -> Path:
    """Where a training folder keeps a stage's checkpoint."""
    return folder / f"{stage}.checkpoint.pt"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values atomically: an interrupted write leaves the checkpoint before it.

    Raises:
        GenaugError: DISK_FULL, NO_PERMISSION.
    """
    # Not straight to the file, where torch would turn what the system says into a RuntimeError without its number.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read with `weights_only`, so that a checkpoint from elsewhere cannot run code.

    Onto the CPU, from where what loads it takes each tensor to its own place: on a GPU the whole of it would lie beside
    what it is copied into, and the optimiser's counters, which stay where they were read, would be waited for there in
    every step.

    Raises:
        GenaugError: UNREADABLE_FILE.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError) as error:
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            path,
            f"a damaged file ({type(error).__name__} on reading it)",
            "a checkpoint of this training",
            "Remove the file to train this stage again from its beginning.",
        ) from error
    return state
