"""Generative against discriminative classifiers, as the sample grows.

A model of each class, p(x | y), and the classes' frequencies p(y) classify by Bayes' rule, p(y | x) ~ p(x | y) p(y).
With normal features that are independent within a class and whose variances all classes share, log p(y | x) is linear
in x: the same family as logistic regression, fitted to the joint density instead of to the conditional one. A. Ng, M.
Jordan, "On Discriminative vs. Generative Classifiers: A comparison of logistic regression and naive Bayes", 2001:
logistic regression has the lower error in the limit, but needs samples in the order of the number of features to come
near it, where naive Bayes needs the order of its logarithm. So there can be two regimes: naive Bayes is ahead while
samples are few, logistic regression when there are many.

What to see: held-out error of both against the number of training samples, means over random stratified splits with
two standard errors, the same splits for both. The breast cancer data and, less clearly, the wines show both regimes.
The digits show the second alone: naive Bayes is never ahead, and its error stops falling at a tenth, for given the
class neighbouring pixels are far from independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from lecture import save

FIGURE = Path(__file__).parent / "figures" / "generative_discriminative.png"
#: Data: (what it is, its loader, training samples).
DATA: dict[str, tuple[str, Any, tuple[int, ...]]] = {
    "cancer": ("breast cancer: 30 features, 2 classes", load_breast_cancer, (6, 8, 10, 14, 20, 30, 50, 100, 200, 400)),
    "wine": ("wines: 13 features, 3 classes", load_wine, (6, 8, 10, 14, 20, 30, 50, 80, 120)),
    "digits": ("digits: 64 pixels, 10 classes", load_digits, (20, 30, 50, 100, 200, 400, 800, 1400)),
}


def posterior(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The log p(y | x) [M, K] of ``new`` [M, d], from class-conditional Gaussians of the samples ``x`` and ``y``."""
    classes = y.max() + 1
    means = np.stack([x[y == k].mean(0) for k in range(classes)])
    variance = (x - means[y]).var(0)
    variance += 0.1 * variance.mean()  # features that do not vary among few samples
    log_joint = np.log(np.bincount(y) / len(y)) - 0.5 * (np.square(new[:, None] - means) / variance).sum(2)
    return log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True)


def errors(x: np.ndarray, y: np.ndarray, samples: int, split: int) -> tuple[float, float]:
    """Held-out error of naive Bayes and of logistic regression, trained on the same ``samples``."""
    train_x, test_x, train_y, test_y = train_test_split(x, y, train_size=samples, stratify=y, random_state=split)
    mean, scale = train_x.mean(0), train_x.std(0)
    scale[scale == 0] = 1
    train_x, test_x = (train_x - mean) / scale, (test_x - mean) / scale
    naive_bayes = posterior(train_x, train_y, test_x).argmax(1)
    # As good as without a penalty, which separable samples would not have an optimum without.
    regression = LogisticRegression(C=1e4, max_iter=5000).fit(train_x, train_y).predict(test_x)
    return float((naive_bayes != test_y).mean()), float((regression != test_y).mean())


def measure(splits: int, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Errors [sizes, splits, 2] of each data set."""
    results = {}
    for name, samples in sizes.items():
        x, y = DATA[name][1](return_X_y=True)
        results[name] = np.array([[errors(x, y, m, split) for split in range(splits)] for m in samples])
        for m, found in zip(samples, results[name], strict=True):
            (nb, lr), (nb_error, lr_error) = found.mean(0), found.std(0, ddof=1) / math.sqrt(splits)
            print(
                f"{name:7} {m:5} samples  naive Bayes {nb:.4f} ± {nb_error:.4f}  regression {lr:.4f} ± {lr_error:.4f}"
            )
    return results


def draw(results: dict[str, np.ndarray], sizes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Save the figure."""
    figure, axes = plt.subplots(1, len(results), figsize=(4.2 * len(results), 3.8), squeeze=False, layout="constrained")
    for (name, found), axis in zip(results.items(), axes[0], strict=True):
        for column, (label, colour) in enumerate((("naive Bayes", "#1f77b4"), ("logistic regression", "#d62728"))):
            values = found[:, :, column]
            bars = 2 * values.std(1, ddof=1) / math.sqrt(values.shape[1])
            axis.errorbar(sizes[name], values.mean(1), bars, fmt="o-", ms=4, lw=1, capsize=2, color=colour, label=label)
        axis.set(xscale="log", yscale="log", xlabel="training samples", title=DATA[name][0])
        axis.set_xticks([10, 100, 1000] if max(sizes[name]) > 1000 else [10, 100], minor=False)
        axis.yaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))
        axis.yaxis.set_minor_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.tick_params(which="both", labelsize=8)
    axes[0, 0].set_ylabel("held-out error")
    axes[0, 0].legend()
    save(figure, path)


def main(
    splits: int = 60, sizes: Mapping[str, tuple[int, ...]] | None = None, figure: Path = FIGURE
) -> dict[str, np.ndarray]:
    """Measure and draw."""
    sizes = sizes or {name: samples for name, (_, _, samples) in DATA.items()}
    results = measure(splits, sizes)
    draw(results, sizes, figure)
    return results


if __name__ == "__main__":
    main()
