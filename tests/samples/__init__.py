"""One list of inputs per op, read by every test of it: correctness, derivatives, opcheck, Triton, CUDA."""

from tests.samples import (
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
    polar_factor,
    product_nuclear_norm,
    spectral_conv,
    spectral_norm,
    sqrtm_psd,
    symmetric_eigh,
    trace_sqrtm_product,
    upfirdn2d,
    upsample_add,
    upsample_conv2d,
)
from tests.samples.sample import Sample, in_dtype, tensors

__all__ = ["SAMPLES", "Sample", "in_dtype", "tensors"]

SAMPLES: dict[str, list[Sample]] = {
    "bias_act": bias_act.SAMPLES,
    "box_filter2d": box_filter2d.SAMPLES,
    "conv2d": conv2d.SAMPLES,
    "conv2d_avg_pool2d": conv2d_avg_pool2d.SAMPLES,
    "gate_by_bits": gate_by_bits.SAMPLES,
    "gradient_norm_penalty": gradient_norm_penalty.SAMPLES,
    "interpolate_samples": interpolate_samples.SAMPLES,
    "norm_act": norm_act.SAMPLES,
    "norm_act_conv2d": norm_act_conv2d.SAMPLES,
    "norm_act_upsample_conv2d": norm_act_upsample_conv2d.SAMPLES,
    "polar_factor": polar_factor.SAMPLES,
    "product_nuclear_norm": product_nuclear_norm.SAMPLES,
    "spectral_conv": spectral_conv.SAMPLES,
    "spectral_norm": spectral_norm.SAMPLES,
    "sqrtm_psd": sqrtm_psd.SAMPLES,
    "symmetric_eigh": symmetric_eigh.SAMPLES,
    "trace_sqrtm_product": trace_sqrtm_product.SAMPLES,
    "upfirdn2d": upfirdn2d.SAMPLES,
    "upsample_add": upsample_add.SAMPLES,
    "upsample_conv2d": upsample_conv2d.SAMPLES,
}
