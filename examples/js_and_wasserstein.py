"""Jensen-Shannon against Wasserstein, on disjoint supports.

M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein GAN", 2017, example 1: p is uniform on the segment (0, u), 0 <= u <=
1, and q on the same segment moved by theta, (theta, u). Then JS(p, q) = log 2 for every theta but 0, where it is 0,
whereas W1(p, q) = |theta|. A generator that owns theta learns nothing from the first and everything from the second.
M. Arjovsky, L. Bottou, "Towards Principled Methods for Training Generative Adversarial Networks", 2017, theorem 2.4:
as the discriminator nears its optimum the gradient of the minimax game vanishes; theorem 2.6: that of the
non-saturating loss is unstable instead: it grows as the discriminator steepens, whatever the distance.

What to see: on the left the two divergences, exact and as trained discriminators estimate them: by the logistic loss,
and by a critic kept near slope 1 by WGAN-GP's penalty, its estimate divided by the largest slope found so that it is a
bound. On the right what theta's gradient becomes while discriminators are trained on at theta = 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from fastgan.losses import get
from fastgan.penalties import WGANGP, per_sample_norm
from lecture import jensen_shannon_of_samples, save, train_discriminator

FIGURE = Path(__file__).parent / "figures" / "js_and_wasserstein.png"
THETAS = (-1.0, -0.75, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def segment(theta: float, n: int = 256) -> Tensor:
    """Points [n, 2] of the segment moved by ``theta``."""
    return torch.stack([torch.full((n,), theta), torch.rand(n)], 1)


def train(loss: str, theta: float, steps: int, after_step: Callable[[nn.Module], None] = lambda _: None) -> nn.Module:
    """A discriminator between the segments; a Wasserstein loss has its gradient penalty."""
    penalties = [WGANGP(weight=10.0)] if loss == "wasserstein" else []
    return train_discriminator(partial(segment, 0.0), partial(segment, theta), steps, 5e-3, loss, penalties, after_step)


def slopes(discriminator: nn.Module, points: Tensor) -> Tensor:
    """The discriminator's gradients [n, 2] at ``points``."""
    points = points.requires_grad_()
    return torch.autograd.grad(discriminator(points).sum(), points)[0]


def wasserstein(critic: nn.Module, theta: float) -> float:
    """The difference of the means, over the largest slope on the rectangle between the segments."""
    with torch.no_grad():
        real, fake = critic(segment(0.0, 20_000)), critic(segment(theta, 20_000))
    between = segment(0.0, 20_000)
    between[:, 0] += theta * torch.rand(len(between))
    return (real.mean() - fake.mean()).item() / per_sample_norm(slopes(critic, between)).max().item()


def gradients(loss: str, generator_loss: str, steps: int, theta: float = 0.5) -> list[float]:
    """Size of the derivative of the generator's loss by ``theta`` after each of the discriminator's steps."""
    found = []

    def record(discriminator: nn.Module) -> None:
        fake = segment(theta, 2000).requires_grad_()
        (gradient,) = torch.autograd.grad(get(generator_loss).generator(discriminator(fake)), fake)
        found.append(abs(gradient[:, 0].sum().item()))  # each point moves as theta does

    train(loss, theta, steps, record)
    return found


def measure(steps: int, thetas: tuple[float, ...] = THETAS) -> dict[str, Any]:
    """Estimates for each theta, and the gradients in the course of training."""
    results: dict[str, Any] = {"theta": thetas, "JS": []}
    for theta in thetas:
        discriminator = train("non_saturating", theta, steps)
        estimates = jensen_shannon_of_samples(discriminator, segment(0.0, 20_000), segment(theta, 20_000))
        results["JS"].append(estimates[0])
    results["W1"] = [wasserstein(train("wasserstein", theta, steps), theta) for theta in thetas]
    for theta, js, w1 in zip(thetas, results["JS"], results["W1"], strict=True):
        print(f"theta = {theta:5.2f}  JS {js:.4f} (exact {math.log(2) * (theta != 0):.4f})  W1 {w1:.4f}")
    results["gradients"] = {
        "minimax": gradients("minimax", "minimax", steps),
        "non-saturating": gradients("non_saturating", "non_saturating", steps),
        "Wasserstein, WGAN-GP": gradients("wasserstein", "wasserstein", steps),
    }
    return results


def draw(results: dict[str, Any], path: Path) -> None:
    """Save the figure."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    thetas = results["theta"]
    left.plot([-1, 1], [math.log(2)] * 2, color="#1f77b4", lw=1, label="JS, exact: log 2 and, at 0, 0")
    left.plot([0], [math.log(2)], "o", ms=6, mfc="white", color="#1f77b4")
    left.plot([0], [0], "o", ms=11, mfc="none", color="#1f77b4")
    left.plot([-1, 0, 1], [1, 0, 1], color="#d62728", lw=1, label="W1, exact: |θ|")
    left.plot(thetas, results["JS"], "s", ms=5, color="#1f77b4", label="JS, trained")
    left.plot(thetas, results["W1"], "D", ms=5, color="#d62728", label="W1, trained (a bound)")
    left.set(xlabel="θ", title="what the discriminator measures", ylim=(-0.05, 1.35))
    left.legend(fontsize=8, loc="upper center", ncols=2)
    for (label, values), colour in zip(results["gradients"].items(), ("#1f77b4", "#2ca02c", "#d62728"), strict=True):
        right.semilogy(range(1, len(values) + 1), values, color=colour, lw=1, label=label)
    right.set(xlabel="steps of the discriminator", title="|dL/dθ|, what the generator learns at θ = 0.5")
    right.legend(fontsize=8)
    save(figure, path)


def main(steps: int = 500, figure: Path = FIGURE) -> dict[str, Any]:
    """Measure and draw."""
    torch.manual_seed(0)
    results = measure(steps)
    draw(results, figure)
    return results


if __name__ == "__main__":
    main()
