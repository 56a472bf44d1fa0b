"""One list of inputs per op, read by every test of it: correctness, derivatives, opcheck, Triton, CUDA."""

from tests.samples import bias_act, norm_act, spectral_conv, spectral_norm
from tests.samples.sample import Sample, tensors

__all__ = ["SAMPLES", "Sample", "tensors"]

SAMPLES: dict[str, list[Sample]] = {
    "bias_act": bias_act.SAMPLES,
    "norm_act": norm_act.SAMPLES,
    "spectral_norm": spectral_norm.SAMPLES,
    "spectral_conv": spectral_conv.SAMPLES,
}
