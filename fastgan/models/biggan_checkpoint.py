"""Reading generators and discriminators that BigGAN-PyTorch saved (``G.pth``, ``G_ema.pth``, ``D.pth``).

The layout is that of its BigGAN.py with a shared embedding and hierarchical noise (``--G_shared --hier``), which its
published weights have: https://github.com/ajbrock/BigGAN-PyTorch. The sizes of a network are those of its tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from .biggan import BigGANDiscriminator, BigGANGenerator, discriminator_widths, generator_widths
from .layers import Layers, fast_layers

__all__ = ["load_discriminator", "load_generator"]

_State = dict[str, Tensor]
_Network = TypeVar("_Network", bound=nn.Module)

#: Beginnings of names there and here; spectral norm's own tensors are converted by the layers themselves.
_NAMES = [
    (r"^(shared|embed)\.", "embedding."),
    (r"^linear\.", "dense."),
    (r"^output_layer\.0\.gain", "norm.weight"),
    (r"^output_layer\.0\.bias", "norm.bias"),
    (r"^output_layer\.0\.stored_", "norm.running_"),
    (r"^output_layer\.2\.", "conv."),
    (r"\.conv_sc\.", ".shortcut."),
    (r"\.bn(\d)\.stored_", r".norm\1.norm.running_"),
    (r"\.bn(\d)\.", r".norm\1."),
]


def _read(path: str | Path, needed: list[str]) -> _State:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch.load promises none in particular for what is not its own
        raise ValueError(f"{path}: not a file of tensors as torch.save writes them: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(t, Tensor) for k, t in state.items()):
        raise ValueError(f"{path}: must hold named tensors, got {type(state).__name__}")
    if missing := [name for name in needed if name not in state]:
        raise ValueError(f"{path}: not a network of BigGAN-PyTorch's BigGAN.py, it has no {', '.join(missing)}")
    return dict(state)


def _blocks(state: _State) -> dict[tuple[int, int], int]:
    """Index here of each block and attention there, numbered by place and by order in that place."""
    found = {(int(m[1]), int(m[2])) for m in (re.match(r"blocks\.(\d+)\.(\d+)\.", name) for name in state) if m}
    return {place: index for index, place in enumerate(sorted(found))}


def _attention(state: _State) -> int | None:
    """Place of the one attention."""
    places = [int(m[1]) for m in (re.match(r"blocks\.(\d+)\.1\.gamma$", name) for name in state) if m]
    if len(places) > 1:
        raise NotImplementedError(f"BigGAN: attention at several sizes, after blocks {', '.join(map(str, places))}")
    return places[0] if places else None


def _image_size(widths: Callable[..., list[int]], blocks: int, path: str | Path) -> int:
    for size in (32, 64, 128, 256):
        if len(widths(1, size, None)) == blocks:
            return size
    raise ValueError(f"{path}: no BigGAN has as many blocks, got {blocks}")


def _renamed(state: _State) -> _State:
    blocks, renamed = _blocks(state), {}
    for name, tensor in state.items():
        new = re.sub(r"^blocks\.(\d+)\.(\d+)\.", lambda m: f"blocks.{blocks[int(m[1]), int(m[2])]}.", name)
        for pattern, replacement in _NAMES:
            new = re.sub(pattern, replacement, new)
        renamed[new] = tensor
    return renamed


def _fill(make: Callable[[Layers], _Network], layers: Layers | None, state: _State, path: str | Path) -> _Network:
    """``make(layers)`` with the tensors of ``state``, in evaluation mode."""
    try:
        network = make(fast_layers())
        counters = {k: t for k, t in network.state_dict().items() if k.endswith("num_batches_tracked")}  # not there
        network.load_state_dict(_renamed(state) | counters)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: its tensors are not those of a BigGAN: {error}") from None
    if layers is not None and layers.name != "fast":
        fast, network = network, make(layers)
        network.load_state_dict(fast.state_dict())
    return network.eval()


def load_generator(path: str | Path, layers: Layers | None = None) -> BigGANGenerator:
    """Load a generator; only tensors are read from the file.

    Parameters
    ----------
    path : path
        ``G.pth`` or ``G_ema.pth``.
    layers : Layers, optional
        The set of layers to build from; fastgan's by default.

    Returns
    -------
    BigGANGenerator
        In evaluation mode. ``generator(latent, labels)`` is ``G(latent, G.shared(labels))`` there.

    Raises
    ------
    ValueError
        For a file that holds something else.
    OSError
        If it cannot be read.
    NotImplementedError
        For attention at several sizes.
    """
    first, last = "blocks.0.0.bn1.gain.weight", "output_layer.2.weight"
    state = _read(path, ["shared.weight", "linear.weight", first, last])
    blocks = 1 + max(place for place, _ in _blocks(state))
    size = _image_size(generator_widths, blocks + 1, path)
    num_classes, embedding_dim = state["shared.weight"].shape
    rows, chunk = state["linear.weight"].shape
    if state[first].shape[1] != embedding_dim + chunk:
        raise ValueError(
            f"{path}: {first} must have {embedding_dim + chunk} columns, as with --G_shared --hier, "
            f"got {state[first].shape[1]}"
        )
    place = _attention(state)

    def make(layers: Layers) -> BigGANGenerator:
        return BigGANGenerator(
            chunk * (blocks + 1), rows // 16 // generator_widths(1, size, None)[0], size, state[last].shape[0],
            num_classes, embedding_dim, None if place is None else 8 << place, layers,
        )  # fmt: skip

    return _fill(make, layers, state, path)


def load_discriminator(path: str | Path, layers: Layers | None = None) -> BigGANDiscriminator:
    """Load a discriminator; as :func:`load_generator`, from ``D.pth``."""
    first = "blocks.0.0.conv1.weight"
    state = _read(path, ["embed.weight", "linear.weight", first])
    size = _image_size(discriminator_widths, 1 + max(place for place, _ in _blocks(state)), path)
    width, image_channels = state[first].shape[:2]
    place = _attention(state)

    def make(layers: Layers) -> BigGANDiscriminator:
        return BigGANDiscriminator(
            width // discriminator_widths(1, size, None)[0], size, image_channels, state["embed.weight"].shape[0],
            None if place is None else size >> (place + 1), layers,
        )  # fmt: skip

    return _fill(make, layers, state, path)
