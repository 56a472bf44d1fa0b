"""What the scripts share: small networks and their training, measures of densities, two kinds that are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import torch
from PIL import Image
from torch import Tensor, nn
from torch.distributions import Normal
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

import fastgan.losses
from fastgan.functional import parzen_log_likelihood
from fastgan.penalties import R1, Penalty

matplotlib.use("agg")

__all__ = [
    "Circle",
    "LatentVariableModel",
    "LogDensity",
    "Sampler",
    "jensen_shannon_of_densities",
    "jensen_shannon_of_samples",
    "mlp",
    "optimizer_with_decay",
    "parzen_window",
    "save",
    "train_discriminator",
    "train_gan",
]

Sampler = Callable[[int], Tensor]
LogDensity = Callable[[Tensor], Tensor]


def mlp(inputs: int, outputs: int, width: int = 64, layers: int = 2) -> nn.Sequential:
    """A perceptron with ``layers`` hidden layers."""
    widths = [inputs] + [width] * layers
    hidden = [
        module
        for fan_in, fan_out in pairwise(widths)
        for module in (nn.Linear(fan_in, fan_out), fastgan.nn.LeakyReLU(0.2))
    ]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], outputs))


def optimizer_with_decay(module: nn.Module, lr: float, steps: int, beta1: float = 0.9) -> tuple[Adam, LambdaLR]:
    """Adam whose learning rate falls linearly to zero, so that the last weights are not those of one noisy step."""
    optimizer = Adam(module.parameters(), lr, (beta1, 0.99), fused=True)
    return optimizer, LambdaLR(optimizer, lambda step: 1 - step / steps)


class Circle:
    """Points on a circle, uniformly, and normal noise about them: a density that no single Gaussian is like."""

    def __init__(self, radius: float = 2.0, noise: float = 0.25) -> None:
        self.radius, self.noise = radius, noise

    def sample(self, n: int) -> Tensor:
        """Draw [n, 2]."""
        angle = 2 * math.pi * torch.rand(n)
        return self.radius * torch.stack([angle.cos(), angle.sin()], 1) + self.noise * torch.randn(n, 2)

    def log_density(self, x: Tensor) -> Tensor:
        """Of ``x`` [N, 2]: the angle integrated out, which leaves a Bessel function."""
        distance, variance = x.double().norm(dim=1), self.noise**2
        bessel = torch.special.i0e(distance * self.radius / variance).log()  # scaled by exp(-argument)
        return bessel - (distance - self.radius).square() / (2 * variance) - math.log(2 * math.pi * variance)


def save(figure: Any, path: Path) -> None:
    """Write ``figure`` to ``path`` as a PNG, of 256 colours so that it is small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=100)
    Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(path)


