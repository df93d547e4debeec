"""The advice follows the data, and says why."""

import pytest
from genaug.errors import GenaugError, Reason
from genaug.fingerprint import Channel, Fingerprint, Label, Spread
from genaug.recommend import recommend


def spread(value: float) -> Spread:
    return Spread(minimum=value, median=value, maximum=value)


def print_of(
    cases=200, size=(96, 96, 96), labelled=0, share=0.05, labels=1, channels=("MR",), pairing="single", **more
):
    axis = tuple(spread(value) for value in size)
    return Fingerprint(
        **{
            "name": "x",
            "manifest_sha256": "0",
            "cases": cases,
            "patients": cases,
            "real": cases,
            "synthetic": 0,
            "parts": {"train": cases, "validation": 5, "test": 5},
            "labelled": labelled,
            "dimension": 2 if size[2] == 1 else 3,
            "pairing": pairing,
            "channels": {
                f"channel{number}": Channel(
                    modality=modality,
                    cases=cases,
                    spacing_mm=axis,
                    size=axis,
                    extent_mm=axis,
                    orientations={},
                    voxel_types={},
                    intensity={},
                )
                for number, modality in enumerate(channels)
            },
            "labels": {
                value: Label(name="x", cases=labelled, volume_mm3=spread(9), share=spread(share / labels))
                for value in range(1, labels + 1)
            }
            if labelled
            else {},
            "foreground_share": spread(share) if labelled else None,
            "covariates": {},
            **more,
        }
    )


@pytest.mark.parametrize(
    "facts, device, task, recipe",
    [
        ({"cases": 150}, "cuda", None, "ldm"),
        ({"cases": 150, "size": (256, 256, 1)}, "cuda:1", None, "ldm"),
        ({"cases": 150, "size": (128, 128, 1)}, "cuda", None, "ddpm"),
        ({"cases": 150, "size": (128, 128, 1)}, "cpu", None, "ldm"),
        ({"cases": 150, "size": (64, 64, 1)}, "cpu", None, "ddpm"),
        ({"cases": 70}, "cpu", None, "vae"),
        ({"cases": 49}, "cuda", None, "vae"),
        ({"cases": 49, "labelled": 3}, "cuda", None, "lesion-mixing"),
        ({"cases": 49, "labelled": 3, "share": 0.6}, "cuda", None, "label-to-image"),
        ({"cases": 49, "labelled": 3, "labels": 40}, "cuda", None, "label-to-image"),
        ({"cases": 36, "channels": ("MR", "CT"), "pairing": "paired"}, "cpu", None, "pix2pix"),
        ({"cases": 150, "channels": ("MR", "MR"), "pairing": "paired"}, "cuda", None, "ldm"),
        ({"cases": 150, "channels": ("MR", "MR"), "pairing": "paired"}, "cuda", "translation", "pix2pix"),
        ({"cases": 5, "labelled": 1}, "cpu", "lesions", "lesion-mixing"),
        ({"cases": 150, "labelled": 150}, "cuda", "conditioned", "spade"),
        ({"cases": 150, "labelled": 4}, "cuda", "conditioned", "label-to-image"),
    ],
)
def test_the_recipe_follows_the_data(facts, device, task, recipe):
    advice = recommend(print_of(**facts), device, task)
    assert advice.recipe == recipe and advice.reason
    assert recipe not in advice.alternatives


@pytest.mark.parametrize("cases, labelled", [(1, 0), (30, 0), (30, 30), (49, 1)])
def test_too_few_cases_are_said_with_their_number(cases, labelled):
    advice = recommend(print_of(cases=cases, labelled=labelled))
    assert not {"ldm", "ddpm"} & {advice.recipe, *advice.alternatives}
    text = f"{advice.reason} {' '.join(advice.warnings)}"
    assert "too few cases: use lesion mixing or label-to-image instead of diffusion" in text
    assert f"({cases} of at least 50)" in text


def test_enough_cases_are_not_called_too_few():
    advice = recommend(print_of(cases=50, labelled=50))
    assert "too few" not in f"{advice.reason} {' '.join(advice.warnings)}"


def test_only_the_train_part_counts():
    parts = {"train": 40, "validation": 60, "test": 60}
    assert "(40 of" in " ".join(recommend(print_of(cases=160, parts=parts)).warnings)


def test_warnings_name_what_to_beware_of():
    whole = {"train": 150, "validation": 0, "test": 0}
    assert any("split it by patient" in text for text in recommend(print_of(cases=150, parts=whole)).warnings)
    assert any("copy check" in text for text in recommend(print_of(cases=999), "cuda").warnings)
    assert not any("copy check" in text for text in recommend(print_of(cases=1000), "cuda").warnings)
    large = print_of(size=(256, 256, 256))
    assert any("CPU" in text for text in recommend(large, "cpu").warnings)
    assert not any("CPU" in text for text in recommend(large, "cuda").warnings)
    assert any("7 of 200" in text for text in recommend(print_of(synthetic=7)).warnings)
    assert any("19 " in text or "20 cases" in text for text in recommend(print_of(cases=19)).warnings)


@pytest.mark.parametrize(
    "facts, task, reason",
    [
        ({}, "translation", Reason.UNPAIRED),
        ({"channels": ("MR", "CT"), "pairing": "unpaired"}, "translation", Reason.UNPAIRED),
        ({}, "lesions", Reason.UNPAIRED),
        ({}, "conditioned", Reason.UNPAIRED),
        ({}, "paint", Reason.BAD_PARAMETER),
    ],
)
def test_what_the_data_cannot_support_is_refused(facts, task, reason):
    with pytest.raises(GenaugError) as caught:
        recommend(print_of(**facts), task=task)
    assert caught.value.reason is reason
