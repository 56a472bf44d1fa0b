"""Real data sets behind one small interface; ``open_data`` finds one by name or path."""

from __future__ import annotations

from .base import ArrayData, DataError, ImageData
from .catalogue import available, open_data, open_pairs
from .domains import AlternatingDomains
from .emoji import open_emoji
from .paired import PairedData
from .sampler import Sampler
from .split import hold_out

__all__ = [
    "AlternatingDomains",
    "ArrayData",
    "DataError",
    "ImageData",
    "PairedData",
    "Sampler",
    "available",
    "hold_out",
    "open_data",
    "open_emoji",
    "open_pairs",
]
