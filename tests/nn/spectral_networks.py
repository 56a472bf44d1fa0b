"""A small discriminator with one layer of each kind, under any form of spectral norm, and its training."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as hook

from fastgan import nn as fast_nn
from fastgan.nn.utils import spectral_norm

Weights = dict[str, Tensor]

WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch": parametrizations.spectral_norm,
    "hook": hook,
    "ours": spectral_norm,
    "layers": lambda module: module,
}


class Discriminator(nn.Module):
    """Judges 8×8 images with labels; `kind` is how its weights are normalised."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        wrap = WRAPS[kind]
        conv, transposed, linear, embedding = (
            (fast_nn.SNConv2d, fast_nn.SNConvTranspose2d, fast_nn.SNLinear, fast_nn.SNEmbedding)
            if kind == "layers"
            else (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)
        )
        self.first = wrap(conv(3, 8, 3, padding=1))
        self.down = wrap(conv(8, 16, 3, stride=2, padding=1))
        self.up = wrap(transposed(16, 8, 4, 2, 1))
        self.dense = wrap(linear(8, 1))
        self.embedding = wrap(embedding(5, 8))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        h = F.leaky_relu(self.first(images), 0.2)
        h = F.leaky_relu(self.up(F.leaky_relu(self.down(h), 0.2)), 0.2).sum((2, 3))
        return self.dense(h).squeeze(1) + (self.embedding(labels) * h).sum(1)


def losses(model: nn.Module, penalty: bool) -> Tensor:
    """The hinge loss of two forwards, and R1 through a third, on fresh random images of the parameters' dtype."""
    dtype = next(model.parameters()).dtype
    real, fake = (torch.randn(2, 3, 8, 8, dtype=torch.float64).to(dtype) for _ in range(2))
    labels = torch.randint(5, (2,))
    loss = F.relu(1 - model(real, labels)).mean() + F.relu(1 + model(fake, labels)).mean()
    if penalty:
        points = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(points, labels).sum(), points, create_graph=True)
        loss = loss + gradient.square().sum()
    return loss


def train(model: nn.Module, steps: int = 5, penalty: bool = True, seed: int = 1) -> Weights:
    """The state dict after some steps of Adam."""
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        losses(model, penalty).backward()
        optimizer.step()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal_weights(actual: Weights, expected: Weights, tolerance: float = 1e-9) -> None:
    """The same keys, and every tensor within `tolerance` of its magnitude (at least 1)."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        scale = max(1.0, tensor.abs().max().item())
        assert (actual[name] - tensor).abs().max() <= tolerance * scale, name
