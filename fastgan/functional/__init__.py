"""Stateless public API: checks its arguments, fills in defaults, calls one op."""

from fastgan.functional.activation import bias_act
from fastgan.functional.spectral import spectral_conv, spectral_linear, spectral_norm, spectral_norm_group

__all__ = ["bias_act", "spectral_conv", "spectral_linear", "spectral_norm", "spectral_norm_group"]
