"""bias_act's activations and their derivatives, for the Triton kernels; `ACT` is the activation's name."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations. It also needs the
# `else` after a `return`, to know that what follows is not reached.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: RET505
from fastgan.ops.triton_math import expm1_negative, log1p_unit, sigmoid, tanh
from fastgan.ops.triton_support import tl, triton

__all__ = ["curvature", "slope", "value"]

SELU_SCALE = tl.constexpr(1.0507009873554804934)
SELU_SCALE_ALPHA = tl.constexpr(1.7580993408473768599)


@triton.jit
def value(z, alpha, ACT: tl.constexpr):
    """act(z)."""
    if ACT == "relu":
        return tl.where(z <= 0, 0.0, z)  # keeps NaN
    elif ACT == "lrelu":
        return tl.where(z > 0, z, z * alpha)
    elif ACT == "tanh":
        return tanh(z)
    elif ACT == "sigmoid":
        return sigmoid(z)
    elif ACT == "elu":
        return tl.where(z > 0, z, expm1_negative(z))
    elif ACT == "selu":
        return tl.where(z > 0, z * SELU_SCALE, expm1_negative(z) * SELU_SCALE_ALPHA)
    elif ACT == "softplus":
        return tl.where(z <= 0, 0.0, z) + log1p_unit(tl.exp(-tl.abs(z)))
    elif ACT == "swish":
        return z * sigmoid(z)
    else:
        tl.static_assert(ACT == "linear")
        return z


@triton.jit
def slope(p, alpha, ACT: tl.constexpr):
    """act'(z) as a function of p = act(z); for swish, of p = z."""
    if ACT == "linear":
        return tl.full(p.shape, 1.0, p.dtype)
    elif ACT == "relu":
        return (p > 0).to(p.dtype)
    elif ACT == "lrelu":
        return tl.where(p > 0, 1.0, alpha)
    elif ACT == "tanh":
        return 1.0 - p * p
    elif ACT == "sigmoid":
        return p * (1.0 - p)
    elif ACT == "elu":
        return tl.where(p > 0, 1.0, p + 1.0)
    elif ACT == "selu":
        return tl.where(p > 0, SELU_SCALE, p + SELU_SCALE_ALPHA)
    elif ACT == "softplus":
        return -expm1_negative(-p)
    else:
        tl.static_assert(ACT == "swish")
        s = sigmoid(p)
        return s * (1.0 + p * (1.0 - s))


@triton.jit
def curvature(p, ACT: tl.constexpr):
    """Derivative of act' by a, as a function of a = act(z); for swish, act''(z)."""
    if ACT == "tanh":
        return -2.0 * p
    elif ACT == "sigmoid":
        return 1.0 - 2.0 * p
    elif ACT == "softplus":
        return tl.exp(-p)
    elif ACT == "swish":
        s = sigmoid(p)
        return s * (1.0 - s) * (2.0 + p * (1.0 - 2.0 * s))
    else:
        tl.static_assert((ACT == "elu") | (ACT == "selu"))
        return (p <= 0).to(p.dtype)
