"""Stateless public API: checks its arguments, fills in defaults, calls one op."""

from fastgan.functional.activation import bias_act
from fastgan.functional.normalization import affine_act, norm_act
from fastgan.functional.resampling import box_filter2d, conv2d_avg_pool2d, upsample_add, upsample_conv2d
from fastgan.functional.spectral import spectral_conv, spectral_linear, spectral_norm, spectral_norm_group

__all__ = [
    "affine_act",
    "bias_act",
    "box_filter2d",
    "conv2d_avg_pool2d",
    "norm_act",
    "spectral_conv",
    "spectral_linear",
    "spectral_norm",
    "spectral_norm_group",
    "upsample_add",
    "upsample_conv2d",
]
