"""What the metrics share: the network that makes features, and states that processes and checkpoints carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn
from torchmetrics.utilities.distributed import gather_all_tensors

from fastgan import features

from . import moments

__all__ = ["FEATURES", "LABELS", "MOMENTS", "FeatureMetric", "PairMetric"]

#: What a state is made of.
MOMENTS, FEATURES, LABELS = "moments", "features", "labels"


class FeatureMetric(torchmetrics.Metric):
    """A metric of images by way of their features, or of features themselves.

    Parameters
    ----------
    feature : str, int, nn.Module or None
        A name or number that ``fastgan.features.get`` knows, a network of one's own that makes [N, d] of images, or
        None where ``update`` takes features.
    normalize : bool
        Whether images are in [0, 1], as torchmetrics means it: networks of ``fastgan.features`` are given them in 256
        steps, a network of one's own as they come.
    weights : str or Path, optional
        A file with the network's weights, where it is Inception.
    antialias : bool
        How Inception's images are brought to its size: torch's antialiased bilinear filter, or TensorFlow 1's bilinear
        without, as the published Fréchet Inception distances.
    kwargs : Any
        ``torchmetrics.Metric``'s.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(
        self,
        feature: str | int | nn.Module | None,
        normalize: bool,
        weights: str | Path | None = None,
        antialias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(normalize, bool):
            raise TypeError(f"{self._name}: normalize must be a bool, got {type(normalize).__name__}")
        if isinstance(feature, bool) or not (feature is None or isinstance(feature, (str, int, nn.Module))):
            raise TypeError(
                f"{self._name}: feature must be a name, an integer, an nn.Module or None, got {type(feature).__name__}"
            )
        if isinstance(feature, (str, int)):
            resize = "antialiased_bilinear" if antialias else "legacy_tensorflow"
            feature = features.get(feature, weights, resize=resize)
        self._quantize = normalize and isinstance(feature, features.FeatureNetwork)
        self.network = feature.eval() if feature is not None else None
        #: What the features are, which every figure should be printed with.
        self.title: str = "given features" if feature is None else getattr(feature, "title", type(feature).__name__)
        self._kinds: dict[str, str] = {}
        self._keep_real = False

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        """Name of the metric, and of the features."""
        return f"{self._name}({self.title})"

    def train(self, mode: bool = True) -> FeatureMetric:
        """Set the metric's mode; the network stays in evaluation mode, so that features do not depend on the batch."""
        super().train(mode)
        if self.network is not None:
            self.network.eval()
        return self

    def set_dtype(self, dst_type: str | torch.dtype) -> FeatureMetric:
        """Nothing: sums are float64 in any case, features what the network gives."""
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: one batch is one set of images, and has no distance of its own.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(f"{self._name}: call update for each batch and compute at the end")

    def reset(self) -> None:
        """Forget what was seen; with ``reset_real_features=False``, only what was fake."""
        kept = {name: self._defaults.pop(name) for name in list(self._defaults) if self._keep_real and "real" in name}
        super().reset()
        self._defaults.update(kept)

    # States

    def _add_moments(self, name: str) -> None:
        """A state of mean and scatter."""
        self._kinds[name] = MOMENTS
        self.add_state(name, moments.empty(0), dist_reduce_fx=moments.merge, persistent=True)

    def _add_store(self, name: str, kind: str = FEATURES) -> None:
        """A state that keeps features [N, d], or a label of each."""
        self._kinds[name] = kind
        self.add_state(name, [], dist_reduce_fx="cat", persistent=True)

    def _take(self, name: str, x: Tensor) -> None:
        """Add features or labels to a state."""
        if self._kinds[name] == MOMENTS:
            if 0 in getattr(self, name).shape:
                setattr(self, name, moments.empty(x.shape[1], x.device))
            moments.add(getattr(self, name), x)
        else:
            getattr(self, name).append(x)

    def _stored(self, name: str) -> Tensor:
        """What a store keeps, in one tensor."""
        parts = getattr(self, name)
        if isinstance(parts, Tensor):  # after processes have come together
            return parts
        if not parts:
            raise ValueError(f"{self._name}: {name} are missing; update has not seen any")
        if len(parts) > 1:
            setattr(self, name, [torch.cat(parts)])
        return getattr(self, name)[0]

    def _features_of(self, states: dict[str, Any]) -> list[Tensor]:
        """The tensors whose last size is the number of features."""
        found: list[Tensor] = []
        for name, kind in self._kinds.items():
            if kind != LABELS:
                found += [states[name]] if isinstance(states[name], Tensor) else states[name]
        return [tensor for tensor in found if tensor.shape[1]]

    def _width(self, states: dict[str, Any] | None = None) -> int:
        """Features of a sample, 0 where none was seen."""
        return next((t.shape[1] for t in self._features_of(states or self.metric_state)), 0)

    def _agree(self, states: dict[str, Any], width: int, dtype: torch.dtype) -> dict[str, Any]:
        """The states with tensors of no samples where there are none, and with features of one dtype."""
        agreed = {}
        for name, kind in self._kinds.items():
            state = states[name]
            if kind == MOMENTS:
                agreed[name] = state if state.shape[1] else moments.empty(width, self.device)
            elif kind == LABELS:
                agreed[name] = state or [torch.zeros(0, dtype=torch.long, device=self.device)]
            else:
                agreed[name] = [part.to(dtype) for part in state] or [
                    torch.zeros(0, width, dtype=dtype, device=self.device)
                ]
        return agreed

    def _sync_dist(self, dist_sync_fn: Callable = gather_all_tensors, process_group: Any = None) -> None:
        # A process may have seen nothing, and must still bring tensors like the others'.
        states = self.metric_state
        is_double = any(part.dtype == torch.float64 for part in self._features_of(states))
        own = torch.tensor([self._width(), int(is_double)], device=self.device)
        headers = torch.stack(dist_sync_fn(own, group=process_group or self.process_group))
        widths = set(headers[:, 0].tolist()) - {0}
        if len(widths) > 1:
            raise ValueError(f"{self._name}: features must be as many in all processes, got {sorted(widths)}")
        dtype = torch.float64 if headers[:, 1].any() else torch.float32
        for name, state in self._agree(states, widths.pop() if widths else 0, dtype).items():
            setattr(self, name, state)
        super()._sync_dist(dist_sync_fn, process_group)

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        states = self.metric_state
        widths = {width for width in (self._width(s) for s in (states, incoming_state)) if width}
        if len(widths) > 1:
            raise ValueError(f"{self._name}: features must be as many in both states, got {sorted(widths)}")
        found = self._features_of(states) + self._features_of(incoming_state)
        dtype = torch.float64 if any(part.dtype == torch.float64 for part in found) else torch.float32
        width = max(widths, default=0)
        for name, state in self._agree(states, width, dtype).items():
            setattr(self, name, state)
        super()._reduce_states(self._agree(incoming_state, width, dtype))
        self._changed()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        seen = any(prefix + name in state_dict for name in self._defaults)
        super()._load_from_state_dict(state_dict, prefix, *args)
        if seen:
            # States are added to in place, which must not reach the caller's.
            for name in self._defaults:
                state = getattr(self, name)
                setattr(self, name, state.clone() if isinstance(state, Tensor) else [part.clone() for part in state])
            self._changed()

    def _changed(self) -> None:
        """Say that there are samples, and no result of them yet, as after an update."""
        self._computed, self._update_count = None, max(1, self._update_count)

    # Features

    def _apply_network(self, images: Tensor) -> Tensor:
        assert self.network is not None
        return self.network(images)

    def _extract(self, argument: str, images: Tensor) -> Tensor:
        """Features [N, d] of images, or the features given; finite, and as many as before."""
        if not isinstance(images, Tensor):
            raise TypeError(f"{self._name}: {argument} must be a Tensor, got {type(images).__name__}")
        if self.network is None:
            x = images
        else:
            with torch.no_grad():
                x = self._apply_network((images * 255).byte() if self._quantize else images)
        if not x.is_floating_point():
            raise TypeError(f"{self._name}: features must be floating point, got {x.dtype}")
        width = self._width()
        if x.dim() != 2 or (width and x.shape[1] != width):
            raise ValueError(f"{self._name}: features must be [N, {width or 'd'}], got {list(x.shape)}")
        if not torch.isfinite(x).all():
            raise ValueError(f"{self._name}: features must be finite, got NaN or infinite values")
        # What stays must not change with the caller's tensor.
        return x.detach().to(x.dtype if x.dtype == torch.float64 else torch.float32, copy=self.network is None)


