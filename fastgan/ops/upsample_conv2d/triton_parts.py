"""What the kernels of upsample_conv2d share: products, normalisation and activation before them, and what is after.

A program has a block of cells, each of which becomes 2×2 pixels of the output: four blocks of sums.
"""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations. It also needs the
# `else` after a `return`, to know that what follows is not reached.
# mypy: disable-error-code=no-untyped-def
# ruff: noqa: RET505
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastgan.ops.bias_act.triton_activations import value
from fastgan.ops.triton_moments import store_partial
from fastgan.ops.triton_support import tl, triton

__all__ = ["NOTHING", "Block", "Prologue", "activated", "affine", "block_for", "product", "store_four", "write"]


@triton.jit
def _vector(pointer, n, k, channels, known, inside, default, BY_SAMPLE: tl.constexpr):
    """A parameter of the input channels: [1, channels], or [cells, channels] where each sample has its own."""
    if pointer is None:
        return tl.full((1, 1), default, tl.float32)
    elif BY_SAMPLE:
        mask = known[:, None] & inside[None, :]
        return tl.load(pointer + (n * channels)[:, None] + k[None, :], mask=mask, other=0.0).to(tl.float32)
    else:
        return tl.load(pointer + k, mask=inside, other=0.0).to(tl.float32)[None, :]


@triton.jit
def affine(
    mean_ptr, variance_ptr, weight_ptr, bias_ptr, n, k, channels, known, inside, eps,
    ACT: tl.constexpr, WEIGHT_BY: tl.constexpr, BIAS_BY: tl.constexpr,
):  # fmt: skip
    """Mean, scale and shift of the input channels k of samples n, where there is something before the products."""
    if ACT is None:
        return 0.0, 1.0, 0.0
    else:
        mean = _vector(mean_ptr, n, k, channels, known, inside, 0.0, False)
        scale = _vector(weight_ptr, n, k, channels, known, inside, 1.0, WEIGHT_BY)
        if variance_ptr is not None:
            variance = _vector(variance_ptr, n, k, channels, known, inside, 1.0, False)
            scale = scale * (1.0 / tl.sqrt(variance + tl.full((), eps, tl.float32)))
        return mean, scale, _vector(bias_ptr, n, k, channels, known, inside, 0.0, BIAS_BY)


@triton.jit
def activated(pointers, mask, mean, scale, shift, alpha, gain, ACT: tl.constexpr):
    """A block of the input, normalised and activated; zero outside the image, whatever the activation makes of zero."""
    x = tl.load(pointers, mask=mask, other=0.0)
    if ACT is None:
        return x
    else:
        z = (x.to(tl.float32) - mean) * scale + shift
        y = value(z, tl.full((), alpha, tl.float32), ACT) * tl.full((), gain, tl.float32)
        return tl.where(mask, y, 0.0).to(x.dtype)


@triton.jit
def product(a, tap_ptr, mask, sums):
    b = tl.load(tap_ptr, mask=mask, other=0.0)
    return tl.dot(a, b, sums, input_precision="ieee")


@triton.jit
def write(pointers, residual_ptr, at, sums, bias, mask, count, partial_ptr):
    """Store the sums with the bias and the residual, which is `at` its first element.

    Returns mean and squared deviations of what is stored, of `count` cells, where wanted.
    """
    y = sums + bias[None, :]
    if residual_ptr is not None:
        y += tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
    y = y.to(pointers.dtype.element_ty)
    tl.store(pointers, y, mask=mask)
    if partial_ptr is not None:
        y = y.to(tl.float32)
        count = tl.where(count > 0, count, 1.0)
        near = tl.sum(tl.where(mask, y, 0.0), 0) / count  # the mean, rounded
        away = tl.where(mask, y - near[None, :], 0.0)
        rest = tl.sum(away, 0)
        return near.to(tl.float64) + (rest / count).to(tl.float64), tl.sum(away * away, 0) - rest * (rest / count)
    else:
        return bias, bias


@triton.jit
def store_four(
    partial_ptr, mean00, m200, mean01, m201, mean10, m210, mean11, m211, count, place, partials, c_out, mask
):
    """Write the statistics that those of four blocks of `count` cells make up."""
    mean = 0.25 * ((mean00 + mean01) + (mean10 + mean11))
    mean00, mean01, mean10, mean11 = mean00 - mean, mean01 - mean, mean10 - mean, mean11 - mean
    between = (mean00 * mean00 + mean01 * mean01) + (mean10 * mean10 + mean11 * mean11)
    m2 = ((m200 + m201) + (m210 + m211)).to(tl.float64) + between * count
    store_partial(partial_ptr, place, partials, c_out, 4.0 * count, mean, m2, mask)


class Prologue(NamedTuple):
    """What :func:`norm_act` is to do before the products, for statistics that are there; with the default nothing."""

    mean: Tensor | None = None  # [C]
    variance: Tensor | None = None
    weight: Tensor | None = None  # [C], or [N, C]
    bias: Tensor | None = None
    act: str | None = None
    alpha: float = 0.0
    gain: float = 1.0
    eps: float = 0.0

    def arguments(self) -> tuple[Any, ...]:
        """The kernels' tensors and numbers."""
        vectors = (None if x is None else x.contiguous() for x in self[:4])
        return (*vectors, float(self.eps), float(self.alpha), float(self.gain))

    def constants(self) -> dict[str, Any]:
        """The kernels' compile-time arguments."""
        weight_by, bias_by = (x is not None and x.dim() == 2 for x in (self.weight, self.bias))
        return {"ACT": self.act, "WEIGHT_BY": weight_by, "BIAS_BY": bias_by}


NOTHING = Prologue()


class Block(NamedTuple):
    """A program's cells, output channels, and input channels at a time."""

    cells: int
    c_out: int
    c_in: int
    warps: int
    stages: int


def block_for(input: Tensor, c_out: int, most_in: int) -> Block:
    """The block for such an input, with at most `most_in` channels of it: by shape, dtype and vendor alone."""
    wide = input.dtype == torch.float32
    # As many accumulators as registers hold without spilling, on every architecture.
    cells = 32 if wide else 64 if torch.version.hip else 128
    block_out = 32 if c_out % 16 == 0 and c_out > 16 else 16  # a channel is written alone where they are not aligned
    block_in = min(16 if wide else most_in, max(16, triton.next_power_of_2(input.shape[1])))
    return Block(cells, block_out, block_in, 8 if wide else cells // 16, 1 if torch.version.hip else 3)
