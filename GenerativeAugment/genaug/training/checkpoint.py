"""Checkpoints: written aside and renamed, read without running anything that is stored in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from genaug.errors import GenaugError, Reason
from genaug.files import writing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values atomically: an interrupted write leaves the checkpoint before it."""
    with writing(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read with `weights_only`, so that a checkpoint from elsewhere cannot run code.

    Raises:
        GenaugError: UNREADABLE_FILE.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            path,
            str(error).splitlines()[0],
            "a checkpoint of this training",
            "Remove the file to train this stage again from its beginning.",
        ) from error
    return state
