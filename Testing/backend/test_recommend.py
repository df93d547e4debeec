"""The advice follows the data, and says why."""

import pytest
from genaug.errors import GenaugError, Reason
from genaug.fingerprint import Channel, Fingerprint, Label, Spread
from genaug.recommend import recommend


def spread(value: float) -> Spread:
    return Spread(minimum=value, median=value, maximum=value)


def label(
    cases: int, share: float, name: str = "x", volume: tuple[float, float, float] = (9, 9, 9), moved: float = 0.0
) -> Label:
    low, middle, high = volume
    return Label(
        name=name,
        cases=cases,
        volume_mm3=Spread(minimum=low, median=middle, maximum=high),
        share=spread(share),
        place=(spread(0.5), Spread(minimum=0.5 - moved, median=0.5, maximum=0.5), spread(0.5)),
    )


def print_of(
    cases=200, size=(96, 96, 96), labelled=0, share=0.05, labels=1, channels=("MR",), pairing="single", **more
):
    """`labels` is their number, each alike in all labelled cases, or what the fingerprint says of them."""
    axis = tuple(spread(value) for value in size)
    if isinstance(labels, int):
        labels = {value: label(labelled, share / labels) for value in range(1, labels + 1)} if labelled else {}
    return Fingerprint(
        **{
            "name": "x",
            "manifest_sha256": "0",
            "files_state": "0",
            "cases": cases,
            "patients": cases,
            "real": cases,
            "synthetic": 0,
            "parts": {"train": cases, "validation": 5, "test": 5},
            "labelled": labelled,
            "labelled_parts": {"train": labelled, "validation": 0, "test": 0},
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
            "labels": labels,
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
        ({"cases": 49}, "cuda", None, "rhvae"),
        ({"cases": 49, "labelled": 3}, "cuda", None, "carvemix"),
        ({"cases": 49, "labelled": 3, "share": 0.6}, "cuda", None, "label-to-image"),
        ({"cases": 49, "labelled": 3, "labels": 40}, "cuda", None, "label-to-image"),
        ({"cases": 36, "channels": ("MR", "CT"), "pairing": "paired"}, "cpu", None, "pix2pix"),
        ({"cases": 150, "channels": ("MR", "MR"), "pairing": "paired"}, "cuda", None, "ldm"),
        ({"cases": 150, "channels": ("MR", "MR"), "pairing": "paired"}, "cuda", "translation", "pix2pix"),
        ({"cases": 36, "channels": ("MR", "CT"), "pairing": "unpaired"}, "cpu", "translation", "cyclegan"),
        ({"cases": 5, "labelled": 1}, "cpu", "lesions", "carvemix"),
        ({"cases": 150, "labelled": 150}, "cuda", "conditioned", "spade"),
        ({"cases": 150, "labelled": 4}, "cuda", "conditioned", "label-to-image"),
    ],
)
def test_the_recipe_follows_the_data(facts, device, task, recipe):
    advice = recommend(print_of(**facts), device, task)
    assert advice.recipe == recipe and advice.reason
    assert recipe not in advice.alternatives


ANATOMY = {"volume": (1060, 1708, 2600), "moved": 0.14}
"""As the anterior hippocampus varies over 200 cases."""

FINDINGS = [
    {"volume": (929, 15482, 52200), "moved": 0.1},
    {"volume": (9, 9, 9), "moved": 0.3},
    {"volume": (9, 9, 150), "moved": 0.0},
]
"""As MS lesions vary in size, a tumour in place, and one more in size, by as little as is seen."""


@pytest.mark.parametrize("look", FINDINGS)
def test_labels_that_vary_are_findings(look):
    advice = recommend(print_of(cases=30, labelled=30, labels={1: label(30, 0.002, "lesion", **look)}))
    assert advice.recipe == "carvemix" and "Label lesion varies" in advice.reason
    assert not any("anatomy" in text for text in advice.warnings)


def test_a_label_that_many_cases_lack_is_a_finding():
    assert (
        "Label lesion varies"
        in recommend(print_of(cases=30, labelled=30, labels={1: label(20, 0.01, "lesion")})).reason
    )


def test_labels_that_look_alike_in_every_case_are_never_called_findings():
    """Small as they are: two labels of 5 % of the image, as the hippocampus has."""
    labels = {value: label(30, 0.025, name, **ANATOMY) for value, name in ((1, "anterior"), (2, "posterior"))}
    advice = recommend(print_of(cases=30, labelled=30, labels=labels))
    assert advice.recipe == "rhvae" and "vae" in advice.alternatives
    assert "carvemix" not in advice.alternatives
    assert "5%" in advice.alternatives["label-to-image"]
    assert any("Labels anterior, posterior look like anatomy" in text for text in advice.warnings)
    lesions = recommend(print_of(cases=30, labelled=30, labels=labels), task="lesions")
    assert any("carving would take it for a lesion" in text for text in lesions.warnings)


