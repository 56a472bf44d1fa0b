"""The inputs of conv2d, by Winograd's algorithm where it serves."""

from __future__ import annotations

import dataclasses

from tests.samples.sample import Sample
from tests.samples.upsample_conv2d import convolution_sample
from tests.tolerances import WINOGRAD_ERROR

__all__ = ["SAMPLES"]

LAST = ("channels_last", "channels_last")

SAMPLES: list[Sample] = [
    dataclasses.replace(sample, float32_error=WINOGRAD_ERROR)
    for sample in (
        convolution_sample("conv2d", name, input, weight, layouts, bias, algorithm="winograd", **options)
        for name, input, weight, layouts, bias, options in (
            ("typical", (2, 3, 5, 4), (4, 3, 3, 3), ("contiguous", "contiguous"), True, {}),
            ("channels_last", (2, 5, 4, 3), (6, 5, 3, 3), LAST, True, {}),
            ("gaps", (2, 3, 4, 4), (4, 3, 3, 3), ("gaps", "gaps"), True, {}),
            ("expanded", (2, 3, 4, 5), (2, 3, 3, 3), ("expanded", "transposed"), True, {}),
            ("no-bias", (2, 3, 3, 3), (4, 3, 3, 3), ("contiguous", "channels_last"), False, {}),
            ("valid", (2, 2, 5, 6), (3, 2, 3, 3), ("channels_last", "contiguous"), True, {"padding": "valid"}),
            ("wide-padding", (1, 2, 3, 4), (2, 2, 3, 3), ("contiguous", "contiguous"), True, {"padding": 2}),
            ("mixed-padding", (1, 2, 4, 5), (2, 2, 3, 3), LAST, True, {"padding": (0, 1)}),
            ("one", (1, 1, 1, 1), (1, 1, 3, 3), ("contiguous", "contiguous"), True, {}),
            ("relu", (2, 3, 5, 6), (4, 3, 3, 3), ("contiguous", "channels_last"), True, {"act": "relu"}),
            ("lrelu-channels_last", (2, 5, 4, 3), (3, 5, 3, 3), LAST, False, {"act": "lrelu", "alpha": 0.3}),
            ("residual", (2, 3, 4, 6), (4, 3, 3, 3), LAST, True, {"residual": "gaps", "factor": 1}),
            (
                "half-residual",
                (2, 3, 4, 6),
                (4, 3, 3, 3),
                LAST,
                False,
                {"residual": "contiguous", "factor": 0.5, "act": "relu"},
            ),
            ("empty-batch", (0, 3, 4, 4), (4, 3, 3, 3), ("contiguous", "contiguous"), True, {}),
        )
    )
]
