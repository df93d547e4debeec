"""What a training's previews show."""

import io

import numpy as np
from genaug.training.preview import HEADING, NARROWEST, drawn
from PIL import Image


def test_every_row_of_a_preview_is_named_and_keeps_its_pixels():
    rng = np.random.default_rng(0)
    rows = {name: rng.uniform(-1, 1, (40, 150)).astype(np.float32) for name in ("REAL", "SYNTHETIC")}
    with io.BytesIO() as written:
        drawn(rows).savefig(written, format="png", facecolor="black")
        picture = np.asarray(Image.open(written).convert("L"), dtype=float)
    times = -(-NARROWEST // 150)
    assert picture.shape == (2 * (HEADING + times * 40), times * 150)
    for place, row in enumerate(rows.values()):
        top = place * (HEADING + times * 40)
        heading = picture[top : top + HEADING]
        assert heading.max() > 200 and np.median(heading) == 0, "its name, white on black"
        shown = picture[top + HEADING : top + HEADING + times * 40][times // 2 :: times, times // 2 :: times]
        np.testing.assert_allclose(shown, 127.5 * (row + 1), atol=2)
