"""The inputs of norm_act and affine_act."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _norm_act(
    name: str,
    shape: tuple[int, ...],
    layout: str = "contiguous",
    affine: str | None = "channel",
    running: bool = False,
    statistics: bool = False,
    **options: Any,
) -> Sample:
    """`affine` says whether weight and bias are those of a "channel", of each "sample" or only one of them."""

    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        x = laid_out(shape, layout, normal)
        channels = shape[1]
        parameter = {"channel": (channels,), "weight-only": (channels,), "sample": shape[:2]}
        arguments: dict[str, Any] = {"input": x, **options}
        if affine in parameter:
            arguments["weight"] = normal(*parameter[affine])
        if affine in ("channel", "sample", "bias-only"):
            arguments["bias"] = normal(*parameter.get(affine, shape[:2]))
        if running:
            arguments["running_mean"], arguments["running_var"] = normal(channels), normal(channels).square() + 0.5
        if statistics:
            dims = [0, *range(2, len(shape))]
            arguments["statistics"] = torch.stack([x.mean(dims), x.var(dims, correction=0) * (x.numel() / channels)])
        return arguments

    constants = ("running_mean", "running_var") * running + ("statistics",) * statistics
    # Finite differences would move the input away from the statistics that are given.
    return Sample("norm_act", name, make, constants=constants, numerical=not statistics)


def _affine_act(name: str, shape: tuple[int, ...], layout: str = "contiguous", **options: Any) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        x, scale = laid_out(shape, layout, normal), normal(*shape[:2])
        return {"input": x, "scale": scale, "shift": normal(shape[1]), **options}

    return Sample("norm_act", name, make, "affine_act")


TRAINING = {"training": True}
SAMPLES = [
    _norm_act("typical", (3, 4, 5, 3), affine="sample", running=True, act="relu", **TRAINING),
    _norm_act("channels_last", (3, 5, 4, 3), "channels_last", affine="sample", act="lrelu", **TRAINING),
    _norm_act("gaps", (2, 3, 4, 6), "gaps", act="relu", **TRAINING),
    _norm_act("expanded", (3, 2, 4, 4), "expanded", affine="sample", act="lrelu", alpha=0.01, **TRAINING),
    _norm_act("transposed", (3, 4, 6), "transposed", affine="weight-only", gain=-1.3, **TRAINING),
    _norm_act("no-affine", (2, 3, 4, 5), "channels_last", affine=None, act="lrelu", **TRAINING),
    _norm_act("bias-only", (2, 3, 7), affine="bias-only", act="relu", **TRAINING),
    _norm_act("2-d", (9, 5), running=True, momentum=0.3, act="relu", eps=1e-3, **TRAINING),
    _norm_act("statistics", (3, 4, 5, 3), affine="sample", statistics=True, act="relu", **TRAINING),
    _norm_act("eval", (3, 4, 5, 3), affine="sample", running=True, act="relu"),
    _norm_act("eval-channels_last", (2, 19, 3, 5), "channels_last", running=True, act="lrelu", gain=1.4),
    _norm_act("batch-of-one", (1, 3, 5, 4), "channels_last", affine="sample", act="relu", **TRAINING),
    _norm_act("empty-batch", (0, 3, 4, 4), act="relu", **TRAINING),
    _norm_act("instance", (2, 3, 5, 7), affine="sample", norm="instance", act="lrelu"),
    _norm_act("instance-channels_last", (2, 3, 5, 4), "channels_last", running=True, norm="instance", **TRAINING),
    _norm_act("pixel", (2, 5, 4, 3), affine=None, norm="pixel", act="lrelu", eps=1e-8),
    _norm_act("pixel-channels_last", (2, 5, 4, 3), "channels_last", affine="sample", norm="pixel", act="relu"),
    _affine_act("affine", (3, 4, 5, 3), act="lrelu", gain=2**0.5),
    _affine_act("affine-channels_last", (2, 3, 4, 4), "channels_last"),
]
