"""The inputs of norm_act_upsample_conv2d, and of norm_act_conv2d, which takes most of the same ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES", "normalised_samples"]


LAST = "channels_last"


def _sample(
    op: str,
    factor: int,
    name: str,
    input: tuple[int, ...],
    c_out: int,
    layout: str = "contiguous",
    kernel: int = 3,
    affine: tuple[bool, bool] | None = (False, False),
    running: bool = False,
    statistics: bool = False,
    **options: Any,
) -> Sample:
    """The output is `factor` times as large as the input; `affine`: whether scale and shift are each sample's own."""
    n, channels, height, width = input

    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        x = laid_out(input, layout, normal)
        arguments: dict[str, Any] = {
            "input": x,
            "weight": normal(c_out, channels, kernel, kernel) * (channels * kernel**2) ** -0.5,
            "bias": normal(c_out),
            **options,
        }
        for argument, by_sample in zip(("scale", "shift"), affine or (), strict=False):
            arguments[argument] = normal(*((n, channels) if by_sample else (channels,)))
        if running:
            arguments["running_mean"], arguments["running_var"] = normal(channels) * 0.3, normal(channels).square() + 1
        if statistics:
            dims = (0, 2, 3)
            arguments["statistics"] = torch.stack([x.mean(dims), x.var(dims, correction=0) * (x.numel() / channels)])
            arguments["residual"] = normal(n, c_out, factor * height, factor * width)
        return arguments

    constants = ("running_mean", "running_var") * running + ("statistics",) * statistics
    # Finite differences would move the input away from the statistics that are given.
    return Sample(
        op, name, make, constants=constants, numerical=not statistics, keeps_layout=False,
        follows_autocast=True,
    )  # fmt: skip


def normalised_samples(op: str, factor: int) -> list[Sample]:
    """The inputs of a convolution of what norm_act gives, whose output is `factor` times as large."""
    sample, training = partial(_sample, op, factor), {"training": True}
    return [
        sample("typical", (2, 3, 4, 3), 4, affine=(True, True), act="relu", **training),
        sample("channels_last", (2, 5, 3, 4), 3, LAST, affine=(False, True), act="lrelu", gain=1.4, **training),
        sample("gaps", (2, 3, 4, 4), 2, "gaps", running=True, act="relu", **training),
        sample("expanded", (2, 3, 3, 4), 2, "expanded", affine=None, act="lrelu", alpha=0.1, **training),
        sample("statistics", (2, 3, 4, 3), 4, LAST, statistics=True, act="relu", **training),
        sample("eval", (2, 2, 2, 3), 2, running=True, act="relu"),
        sample("eval-channels_last", (2, 3, 4, 3), 4, LAST, affine=(True, False), running=True, act="lrelu"),
        sample("1x1", (2, 3, 3, 4), 2, kernel=1, act="relu", **training),
        sample("linear", (2, 2, 3, 1), 2, LAST, **training),
        sample("empty-batch", (0, 3, 4, 4), 4, LAST, act="relu", **training),
    ]


SAMPLES = normalised_samples("norm_act_upsample_conv2d", factor=2)
