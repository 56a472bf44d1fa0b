"""Drop-in modules: parameters and buffers, and one call into :mod:`fastgan.functional`."""

from fastgan.nn import utils
from fastgan.nn.activation import BiasAct, LeakyReLU, ReLU
from fastgan.nn.blocks import ResBlockDown, ResBlockUp
from fastgan.nn.convolution import Conv2d
from fastgan.nn.minibatch import MinibatchStdDev
from fastgan.nn.normalization import (
    AdaptiveInstanceNorm2d,
    BatchNormAct2d,
    ConditionalBatchNorm2d,
    ConditionedBatchNorm2d,
    InstanceNormAct2d,
    PixelNorm,
)
from fastgan.nn.penalized import PenalizedDiscriminator
from fastgan.nn.resampling import ConvAvgPool2d, UpsampleConv2d
from fastgan.nn.spectral import SNConv1d, SNConv2d, SNConv3d, SNConvTranspose2d, SNEmbedding, SNLinear

__all__ = [
    "AdaptiveInstanceNorm2d",
    "BatchNormAct2d",
    "BiasAct",
    "ConditionalBatchNorm2d",
    "ConditionedBatchNorm2d",
    "Conv2d",
    "ConvAvgPool2d",
    "InstanceNormAct2d",
    "LeakyReLU",
    "MinibatchStdDev",
    "PenalizedDiscriminator",
    "PixelNorm",
    "ReLU",
    "ResBlockDown",
    "ResBlockUp",
    "SNConv1d",
    "SNConv2d",
    "SNConv3d",
    "SNConvTranspose2d",
    "SNEmbedding",
    "SNLinear",
    "UpsampleConv2d",
    "utils",
]
