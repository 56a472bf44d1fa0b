"""Drop-in modules: parameters and buffers, and one call into :mod:`fastgan.functional`."""

from fastgan.nn import utils
from fastgan.nn.activation import BiasAct, LeakyReLU, ReLU
from fastgan.nn.minibatch import MinibatchStdDev
from fastgan.nn.spectral import SNConv1d, SNConv2d, SNConv3d, SNConvTranspose2d, SNEmbedding, SNLinear

__all__ = [
    "BiasAct",
    "LeakyReLU",
    "MinibatchStdDev",
    "ReLU",
    "SNConv1d",
    "SNConv2d",
    "SNConv3d",
    "SNConvTranspose2d",
    "SNEmbedding",
    "SNLinear",
    "utils",
]
