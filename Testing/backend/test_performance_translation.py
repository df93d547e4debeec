"""The two ways of the performance row about translation give the same volume."""

from benchmarks.performance import translation


def test_both_ways_translate_alike():
    window = (32, 32, 48)
    system = translation.translator(window, (4, 4, 4, 4, 4, 4))
    volume = translation.phantom((56, 32, 48))
    found = [way(system, volume, window)() for way in (translation.ours, translation.peer)]
    assert translation.difference(*found)["largest"] < translation.ALLOWED
    assert found[0].std() > 0.01
