"""norm_act by the mean square of each pixel in Triton."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
# mypy: disable-error-code=no-untyped-def
from fastgan.ops.bias_act.triton_activations import slope, value
from fastgan.ops.norm_act.triton_device import load_parameter, scalar, tile
from fastgan.ops.triton_support import tl, triton

__all__ = ["norm_act_pixel_bwd_kernel", "norm_act_pixel_fwd_kernel"]


@triton.jit
def norm_act_pixel_fwd_kernel(
    input_ptr,  # [samples, channels, pixels]
    weight_ptr,  # this and the next: [channels], [samples, channels] or None
    bias_ptr,
    output_ptr,  # [samples, channels, pixels]
    channels,
    pixels,
    parts,
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
    AXIS: tl.constexpr = 1 if LAST else 0
    sample, _, channel, pixel, offset = tile(channels, pixels, parts, 1, LAST, C, P)
    weight = load_parameter(weight_ptr, sample, channel, channels, weight_by, 1.0, ACC)
    bias = load_parameter(bias_ptr, sample, channel, channels, bias_by, 0.0, ACC)
    mask = (channel < channels) & (pixel < pixels)
    x = tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC)
    square = tl.sum(x * x, AXIS, keep_dims=True) / channels.to(ACC)
    x = x / tl.sqrt(square + scalar(eps, ACC))
    y = value(x * weight + bias, scalar(alpha, ACC), ACT) * scalar(gain, ACC)
    tl.store(output_ptr + offset, y.to(OUT), mask=mask)


@triton.jit(do_not_specialize=["parts", "steps"])
def norm_act_pixel_bwd_kernel(
    grad_output_ptr,  # [samples, channels, pixels]
    input_ptr,  # [samples, channels, pixels]
    weight_ptr,  # this and the next: [channels], [samples, channels] or None
    bias_ptr,
    grad_input_ptr,  # [samples, channels, pixels]
    partial_ptr,  # [2, samples, parts, channels]
    samples,
    channels,
    pixels,
    parts,
    steps,
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
    ACC: tl.constexpr = partial_ptr.dtype.element_ty
    AXIS: tl.constexpr = 1 if LAST else 0
    sample, part, channel, pixel, offset = tile(channels, pixels, parts, steps, LAST, C, P)
    weight = load_parameter(weight_ptr, sample, channel, channels, weight_by, 1.0, ACC)
    bias = load_parameter(bias_ptr, sample, channel, channels, bias_by, 0.0, ACC)
    alpha_ = scalar(alpha, ACC)
    gain_ = scalar(gain, ACC)
    product = tl.zeros(channel.shape, ACC)
    gradient = tl.zeros(channel.shape, ACC)
    for _ in range(steps):
        mask = (channel < channels) & (pixel < pixels)
        x = tl.load(input_ptr + offset, mask=mask, other=0.0).to(ACC)
        factor = 1.0 / tl.sqrt(tl.sum(x * x, AXIS, keep_dims=True) / channels.to(ACC) + scalar(eps, ACC))
        x = x * factor
        grad = tl.load(grad_output_ptr + offset, mask=mask, other=0.0).to(ACC)
        grad = tl.where(mask, grad * gain_ * slope(x * weight + bias, alpha_, ACT), 0.0)
        product += tl.sum(grad * x, 1 - AXIS, keep_dims=True)
        gradient += tl.sum(grad, 1 - AXIS, keep_dims=True)
        grad = tl.where(mask, grad * weight, 0.0)
        grad = factor * (grad - x * (tl.sum(grad * x, AXIS, keep_dims=True) / channels.to(ACC)))
        tl.store(grad_input_ptr + offset, grad.to(OUT), mask=mask)
        pixel += P
        offset += P * channels if LAST else P
    target = partial_ptr + (sample.to(tl.int64) * parts + part) * channels + channel
    tl.store(target, product, mask=channel < channels)
    tl.store(target + tl.cast(samples, tl.int64) * parts * channels, gradient, mask=channel < channels)
