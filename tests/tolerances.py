"""The one table of tolerances, and the comparison that uses it."""

from __future__ import annotations

import torch
from torch import Tensor

#: Largest error allowed, relative to the largest expected magnitude (at least 1), against a float64 reference of the
#: same inputs. Half types: four units in the last place of a result whose derivative was taken from a rounded output;
#: float32 and float64: eight, and what a sum over a test's few thousand elements adds.
RELATIVE_ERROR = {
    torch.float64: 1e-13,
    torch.float32: 1e-6,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}

#: The same for Winograd's convolution in float32, whose transforms amplify the rounding of what is between them. It is
#: what docs/winograd.md promises; the largest error seen there is 3e-6.
WINOGRAD_ERROR = 4e-6


def assert_close(
    actual: Tensor, expected: Tensor, dtype: torch.dtype, what: str = "result", error: float | None = None
) -> None:
    """Fail unless `actual` is within the table's error of `expected` and has NaN and infinity where it has them.

    `error` is the one that an op documents in place of the table's.
    """
    assert actual.shape == expected.shape, f"{what}: shape {list(actual.shape)}, expected {list(expected.shape)}"
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    finite = expected.isfinite()
    torch.testing.assert_close(actual[~finite], expected[~finite], equal_nan=True, rtol=0, atol=0, msg=what)
    if not finite.any():
        return
    deviation = (actual - expected)[finite].abs()
    scale = max(1.0, expected[finite].abs().max().item())
    bound = (RELATIVE_ERROR[dtype] if error is None else error) * scale
    worst = deviation.max().item()
    assert worst <= bound, f"{what}: error {worst:.3e} exceeds {bound:.3e} ({dtype}, largest magnitude {scale:.3g})"
