"""`make screenshots`: there is a story for every panel, and a picture shows the panel and the views."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


def test_every_panel_has_a_story(slicerHost):
    from GenerativeAugmentLib.panels import PANELS
    from screenshots import STORIES

    assert set(STORIES) == {panel.name for panel in PANELS}


def test_a_picture_shows_the_panel_and_the_case_beside_it(moduleWidget, tmp_path, monkeypatch):
    import screenshots
    from PySide6 import QtGui
    from slicerHost.views import Views, canDraw

    if not canDraw():
        pytest.skip("VTK cannot draw off screen here: it needs EGL (libegl1, libgl1-mesa-dri) or OSMesa")
    monkeypatch.setattr(screenshots, "STUDY", tmp_path)
    widget = moduleWidget()
    views = Views(200, 200, threeD=True)
    studio = screenshots.Studio(widget, widget.parent, views, small=True)
    studio.shell.selectPanel("review")
    assert list(screenshots.review(studio)) == ["review"]
    assert "1 accepted, 1 rejected" in studio.ui.countsLabel.text
    picture = studio.picture().convertToFormat(QtGui.QImage.Format.Format_RGB888)
    pixels = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), -1)
    pixels = pixels[:, : 3 * picture.width()].reshape(picture.height(), picture.width(), 3).astype(int)
    assert picture.width() == screenshots.WIDTH and picture.height() >= screenshots.LEAST_HEIGHT
    assert pixels[:, : screenshots.PANEL_WIDTH].std() > 10
    middle = picture.height() // 2
    axial = pixels[screenshots.BAR : middle, screenshots.PANEL_WIDTH : screenshots.WIDTH // 2 + 200]
    brain = axial.max(axis=2) > 60
    assert 0.2 < brain.mean() < 0.8
    # The mask is drawn in color.
    assert (axial.max(axis=2) - axial.min(axis=2) > 40).sum() > 200
    views.close()
