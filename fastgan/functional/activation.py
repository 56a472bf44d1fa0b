"""Bias and activation in one pass."""

from __future__ import annotations

from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.bias_act import bias_act as _bias_act
from fastgan.ops.bias_act.activations import ACTIVATIONS
from fastgan.ops.registry import current_backend

__all__ = ["bias_act"]


def bias_act(
    input: Tensor,
    bias: Tensor | None = None,
    *,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    dim: int = 1,
) -> Tensor:
    r"""Add a bias, apply an activation, scale and clamp, in one pass over memory.

    .. math:: y = \operatorname{clamp}(\text{gain} \cdot \operatorname{act}(x + b),\ \pm\text{clamp})

    Parameters
    ----------
    input : Tensor
        Any shape; float32, float64, float16 or bfloat16; any memory layout, which the output keeps.
        Half types are computed in float32.
    bias : Tensor, optional
        ``[input.shape[dim]]``, in input's dtype (under autocast it is cast to it).
    act : str, default "linear"
        linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus or swish (``z * sigmoid(z)``).
    alpha : float, optional
        Negative slope of lrelu, default 0.2. The other activations have no such parameter.
    gain : float, optional
        Factor on the activation's output. Default: √2 for relu, lrelu and swish, 1 for the others.
    clamp : float, optional
        Outputs are limited to [-clamp, clamp], the bound rounded to input's dtype; at it the gradient
        is zero. Default: no limit.
    dim : int, default 1
        The dimension that bias runs along. Not used without a bias.

    Returns
    -------
    Tensor
        Of input's shape, dtype and memory layout. NaN propagates.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, bias of another dtype than input, or an argument that is no number.
    ValueError
        For an unknown act, alpha where act has none, a gain too small or too large to divide by, a negative
        clamp, dim out of range, or bias of a length other than ``input.shape[dim]``.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives, and for derivatives above the second.

    Notes
    -----
    Differentiable twice. Kinks as in torch: relu'(0) = 0, lrelu'(0) = alpha. The second derivative of
    a piecewise linear activation is undefined in autograd's sense (no gradient), not a tensor of zeros.
    Only the output is saved for the backward, except for swish, which saves input. In half types the slopes of
    tanh, sigmoid, elu and selu are therefore those at the rounded output: off by up to half the spacing of the
    type at 1 (2e-3 in bfloat16, 2e-4 in float16), which matters only where the activation has saturated.

    Names, activations and default gains follow ``bias_act`` of Karras et al., "Training Generative
    Adversarial Networks with Limited Data" (2020) and "Alias-Free Generative Adversarial Networks" (2021).
    """
    checks.check_floating("bias_act", "input", input)
    checks.check_choice("bias_act", "act", act, tuple(ACTIVATIONS))
    default = ACTIVATIONS[act]
    for argument, given in (("alpha", alpha), ("gain", gain), ("clamp", clamp)):
        if given is not None:
            checks.check_number("bias_act", argument, given, "None")
    if gain is not None and not (gain == 0 or 1e-30 <= abs(gain) <= 1e30):
        raise ValueError(f"bias_act: gain must be 0 or between 1e-30 and 1e30 in magnitude, got {gain}")
    if alpha is not None and default.alpha is None:
        raise ValueError(f"bias_act: alpha must be None for act='{act}', which has no such parameter, got {alpha}")
    if clamp is not None and not clamp >= 0:
        raise ValueError(f"bias_act: clamp must be None or at least 0, got {clamp}")
    if bias is None:
        dim = 0
    else:
        dim = checks.check_dim("bias_act", dim, input)
        checks.check_floating("bias_act", "bias", bias)
        checks.check_same_dtype("bias_act", "bias", bias, input)
        checks.check_length("bias_act", "bias", bias, input.shape[dim], f"dimension {dim} of input {list(input.shape)}")
    if alpha is None:
        alpha = default.alpha or 0.0
    return _bias_act(input, bias, act, alpha, default.gain if gain is None else gain, clamp, dim, current_backend())
