"""interpolate_samples in Triton, for NVIDIA and AMD."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
import torch
from torch import Tensor

from fastgan.ops.layout import match_layout
from fastgan.ops.samples import restored, sample_major
from fastgan.ops.triton_samples import piece_of, plan
from fastgan.ops.triton_support import tl, triton, unsupported_reason

__all__ = ["interpolate_samples", "interpolate_samples_backward", "unsupported_reason"]


@triton.jit(do_not_specialize=["pieces"])
def interpolate_samples_fwd_kernel(
    input_ptr,  # [samples, length]
    other_ptr,  # [samples, length]
    eps_ptr,  # [samples] of the type that is computed in
    output_ptr,  # [samples, length]
    length,
    pieces,
    BLOCK: tl.constexpr,
):
    OUT: tl.constexpr = output_ptr.dtype.element_ty
    ACC: tl.constexpr = eps_ptr.dtype.element_ty
    sample, _, offsets, left = piece_of(length, pieces, 1, BLOCK)
    mask = tl.arange(0, BLOCK) < left
    eps = tl.load(eps_ptr + sample)
    x = tl.load(input_ptr + offsets, mask=mask).to(ACC)
    y = tl.load(other_ptr + offsets, mask=mask).to(ACC)
    tl.store(output_ptr + offsets, (eps * x + (1 - eps) * y).to(OUT), mask=mask)


@triton.jit(do_not_specialize=["pieces"])
def interpolate_samples_bwd_kernel(
    grad_output_ptr,  # [samples, length]
    eps_ptr,  # [samples] of the type that is computed in
    grad_input_ptr,  # [samples, length], or None
    grad_other_ptr,  # [samples, length], or None
    length,
    pieces,
    BLOCK: tl.constexpr,
):
    OUT: tl.constexpr = grad_output_ptr.dtype.element_ty
    ACC: tl.constexpr = eps_ptr.dtype.element_ty
    sample, _, offsets, left = piece_of(length, pieces, 1, BLOCK)
    mask = tl.arange(0, BLOCK) < left
    eps = tl.load(eps_ptr + sample)
    grad = tl.load(grad_output_ptr + offsets, mask=mask).to(ACC)
    if grad_input_ptr is not None:
        tl.store(grad_input_ptr + offsets, (eps * grad).to(OUT), mask=mask)
    if grad_other_ptr is not None:
        tl.store(grad_other_ptr + offsets, ((1 - eps) * grad).to(OUT), mask=mask)


def interpolate_samples(input: Tensor, other: Tensor, eps: Tensor) -> Tensor:
    x, eps = sample_major(input), eps.contiguous()
    y = match_layout(other, x)
    output = torch.empty_like(x)
    if output.numel() > 0:
        cut = plan(x)
        with torch.cuda.device_of(x):
            interpolate_samples_fwd_kernel[cut.grid](
                x, y, eps, output, cut.length, cut.pieces, BLOCK=cut.block, num_warps=4
            )
    return restored(output, input)


def interpolate_samples_backward(
    grad_output: Tensor, eps: Tensor, of_input: bool, of_other: bool
) -> tuple[Tensor, Tensor]:
    grad, eps = sample_major(grad_output), eps.contiguous()
    grad_input, grad_other = (torch.empty_like(grad) if wanted else None for wanted in (of_input, of_other))
    if grad.numel() > 0:
        cut = plan(grad)
        with torch.cuda.device_of(grad):
            interpolate_samples_bwd_kernel[cut.grid](
                grad, eps, grad_input, grad_other, cut.length, cut.pieces, BLOCK=cut.block, num_warps=4
            )
    grad_input, grad_other = (
        grad.new_empty(0) if x is None else restored(x, grad_output) for x in (grad_input, grad_other)
    )
    return grad_input, grad_other
