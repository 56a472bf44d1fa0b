"""Stateless public API: checks its arguments, fills in defaults, calls one op."""

from fastgan.functional.activation import bias_act
from fastgan.functional.convolution import conv2d
from fastgan.functional.fir import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from fastgan.functional.minibatch import minibatch_stddev
from fastgan.functional.modulation import modulated_conv2d
from fastgan.functional.norm_resampling import norm_act_upsample_conv2d
from fastgan.functional.normalization import affine_act, norm_act
from fastgan.functional.penalty import gradient_penalty
from fastgan.functional.resampling import box_filter2d, conv2d_avg_pool2d, upsample_add, upsample_conv2d
from fastgan.functional.spectral import spectral_conv, spectral_linear, spectral_norm, spectral_norm_group

__all__ = [
    "affine_act",
    "bias_act",
    "box_filter2d",
    "conv2d",
    "conv2d_avg_pool2d",
    "downsample2d",
    "filter2d",
    "gradient_penalty",
    "minibatch_stddev",
    "modulated_conv2d",
    "norm_act",
    "norm_act_upsample_conv2d",
    "setup_filter",
    "spectral_conv",
    "spectral_linear",
    "spectral_norm",
    "spectral_norm_group",
    "upfirdn2d",
    "upsample2d",
    "upsample_add",
    "upsample_conv2d",
]
