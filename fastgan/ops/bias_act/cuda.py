"""bias_act by the kernels of csrc/cuda/bias_act.cu.

Grids and index arithmetic are worked out by the ``plan_*`` functions, which touch no tensor; the
functions after them only allocate and launch.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastgan.ops import cuda_source
from fastgan.ops.bias_act.activations import kernel_code, saves_input
from fastgan.ops.layout import channel_extents, dense, match_layout

__all__ = [
    "BackwardPlan",
    "Plan",
    "bias_act",
    "bias_act_backward",
    "bias_act_double_backward",
    "plan_columns",
    "plan_elementwise",
    "plan_rows",
    "unsupported_reason",
]

# These three are the kernels' own.
THREADS = 256
WARPS = THREADS // 32
PACK_BYTES = 16
#: Grids of elementwise kernels stop growing here; several times what fits at once, so that SMs finish together.
BLOCKS_PER_SM = 16
#: Grids of the kernels that sum stop here. Not a matter of the GPU's size, so that every GPU gives the same bits.
SUMMING_BLOCKS = 2048
#: A summing thread has so many packs, where there are enough, before the work is split further.
PACKS_PER_THREAD = 4
#: Rows of at least this many elements are summed by `rows`, shorter ones by `columns`.
LONG_ROW = 64

NO_BIAS, ONE_CHANNEL, CONSECUTIVE_CHANNELS, ANY_CHANNELS = range(4)

_SUFFIXES = {torch.float32: "f32", torch.float64: "f64", torch.float16: "f16", torch.bfloat16: "bf16"}


class Plan(NamedTuple):
    """A kernel's grid and its parameters after the addresses."""

    grid: int
    args: tuple[Any, ...]


class BackwardPlan(NamedTuple):
    """The two kernels of a backward with the bias's gradient, and the length of the partial sums between them."""

    kernel: str
    gradient: Plan
    partial: int
    reduce: Plan


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cuda":
        return f"serves CUDA tensors, not {device_type}"
    if dtype not in _SUFFIXES:
        return f"does not serve {dtype}"
    return cuda_source.unavailable_reason("bias_act")


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _integers(*values: int) -> tuple[np.int64, ...]:
    return tuple(np.int64(value) for value in values)


def _bias_mode(bias: int | None, channels: int, inner: int, pack: int) -> int:
    if bias is None:
        return NO_BIAS
    if inner % pack == 0 or channels == 1:
        return ONE_CHANNEL
    if inner == 1 and channels % pack == 0 and bias % PACK_BYTES == 0:
        return CONSECUTIVE_CHANNELS
    return ANY_CHANNELS


