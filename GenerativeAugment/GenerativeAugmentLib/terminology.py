"""What a segment is called, shown in and coded as.

Names of labels come from cohorts, where people write "WM", "white_matter" or "white matter". The codes are SNOMED CT
concepts under the two contexts that come with Slicer; a name that says nothing known becomes the generic tissue, with a
color of its own so that neighbors can be told apart.
"""

import re
from dataclasses import dataclass

GENERAL = "Segmentation category and type - 3D Slicer General Anatomy list"
MASTER = "Segmentation category and type - DICOM master list"
_ANATOMY = "Anatomic codes - DICOM master list"

_STRUCTURE = "SCT^123037004^Anatomical Structure"
_ALTERED = "SCT^49755003^Morphologically Altered Structure"
_TISSUE = "SCT^85756007^Tissue"
_SUBSTANCE = "SCT^91720002^Body Substance"


@dataclass(frozen=True)
class SegmentStyle:
    """How one label is shown.

    Attributes:
        terminology: serialized terminology entry, the value of a segment's "TerminologyEntry" tag.
        color: red, green, blue, each 0 to 1.
        known: False for the generic tissue.
    """

    terminology: str
    color: tuple[float, float, float]
    known: bool = True


_CONCEPTS = (
    # Context, category, type, color, names in lower case with single spaces and in American spelling.
    (GENERAL, _STRUCTURE, "SCT^389080008^White Matter", (250, 250, 210), ("white matter", "wm")),
    (
        GENERAL,
        _STRUCTURE,
        "SCT^389081007^Gray Matter",
        (200, 200, 235),
        ("gray matter", "gm", "cortical gray matter", "deep gray matter", "cortex"),
    ),
    (MASTER, _STRUCTURE, "SCT^65216001^Cerebrospinal Fluid", (85, 188, 255), ("cerebrospinal fluid", "csf")),
    (GENERAL, _STRUCTURE, "SCT^35764002^Brain ventricle", (88, 106, 215), ("ventricle", "ventricles")),
    (MASTER, _STRUCTURE, "SCT^66720007^Lateral ventricle", (88, 106, 215), ("lateral ventricle", "lateral ventricles")),
    (GENERAL, _STRUCTURE, "SCT^12738006^Brain", (250, 250, 225), ("brain",)),
    (MASTER, _STRUCTURE, "SCT^119238007^Brain stem", (145, 92, 109), ("brain stem", "brainstem")),
    (MASTER, _STRUCTURE, "SCT^113305005^Cerebellum", (194, 195, 164), ("cerebellum",)),
    (MASTER, _STRUCTURE, "SCT^42695009^Thalamus", (166, 113, 137), ("thalamus",)),
    (MASTER, _STRUCTURE, "SCT^5366008^Hippocampus", (220, 200, 40), ("hippocampus",)),
    (MASTER, _STRUCTURE, "SCT^11000004^Caudate nucleus", (122, 186, 220), ("caudate", "caudate nucleus")),
    (MASTER, _STRUCTURE, "SCT^89278009^Putamen", (236, 13, 176), ("putamen",)),
    (MASTER, _STRUCTURE, "SCT^14738005^Globus pallidus", (13, 48, 255), ("pallidum", "globus pallidus")),
    (MASTER, _STRUCTURE, "SCT^4958002^Amygdala", (103, 255, 255), ("amygdala",)),
    (GENERAL, _STRUCTURE, "SCT^10200004^Liver", (221, 130, 101), ("liver",)),
    (GENERAL, _STRUCTURE, "SCT^39607008^Lung", (197, 165, 145), ("lung", "lungs")),
    (GENERAL, _TISSUE, "SCT^272673000^Bone", (241, 214, 145), ("bone", "skull")),
    (GENERAL, _TISSUE, "SCT^39937001^Skin", (177, 122, 101), ("skin", "scalp")),
    (GENERAL, _TISSUE, "SCT^71616004^Muscle", (192, 104, 88), ("muscle",)),
    (GENERAL, _TISSUE, "SCT^248300009^Body fat", (230, 220, 70), ("fat", "body fat")),
    (GENERAL, _SUBSTANCE, "SCT^74947009^Gas", (218, 255, 255), ("air", "gas")),
    (
        GENERAL,
        _ALTERED,
        "SCT^52988006^Lesion",
        (230, 60, 60),
        ("lesion", "lesions", "plaque", "plaques", "hyperintensity", "hyperintensities", "hypointensity"),
    ),
    (GENERAL, _ALTERED, "SCT^4147007^Mass", (144, 238, 144), ("mass",)),
    (MASTER, _ALTERED, "SCT^27925004^Nodule", (255, 170, 60), ("nodule", "nodules")),
    (MASTER, _ALTERED, "SCT^108369006^Neoplasm", (214, 90, 150), ("neoplasm", "tumor", "tumors")),
    (MASTER, _ALTERED, "SCT^14799000^Neoplasm, Secondary", (180, 70, 190), ("metastasis", "metastases")),
    (GENERAL, _ALTERED, "SCT^79654002^Edema", (140, 224, 228), ("edema",)),
    (GENERAL, _ALTERED, "SCT^367643001^Cyst", (205, 205, 100), ("cyst", "cysts")),
    (GENERAL, _ALTERED, "SCT^50960005^Hemorrhage", (188, 65, 28), ("hemorrhage", "bleeding")),
    (GENERAL, _ALTERED, "SCT^6574001^Necrosis", (216, 191, 216), ("necrosis", "necrotic core")),
)

