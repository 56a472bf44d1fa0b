"""Which form serves an upsampled convolution on a GPU: by a table, never by a measurement at run time."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import resampling, tuned
from fastgan.ops.upsample_conv2d import forms

__all__ = ["choose", "fusable", "takes_prologue"]

#: The most input channels for which the fused kernel is chosen, by dtype: it saves writing and reading the sums before
#: the box filter, which weighs less the more products go into each. From the roofline; ``fastgan tune`` measures it.
_FUSED_CHANNELS = {torch.float16: 256, torch.bfloat16: 256}


def fusable(input: Tensor, weight: Tensor, padding: list[int], groups: int) -> bool:
    """Whether the kernels that convolve themselves can serve."""
    return (
        list(weight.shape[2:]) == [3, 3]
        and padding == [1, 1]
        and groups == 1
        and input.dtype != torch.float64
        and resampling.output_format(input, weight) == torch.channels_last
    )


def choose(input: Tensor, weight: Tensor, padding: list[int], groups: int) -> str:
    """``"fused"``, ``"phase"`` where a table says so, or one of :mod:`fastgan.ops.upsample_conv2d.forms`."""
    form = forms.choose(input, weight, padding, groups)
    if form != "quarter" or not fusable(input, weight, padding, groups):
        return form
    chosen = tuned.form_for("upsample_conv2d", input, weight)
    if chosen is not None:
        return chosen
    return "fused" if weight.shape[1] <= _FUSED_CHANNELS.get(input.dtype, 0) else "quarter"


def takes_prologue(input: Tensor, weight: Tensor, padding: list[int], groups: int, norm: str) -> bool:
    """Whether those kernels also normalise and activate what they read, by `norm` of :func:`norm_act`.

    Each block of output channels does that again: it is worth it where the fused kernel is chosen without a table. No
    table is asked, since this decides what an op returns, which a compiler must foresee.
    """
    few = weight.shape[1] <= _FUSED_CHANNELS.get(input.dtype, 0)
    return few and norm in ("batch", "given") and fusable(input, weight, padding, groups)
