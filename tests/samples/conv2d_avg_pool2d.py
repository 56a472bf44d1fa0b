"""The inputs of conv2d_avg_pool2d."""

from __future__ import annotations

from tests.samples.upsample_conv2d import convolution_samples

__all__ = ["SAMPLES"]

SAMPLES = convolution_samples("conv2d_avg_pool2d", smallest=2)