_SIDES = {"left": "SCT^7771000^Left", "right": "SCT^24028007^Right"}
_SPELLINGS = {"grey": "gray", "tumour": "tumor", "tumours": "tumors", "oedema": "edema", "haemorrhage": "hemorrhage"}

_BY_NAME = {name: concept[:4] for concept in _CONCEPTS for name in concept[4]}
_ALTERED_NAMES = {name for concept in _CONCEPTS if concept[1] == _ALTERED for name in concept[4]}

_PALETTE = (
    (128, 174, 128),
    (111, 184, 210),
    (216, 101, 79),
    (183, 156, 220),
    (244, 214, 49),
    (0, 151, 206),
    (183, 214, 211),
    (152, 189, 207),
)
"""For tissues without a code; the first is Slicer's color of the generic tissue."""


def segmentStyle(name: str, value: int = 1) -> SegmentStyle:
    """Terminology and color of a label.

    Args:
        name: as the cohort calls it; upper and lower case, "_", "-" and British spelling make no difference. A side
            before or after it becomes the modifier. Any lesion, such as "white matter lesion", is coded as one.
        value: the label's value, which picks the color of an unknown tissue.
    """
    words = [_SPELLINGS.get(word, word) for word in re.split(r"[\s_\-/.,()]+", name.lower()) if word]
    side = next((_SIDES[word] for word in words if word in _SIDES), "^^")
    plain = " ".join(word for word in words if word not in _SIDES)
    concept = _BY_NAME.get(plain)
    if concept is None:
        # "White matter lesion" is a lesion whatever it lies in, so the altered structures are looked for in any word.
        concept = next((_BY_NAME[word] for word in reversed(words) if word in _ALTERED_NAMES), None)
    if concept is None:
        return SegmentStyle(_serialized(GENERAL, _TISSUE, _TISSUE, "^^"), _unit(_PALETTE[(value - 1) % 8]), known=False)
    context, category, kind, color = concept
    return SegmentStyle(_serialized(context, category, kind, side), _unit(color))


def _serialized(context: str, category: str, kind: str, modifier: str) -> str:
    return "~".join((context, category, kind, modifier, _ANATOMY, "^^", "^^"))


def _unit(color: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = (channel / 255 for channel in color)
    return red, green, blue