def test_an_organ_and_its_tumour_are_told_apart():
    labels = {1: label(30, 0.3, "liver", **ANATOMY), 2: label(18, 0.01, "tumour", **FINDINGS[0])}
    advice = recommend(print_of(cases=30, labelled=30, share=0.3, labels=labels))
    assert advice.recipe == "label-to-image" and "30%" in advice.reason and "2 labels" in advice.reason
    assert advice.alternatives["carvemix"].count("tumour") == 1 and "liver" not in advice.alternatives["carvemix"]


def test_a_small_region_among_many_that_varies_is_no_finding():
    labels = {value: label(30, 0.01, f"region {value}", **ANATOMY) for value in range(1, 20)}
    labels[20] = label(30, 0.0001, "tip of a ventricle", volume=(6, 22, 138))
    advice = recommend(print_of(cases=30, labelled=30, labels=labels))
    assert advice.recipe == "label-to-image"
    assert "carvemix" not in advice.alternatives


def test_label_maps_of_held_out_patients_are_no_data():
    held_out = {"train": 4, "validation": 0, "test": 96}
    advice = recommend(print_of(cases=4, labelled=100, labelled_parts=held_out), task="conditioned")
    assert advice.recipe == "label-to-image" and "4 label maps" in advice.reason
    none = {**held_out, "train": 0}
    assert recommend(print_of(cases=4, labelled=96, share=0.6, labelled_parts=none)).recipe == "rhvae"
    with pytest.raises(GenaugError, match="no label map in the train part"):
        recommend(print_of(cases=4, labelled=96, labelled_parts=none), task="lesions")


@pytest.mark.parametrize("labelled", [1, 4])
def test_too_few_label_maps_to_tell_are_said_so(labelled):
    advice = recommend(print_of(cases=30, labelled=labelled, labels={1: label(labelled, 0.02, "thing")}))
    assert f"cannot be told from {labelled} of them" in advice.reason
    assert not any("anatomy" in text for text in advice.warnings)


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


def test_a_cohort_that_is_held_out_as_a_whole_is_told_so_first():
    """It can be described all the same."""
    held_out = {"train": 0, "validation": 0, "test": 200}
    assert recommend(print_of(parts=held_out)).warnings[0].startswith("No case is in the train part")
    assert not any("train part" in text for text in recommend(print_of(cases=1)).warnings)


def test_warnings_name_what_to_beware_of():
    whole = {"train": 150, "validation": 0, "test": 0}
    assert any("split it by patient" in text for text in recommend(print_of(cases=150, parts=whole)).warnings)
    assert any("copy check" in text for text in recommend(print_of(cases=999), "cuda").warnings)
    assert not any("copy check" in text for text in recommend(print_of(cases=1000), "cuda").warnings)
    large = print_of(size=(256, 256, 256))
    assert any("CPU" in text for text in recommend(large, "cpu").warnings)
    assert not any("CPU" in text for text in recommend(large, "cuda").warnings)
    assert any("all 9 of them" in text for text in recommend(print_of(labelled=9, labels={})).warnings)
    assert not any("empty" in text for text in recommend(print_of(labelled=9)).warnings)
    assert any("7 of 200" in text for text in recommend(print_of(synthetic=7)).warnings)
    assert any("19 " in text or "20 cases" in text for text in recommend(print_of(cases=19)).warnings)


@pytest.mark.parametrize(
    "facts, task, reason",
    [
        ({}, "translation", Reason.UNPAIRED),
        ({}, "lesions", Reason.UNPAIRED),
        ({}, "conditioned", Reason.UNPAIRED),
        ({}, "paint", Reason.BAD_PARAMETER),
    ],
)
def test_what_the_data_cannot_support_is_refused(facts, task, reason):
    with pytest.raises(GenaugError) as caught:
        recommend(print_of(**facts), task=task)
    assert caught.value.reason is reason


def lacking(held: tuple[int, ...], cases: int) -> Fingerprint:
    found = print_of(cases=cases, channels=("MR",) * len(held), pairing="unpaired")
    channels = {
        name: channel.model_copy(update={"cases": count})
        for (name, channel), count in zip(found.channels.items(), held, strict=True)
    }
    return found.model_copy(update={"channels": channels})


@pytest.mark.parametrize(
    ("held", "recipe"),
    [((40, 30, 35), "mm-gan"), ((40, 40, 40), "cyclegan"), ((20, 10, 10), "cyclegan"), ((30, 20), "cyclegan")],
)
def test_several_sources_of_which_cases_lack_some_are_told_from_unpaired_ones(held, recipe):
    """One is missing here and there; all are there, so not on one grid; hardly two of a case; only two at all."""
    advice = recommend(lacking(held, 40), task="translation")
    assert advice.recipe == recipe
    assert recipe == "cyclegan" or "cyclegan" in advice.alternatives


def test_several_paired_channels_may_all_be_sources():
    advice = recommend(print_of(channels=("MR", "MR", "MR"), pairing="paired"), task="translation")
    assert advice.recipe == "pix2pix" and "mustgan" in advice.alternatives
    assert "mustgan" not in recommend(print_of(channels=("MR", "CT"), pairing="paired")).alternatives


def test_every_recommended_method_exists():
    from genaug.methods import list_methods
    from genaug.recommend import Recipe

    assert set(Recipe.__args__) <= {method.name for method in list_methods()}
