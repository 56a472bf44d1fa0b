"""One evaluation: features of both sides, extracted once, and every metric on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

import fastgan
from fastgan import features as networks
from fastgan.features import FeatureNetwork
from fastgan.trainers.config import ConfigError
from fastgan.trainers.processes import launch, make_fabric, torchrun
from fastgan.trainers.run import run_config

from . import cache
from .extraction import extract
from .scores import SCORES
from .sources import ImageSource, RunSource, is_run, open_images

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["Evaluation", "evaluate"]

#: Images that are drawn from a run at most where their number is not given: what most published figures use.
_DRAWN = 50_000


@dataclass
class Evaluation:
    """Figures, and everything they depend on: two of these may be compared where ``features`` and the counts agree."""

    metrics: dict[str, float]
    #: Title of the network, and SHA-256 of its weights.
    features: str
    weights: str
    #: Name, number of images and size of the first one, [H, W].
    real: dict[str, Any]
    fake: dict[str, Any]
    seed: int
    notes: list[str] = field(default_factory=list)
    made_by: dict[str, str] = field(
        default_factory=lambda: {"fastgan": fastgan.__version__, "torch": str(torch.__version__)}
    )


def evaluate(
    real: str,
    fake: str,
    metrics: Sequence[str],
    features: str,
    *,
    weights: Path | None = None,
    resize: str | None = None,
    samples: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    device: str = "auto",
    console: Console | None = None,
) -> Evaluation | None:
    """Measure generated images against real ones.

    Parameters
    ----------
    real : str
        A data set, a folder of images or an ``.npz`` file. Where ``fake`` is a run, its images are prepared as in
        training; otherwise they keep their size.
    fake : str
        The same, or the folder of a run, whose moving-average generator then makes the images.
    metrics : sequence of str
        Keys of ``fastgan.evaluation.scores.SCORES``.
    features : str
        Name of the network: see ``fastgan.features.get``, also for ``weights``.
    weights : Path, optional
        A file to load instead of the weights that the name stands for.
    resize : str, optional
        How Inception's images are resized, ``"clean"`` by default: see ``fastgan.features.resize.resize``.
    samples : int, optional
        Images on each side, drawn at random where there are more; by default all there are, and of a run as many as
        real ones, at most 50,000.
    batch_size : int, default: 64
        Images that a process handles at once.
    seed : int, default: 0
        Decides what is drawn, a run's noise, and the random subsets and splits of the metrics.
    device : str, default: "auto"
        auto, cpu, cuda or mps.
    console : Console, optional
        Where progress is shown; nowhere by default.

    Returns
    -------
    Evaluation or None
        None in every process but the first.

    Raises
    ------
    ConfigError
        For settings that cannot be: unknown names, missing weights or packages, too few images.
    DataError
        If images cannot be had or read.
    """
    source = open_images(real, image_size=run_config(Path(fake))[1].image_size if is_run(fake) else None)
    fabric = make_fabric(device, torchrun("WORLD_SIZE") or 1)
    launch(fabric)
    network = _network(features, weights, resize, fabric.device)
    count = len(source) if samples is None else min(samples, len(source))
    generated: ImageSource
    if is_run(fake):
        drawn = samples or min(count, _DRAWN)
        generated = RunSource(Path(fake), drawn, seed, fabric.device)
    else:
        generated = open_images(fake)
        drawn = min(samples or len(generated), len(generated))
    _check(metrics, network, {source.name: count, generated.name: drawn}, fabric.device)

    result = Evaluation(
        {}, network.title, cache.weights_digest(network), _describe(source, count), _describe(generated, drawn), seed
    )
    result.notes += _notes(result, network, metrics)
    with _progress(fabric, console) as progress:
        sides = [
            _features_of(each, _draw(each, n, seed), network, result.weights, fabric, batch_size, progress)
            for each, n in ((source, count), (generated, drawn))
        ]
        if not fabric.is_global_zero:
            return None
        task = progress.add_task("metrics", total=len(metrics))
        on_device = [side.to(fabric.device) for side in sides]
        for name in metrics:
            with torch.no_grad():
                result.metrics |= SCORES[name].compute(on_device[0], on_device[1], network, seed)
            progress.advance(task)
    return result


def _network(features: str, weights: Path | None, resize: str | None, device: torch.device) -> FeatureNetwork:
    if resize is not None and not features.startswith("inception"):
        raise ConfigError(f"resize is for inception-v3 alone, {features} has its own")
    try:
        return networks.get(features, weights, resize=resize or "clean").to(device)
    except (ValueError, ImportError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from error


def _check(metrics: Sequence[str], network: FeatureNetwork, counts: dict[str, int], device: torch.device) -> None:
    """Say before hours of work what the metrics will not take."""
    if find_spec("torchmetrics") is None:
        raise ConfigError('torchmetrics is missing; evaluation needs: pip install "fastgan[train,metrics]"')
    for metric in metrics:
        for name, count in counts.items():
            if count < SCORES[metric].at_least:
                raise ConfigError(f"{metric} needs at least {SCORES[metric].at_least} images, {name} has {count}")
    if "is" in metrics:
        try:
            network.logits(torch.zeros(1, network.dim, device=device))
        except NotImplementedError as error:
            raise ConfigError(str(error)) from error


def _describe(source: ImageSource, count: int) -> dict[str, Any]:
    size = list(source.images(torch.tensor([0]))[0].shape[2:])
    return {"name": source.name, "images": count, "size": size}


def _notes(result: Evaluation, network: FeatureNetwork, metrics: Sequence[str]) -> list[str]:
    notes = []
    real, fake = result.real["size"], result.fake["size"]
    if real != fake:
        notes.append(
            f"the first real image has {real[0]}x{real[1]} pixels, the first generated one {fake[0]}x{fake[1]}: "
            "the metrics also measure that difference"
        )
    least = min(result.real["images"], result.fake["images"])
    if "fd" in metrics and least <= network.dim:
        notes.append(
            f"{least} images for {network.dim} features: the Fréchet distance is far above that of more images"
        )
    return notes


def _draw(source: ImageSource, count: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randperm(len(source), generator=random)[:count].sort().values


@contextlib.contextmanager
def _progress(fabric: Fabric, console: Console | None) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console is None or not fabric.is_global_zero) as progress:
        yield progress


def _features_of(
    source: ImageSource,
    indices: Tensor,
    network: FeatureNetwork,
    weights: str,
    fabric: Fabric,
    batch_size: int,
    progress: Progress,
) -> Tensor:
    """Features from the cache, which the first process alone then has, or computed and kept there."""
    key = None
    if source.identity is not None:
        key = {
            "version": 1, "images": source.identity, "indices": cache.digest(indices), "features": network.title,
            "weights": weights,
        }  # fmt: skip
    task = progress.add_task(source.name, total=len(indices))
    found = cache.load(key) if key is not None and fabric.is_global_zero else None
    if fabric.broadcast(found is not None):
        progress.update(task, completed=len(indices), description=f"{source.name} (kept)")
        return torch.empty(0, network.dim) if found is None else found
    features = extract(source, indices, network, fabric, batch_size, lambda n: progress.advance(task, n))
    if key is not None and fabric.is_global_zero:
        try:
            cache.save(key, features)
        except OSError as error:  # the figures are there all the same
            progress.console.print(f"features are not kept: {error}", highlight=False)
    return features
