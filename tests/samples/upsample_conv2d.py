"""The inputs of upsample_conv2d, and of conv2d_avg_pool2d, which takes the same ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES", "convolution_sample", "convolution_samples"]


def convolution_sample(
    op: str,
    name: str,
    input: tuple[int, ...],
    weight: tuple[int, ...],
    layouts: tuple[str, str] = ("contiguous", "contiguous"),
    bias: bool = True,
    residual: str | None = None,
    factor: float = 2,
    **options: Any,
) -> Sample:
    """A convolution's sample: `input` and `weight` are shapes, `layouts` those of the two, `residual` that of one.

    The residual is `factor` times as large as the input.
    """

    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        # Outputs of size one, whatever the kernel.
        scale = (weight[1] * weight[2] * weight[3]) ** -0.5
        w = laid_out(weight, layouts[1], lambda *size: normal(*size) * scale)
        b = normal(weight[0]) if bias else None
        arguments = {"input": laid_out(input, layouts[0], normal), "weight": w, "bias": b, **options}
        if residual is not None:
            size = (int(factor * s) + 1 - weight[2] + 2 * (weight[2] // 2) for s in input[2:])
            arguments["residual"] = laid_out((input[0], weight[0], *size), residual, normal)
        return arguments

    return Sample(op, name, make, keeps_layout=False, follows_autocast=True)


def convolution_samples(op: str, smallest: int) -> list[Sample]:
    """The inputs of a resampling convolution, of which `smallest` is the least height and width."""
    return [
        convolution_sample(op, "typical", (2, 3, 5, 4), (4, 3, 3, 3)),
        convolution_sample(op, "channels_last", (2, 5, 4, 3), (6, 5, 3, 3), ("channels_last", "channels_last")),
        convolution_sample(op, "gaps", (2, 3, 4, 4), (4, 3, 3, 3), ("gaps", "gaps")),
        convolution_sample(op, "expanded", (2, 3, 4, 5), (2, 3, 3, 3), ("expanded", "transposed")),
        convolution_sample(op, "no-bias", (2, 3, 3, 3), (4, 3, 3, 3), bias=False),
        convolution_sample(op, "1x1", (2, 3, 5, 4), (4, 3, 1, 1)),
        convolution_sample(
            op, "1x1-channels_last", (2, 3, 4, 5), (4, 3, 1, 1), ("channels_last", "contiguous"), bias=False
        ),
        convolution_sample(op, "5x5", (1, 2, 5, 6), (3, 2, 5, 5)),
        convolution_sample(op, "7x7", (1, 2, 7, 5), (2, 2, 7, 7), ("channels_last", "contiguous")),
        convolution_sample(op, "3x5", (1, 2, 4, 5), (2, 2, 3, 5)),
        convolution_sample(op, "grouped", (2, 4, 4, 3), (6, 2, 3, 3), groups=2),
        convolution_sample(op, "depthwise", (2, 3, 5, 4), (3, 1, 3, 3), ("channels_last", "channels_last"), groups=3),
        convolution_sample(op, "valid", (2, 2, 5, 6), (3, 2, 3, 3), padding="valid"),
        convolution_sample(op, "even-kernel", (2, 2, 5, 4), (3, 2, 4, 4), padding=1),
        convolution_sample(op, "wide-padding", (1, 2, 3, 4), (2, 2, 3, 3), padding=2),
        convolution_sample(op, "mixed-padding", (1, 2, 4, 5), (2, 2, 3, 3), padding=(0, 1)),
        convolution_sample(op, "one", (1, 1, smallest, smallest), (1, 1, 3, 3)),
        convolution_sample(op, "empty-batch", (0, 3, 4, 4), (4, 3, 3, 3)),
    ]


_OP, _LAST = "upsample_conv2d", ("channels_last", "channels_last")

SAMPLES = [
    convolution_sample(_OP, "residual-typical", (2, 3, 5, 4), (4, 3, 3, 3), residual="contiguous"),
    *convolution_samples(_OP, smallest=1),
    convolution_sample(_OP, "residual", (2, 3, 4, 5), (4, 3, 3, 3), residual="channels_last", bias=False),
    convolution_sample(_OP, "residual-channels_last", (2, 5, 4, 3), (6, 5, 3, 3), _LAST, residual="gaps"),
    convolution_sample(_OP, "residual-1x1", (2, 3, 4, 5), (4, 3, 1, 1), residual="expanded"),
    convolution_sample(_OP, "residual-grouped", (1, 4, 4, 3), (6, 2, 3, 3), groups=2, residual="contiguous"),
]
