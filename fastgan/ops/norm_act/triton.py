"""norm_act in Triton, for NVIDIA and AMD.

A tensor is an array [samples, channels, pixels], its channels outermost or innermost in each sample. A program takes
one sample, a block of its channels and some of its pixels, a tile at a time, with what lies together in memory along
the tile's rows. Sums over pixels leave as partial ones, which are added up in fixed order. No atomics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.norm_act import steps
from fastgan.ops.norm_act.reference import norm_act_double_backward
from fastgan.ops.norm_act.shapes import accumulator
from fastgan.ops.norm_act.steps import View
from fastgan.ops.norm_act.triton_channel import norm_act_bwd_kernel, norm_act_fwd_kernel, norm_act_sums_kernel
from fastgan.ops.norm_act.triton_pixel import norm_act_pixel_bwd_kernel, norm_act_pixel_fwd_kernel
from fastgan.ops.norm_act.triton_plan import Plan, plan
from fastgan.ops.norm_act.triton_statistics import norm_act_merge_kernel, norm_act_statistics_kernel
from fastgan.ops.triton_support import triton, unsupported_reason

__all__ = ["moments_of", "norm_act", "norm_act_backward", "norm_act_double_backward", "unsupported_reason"]

#: Parts of a statistic that are merged at once.
_MERGED_ROWS = 64


def _by_sample(*parameters: Tensor | None) -> list[int]:
    return [int(p is not None and p.dim() == 2) for p in parameters]


def _partial(view: View, cut: Plan, sums: int = 2) -> Tensor:
    return view.x.new_empty((sums, cut.samples, cut.parts, cut.channels), dtype=accumulator(view.x.dtype))


def _statistics(view: View, by_sample: bool, results: tuple[Tensor, Tensor, Tensor]) -> None:
    if view.x.numel() == 0:
        for result in results:
            result.zero_()
        return
    cut = plan(view, reduces=True)
    partial = _partial(view, cut, sums=3)
    groups = cut.samples if by_sample else 1
    merged = cut.samples * cut.parts // groups
    with torch.cuda.device_of(view.x):
        norm_act_statistics_kernel[cut.grid](
            view.x, partial, cut.samples, cut.channels, cut.pixels, cut.parts, cut.steps, **cut.blocks()
        )
        norm_act_merge_kernel[(groups * triton.cdiv(cut.channels, 16),)](
            partial,
            *results,
            groups,
            cut.channels,
            cut.pixels,
            cut.parts,
            merged,
            cut.p * cut.steps,
            ROWS=min(_MERGED_ROWS, triton.next_power_of_2(merged)),
            COLS=16,
            num_warps=4,
        )


def _forward(view: View, output: Tensor) -> None:
    if view.x.numel() == 0:
        return
    cut = plan(view)
    with torch.cuda.device_of(view.x):
        norm_act_fwd_kernel[cut.grid](
            view.x,
            view.mean,
            view.variance,
            view.weight,
            view.bias,
            output,
            cut.channels,
            cut.pixels,
            cut.parts,
            *_by_sample(view.mean, view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )


def _sums(view: View, grad_output: Tensor, sums: Tensor) -> None:
    if view.x.numel() == 0:
        sums.zero_()
        return
    cut = plan(view, reduces=True)
    partial = sums if cut.parts == 1 else _partial(view, cut)
    with torch.cuda.device_of(view.x):
        norm_act_sums_kernel[cut.grid](
            grad_output,
            view.x,
            view.mean,
            view.variance,
            view.weight,
            view.bias,
            partial,
            cut.samples,
            cut.channels,
            cut.pixels,
            cut.parts,
            cut.steps,
            *_by_sample(view.mean, view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )
    if cut.parts > 1:
        torch.sum(partial, 2, out=sums)


def _input_gradient(view: View, grad_output: Tensor, moments: Tensor | None, grad_input: Tensor) -> None:
    if view.x.numel() == 0:
        return
    cut = plan(view)
    product, gradient = (None, None) if moments is None else (moments[0], moments[1])
    with torch.cuda.device_of(view.x):
        norm_act_bwd_kernel[cut.grid](
            grad_output,
            view.x,
            view.mean,
            view.variance,
            view.weight,
            view.bias,
            product,
            gradient,
            grad_input,
            cut.channels,
            cut.pixels,
            cut.parts,
            *_by_sample(view.mean, view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )


def _pixel_forward(view: View, output: Tensor) -> None:
    if view.x.numel() == 0:
        return
    cut = plan(view, whole_channels=True)
    with torch.cuda.device_of(view.x):
        norm_act_pixel_fwd_kernel[cut.grid](
            view.x,
            view.weight,
            view.bias,
            output,
            cut.channels,
            cut.pixels,
            cut.parts,
            *_by_sample(view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )


def _pixel_backward(view: View, grad_output: Tensor, grad_input: Tensor, sums: Tensor) -> None:
    if view.x.numel() == 0:
        sums.zero_()
        return
    cut = plan(view, reduces=True, whole_channels=True)
    partial = sums if cut.parts == 1 else _partial(view, cut)
    with torch.cuda.device_of(view.x):
        norm_act_pixel_bwd_kernel[cut.grid](
            grad_output,
            view.x,
            view.weight,
            view.bias,
            grad_input,
            partial,
            cut.samples,
            cut.channels,
            cut.pixels,
            cut.parts,
            cut.steps,
            *_by_sample(view.weight, view.bias),
            view.eps,
            view.alpha,
            view.gain,
            ACT=view.act,
            **cut.blocks(),
        )
    if cut.parts > 1:
        torch.sum(partial, 2, out=sums)


_KERNELS = steps.Kernels(_statistics, _forward, _sums, _input_gradient, _pixel_forward, _pixel_backward)


def moments_of(input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`fastgan.ops.norm_act.steps.moments_of` by these kernels."""
    return steps.moments_of(_KERNELS, input, *args)


def norm_act(input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return steps.forward(_KERNELS, input, *args)


def norm_act_backward(grad_output: Tensor, input: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    return steps.backward(_KERNELS, grad_output, input, *args)