class PairMetric(FeatureMetric):
    """A metric that compares real images with fake ones.

    Parameters
    ----------
    real_kind, fake_kind : str
        What is kept of each side: ``FEATURES``, or only their ``MOMENTS``.
    reset_real_features : bool
        Whether ``reset`` also forgets the real images.
    feature, normalize, weights, antialias, kwargs
        Of ``FeatureMetric``.
    """

    def __init__(
        self,
        real_kind: str,
        fake_kind: str,
        feature: str | int | nn.Module | None,
        normalize: bool,
        reset_real_features: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature, normalize, **kwargs)
        if not isinstance(reset_real_features, bool):
            given = type(reset_real_features).__name__
            raise TypeError(f"{self._name}: reset_real_features must be a bool, got {given}")
        self._keep_real = not reset_real_features
        self._sides = {True: f"real_{real_kind}", False: f"fake_{fake_kind}"}
        for name, kind in zip(self._sides.values(), (real_kind, fake_kind), strict=True):
            if kind == MOMENTS:
                self._add_moments(name)
            else:
                self._add_store(name)

    def update(self, imgs: Tensor, real: bool) -> None:
        """Take a batch.

        Parameters
        ----------
        imgs : Tensor
            Images as the network takes them, or features [N, d] where ``feature`` is None.
        real : bool
            Whether they are real.

        Raises
        ------
        TypeError
            For images that are no tensor, features that are not floating point, or ``real`` that is no bool.
        ValueError
            For features of another shape or number than before, or that are not finite.
        """
        if not isinstance(real, bool):
            raise TypeError(f"{self._name}: real must be a bool, got {type(real).__name__}")
        self._take(self._sides[real], self._extract("imgs", imgs))
