"""norm_act by statistics of channels in Triton: its values, the sums of its backward, the input's gradient."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from fastgan.ops.bias_act.triton_activations import slope, value
from fastgan.ops.norm_act.triton_device import affine, load_parameter, scalar, tile
from fastgan.ops.triton_support import tl, triton

__all__ = ["norm_act_bwd_kernel", "norm_act_fwd_kernel", "norm_act_sums_kernel"]


@triton.jit
def norm_act_fwd_kernel(
    input_ptr,  # [samples, channels, pixels]
    mean_ptr,  # this and the next three: [channels], [samples, channels] or None
    variance_ptr,
    weight_ptr,
    bias_ptr,
    output_ptr,  # [samples, channels, pixels]
    channels,
    pixels,
    parts,
    statistic_by,
    weight_by,
    bias_by,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
    ACT: tl.constexpr,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    OUT: tl.constexpr = output_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if tl.float64 == OUT else tl.float32
    sample, _, channel, pixel, offset = tile(channels, pixels, parts, 1, LAST, C, P)
    mean, factor, weight, bias = affine(
        mean_ptr, variance_ptr, weight_ptr, bias_ptr, sample, channel, channels, statistic_by, weight_by, bias_by, eps,
        ACC,
    )  # fmt: skip
    mask = (channel < channels) & (pixel < pixels)
    x = tl.load(input_ptr + offset, mask=mask).to(ACC)
    y = value((x - mean) * (weight * factor) + bias, scalar(alpha, ACC), ACT) * scalar(gain, ACC)
    tl.store(output_ptr + offset, y.to(OUT), mask=mask)


@triton.jit(do_not_specialize=["parts", "steps"])
def norm_act_sums_kernel(
    grad_output_ptr,  # [samples, channels, pixels]
    input_ptr,  # [samples, channels, pixels]
    mean_ptr,  # this and the next three: [channels], [samples, channels] or None
    variance_ptr,
    weight_ptr,
    bias_ptr,
    partial_ptr,  # [2, samples, parts, channels]
    samples,
    channels,
    pixels,
    parts,
    steps,
    statistic_by,
    weight_by,
    bias_by,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
    ACT: tl.constexpr,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    ACC: tl.constexpr = partial_ptr.dtype.element_ty
    AXIS: tl.constexpr = 0 if LAST else 1
    sample, part, channel, pixel, offset = tile(channels, pixels, parts, steps, LAST, C, P)
    mean, factor, weight, bias = affine(
        mean_ptr, variance_ptr, weight_ptr, bias_ptr, sample, channel, channels, statistic_by, weight_by, bias_by, eps,
        ACC,
    )  # fmt: skip
    scale = weight * factor
    alpha_ = scalar(alpha, ACC)
    product = tl.zeros(channel.shape, ACC)
    gradient = tl.zeros(channel.shape, ACC)
    for _ in range(steps):
        mask = (channel < channels) & (pixel < pixels)
        x = tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC) - mean
        g = tl.load(grad_output_ptr + offset, mask=mask, other=0.0).to(ACC) * slope(x * scale + bias, alpha_, ACT)
        product += tl.sum(tl.where(mask, g * x, 0.0), AXIS, keep_dims=True)
        gradient += tl.sum(g, AXIS, keep_dims=True)
        pixel += P
        offset += P * channels if LAST else P
    target = partial_ptr + (sample.to(tl.int64) * parts + part) * channels + channel
    gain_ = scalar(gain, ACC)
    tl.store(target, product * factor * gain_, mask=channel < channels)
    tl.store(target + tl.cast(samples, tl.int64) * parts * channels, gradient * gain_, mask=channel < channels)


@triton.jit
def norm_act_bwd_kernel(
    grad_output_ptr,  # [samples, channels, pixels]
    input_ptr,  # [samples, channels, pixels]
    mean_ptr,  # this and the next three: [channels], [samples, channels] or None
    variance_ptr,
    weight_ptr,
    bias_ptr,
    product_ptr,  # mean of weight g x̂, like the statistics, or None
    gradient_ptr,  # mean of weight g, like the statistics, or None
    grad_input_ptr,  # [samples, channels, pixels]
    channels,
    pixels,
    parts,
    statistic_by,
    weight_by,
    bias_by,
    eps: tl.float64,
    alpha: tl.float64,
    gain: tl.float64,
    ACT: tl.constexpr,
    LAST: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    OUT: tl.constexpr = grad_input_ptr.dtype.element_ty
    ACC: tl.constexpr = tl.float64 if tl.float64 == OUT else tl.float32
    sample, _, channel, pixel, offset = tile(channels, pixels, parts, 1, LAST, C, P)
    mean, factor, weight, bias = affine(
        mean_ptr, variance_ptr, weight_ptr, bias_ptr, sample, channel, channels, statistic_by, weight_by, bias_by, eps,
        ACC,
    )  # fmt: skip
    scale = weight * factor
    mask = (channel < channels) & (pixel < pixels)
    x = tl.load(input_ptr + offset, mask=mask).to(ACC) - mean
    grad = tl.load(grad_output_ptr + offset, mask=mask).to(ACC)
    grad = grad * slope(x * scale + bias, scalar(alpha, ACC), ACT) * (scale * scalar(gain, ACC))
    if product_ptr is not None:
        product = load_parameter(product_ptr, sample, channel, channels, statistic_by, 0.0, ACC)
        gradient = load_parameter(gradient_ptr, sample, channel, channels, statistic_by, 0.0, ACC)
        grad -= factor * gradient + x * (factor * factor * product)
    tl.store(grad_input_ptr + offset, grad.to(OUT), mask=mask)
