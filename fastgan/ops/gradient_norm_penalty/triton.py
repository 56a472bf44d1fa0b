"""gradient_norm_penalty in Triton, for NVIDIA and AMD: partial sums of squares, then one program for all norms."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
import torch
from torch import Tensor

from fastgan.ops.layout import accumulator
from fastgan.ops.samples import restored, sample_major
from fastgan.ops.triton_samples import piece_of, plan, scalar
from fastgan.ops.triton_support import tl, triton, unsupported_reason

__all__ = ["gradient_norm_penalty", "gradient_norm_penalty_backward", "unsupported_reason"]

#: Programs that a pass is shared among, at least where there are the blocks: fewer write fewer partial sums.
_REDUCING_PROGRAMS = 1024
#: Partial sums that the last program reads at a time.
_AT_ONCE = 2048


@triton.jit(do_not_specialize=["pieces", "steps"])
def gradient_norm_penalty_partial_kernel(
    gradient_ptr,  # [samples, length]
    partial_ptr,  # [samples, pieces] of the accumulating dtype
    length,
    pieces,
    steps,  # blocks that a program goes through
    BLOCK: tl.constexpr,
):
    ACC: tl.constexpr = partial_ptr.dtype.element_ty
    sample, piece, offsets, left = piece_of(length, pieces, steps, BLOCK)
    total = tl.zeros((BLOCK,), ACC)
    column = tl.arange(0, BLOCK)
    for _ in range(steps):
        x = tl.load(gradient_ptr + offsets, mask=column < left, other=0.0).to(ACC)
        total += x * x
        offsets += BLOCK
        left -= BLOCK
    tl.store(partial_ptr + sample * pieces + piece, tl.sum(total))


@triton.jit(do_not_specialize=["samples", "pieces"])
def gradient_norm_penalty_kernel(
    partial_ptr,  # [samples, pieces] of the accumulating dtype
    penalty_ptr,  # []
    scale_ptr,  # [samples]
    samples,
    pieces,
    weight: tl.float64,
    center: tl.float64,
    CENTERED: tl.constexpr,
    ONE_SIDED: tl.constexpr,
    SAMPLES: tl.constexpr,
    PIECES: tl.constexpr,  # at least as many as there are
):
    ACC: tl.constexpr = partial_ptr.dtype.element_ty
    weight_ = scalar(weight, ACC)
    piece = tl.arange(0, PIECES)[None, :]
    penalty = tl.zeros((SAMPLES,), ACC)
    for first in range(0, samples, SAMPLES):
        sample = first + tl.arange(0, SAMPLES)
        mask = (sample[:, None] < samples) & (piece < pieces)
        squares = tl.sum(tl.load(partial_ptr + sample[:, None] * pieces + piece, mask=mask, other=0.0), 1)
        if CENTERED:
            norm = tl.sqrt(squares)
            beyond = norm - scalar(center, ACC)
            if ONE_SIDED:
                beyond = tl.where(beyond < 0, 0.0, beyond)  # keeps NaN
            value = beyond * beyond
            slope = tl.where(norm == 0, 0.0, beyond / tl.where(norm == 0, 1.0, norm))
        else:
            value = squares
            slope = tl.full((SAMPLES,), 1.0, ACC)
        penalty += tl.where(sample < samples, value, 0.0)
        tl.store(scale_ptr + sample, 2 * weight_ * slope, mask=sample < samples)
    tl.store(penalty_ptr, weight_ * tl.sum(penalty))


@triton.jit(do_not_specialize=["pieces"])
def gradient_norm_penalty_bwd_kernel(
    gradient_ptr,  # [samples, length]
    scale_ptr,  # [samples] of the type that is computed in
    grad_output_ptr,  # []
    grad_gradient_ptr,  # [samples, length]
    length,
    pieces,
    BLOCK: tl.constexpr,
):
    OUT: tl.constexpr = grad_gradient_ptr.dtype.element_ty
    ACC: tl.constexpr = scale_ptr.dtype.element_ty
    sample, _, offsets, left = piece_of(length, pieces, 1, BLOCK)
    mask = tl.arange(0, BLOCK) < left
    factor = tl.load(grad_output_ptr) * tl.load(scale_ptr + sample)
    x = tl.load(gradient_ptr + offsets, mask=mask).to(ACC)
    tl.store(grad_gradient_ptr + offsets, (factor * x).to(OUT), mask=mask)


def gradient_norm_penalty(
    gradient: Tensor, weight: float, center: float | None, one_sided: bool
) -> tuple[Tensor, Tensor]:
    x = sample_major(gradient)
    penalty = x.new_empty((), dtype=accumulator(x.dtype))
    scale = penalty.new_empty(x.shape[0])
    if x.shape[0] == 0:
        return penalty.zero_(), scale
    if x.numel() == 0:  # norms of nothing
        beyond = 0.0 if center is None or one_sided else -center
        return penalty.fill_(weight * beyond**2 * x.shape[0]), scale.fill_(2 * weight if center is None else 0.0)
    cut = plan(x, _REDUCING_PROGRAMS)
    partial = scale.new_empty(cut.samples, cut.pieces)
    pieces = triton.next_power_of_2(cut.pieces)
    samples = max(1, min(_AT_ONCE // pieces, triton.next_power_of_2(cut.samples)))
    with torch.cuda.device_of(x):
        gradient_norm_penalty_partial_kernel[cut.grid](
            x, partial, cut.length, cut.pieces, cut.steps, BLOCK=cut.block, num_warps=4
        )
        gradient_norm_penalty_kernel[(1,)](
            partial, penalty, scale, cut.samples, cut.pieces, weight, 0.0 if center is None else center,
            CENTERED=center is not None, ONE_SIDED=one_sided, SAMPLES=samples, PIECES=pieces, num_warps=4,
        )  # fmt: skip
    return penalty, scale


def gradient_norm_penalty_backward(
    gradient: Tensor, scale: Tensor, grad_output: Tensor, weight: float, center: float | None, one_sided: bool
) -> Tensor:
    x, scale = sample_major(gradient), scale.contiguous()
    output = torch.empty_like(x)
    if x.numel() > 0:
        cut = plan(x)
        with torch.cuda.device_of(x):
            gradient_norm_penalty_bwd_kernel[cut.grid](
                x, scale, grad_output, output, cut.length, cut.pieces, BLOCK=cut.block, num_warps=4
            )
    return restored(output, gradient)
