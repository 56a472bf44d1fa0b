"""The inputs of norm_act_conv2d, by Winograd's algorithm where it serves."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from tests.samples.norm_act_upsample_conv2d import normalised_samples
from tests.samples.sample import Sample
from tests.tolerances import WINOGRAD_ERROR

__all__ = ["SAMPLES"]


def _by_winograd(sample: Sample) -> Sample:
    def make(generator: torch.Generator) -> dict[str, Any]:
        arguments = sample.make(generator)
        same = arguments["weight"].shape[-1] == 1
        return {**arguments, "algorithm": "winograd", **({"padding": "same"} if same else {})}

    return dataclasses.replace(sample, make=make, float32_error=WINOGRAD_ERROR)


SAMPLES = [_by_winograd(sample) for sample in normalised_samples("norm_act_conv2d", factor=1)]
