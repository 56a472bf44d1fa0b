"""The ops behind ``torch.ops.fastgan``; importing this registers all of them. Nothing compiles here."""

from fastgan.ops import (
    bias_act,
    box_filter2d,
    conv2d,
    conv2d_avg_pool2d,
    gate_by_bits,
    gradient_norm_penalty,
    interpolate_samples,
    norm_act,
    norm_act_conv2d,
    norm_act_upsample_conv2d,
    spectral_conv,
    spectral_norm,
    symmetric_eigh,
    upfirdn2d,
    upsample_add,
    upsample_conv2d,
)

__all__ = [
    "bias_act",
    "box_filter2d",
    "conv2d",
    "conv2d_avg_pool2d",
    "gate_by_bits",
    "gradient_norm_penalty",
    "interpolate_samples",
    "norm_act",
    "norm_act_conv2d",
    "norm_act_upsample_conv2d",
    "spectral_conv",
    "spectral_norm",
    "symmetric_eigh",
    "upfirdn2d",
    "upsample_add",
    "upsample_conv2d",
]
