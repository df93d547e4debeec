"""`make slicer-demo` in its short form."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


def test_the_demo_does_all_it_says_and_leaves_a_scene(trained, moduleWidget, warmWorker, tmp_path, capsys):
    from slicer_demo import STEPS, Demo, runSteps

    # The translator is the one that comes with the extension: the tiny ones take no whole head.
    packages = {"synthesis": trained / "packages" / "vae"}
    logic = moduleWidget().logic
    warmWorker.lend(logic.jobs.runner)
    runSteps(Demo(logic, tmp_path, short=True, models=packages))
    warmWorker.takeBack(logic.jobs.runner)
    lines = capsys.readouterr().out.splitlines()
    assert [line[2:26].rstrip() for line in lines] == [title for title, _step in STEPS]
    assert (tmp_path / "scene.mrb").stat().st_size > 100_000


def test_a_wrong_step_ends_the_demo(slicerHost, tmp_path):
    from slicer_demo import Demo, DemoError, require

    assert Demo(None, tmp_path, True, {"synthesis": tmp_path}).model("synthesis") == tmp_path
    with pytest.raises(DemoError, match="nothing"):
        require(False, "nothing was done")
