"""A range of numbers, for range sliders."""

from .packs import parameterPack


@parameterPack
class FloatRange:
    """minimum <= maximum, always."""

    _minimum: float
    _maximum: float

    def __init__(self, minimum: float = 0, maximum: float = 0):
        self.setRange(minimum, maximum)

    def setRange(self, minimum: float, maximum: float) -> None:
        if minimum > maximum:
            raise ValueError(f"A range needs minimum <= maximum, not {minimum} and {maximum}")
        # In this order the range is never the wrong way round, not even in between.
        for name, value in (("_minimum", min(minimum, self._maximum)), ("_maximum", maximum), ("_minimum", minimum)):
            setattr(self, name, value)

    @property
    def minimum(self) -> float:
        return self._minimum

    @minimum.setter
    def minimum(self, value: float) -> None:
        self.setRange(value, self._maximum)

    @property
    def maximum(self) -> float:
        return self._maximum

    @maximum.setter
    def maximum(self, value: float) -> None:
        self.setRange(self._minimum, value)
