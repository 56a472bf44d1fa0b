"""Random augmentations of batches, differentiable in the images: before a discriminator they let it learn from few.

All are affine in every sample, so that a gradient penalty on a discriminator behind them still takes four passes
(docs/penalties.md).
"""

from fastgan.augment.ada import ADA
from fastgan.augment.diff_augment import DiffAugment
from fastgan.augment.flip import RandomHorizontalFlip

__all__ = ["ADA", "DiffAugment", "RandomHorizontalFlip"]
