"""Whether a side computes the right thing, decided before it is timed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["TOLERANCE", "disagreement"]

#: Largest deviation allowed, relative to the largest magnitude of the expected tensor. A few roundings
#: of each type (the unit roundoffs are 1e-16, 6e-8, 5e-4 and 4e-3), more for float32 and float64 because
#: sums over a whole feature map are compared too; half types accumulate those in float32.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}


def _deviation(given: Tensor | None, expected: Tensor | None) -> float:
    # A gradient that autograd leaves undefined is a zero.
    if given is None and expected is None:
        return 0.0
    if given is None:
        assert expected is not None
        given = torch.zeros_like(expected)
    if expected is None:
        expected = torch.zeros_like(given)
    if given.shape != expected.shape:
        return float("inf")
    if expected.numel() == 0:
        return 0.0
    expected = expected.detach()
    scale = float(expected.abs().max())
    return float((given.detach().cpu().double() - expected.cpu().double()).abs().max()) / (scale or 1.0)


def disagreement(
    given: Sequence[Tensor | None], expected: Sequence[Tensor | None], dtype: torch.dtype
) -> tuple[float, str | None]:
    """Largest relative deviation of the results, and what is wrong where it exceeds the tolerance.

    Parameters
    ----------
    given, expected : sequences of Tensor or None
        Outputs, then gradients; `expected` in float64.
    dtype : torch.dtype
        Of the computation.

    Returns
    -------
    tuple of float and (str or None)
        None where the results agree. NaN never agrees.
    """
    if len(given) != len(expected):
        return float("inf"), f"gave {len(given)} tensors, expected {len(expected)}"
    tolerance, largest, wrong = TOLERANCE[dtype], 0.0, None
    for i, (a, b) in enumerate(zip(given, expected, strict=True)):
        deviation = _deviation(a, b)
        if not deviation <= largest:
            largest = deviation
        if wrong is None and not deviation <= tolerance:
            wrong = f"result {i} is off by {deviation:.1e}, allowed {tolerance:.0e}"
    return largest, wrong
