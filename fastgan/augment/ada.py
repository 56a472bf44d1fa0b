"""Adaptive discriminator augmentation: the pipeline, and its probability, which follows overfitting."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.augment.batch import working
from fastgan.augment.color import random_colors, recolored
from fastgan.augment.draws import Draws
from fastgan.augment.geometry import SYM6, blitted, random_blits, random_places, warped
from fastgan.distributed import sum_of_processes
from fastgan.functional import setup_filter
from fastgan.ops import checks

__all__ = ["ADA"]


class ADA(nn.Module):
    """Adaptive discriminator augmentation, pipeline "bgc"; in evaluation mode none.

    Each of its transformations reaches each image with probability `p`. Real and generated images go through it, in the
    discriminator's step and in the generator's; then :meth:`update` is told the discriminator's outputs for real ones::

        logits = discriminator(augment(real))
        augment.update(logits)

    Parameters
    ----------
    target : float, default 0.6
        What the mean sign of the outputs for real images is led to: above it, `p` grows.
    interval : int, default 4
        Updates between two changes of `p`.
    images : int, default 500_000
        Real images in which `p` goes from 0 to 1 where it only grows.
    p : float, default 0
        Where it begins, in [0, 1].

    Attributes
    ----------
    p : Tensor
        The probability, a scalar; part of the state dict, with what is counted towards its next change.

    Shape
    -----
    Input and output ``[N, C, H, W]``, C 1 or 3, H and W at least 4; float32, float64, float16 or bfloat16 (computed in
    float32). Values are meant to be in [-1, 1].

    Raises
    ------
    TypeError
        For input that is not floating point.
    ValueError
        For parameters out of range, or input of other shapes.

    Notes
    -----
    Affine in each sample; differentiable twice. No call waits for the device. On CUDA the backward of torch's
    grid_sample adds in no fixed order.

    Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), section 3 and appendix B, with
    its distributions: pixel blitting, general geometric and colour transformations. Other than there, an image goes on
    beyond its borders as its mirror image without an end, so that no margin has to be found for a batch, and images
    that no geometric transformation has reached are not filtered.
    """

    p: Tensor
    filter: Tensor
    sign_sum: Tensor
    samples: Tensor
    updates: Tensor

    def __init__(self, target: float = 0.6, interval: int = 4, images: int = 500_000, p: float = 0.0) -> None:
        super().__init__()
        for name, value, low, high in (
            ("target", target, -1.0, 1.0), ("interval", interval, 1, None), ("images", images, 1, None),
            ("p", p, 0.0, 1.0),
        ):  # fmt: skip
            checks.check_number("ADA", name, value)
            if value < low or (high is not None and value > high):
                limit = f"at least {low}" if high is None else f"in [{low}, {high}]"
                raise ValueError(f"ADA: {name} must be {limit}, got {value}")
        self.target = target
        self.interval = interval
        self.images = images
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("sign_sum", torch.zeros(()))
        self.register_buffer("samples", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.register_buffer("filter", setup_filter(SYM6), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return the batch augmented."""
        checks.check_floating("ADA", "input", input)
        checks.check_images("ADA", "input", input)
        channels, height, width = input.shape[1:]
        if channels not in (1, 3) or min(height, width) < 4:
            raise ValueError(
                f"ADA: input must be [N, C, H, W] with C 1 or 3, H and W at least 4, got {list(input.shape)}"
            )
        if not self.training:
            return input
        with torch.autocast(input.device.type, enabled=False):
            images = working(input)
            draws = Draws(images, self.p)
            images = blitted(images, random_blits(draws, height, width))
            images = warped(images, random_places(draws, self.p, height, width), self.filter)
            return recolored(images, random_colors(draws)).to(input.dtype)

    @torch.no_grad()
    def update(self, real_logits: Tensor) -> None:
        """Count the signs of the discriminator's outputs for real images; every `interval` times move `p`.

        Parameters
        ----------
        real_logits : Tensor
            ``[N, ...]``, positive where the discriminator takes the image for real. Where torch.distributed is
            initialised all processes have to call this, and share the result.
        """
        signs = real_logits.sign().float().reshape(len(real_logits), -1).mean(1)
        counts = sum_of_processes(torch.stack([signs.sum(), signs.new_full((), len(signs))]))
        self.sign_sum += counts[0]
        self.samples += counts[1]
        self.updates += 1
        due = self.updates % self.interval == 0
        step = (self.sign_sum / self.samples - self.target).sign() * self.samples / self.images
        self.p.copy_(torch.where(due, (self.p + step).clamp(0, 1), self.p))
        for count in (self.sign_sum, self.samples):
            count.masked_fill_(due, 0)

    def extra_repr(self) -> str:
        """The settings of the adaptation."""
        return f"target={self.target}, interval={self.interval}, images={self.images}"
