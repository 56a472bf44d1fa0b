"""Spectral normalisation of a module's weight, and of all weights of a model in one call."""

from fastgan.nn.utils.group import group_spectral_norm, ungroup_spectral_norm
from fastgan.nn.utils.spectral_norm import spectral_norm

__all__ = ["group_spectral_norm", "spectral_norm", "ungroup_spectral_norm"]
