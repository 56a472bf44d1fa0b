"""The Inception-v3 of the Fréchet Inception distance: TensorFlow's of 2015, in the layout of pytorch-fid's weights.

It is not torchvision's: averages over 3×3 windows leave the padding out, the last block takes a maximum where the
others take an average, and there are 1,008 classes. C. Szegedy et al., "Rethinking the Inception Architecture for
Computer Vision", CVPR 2016; M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium", NeurIPS 2017.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import FeatureNetwork, to_pixels
from .fetch import INCEPTION_SHA256, find_inception, sha256
from .resize import RESIZERS, resize

__all__ = ["OUTPUTS", "InceptionV3"]

#: Features by name, as torchmetrics and torch-fidelity name them: how many there are.
OUTPUTS = {"64": 64, "192": 192, "768": 768, "2048": 2048, "logits_unbiased": 1008, "logits": 1008}

_Kernel = int | tuple[int, int]
#: Name, channels, kernel, and the stride where it is not 1.
_Layer = tuple[str, int, _Kernel] | tuple[str, int, _Kernel, int]


class _Conv(nn.Module):
    """Convolution, batch norm, ReLU. Without a stride, the size stays."""

    def __init__(self, c_in: int, c_out: int, kernel: _Kernel, stride: int = 1, *, valid: bool = False) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid or stride > 1 else (height // 2, width // 2)
        self.conv = nn.Conv2d(c_in, c_out, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class _Mixed(nn.Module):
    """Branches of convolutions beside a pooling, concatenated.

    Parameters
    ----------
    c_in : int
        Channels of the input.
    branches : list of list of layer
        Each a chain; where its last two layers end in a and b, both read what comes before them.
    pool : {"average", "maximum", "strided maximum"}
        The pooling that the last branch begins with.
    pool_channels : int, optional
        Channels of the convolution that follows it; none where it strides.
    """

    def __init__(self, c_in: int, branches: list[list[_Layer]], pool: str, pool_channels: int | None = None) -> None:
        super().__init__()
        self._chains = [[layer[0] for layer in branch] for branch in branches]
        self._pool = pool
        for branch in branches:
            width = c_in
            for name, channels, kernel, *stride in branch:
                self.add_module(name, _Conv(width, channels, kernel, *stride))
                width = width if name.endswith("a") else channels
        if pool_channels is not None:
            self.branch_pool = _Conv(c_in, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for *chain, last in self._chains:
            y, split = x, last.endswith("b")
            for name in chain[: len(chain) - split]:
                y = self.get_submodule(name)(y)
            outputs += [self.get_submodule(name)(y) for name in ([*chain[-1:], last] if split else [last])]
        if self._pool == "strided maximum":
            return torch.cat([*outputs, F.max_pool2d(x, 3, 2)], 1)
        if self._pool == "average":
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        else:
            pooled = F.max_pool2d(x, 3, 1, 1)
        return torch.cat([*outputs, self.branch_pool(pooled)], 1)


def _mixed_5(c_in: int, pool_channels: int) -> _Mixed:
    branches: list[list[_Layer]] = [
        [("branch1x1", 64, 1)],
        [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
    ]
    return _Mixed(c_in, branches, "average", pool_channels)


def _mixed_6a() -> _Mixed:
    branches: list[list[_Layer]] = [
        [("branch3x3", 384, 3, 2)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)],
    ]
    return _Mixed(288, branches, "strided maximum")


def _mixed_6(c: int) -> _Mixed:
    row, column = (1, 7), (7, 1)
    branches: list[list[_Layer]] = [
        [("branch1x1", 192, 1)],
        [("branch7x7_1", c, 1), ("branch7x7_2", c, row), ("branch7x7_3", 192, column)],
        [
            ("branch7x7dbl_1", c, 1),
            ("branch7x7dbl_2", c, column),
            ("branch7x7dbl_3", c, row),
            ("branch7x7dbl_4", c, column),
            ("branch7x7dbl_5", 192, row),
        ],
    ]
    return _Mixed(768, branches, "average", 192)


def _mixed_7a() -> _Mixed:
    branches: list[list[_Layer]] = [
        [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)],
        [
            ("branch7x7x3_1", 192, 1),
            ("branch7x7x3_2", 192, (1, 7)),
            ("branch7x7x3_3", 192, (7, 1)),
            ("branch7x7x3_4", 192, 3, 2),
        ],
    ]
    return _Mixed(768, branches, "strided maximum")


def _mixed_7(c_in: int, pool: str) -> _Mixed:
    branches: list[list[_Layer]] = [
        [("branch1x1", 320, 1)],
        [("branch3x3_1", 384, 1), ("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))],
        [
            ("branch3x3dbl_1", 448, 1),
            ("branch3x3dbl_2", 384, 3),
            ("branch3x3dbl_3a", 384, (1, 3)),
            ("branch3x3dbl_3b", 384, (3, 1)),
        ],
    ]
    return _Mixed(c_in, branches, pool, 192)


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, valid=True)
        self.Mixed_5b = _mixed_5(192, 32)
        self.Mixed_5c = _mixed_5(256, 64)
        self.Mixed_5d = _mixed_5(288, 64)
        self.Mixed_6a = _mixed_6a()
        self.Mixed_6b = _mixed_6(128)
        self.Mixed_6c = _mixed_6(160)
        self.Mixed_6d = _mixed_6(160)
        self.Mixed_6e = _mixed_6(192)
        self.Mixed_7a = _mixed_7a()
        self.Mixed_7b = _mixed_7(1280, "average")
        self.Mixed_7c = _mixed_7(2048, "maximum")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor, channels: int) -> Tensor:
        """Means over the feature map with 64, 192, 768 or 2048 ``channels``."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, 2)
        if channels > 64:
            x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        if channels > 192:
            for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e"):
                x = self.get_submodule(f"Mixed_{name}")(x)
        if channels > 768:
            x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))


