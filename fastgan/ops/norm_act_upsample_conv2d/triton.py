"""norm_act_upsample_conv2d on GPUs: one kernel where upsample_conv2d has one of its own, else the two ops."""

from __future__ import annotations

from torch import Tensor

from fastgan.ops import resampling
from fastgan.ops.norm_act.triton import moments_of, norm_act
from fastgan.ops.norm_act_upsample_conv2d.composition import composition
from fastgan.ops.upsample_conv2d.triton import KERNELS, unsupported_reason, upsample_conv2d
from fastgan.ops.upsample_conv2d.triton_parts import Prologue
from fastgan.ops.upsample_conv2d.triton_plan import choose, takes_prologue

__all__ = ["norm_act_upsample_conv2d", "unsupported_reason"]

_composed = composition(norm_act, upsample_conv2d)


def norm_act_upsample_conv2d(
    input: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: str | None,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    groups: int,
    residual: Tensor | None,
    statistics: bool,
    algorithm: str,
) -> tuple[Tensor, ...]:
    normalised = (input, scale, shift, mean, variance, norm, act, alpha, gain, eps, group)
    convolved = (weight, bias, padding, groups, residual, statistics, algorithm)
    if not takes_prologue(input, weight, padding, groups, norm):
        return _composed(*normalised, *convolved)
    kernel = KERNELS.get(choose(input, weight, padding, groups)) if input.numel() else None
    if kernel is None:  # a table knows better; what the op returns does not depend on tables
        output, gathered, _, *own = _composed(*normalised, *convolved)
        return output, gathered, input.new_empty(0), *own
    moments = moments_of(input, mean, variance, norm, group)
    if norm == "batch":
        mean, variance = moments[:2]
    gathered = resampling.empty_statistics(weight.new_empty(0, weight.shape[0]), statistics)
    prologue = Prologue(mean, variance, scale, shift, act, alpha, gain, eps)
    output = kernel(input, weight, bias, residual, gathered if statistics else None, prologue)
    return output, gathered, input.new_empty(0), *moments
