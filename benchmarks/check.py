"""Whether a side computes the right thing, decided before it is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["TOLERANCE", "disagreement", "sum_error"]

#: Largest deviation allowed, relative to the largest magnitude of the expected tensor. A few roundings
#: of each type (the unit roundoffs are 1e-16, 6e-8, 5e-4 and 4e-3), more for float32 and float64 because
#: sums over a whole feature map are compared too; half types accumulate those in float32.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}


#: Standard deviations allowed to the rounding of a sum.
_DEVIATIONS = 6


def sum_error(cotangent: Tensor, terms: int, dtype: torch.dtype) -> float:
    """Largest error allowed to sums over all dimensions of `cotangent` but the second, made of so many `terms`.

    Parameters
    ----------
    cotangent : Tensor
        ``[N, C, ...]``, of random signs.
    terms : int
        Of each channel's sum: more than the cotangent has elements where it is spread over larger images before.
    dtype : torch.dtype
        Of the computation; half types accumulate in float32.

    Notes
    -----
    A sum in any order has the error Σ sₖδₖ, with partial sums sₖ and roundings δₖ of at most the unit roundoff u. For
    terms of random sign sₖ is about the norm of the terms so far, so that u · √terms · ‖cotangent‖ is a standard
    deviation of the error or more, and six of them a bound for all channels. The bound without an assumption about
    signs, u · terms · Σ|cotangent|, is wider by more than √terms. (N. Higham, T. Mary, "A New Approach to Probabilistic
    Rounding Error Analysis", SIAM J. Sci. Comput. 41 (2019).)
    """
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    norms = cotangent.double().transpose(0, 1).flatten(1).norm(dim=1)
    return _DEVIATIONS * torch.finfo(wide).eps / 2 * terms**0.5 * float(norms.max())


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
    given: Sequence[Tensor | None],
    expected: Sequence[Tensor | None],
    dtype: torch.dtype,
    errors: Mapping[int, float] | None = None,
) -> tuple[float, str | None]:
    """Largest relative deviation of the results, and what is wrong where it exceeds the tolerance.

    Parameters
    ----------
    given, expected : sequences of Tensor or None
        Outputs, then gradients; `expected` in float64.
    dtype : torch.dtype
        Of the computation.
    errors : mapping of int to float, optional
        Largest errors allowed to some of the results, by position, in place of what `TOLERANCE` allows.

    Returns
    -------
    tuple of float and (str or None)
        None where the results agree. NaN never agrees.
    """
    if len(given) != len(expected):
        return float("inf"), f"gave {len(given)} tensors, expected {len(expected)}"
    largest, wrong = 0.0, None
    for i, (a, b) in enumerate(zip(given, expected, strict=True)):
        tolerance = TOLERANCE[dtype]
        if errors is not None and i in errors and b is not None:
            tolerance = errors[i] / (float(b.detach().abs().max()) or 1.0)
        deviation = _deviation(a, b)
        if not deviation <= largest:
            largest = deviation
        if wrong is None and not deviation <= tolerance:
            wrong = f"result {i} is off by {deviation:.1e}, allowed {tolerance:.1e}"
    return largest, wrong
