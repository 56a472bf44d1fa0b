"""The ops behind ``torch.ops.fastgan``; importing this registers all of them. Nothing compiles here."""

from fastgan.ops import bias_act, norm_act, spectral_conv, spectral_norm

__all__ = ["bias_act", "norm_act", "spectral_conv", "spectral_norm"]