class InceptionV3(FeatureNetwork):
    """The network of the Fréchet Inception distance; frozen, always in evaluation mode.

    Parameters
    ----------
    weights : str or Path, optional
        File of the weights; the published ones, where they were fetched to, by default.
    output : str, default: "2048"
        ``"64"``, ``"192"``, ``"768"`` or ``"2048"``: means over the feature map with so many channels.
        ``"logits_unbiased"`` or ``"logits"``: the last layer, without or with its bias.
    resize : str, default: "clean"
        How images are brought to 299 × 299 (see ``fastgan.features.resize.resize``). Pixels then become (x - 128) / 128
        as in TensorFlow's graph, with ``"legacy_pytorch"`` x / 127.5 - 1 as in pytorch-fid.

    Raises
    ------
    FileNotFoundError
        If the weights are not there (the message says how to get them).
    ValueError
        If the file holds others, or for an unknown output or way of resizing.
    """

    def __init__(self, weights: str | Path | None = None, output: str = "2048", resize: str = "clean") -> None:
        super().__init__()
        if output not in OUTPUTS:
            raise ValueError(f"InceptionV3: unknown output {output!r}; there are: {', '.join(OUTPUTS)}")
        if resize not in RESIZERS:
            raise ValueError(f"InceptionV3: unknown resize {resize!r}; there are: {', '.join(RESIZERS)}")
        path = find_inception() if weights is None else Path(weights)
        digest = sha256(path)
        whose = "FID Inception-v3" if digest == INCEPTION_SHA256 else f"Inception-v3 of {path.name} ({digest[:8]})"
        self.title = f"{whose}, {output} features, {resize} resizing"
        self.dim = OUTPUTS[output]
        self.output = output
        self.resize = resize
        self.network = _load(path).requires_grad_(False).eval()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Compute features.

        Parameters
        ----------
        images : Tensor
            [N, 1 or 3, H, W], uint8 in 0..255 or floating point in [-1, 1]; grey ones are repeated to three channels.

        Returns
        -------
        Tensor
            float32 [N, dim].
        """
        x = resize(to_pixels(images, "InceptionV3"), 299, self.resize)
        x = x / 127.5 - 1 if self.resize == "legacy_pytorch" else (x - 128) / 128
        channels = 2048 if self.output.startswith("logits") else self.dim
        x = self.network(x.contiguous(memory_format=torch.channels_last), channels)
        if self.output == "logits_unbiased":
            return F.linear(x, self.network.fc.weight)
        return self.network.fc(x) if self.output == "logits" else x

    def logits(self, features: Tensor) -> Tensor:
        """Logits of the 1,008 classes without their bias, which published Inception scores leave out."""
        if self.output == "2048":
            return F.linear(features, self.network.fc.weight)
        if self.output.startswith("logits"):
            return features
        return super().logits(features)


def _load(path: Path) -> _Network:
    """Build the network from the file at ``path``; ValueError names what does not fit."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        given = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
        shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise ValueError(f"{path}: not a file of Inception's weights ({str(error).splitlines()[0]})") from error
    with torch.device("meta"):  # random numbers, which initial weights would take, stay the caller's
        network = _Network()
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    counters = {name: torch.tensor(0) for name in expected if name.endswith("num_batches_tracked")}
    for name in expected.keys() - counters.keys() | shapes.keys():
        if expected.get(name) != shapes.get(name):
            raise ValueError(
                f"{path}: not the FID network's weights: {name} must be {expected.get(name, 'absent')}, "
                f"got {shapes.get(name, 'nothing')}"
            )
    network.load_state_dict(given | counters, assign=True)
    return network
