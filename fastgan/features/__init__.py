"""The networks whose features the metrics compare; ``get`` finds one by its name."""

from __future__ import annotations

from .base import FeatureNetwork
from .catalogue import available, get

__all__ = ["FeatureNetwork", "available", "get"]