def train_discriminator(
    real: Sampler,
    fake: Sampler,
    steps: int,
    lr: float,
    loss: str = "non_saturating",
    penalties: Sequence[Penalty] = (),
    after_step: Callable[[nn.Module], None] = lambda _: None,
) -> nn.Module:
    """A discriminator between points of the plane, trained on fresh ones in each step."""
    penalized = fastgan.nn.PenalizedDiscriminator(mlp(2, 1), penalties)
    optimizer, schedule = optimizer_with_decay(penalized, lr, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        on_real, on_fake, penalty = penalized(real(256), fake=fake(256))
        (fastgan.losses.get(loss).discriminator(on_real, on_fake) + penalty).backward()
        optimizer.step()
        schedule.step()
        after_step(penalized.discriminator)
    return penalized.discriminator


@torch.no_grad()
def jensen_shannon_of_samples(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[float, float]:
    """A trained discriminator's estimate and its standard error: the optimal loss is 2 log 2 - 2 JS."""
    terms = nn.functional.softplus(torch.cat([-discriminator(real), discriminator(fake)], 1)).sum(1)
    return math.log(2) - terms.mean().item() / 2, terms.std().item() / 2 / math.sqrt(len(terms))


def jensen_shannon_of_densities(log_p: Tensor, log_q: Tensor, cell: float) -> float:
    """The divergence between two densities on a grid of cells of that length or area."""
    log_mean = torch.logaddexp(log_p, log_q) - math.log(2)
    integrand = log_p.exp() * (log_p - log_mean) + log_q.exp() * (log_q - log_mean)
    return integrand.sum().item() * cell / 2


def parzen_window(samples: Tensor, validation: Tensor, widths: Tensor) -> LogDensity:
    """A window on ``samples`` of that width of ``widths`` that is best for ``validation``."""
    best = widths[parzen_log_likelihood(validation, samples, widths).mean(1).argmax()].item()
    return lambda x: parzen_log_likelihood(x, samples, best)


def train_gan(generator: nn.Module, draw: Sampler, steps: int, gamma: float = 0.1, batch: int = 256) -> None:
    """Train ``generator``, a sampler as ``draw`` is of the data, by the non-saturating game with R1.

    I. Goodfellow et al., "Generative Adversarial Nets", 2014; L. Mescheder, A. Geiger, S. Nowozin, "Which Training
    Methods for GANs do actually Converge?", 2018.
    """
    loss = fastgan.losses.get("non_saturating")
    critic = fastgan.nn.PenalizedDiscriminator(mlp(draw(1).shape[1], 1, width=128), R1(gamma))
    g_optimizer, g_schedule = optimizer_with_decay(generator, 1e-3, steps, beta1=0.5)
    d_optimizer, d_schedule = optimizer_with_decay(critic, 2e-3, steps, beta1=0.5)
    for _ in range(steps):
        d_optimizer.zero_grad()
        real, fake, penalty = critic(draw(batch), fake=generator(batch).detach())
        (loss.discriminator(real, fake) + penalty).backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        loss.generator(critic.discriminator(generator(batch))).backward()
        g_optimizer.step()
        g_schedule.step()
        d_schedule.step()


class LatentVariableModel(nn.Module):
    """Normal latent variables, a decoder, normal noise of one learnt variance: a VAE by ``fit``, or a GAN's generator.

    With two latent variables its density is computed. D. Kingma, M. Welling, "Auto-Encoding Variational Bayes", 2014.
    """

    def __init__(self, dimensions: int, latents: int = 2, width: int = 64) -> None:
        super().__init__()
        self.latents = latents
        self.encoder = mlp(dimensions, 2 * latents, width)
        self.decoder = mlp(latents, dimensions, width)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def log_weights(self, x: Tensor, draws: int = 1) -> Tensor:
        """The log p(x, z) - log q(z | x) [draws, N] for z from the encoder: their mean is the bound on log p(x)."""
        mean, log_sigma = self.encoder(x).chunk(2, 1)
        noise = torch.randn(draws, len(x), self.latents)
        z = mean + log_sigma.exp() * noise
        likelihood = Normal(self.decoder(z), self.log_scale.exp()).log_prob(x).sum(2)
        return likelihood + (0.5 * (noise.square() - z.square()) + log_sigma).sum(2)

    def fit(self, data: Tensor, steps: int, batch: int = 256) -> LatentVariableModel:
        """Raise the evidence lower bound."""
        optimizer, schedule = optimizer_with_decay(self, 3e-3, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            (-self.log_weights(data[torch.randint(len(data), (batch,))]).mean()).backward()
            optimizer.step()
            schedule.step()
        return self

    def forward(self, n: int) -> Tensor:
        """Draw [n, dimensions], differentiably: z from the prior, then x from the decoder."""
        mean = self.decoder(torch.randn(n, self.latents))
        return mean + self.log_scale.exp() * torch.randn_like(mean)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw [n, dimensions]."""
        return self(n)

    @torch.no_grad()
    def log_density(self, x: Tensor, points: int = 121) -> Tensor:
        """The log p(x) [N], float64, where there are two latent variables: quadrature over their plane."""
        axis = torch.linspace(-4.5, 4.5, points)
        z = torch.cartesian_prod(axis, axis)
        means, sigma = self.decoder(z).double(), self.log_scale.exp().item()
        log_prior = Normal(0.0, 1.0).log_prob(z).sum(1).double() + 2 * math.log(9 / (points - 1))
        parts = [
            torch.logsumexp(log_prior - torch.cdist(part.double(), means).square() / (2 * sigma**2), 1)
            for part in x.split(200)
        ]
        return torch.cat(parts) - 0.5 * x.shape[1] * math.log(2 * math.pi * sigma**2)
