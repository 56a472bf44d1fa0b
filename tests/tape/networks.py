"""Discriminators as people write them, small, and what to call them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as sn

from fastgan_bench.critics import DCGAN, R3GAN


class SixLayers(nn.Sequential):
    """The critic on which convolutions are counted."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for a, b, stride in ((3, 4, 1), (4, 5, 2), (5, 6, 1), (6, 6, 2), (6, 8, 2)):
            layers += [nn.Conv2d(a, b, 3, stride, 1), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(8, 1, 2), nn.Flatten())


class ResBlock(nn.Module):
    def __init__(self, a: int, b: int, down: bool, first: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2 = sn(nn.Conv2d(a, b, 3, padding=1)), sn(nn.Conv2d(b, b, 3, padding=1))
        self.skip = sn(nn.Conv2d(a, b, 1))
        self.down, self.first = down, first

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        s = self.skip(x)
        return F.avg_pool2d(h, 2) + F.avg_pool2d(s, 2) if self.down else h + s


class SNGAN(nn.Module):
    """A spectrally normalised projection discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(ResBlock(3, 4, True, True), ResBlock(4, 6, True), ResBlock(6, 6, False))
        self.linear, self.embed = sn(nn.Linear(6, 1)), sn(nn.Embedding(5, 6))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = torch.sum(F.relu(self.blocks(x)), dim=(2, 3))
        return self.linear(h) + torch.sum(self.embed(y) * h, dim=1, keepdim=True)


class EqualConv(nn.Module):
    def __init__(self, a: int, b: int, k: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(b, a, k, k)), nn.Parameter(torch.randn(b))
        self.scale, self.padding = (2 / (a * k * k)) ** 0.5, k // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class ProGAN(nn.Module):
    """Equalised learning rates and a fade-in."""

    def __init__(self, stddev: bool = False) -> None:
        super().__init__()
        self.from_rgb, self.from_rgb_low = EqualConv(3, 4, 1), EqualConv(3, 5, 1)
        self.conv1, self.conv2 = EqualConv(4, 4, 3), EqualConv(4, 5, 3)
        self.last, self.linear = EqualConv(5 + stddev, 5, 3), nn.Linear(5 * 16, 1)
        self.alpha, self.stddev = 0.3, stddev

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.from_rgb(x), 0.2)
        h = F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(h), 0.2)), 0.2)
        h = F.avg_pool2d(h, 2)
        if self.alpha < 1:
            low = F.leaky_relu(self.from_rgb_low(F.avg_pool2d(x, 2)), 0.2)
            h = self.alpha * h + (1 - self.alpha) * low
        if self.stddev:
            spread = torch.sqrt(h.var(0, unbiased=False) + 1e-8).mean().view(1, 1, 1, 1)
            h = torch.cat([h, spread.expand(len(h), 1, *h.shape[2:])], 1)
        return self.linear(F.leaky_relu(self.last(h), 0.2).view(len(x), -1)).squeeze(1)


class UNet(nn.Module):
    """Real-ESRGAN's: one logit a pixel, skip connections."""

    def __init__(self, f: int = 3) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, f, 3, 1, 1)
        self.down1, self.down2 = (
            sn(nn.Conv2d(f, 2 * f, 4, 2, 1, bias=False)),
            sn(nn.Conv2d(2 * f, 3 * f, 4, 2, 1, bias=False)),
        )
        self.up2, self.up1 = (
            sn(nn.Conv2d(3 * f, 2 * f, 3, 1, 1, bias=False)),
            sn(nn.Conv2d(2 * f, f, 3, 1, 1, bias=False)),
        )
        self.last = nn.Conv2d(f, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        def act(h: Tensor) -> Tensor:
            return F.leaky_relu(h, negative_slope=0.2, inplace=True)

        def up(h: Tensor) -> Tensor:
            return F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)

        x0 = act(self.conv0(x))
        x1 = act(self.down1(x0))
        x2 = act(self.down2(x1))
        x3 = act(self.up2(up(x2))) + x1
        x4 = act(self.up1(up(x3))) + x0
        return self.last(x4)


