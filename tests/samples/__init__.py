"""One list of inputs per op, read by every test of it: correctness, derivatives, opcheck, Triton, CUDA."""

from tests.samples import bias_act, spectral_conv, spectral_norm, upfirdn2d
from tests.samples.sample import Sample, tensors

__all__ = ["SAMPLES", "Sample", "tensors"]

SAMPLES: dict[str, list[Sample]] = {
    "bias_act": bias_act.SAMPLES,
    "spectral_norm": spectral_norm.SAMPLES,
    "spectral_conv": spectral_conv.SAMPLES,
    "upfirdn2d": upfirdn2d.SAMPLES,
}
