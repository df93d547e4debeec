"""Sentences as a condition: what a text encoder on disk makes of them.

The encoder is a folder in the format of sentence-transformers, named by the user and never fetched; the package that
reads it is an optional dependency (`pip install genaug[text]`). A model knows its encoder by the hash of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genaug.covariates import Covariate, Value
from genaug.errors import GenaugError, Reason
from genaug.files import sha256_file

WEIGHTS = "model.safetensors"
"""The one file format for weights that cannot hold code."""


class TextReader:
    """Reads the texts among a case's covariates.

    Args:
        encoder: folder of the encoder; opened at the first text.
    """

    def __init__(self, encoder: Path | None) -> None:
        self._folder = encoder
        self._model: Any = None

    def read(self, covariates: Sequence[Covariate], values: Mapping[str, Value]) -> dict[str, npt.NDArray[np.float32]]:
        """Covariate name to (width,), for every text of `covariates` that `values` has.

        Raises:
            GenaugError: BAD_PARAMETER without an encoder, or with another one than the model's; MISSING_DEPENDENCY.
        """
        asked = [one for one in covariates if one.kind == "text" and one.name in values]
        return {one.name: self._encode(one, str(values[one.name])) for one in asked}

    def _encode(self, covariate: Covariate, text: str) -> npt.NDArray[np.float32]:
        folder = _require_encoder(self._folder)
        if encoder_sha256(folder) != covariate.encoder:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                folder,
                f"an encoder with weights {encoder_sha256(folder)[:16]}",
                f"the one this model was trained with, {covariate.encoder[:16]}",
                "Give the folder of that encoder.",
            )
        if self._model is None:
            self._model = _open(folder)
        found = self._model.encode(text, normalize_embeddings=True, show_progress_bar=False)
        vector: npt.NDArray[np.float32] = np.asarray(found, dtype=np.float32)
        # Unit length would leave every number near zero; this way each has about unit variance.
        return vector * np.float32(np.sqrt(len(vector)))


def text_covariate(name: str | None, encoder: Path | None) -> Covariate:
    """The covariate `name` as a text that `encoder` reads.

    Raises:
        GenaugError: BAD_PARAMETER, MISSING_DEPENDENCY.
    """
    if name is None:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "text",
            "none",
            "the covariate that holds the sentences the recipe is conditioned on",
            "Name it, for instance --text report.",
        )
    folder = _require_encoder(encoder)
    width = len(_open(folder).encode("", show_progress_bar=False))
    return Covariate(name=name, kind="text", encoder=encoder_sha256(folder), width=width)


def encoder_sha256(folder: Path) -> str:
    """SHA-256 of the encoder's weights."""
    return sha256_file(folder / WEIGHTS)


def _require_encoder(folder: Path | None) -> Path:
    if folder is None or not (folder / WEIGHTS).is_file():
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "text_encoder",
            "none" if folder is None else f"{folder}, which holds no {WEIGHTS}",
            "the folder of a sentence-transformers model",
            "Give it with --text-encoder; any sentence-transformers model with safetensors weights will do.",
        )
    return folder


def _open(folder: Path) -> Any:
    if find_spec("sentence_transformers") is None:
        raise GenaugError(
            Reason.MISSING_DEPENDENCY,
            "sentence_transformers",
            "not installed",
            "the package that reads text encoders",
            "Install it: pip install genaug[text].",
        )
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, trust_remote_code=False)