class PatchGAN(nn.Sequential):
    """Each output sees 70×70 pixels."""

    def __init__(self, f: int = 3) -> None:
        super().__init__(
            nn.Conv2d(3, f, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(f, 2 * f, 4, 2, 1), nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * f, 3 * f, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(3 * f, 4 * f, 4, 1, 1),
            nn.LeakyReLU(0.2, True), nn.Conv2d(4 * f, 1, 4, 1, 1),
        )  # fmt: skip


class Scale1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv1d(1, 4, 7, 1, 3), nn.Conv1d(4, 8, 9, 2, 4, groups=2), nn.Conv1d(8, 8, 9, 4, 4, groups=4)]
        )
        self.last = nn.Conv1d(8, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
            features.append(x)
        x = self.last(x)
        features.append(x)
        return torch.flatten(x, 1, -1), features


class MultiScale(nn.Module):
    """HiFi-GAN's: a discriminator for each scale of a waveform."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList([Scale1d(), Scale1d(), Scale1d()])
        self.pool = nn.AvgPool1d(4, 2, padding=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for i, scale in enumerate(self.scales):
            x = self.pool(x) if i else x
            outputs.append(scale(x)[0])
        return outputs


class Period(nn.Module):
    """HiFi-GAN's: a waveform folded into an image."""

    def __init__(self, period: int = 3) -> None:
        super().__init__()
        self.period = period
        self.convs = nn.ModuleList([nn.Conv2d(1, 4, (5, 1), (3, 1), (2, 0)), nn.Conv2d(4, 5, (5, 1), (3, 1), (2, 0))])
        self.last = nn.Conv2d(5, 1, (3, 1), 1, (1, 0))

    def forward(self, x: Tensor) -> Tensor:
        b, c, t = x.shape
        if t % self.period:
            x = F.pad(x, (0, self.period - t % self.period), "reflect")
        x = x.view(b, c, x.shape[2] // self.period, self.period)
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
        return torch.flatten(self.last(x), 1, -1)


class Video(nn.Module):
    """Frames folded into the batch, and a 3-D critic beside."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
        self.frames, self.motion = nn.Linear(4 * 4, 1), nn.Conv3d(3, 4, 3, 2, 1)
        self.last = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, t = x.shape[:2]
        h = self.frame(x.reshape(b * t, *x.shape[2:]))
        spatial = self.frames(h.flatten(1)).view(b, t).mean(1)
        temporal = F.relu(self.motion(x.permute(0, 2, 1, 3, 4))).mean((2, 3, 4))
        return spatial + self.last(temporal)[:, 0]


class MLP(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 9), nn.PReLU(9), nn.Dropout(0.3), nn.Linear(9, 7), nn.ReLU6(), nn.Linear(7, 1))


class SiLU(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 3, 2, 1), nn.SiLU(), nn.Conv2d(4, 5, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(5, 6, 3, 2, 1),
            nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(24, 1),
        )  # fmt: skip


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 1, 8)
        self.q, self.k, self.v = (nn.Conv2d(4, 4, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.first(x), 0.2)
        q, k, v = (conv(h).flatten(2) for conv in (self.q, self.k, self.v))
        a = torch.softmax(q.transpose(1, 2) @ k, -1)
        h = h + (v @ a.transpose(1, 2)).view_as(h)
        return self.last(F.relu(h)).flatten()


class BatchNorm(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 5, 4, 2, 1), nn.BatchNorm2d(5),
            nn.LeakyReLU(0.2, True), nn.Conv2d(5, 6, 4), nn.ReLU(), nn.Flatten(), nn.Linear(6, 1),
        )  # fmt: skip


@dataclass
class Network:
    """One of them.

    `path` is what explain() is to say, and `select` what is penalised.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    path: str
    conditions: Callable[[], tuple[Any, ...]] = tuple
    select: Any = None


def _labels() -> tuple[Tensor]:
    return (torch.tensor([0, 4, 2]),)


def dcgan() -> nn.Module:
    return DCGAN(3)


def everything(output: Any) -> Any:
    return output


NETWORKS = {
    "dcgan": Network(dcgan, (3, 3, 64, 64), "four passes"),
    "six layers": Network(SixLayers, (3, 3, 16, 16), "four passes"),
    "sngan": Network(SNGAN, (3, 3, 8, 8), "four passes", _labels),
    "progan": Network(ProGAN, (3, 3, 8, 8), "four passes"),
    "r3gan": Network(lambda: R3GAN((4, 6), (4, 3)), (3, 3, 16, 16), "four passes"),
    "r3gan of our layers": Network(lambda: R3GAN((4, 6), (4, 3), fast=True), (3, 3, 16, 16), "four passes"),
    "unet": Network(UNet, (2, 3, 8, 8), "six passes"),
    "patchgan": Network(PatchGAN, (2, 3, 32, 32), "six passes"),
    "multi-scale": Network(MultiScale, (2, 1, 40), "six passes", select=everything),
    "period": Network(Period, (2, 1, 40), "six passes"),
    "video": Network(Video, (2, 3, 3, 8, 8), "four passes"),
    "mlp": Network(MLP, (4, 6), "four passes"),
    "silu": Network(SiLU, (3, 3, 16, 16), "tail"),
    "attention": Network(Attention, (3, 3, 16, 16), "tail"),
    "stddev": Network(lambda: ProGAN(True), (4, 3, 8, 8), "tail"),
    "batch norm": Network(BatchNorm, (4, 3, 16, 16), "tail"),
}
