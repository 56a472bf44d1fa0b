"""The inputs of bias_act."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops.bias_act.activations import ACTIVATIONS
from tests.samples.sample import Sample, laid_out

__all__ = ["SAMPLES"]


def _bias_act(
    name: str, shape: tuple[int, ...], layout: str = "contiguous", bias: bool = True, **options: Any
) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        x = laid_out(shape, layout, normal)
        length = shape[options.get("dim", 1)] if bias else 0
        return {"input": x, "bias": normal(length) if bias else None, **options}

    return Sample("bias_act", name, make)


SAMPLES = [
    _bias_act("typical", (2, 3, 5, 7), act="tanh", gain=1.3),
    *(_bias_act(f"{act}", (2, 3, 5, 7), act=act) for act in ACTIVATIONS),
    *(_bias_act(f"{act}-clamp", (3, 4, 5), act=act, gain=-0.7, clamp=0.4) for act in ACTIVATIONS),
    *(_bias_act(f"{act}-channels_last", (2, 5, 4, 3), "channels_last", act=act) for act in ACTIVATIONS),
    *(_bias_act(f"{act}-no-bias", (3, 7), bias=False, act=act, gain=1.5) for act in ACTIVATIONS),
    _bias_act("lrelu-alpha", (2, 3, 9), act="lrelu", alpha=0.01),
    _bias_act("lrelu-negative-alpha", (2, 3, 9), act="lrelu", alpha=-0.5, clamp=0.6),
    _bias_act("lrelu-zero-alpha", (2, 3, 9), act="lrelu", alpha=0.0),
    _bias_act("linear-addition", (2, 3, 9), act="linear", gain=1.0),
    _bias_act("gain-zero", (2, 3, 9), act="sigmoid", gain=0.0),
    _bias_act("clamp-zero", (2, 3, 9), act="tanh", clamp=0.0),
    _bias_act("dim-0", (5, 4), act="tanh", dim=0),
    _bias_act("dim-last", (2, 3, 4, 6), act="swish", dim=-1),
    _bias_act("vector", (11,), act="elu", dim=0),
    _bias_act("vector-no-bias", (11,), bias=False, act="swish"),
    _bias_act("scalar", (), bias=False, act="tanh"),
    _bias_act("one", (1, 1, 1, 1), act="softplus"),
    _bias_act("one-channel", (3, 1, 8), act="sigmoid"),
    _bias_act("5-d", (2, 3, 2, 3, 2), act="selu"),
    _bias_act("linear-layer", (7, 33), act="lrelu"),
    _bias_act("long-rows", (2, 3, 5, 29), act="lrelu"),
    _bias_act("transposed", (4, 3, 5), "transposed", act="lrelu"),
    _bias_act("gaps", (2, 3, 5), "gaps", act="swish"),
    _bias_act("expanded", (4, 3, 5), "expanded", act="tanh"),
    _bias_act("expanded-permuted", (2, 3, 4, 4), "expanded-permuted", act="lrelu"),
    _bias_act("one-pixel", (2, 3, 1, 1), "channels_last", act="lrelu", clamp=0.5),
    _bias_act("offset", (2, 3, 5, 3), "offset", act="softplus"),
    _bias_act("empty-batch", (0, 3, 4, 4), act="lrelu"),
    _bias_act("empty-channels", (2, 0, 4), act="tanh"),
    _bias_act("empty-pixels", (2, 3, 0), act="swish"),
]
