"""The inputs of symmetric_eigh, whose results are unique once they are put together to roots."""

from __future__ import annotations

from tests.samples.sqrtm_psd import samples

__all__ = ["SAMPLES"]

SAMPLES = samples("symmetric_eigh")
