"""Stateless public API: checks its arguments, fills in defaults, calls one op."""

from fastgan.functional.activation import bias_act
from fastgan.functional.bits import gate_by_bits, sign_bits
from fastgan.functional.convolution import conv2d
from fastgan.functional.discriminator import gradient_penalty
from fastgan.functional.fir import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from fastgan.functional.frechet import frechet_distance, frechet_distance_from_features
from fastgan.functional.frechet_by_class import frechet_distance_by_class
from fastgan.functional.kernels import gaussian_mmd, polynomial_mmd
from fastgan.functional.matrices import product_nuclear_norm, psd_factor, sqrtm_psd, trace_sqrtm_product
from fastgan.functional.minibatch import minibatch_stddev
from fastgan.functional.modulation import modulated_conv2d
from fastgan.functional.neighbours import kth_neighbour_distance
from fastgan.functional.norm_convolution import norm_act_conv2d, norm_act_upsample_conv2d
from fastgan.functional.normalization import affine_act, norm_act
from fastgan.functional.parzen import parzen_log_likelihood
from fastgan.functional.penalties import gradient_norm_penalty, interpolate_samples
from fastgan.functional.polar import polar_factor
from fastgan.functional.prdc import PRDC, precision_recall_density_coverage
from fastgan.functional.resampling import box_filter2d, conv2d_avg_pool2d, upsample_add, upsample_conv2d
from fastgan.functional.scores import inception_score
from fastgan.functional.spectral import spectral_conv, spectral_linear, spectral_norm, spectral_norm_group

__all__ = [
    "PRDC",
    "affine_act",
    "bias_act",
    "box_filter2d",
    "conv2d",
    "conv2d_avg_pool2d",
    "downsample2d",
    "filter2d",
    "frechet_distance",
    "frechet_distance_by_class",
    "frechet_distance_from_features",
    "gate_by_bits",
    "gaussian_mmd",
    "gradient_norm_penalty",
    "gradient_penalty",
    "inception_score",
    "interpolate_samples",
    "kth_neighbour_distance",
    "minibatch_stddev",
    "modulated_conv2d",
    "norm_act",
    "norm_act_conv2d",
    "norm_act_upsample_conv2d",
    "parzen_log_likelihood",
    "polar_factor",
    "polynomial_mmd",
    "precision_recall_density_coverage",
    "product_nuclear_norm",
    "psd_factor",
    "setup_filter",
    "sign_bits",
    "spectral_conv",
    "spectral_linear",
    "spectral_norm",
    "spectral_norm_group",
    "sqrtm_psd",
    "trace_sqrtm_product",
    "upfirdn2d",
    "upsample2d",
    "upsample_add",
    "upsample_conv2d",
]
