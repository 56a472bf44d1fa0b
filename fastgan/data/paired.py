"""The same subjects in several domains, so that a translation can be scored against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import ArrayData, DataError

__all__ = ["PairedData"]


@dataclass(frozen=True)
class PairedData:
    """Subjects that each have an image in every domain.

    Attributes
    ----------
    name : str
        Shown in logs and errors.
    domains : sequence of str
        D names.
    classes : sequence of str
        Names of the labels.
    keys : sequence of str
        N names of the subjects, which stay theirs in every version and split.
    images : Tensor
        uint8, [D, N, C, H, W]: ``images[i, n]`` and ``images[j, n]`` show the same subject.
    labels : Tensor
        int64, [N]: the subjects' classes.
    image_size : int
        Height and width of the data sets made of it.
    """

    name: str
    domains: Sequence[str]
    classes: Sequence[str]
    keys: Sequence[str]
    images: Tensor
    labels: Tensor
    image_size: int

    def __post_init__(self) -> None:
        expected = (len(self.domains), len(self.keys))
        if self.images.ndim != 5 or self.images.shape[:2] != expected or self.labels.shape != expected[1:]:
            given = f"{tuple(self.images.shape)} and {tuple(self.labels.shape)}"
            raise DataError(
                f"{self.name}: images must be [{expected[0]}, {expected[1]}, C, H, W] and labels [{expected[1]}], "
                f"for {expected[0]} domains and {expected[1]} keys, got {given}"
            )

    def __len__(self) -> int:
        """Number of subjects."""
        return len(self.keys)

    def domain(self, name: str) -> ArrayData:
        """The images of one domain, labelled by class; those of all domains are in the same order."""
        if name not in self.domains:
            raise DataError(f"{self.name}: unknown domain {name!r}; there are: {', '.join(self.domains)}")
        return self._data(f"{self.name}-{name}", self.images[self.domains.index(name)], self.labels, len(self.classes))

    def by_class(self) -> ArrayData:
        """The images of all domains, one domain after the other, labelled by class."""
        return self._data(
            self.name, self.images.flatten(0, 1), self.labels.repeat(len(self.domains)), len(self.classes)
        )

    def by_domain(self) -> ArrayData:
        """The images of all domains, one domain after the other, labelled by domain."""
        labels = torch.arange(len(self.domains)).repeat_interleave(len(self))
        return self._data(self.name, self.images.flatten(0, 1), labels, len(self.domains))

    def _data(self, name: str, images: Tensor, labels: Tensor, num_classes: int) -> ArrayData:
        return ArrayData(name, images, labels, self.image_size, num_classes)
