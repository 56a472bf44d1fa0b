"""What norm_act's Triton kernels share: where a program's tiles lie, and the channels' parameters."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from fastgan.ops.triton_support import tl, triton

__all__ = ["affine", "load_parameter", "scalar", "tile"]


@triton.jit
def tile(channels, pixels, parts, steps, LAST: tl.constexpr, C: tl.constexpr, P: tl.constexpr):
    """The program's sample, part, channels, pixels and the offsets of its first tile, whose steps are P pixels long."""
    blocks = tl.cdiv(channels, C)
    part = tl.program_id(0) % parts
    block = tl.program_id(0) // parts % blocks
    sample = tl.program_id(0) // parts // blocks
    if LAST:
        channel = block * C + tl.arange(0, C)[None, :]
        pixel = part * steps * P + tl.arange(0, P)[:, None]
        offset = pixel.to(tl.int64) * channels + channel
    else:
        channel = block * C + tl.arange(0, C)[:, None]
        pixel = part * steps * P + tl.arange(0, P)[None, :]
        offset = channel.to(tl.int64) * pixels + pixel
    # One tensor may have more than 2**31 elements: what is the same for all elements is kept in 64 bits.
    return sample, part, channel, pixel, sample.to(tl.int64) * channels * pixels + offset


@triton.jit
def scalar(number, DTYPE: tl.constexpr):
    return tl.full((), number, DTYPE)


@triton.jit
def load_parameter(pointer, sample, channel, channels, by_sample, default, ACC: tl.constexpr):
    """A parameter's values for the channels of a sample; by_sample is 1 where each sample has its own, else 0."""
    if pointer is None:
        return tl.full(channel.shape, default, ACC)
    else:  # noqa: RET505 - how Triton knows that what follows is not reached
        return tl.load(pointer + sample.to(tl.int64) * by_sample * channels + channel, mask=channel < channels)


@triton.jit
def affine(
    mean_ptr, variance_ptr, weight_ptr, bias_ptr, sample, channel, channels, statistic_by, weight_by, bias_by, eps,
    ACC: tl.constexpr,
):  # fmt: skip
    """Mean, 1 / deviation, weight and bias of the channels."""
    mean = load_parameter(mean_ptr, sample, channel, channels, statistic_by, 0.0, ACC)
    factor = tl.full(channel.shape, 1.0, ACC)
    if variance_ptr is not None:
        variance = load_parameter(variance_ptr, sample, channel, channels, statistic_by, 1.0, ACC)
        factor = 1.0 / tl.sqrt(variance + scalar(eps, ACC))
    weight = load_parameter(weight_ptr, sample, channel, channels, weight_by, 1.0, ACC)
    return mean, factor, weight, load_parameter(bias_ptr, sample, channel, channels, bias_by, 0.0, ACC)
