"""Scalar functions for Triton kernels, written on ``tl.exp`` alone.

The vendors' device libraries differ between NVIDIA and AMD, the interpreter has none, and NVIDIA's fast
float32 logarithm has an absolute error only. These keep a small relative error (a few units in the last
place in float64; in float32 what ``tl.exp`` leaves, about 4e-7) everywhere, at zero too, and propagate NaN.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from fastgan.ops.triton_support import tl, triton

__all__ = ["expm1_negative", "log1p_unit", "sigmoid", "tanh"]


@triton.jit
def expm1_negative(x):
    """exp(x) - 1 for x <= 0."""
    # Taylor's series nested as 1 + x/2 (1 + x/3 (1 + ...)); at -1/2 the first term left out is 1e-8, 2e-18.
    TERMS: tl.constexpr = 16 if x.dtype == tl.float64 else 9
    series = 1.0 + x * (1.0 / TERMS)
    for n in tl.static_range(TERMS - 1, 1, -1):
        series = 1.0 + series * (x * (1.0 / n))
    return tl.where(x > -0.5, x * series, tl.exp(x) - 1.0)


@triton.jit
def log1p_unit(u):
    """log(1 + u) for 0 <= u <= 1, by 2 artanh(u / (2 + u))."""
    s = u / (u + 2.0)
    q = s * s  # at most 1/9: the first term left out is 2e-9, 2e-18
    TERMS: tl.constexpr = 17 if u.dtype == tl.float64 else 8
    series = q * (1.0 / (2 * TERMS - 1)) + 1.0 / (2 * TERMS - 3)
    for k in tl.static_range(TERMS - 3, -1, -1):
        series = series * q + 1.0 / (2 * k + 1)
    return 2.0 * s * series


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x):
    """Hyperbolic tangent."""
    m = expm1_negative(-2.0 * tl.abs(x))
    magnitude = -m / (m + 2.0)
    return tl.where(x < 0, -magnitude, magnitude)
