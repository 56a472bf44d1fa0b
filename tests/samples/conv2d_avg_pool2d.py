"""The inputs of conv2d_avg_pool2d."""

from __future__ import annotations

from tests.samples.upsample_conv2d import convolution_sample, convolution_samples

__all__ = ["SAMPLES"]

_OP = "conv2d_avg_pool2d"

SAMPLES = [
    *convolution_samples(_OP, smallest=2),
    convolution_sample(_OP, "relu", (2, 3, 5, 4), (4, 3, 3, 3), ("channels_last", "channels_last"), act="relu"),
    convolution_sample(_OP, "lrelu", (2, 3, 4, 7), (4, 3, 3, 3), act="lrelu", alpha=0.1),
    convolution_sample(_OP, "relu-1x1", (2, 3, 5, 4), (4, 3, 1, 1), act="relu"),
    convolution_sample(_OP, "lrelu-mixed-padding", (1, 2, 4, 5), (2, 2, 3, 3), padding=(0, 1), act="lrelu"),
]
