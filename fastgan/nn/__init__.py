"""Drop-in modules: parameters and buffers, and one call into :mod:`fastgan.functional`."""

from fastgan.nn.activation import BiasAct, LeakyReLU, ReLU

__all__ = ["BiasAct", "LeakyReLU", "ReLU"]
