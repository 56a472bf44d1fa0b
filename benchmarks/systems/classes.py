"""Whether a classifier trained on real images recognises generated ones as the class that they were made for."""

from __future__ import annotations

import functools
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.data import ImageData, hold_out

from .generated import final_images
from .section import Figure, Section
from .training import FinishedRun

__all__ = ["recognised_classes", "train_classifier"]

SAMPLES, HELD_OUT, EPOCHS = 5000, 5000, 2
_BATCH, _CHUNK = 128, 500


def _network(channels: int, classes: int) -> nn.Module:
    stages: list[nn.Module] = []
    for before, after in pairwise((channels, 32, 64, 128)):
        stages += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * 128, classes))


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


@torch.no_grad()
def _share(classifier: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Of uint8 ``images``, those recognised as their label."""
    found = torch.cat([classifier(_scaled(chunk)).argmax(1) for chunk in images.split(_CHUNK)])
    return (found == labels).float().mean().item()


@functools.cache
def train_classifier(data: ImageData, held_out: int = HELD_OUT, epochs: int = EPOCHS) -> tuple[nn.Module, float]:
    """A small convolutional network in evaluation mode, and the share of ``held_out`` images it recognises."""
    kept, test = hold_out(data, min(held_out, len(data) // 5))
    assert test is not None and data.num_classes is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _network(data.image_channels, data.num_classes)
        optimizer = torch.optim.Adam(network.parameters())
        steps = len(kept) // _BATCH
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
        for _ in range(epochs):
            for indices in torch.randperm(len(kept)).split(_BATCH)[:steps]:
                images, labels = kept.batch(indices)
                assert labels is not None
                optimizer.zero_grad()
                F.cross_entropy(network(_scaled(images)), labels).backward()
                optimizer.step()
                schedule.step()
    network.eval()
    images, labels = test.batch(torch.arange(len(test)))
    assert labels is not None
    return network, _share(network, images, labels)


def recognised_classes(run: FinishedRun, samples: int = SAMPLES) -> Section:
    """Shares of generated images and of real ones."""
    classifier, real = train_classifier(run.data)
    images, labels = final_images(run, samples)
    assert labels is not None
    generated = _share(classifier, images, labels)
    return Section(
        "Classes recognised",
        f"Shares of {samples} generated images, of each class as many as in the data, and of real ones not trained on, "
        "that a small convolutional network trained on real ones recognises.",
        {"generated": Figure(generated), "real, held out": Figure(real)},
        {"at least 70 % of generated images are recognised": generated >= 0.7},
    )
