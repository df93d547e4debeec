"""The collector is off during an import and as it was afterwards, also when the import fails."""

from __future__ import annotations

import gc

import pytest
from genaug.importing import collector_off


def test_the_collector_is_as_it_was_afterwards() -> None:
    assert gc.isenabled()
    with pytest.raises(ImportError), collector_off():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_off():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