@functools.lru_cache(maxsize=1024)
def plan_elementwise(numel: int, channels: int, inner: int, pack: int, bias_mode: int, aligned: bool, sms: int) -> Plan:
    """Plan a kernel that treats every element alike, on a GPU of `sms` multiprocessors; a pack is `pack` elements."""
    grid = min(_ceil_div(numel, THREADS * pack), sms * BLOCKS_PER_SM)
    step = grid * THREADS * pack
    position = _integers(numel, channels, inner, step % inner, step // inner % channels)
    return Plan(grid, (*position, np.int32(bias_mode), np.int32(aligned)))


def _splits(turns: int, blocks: int) -> int:
    """Over how many blocks a sum is split that takes one block `turns` turns and is one of `blocks` such sums."""
    return max(1, min(_ceil_div(turns, PACKS_PER_THREAD), SUMMING_BLOCKS // blocks))


@functools.lru_cache(maxsize=1024)
def plan_rows(outer: int, channels: int, inner: int, pack: int, aligned: bool) -> BackwardPlan:
    """Plan the backward in which a block sums over rows of one channel."""
    packs = _ceil_div(inner, pack)  # of a row
    splits = _splits(_ceil_div(outer * packs, THREADS), channels)
    step = splits * THREADS
    sizes = _integers(outer, channels, inner, packs, step // packs, step % packs)
    gradient = Plan(channels * splits, (*sizes, np.int32(splits), np.int32(aligned and inner % pack == 0)))
    return BackwardPlan("bwd_rows", gradient, channels * splits, Plan(channels, _integers(channels, splits, 1)))


@functools.lru_cache(maxsize=1024)
def plan_columns(outer: int, channels: int, inner: int, pack: int, bias_mode: int, aligned: bool) -> BackwardPlan:
    """Plan the backward in which a thread sums over columns of a matrix whose rows are whole periods."""
    period = channels * inner
    # As many periods to a row as make it a whole number of packs, and wide enough for a warp.
    periods = pack // math.gcd(period, pack)
    periods = periods * max(1, min(32 * pack // (periods * period), outer // periods)) if periods <= outer else 1
    length = periods * period
    tiles = _ceil_div(length, 32 * pack)
    splits = _splits(_ceil_div(_ceil_div(outer, periods), WARPS), tiles)
    sizes = _integers(outer * period, channels, inner, length)
    flags = (np.int32(splits), np.int32(bias_mode), np.int32(aligned and length % pack == 0))
    reduce = Plan(channels, _integers(channels, inner * splits, periods))
    return BackwardPlan("bwd_columns", Plan(tiles * splits, (*sizes, *flags)), length * splits, reduce)


@functools.lru_cache(maxsize=1024)
def _parameters(dtype: torch.dtype, act: str, alpha: float, gain: float, clamp: float | None) -> tuple[Any, ...]:
    """BiasActParameters, in the type that `dtype` is computed in."""
    scalar = np.float64 if dtype == torch.float64 else np.float32
    bound = math.nan if clamp is None else float(torch.tensor(clamp, dtype=dtype, device="cpu"))
    inverse_gain = 1 / gain if gain else 0.0
    return (np.int32(kernel_code(act, alpha)), scalar(alpha), scalar(gain), scalar(inverse_gain), scalar(bound))


def _launch(kernel: str, like: Tensor, grid: int, args: tuple[Any, ...]) -> None:
    name = f"bias_act_{kernel}_kernel_{_SUFFIXES[like.dtype]}"
    cuda_source.function("bias_act", name, like.device)((grid,), (THREADS,), args)


def _aligned(tensors: tuple[Tensor, ...]) -> bool:
    return all(tensor.data_ptr() % PACK_BYTES == 0 for tensor in tensors)


def _elementwise(
    kernel: str,
    inputs: tuple[Tensor, ...],
    bias: Tensor | None,
    outputs: tuple[Tensor, ...],
    parameters: tuple[Any, ...],
    dim: int,
) -> None:
    like = inputs[-1]
    if like.numel() == 0:
        return
    _, channels, inner = channel_extents(like, dim)
    pack = PACK_BYTES // like.element_size()
    address = None if bias is None else bias.data_ptr()
    plan = plan_elementwise(
        like.numel(),
        channels,
        inner,
        pack,
        _bias_mode(address, channels, inner, pack),
        _aligned(inputs + outputs),
        cuda_source.multiprocessors(like.device),
    )
    addresses = (*(x.data_ptr() for x in inputs), address or 0, *(x.data_ptr() for x in outputs))
    _launch(kernel, like, plan.grid, (*addresses, *plan.args, *parameters))


def _saved_bias(bias: Tensor | None, act: str, alpha: float) -> Tensor | None:
    """The bias where a derivative reads it again; the output tells the other activations all."""
    return bias.contiguous() if bias is not None and saves_input(act, alpha) else None


def bias_act(
    input: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None, dim: int
) -> Tensor:
    input = dense(input)
    bias = None if bias is None else bias.contiguous()
    output = torch.empty_like(input)
    _elementwise("fwd", (input,), bias, (output,), _parameters(input.dtype, act, alpha, gain, clamp), dim)
    return output


def bias_act_backward(
    grad_output: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    dim: int,
    bias_grad: bool,
) -> tuple[Tensor, Tensor]:
    saved = dense(saved)
    grad_output = match_layout(grad_output, saved)
    bias = _saved_bias(bias, act, alpha)
    parameters = _parameters(saved.dtype, act, alpha, gain, clamp)
    grad_input = torch.empty_like(saved)
    if not bias_grad:
        _elementwise("bwd", (grad_output, saved), bias, (grad_input,), parameters, dim)
        return grad_input, saved.new_empty(0)
    if saved.numel() == 0:
        return grad_input, saved.new_zeros(saved.shape[dim])

    outer, channels, inner = channel_extents(saved, dim)
    pack = PACK_BYTES // saved.element_size()
    aligned = _aligned((grad_output, saved, grad_input))
    address = None if bias is None else bias.data_ptr()
    if inner >= LONG_ROW:
        plan = plan_rows(outer, channels, inner, pack, aligned)
    else:
        plan = plan_columns(outer, channels, inner, pack, _bias_mode(address, channels, inner, pack), aligned)
    accumulated = torch.float64 if saved.dtype == torch.float64 else torch.float32
    partial = torch.empty(plan.partial, dtype=accumulated, device=saved.device)
    grad_bias = torch.empty(channels, dtype=saved.dtype, device=saved.device)
    addresses = (grad_output.data_ptr(), saved.data_ptr(), address or 0, grad_input.data_ptr(), partial.data_ptr())
    _launch(plan.kernel, saved, plan.gradient.grid, (*addresses, *plan.gradient.args, *parameters))
    _launch("reduce", saved, plan.reduce.grid, (partial.data_ptr(), grad_bias.data_ptr(), *plan.reduce.args))
    return grad_input, grad_bias


def bias_act_double_backward(
    grad_grad_input: Tensor,
    grad_output: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    dim: int,
) -> tuple[Tensor, Tensor]:
    saved = dense(saved)
    inputs = (match_layout(grad_grad_input, saved), match_layout(grad_output, saved), saved)
    outputs = (torch.empty_like(saved), torch.empty_like(saved))
    parameters = _parameters(saved.dtype, act, alpha, gain, clamp)
    _elementwise("bwd_bwd", inputs, _saved_bias(bias, act, alpha), outputs, parameters, dim)
    return outputs
