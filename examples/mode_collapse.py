"""Mode collapse on a ring of Gaussians, and what unrolling the discriminator does about it.

Against a fixed discriminator the best generator puts all its mass where the output is highest: min over G of max over
D is not max over D of min over G, and descent by turns mixes the two up. The generator then runs from mode to mode,
the discriminator after it. L. Metz, B. Poole, D. Pfau, J. Sohl-Dickstein, "Unrolled Generative Adversarial Networks",
2017, have the generator look ahead: it descends the loss against the discriminator as it will be after k more of its
own steps, and differentiates through these steps,

    theta_G  <-  theta_G - eta d/d theta_G  L_G(theta_G, theta_D^k(theta_D, theta_G)).

A penalty on the discriminator's gradient at the data, R1 (L. Mescheder, A. Geiger, S. Nowozin, "Which Training Methods
for GANs do actually Converge?", 2018), makes the game converge in another way, and costs less.

What to see: samples in the course of training, plain, with 8 unrolled steps and with R1, all else being equal; on the
right the modes covered, each seed a line. The ring is the paper's, but for broader modes and 900 steps, not 25,000.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector

from fastgan.functional import gradient_norm_penalty
from fastgan.losses import non_saturating_discriminator, non_saturating_generator
from lecture import mlp, save

FIGURE = Path(__file__).parent / "figures" / "mode_collapse.png"
MODES, RADIUS, SCALE, LATENTS, BATCH = 8, 2.0, 0.2, 16, 128
G_LR, D_LR, BETAS = 3e-3, 3e-4, (0.5, 0.999)
ANGLES = 2 * math.pi * torch.arange(MODES) / MODES
CENTRES = RADIUS * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
#: Method: (unrolled steps, R1's gamma, its colour).
METHODS = {"plain": (0, 0.0, "#1f77b4"), "unrolled, 8 steps": (8, 0.0, "#d62728"), "R1": (0, 1.0, "#2ca02c")}
LOOKS, SHOWN = 20, (1, 4, 9, 14, 19)  # moments of a run at which modes are counted, and those whose samples are drawn
State = tuple[Tensor, Tensor, Tensor, int]  # parameters, Adam's moments, its count


def ring(n: int) -> Tensor:
    """Points [n, 2] of the mixture."""
    return CENTRES[torch.randint(MODES, (n,))] + SCALE * torch.randn(n, 2)


def modes_covered(points: Tensor) -> int:
    """Modes that at least a fifth of their share of the points is near to, by three standard deviations."""
    distance, mode = torch.cdist(points, CENTRES).min(1)
    return int((torch.bincount(mode[distance < 3 * SCALE], minlength=MODES) > len(points) / MODES / 5).sum())


class Discriminator:
    """A smooth network and the rule by which it learns, Adam's, as functions of a vector of parameters."""

    def __init__(self, gamma: float) -> None:
        self.network = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.shapes = {name: parameter.shape for name, parameter in self.network.named_parameters()}
        theta = parameters_to_vector(self.network.parameters()).detach()
        self.start: State = (theta, torch.zeros_like(theta), torch.zeros_like(theta), 0)
        self.gamma = gamma

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """Logits of ``x`` under the parameters ``theta``."""
        parts = theta.split([shape.numel() for shape in self.shapes.values()])
        parameters = {name: part.view(shape) for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)}
        return functional_call(self.network, parameters, (x,))

    def step(self, state: State, real: Tensor, fake: Tensor, *, differentiable: bool) -> State:
        """One of Adam's steps, itself differentiable by ``fake`` where asked for."""
        theta, mean, square, count = state
        theta = theta if theta.requires_grad else theta.clone().requires_grad_()
        loss = non_saturating_discriminator(self(theta, real), self(theta, fake))
        if self.gamma:
            real = real.clone().requires_grad_()
            (slope,) = torch.autograd.grad(self(theta, real).sum(), real, create_graph=True)
            loss = loss + gradient_norm_penalty(slope, weight=self.gamma / 2 / len(real))
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=differentiable)
        mean = torch.lerp(gradient, mean, BETAS[0])
        square = torch.lerp(gradient * gradient, square, BETAS[1])
        count += 1
        root = (square / (1 - BETAS[1] ** count) + 1e-16).sqrt()  # the derivative of a root is infinite at zero
        theta = theta - D_LR * mean / (1 - BETAS[0] ** count) / root
        return (theta, mean, square, count) if differentiable else (theta.detach(), mean, square, count)


def train(unroll: int, gamma: float, steps: int, seed: int) -> list[Tensor]:
    """Samples of the generator at ``LOOKS`` moments of a run."""
    torch.manual_seed(seed)
    generator, discriminator = mlp(LATENTS, 2), Discriminator(gamma)
    optimizer, state = torch.optim.Adam(generator.parameters(), G_LR, BETAS, fused=True), discriminator.start
    seen = []
    for step in range(1, steps + 1):
        real, fake = ring(BATCH), generator(torch.randn(BATCH, LATENTS))
        state = discriminator.step(state, real, fake.detach(), differentiable=False)
        foreseen = state
        for _ in range(unroll):
            foreseen = discriminator.step(foreseen, real, fake, differentiable=True)
        optimizer.zero_grad()
        non_saturating_generator(discriminator(foreseen[0], fake)).backward()
        optimizer.step()
        if step % (steps // LOOKS) == 0:
            with torch.no_grad():
                seen.append(generator(torch.randn(2000, LATENTS)))
    return seen


def measure(steps: int, seeds: int) -> dict[str, Any]:
    """For each method, modes covered over each seed's run, and the first seed's samples."""
    results = {}
    for name, (unroll, gamma, _) in METHODS.items():
        runs = [train(unroll, gamma, steps, seed) for seed in range(seeds)]
        results[name] = [[modes_covered(points) for points in seen] for seen in runs], runs[0]
        print(f"{name:18} modes covered at the end: {[counts[-1] for counts in results[name][0]]}")
    return results


def draw(results: dict[str, Any], steps: int, path: Path) -> None:
    """Save the figure: a row of samples for each method, and a panel of modes over steps."""
    figure = plt.figure(figsize=(12, 1.9 * len(results) + 0.3), layout="constrained")
    grid = figure.add_gridspec(len(results), len(SHOWN) + 2)
    counts = figure.add_subplot(grid[:, len(SHOWN) :])
    times = [(look + 1) * steps // LOOKS for look in range(LOOKS)]
    for row, (name, (runs, seen)) in enumerate(results.items()):
        colour = METHODS[name][2]
        for column, look in enumerate(SHOWN):
            axis = figure.add_subplot(grid[row, column])
            axis.scatter(CENTRES[:, 0], CENTRES[:, 1], s=30, marker="x", color="#7f7f7f", lw=0.8)
            axis.scatter(seen[look][:, 0], seen[look][:, 1], s=1, alpha=0.3, color=colour)
            axis.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), xticks=[], yticks=[], aspect="equal")
            axis.set(title="" if row else f"step {times[look]}", ylabel="" if column else name)
        for i, covered in enumerate(runs):
            counts.plot(times, covered, color=colour, lw=1, alpha=0.8, label=None if i else name)
    counts.set(xlabel="steps", title=f"modes covered, of {MODES}", ylim=(-0.2, MODES + 0.2))
    counts.legend()
    save(figure, path)


def main(steps: int = 900, seeds: int = 2, figure: Path = FIGURE) -> dict[str, Any]:
    """Measure and draw."""
    results = measure(steps, seeds)
    draw(results, steps, figure)
    return results


if __name__ == "__main__":
    main()
