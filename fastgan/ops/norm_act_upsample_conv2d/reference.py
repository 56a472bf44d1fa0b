"""norm_act_upsample_conv2d in plain torch: fallback and oracle."""

from __future__ import annotations

from fastgan.ops.norm_act.reference import norm_act
from fastgan.ops.norm_act_upsample_conv2d.composition import composition
from fastgan.ops.upsample_conv2d.reference import unsupported_reason, upsample_conv2d

__all__ = ["norm_act_upsample_conv2d", "unsupported_reason"]

norm_act_upsample_conv2d = composition(norm_act, upsample_conv2d)
