"""``fastgan doctor``: one screen that says what this machine would run, and what is missing for more."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import fastgan
from fastgan.ops import cuda_source, native, registry

__all__ = ["main"]

DEVICES = {"CPU": "cpu", "CUDA": "cuda"}


def _version(distribution: str, *others: str) -> str:
    for name in (distribution, *others):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "[dim]not installed[/]"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> str:
    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    builds = {"CUDA": torch.version.cuda, "HIP": torch.version.hip}
    built = [f"{name} {version}" for name, version in builds.items() if version]
    return f"none (torch is built for {built[0] if built else 'CPUs only'})"


def _facts() -> Iterator[tuple[str, str]]:
    yield "fastgan", f"{fastgan.__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    cupy = _version("cupy-cuda13x", "cupy-cuda12x", "cupy")
    yield "torch", f"{torch.__version__}; Triton {_version('triton')}; CuPy {cupy}"
    others = {"Lightning": "lightning", "torchmetrics": "torchmetrics", "SciPy": "scipy"}
    yield "training", "; ".join(f"{name} {_version(distribution)}" for name, distribution in others.items())
    yield "CPU", f"{escape(_cpu_model())}, {torch.get_num_threads()} threads"
    reason = native.unavailable_reason()
    yield "extension", f"ISA level {native.isa_level()}" if reason is None else f"[red]{escape(reason)}[/]"
    yield "GPUs", escape(_gpus())
    if cuda_source.source_folder() is None:
        yield "CUDA kernels", "[red]the sources are missing from the package: reinstall it[/]"
    else:
        fatbins = sorted((Path(fastgan.__file__).parent / "_cuda").glob("*.fatbin"))
        prebuilt = ", ".join(path.stem for path in fatbins) or "none"
        yield "CUDA kernels", f"prebuilt: {prebuilt}; the others are compiled when first used"


def _served(table: registry.OpTable, device_type: str) -> tuple[str, str]:
    """The backend that serves float32 tensors of that device, and why the others written for it do not."""
    chosen = table.choose(None, device_type, torch.float32, quiet=True)
    others = [b for b in table.backends if b not in (chosen, "reference") and device_type in registry.DEVICES_OF[b]]
    reasons = {b: table.unsupported_reason(b, device_type, torch.float32) for b in others}
    return chosen, "; ".join(f"{b}: {reason or 'is ready, and comes after'}" for b, reason in reasons.items())


def _advice() -> Iterator[str]:
    if native.unavailable_reason() is not None:
        yield (
            "CPU ops run on their slow reference. With a C++20 compiler (g++ or clang++), reinstall for the fast ones: "
            "FASTGAN_NATIVE=require pip install --force-reinstall --no-deps fastgan"
        )
    if torch.cuda.is_available() and torch.version.cuda:
        major = torch.version.cuda.partition(".")[0]
        if importlib.util.find_spec("triton") is None or importlib.util.find_spec("cupy") is None:
            yield f"GPU kernels need Triton and CuPy: pip install 'fastgan[cuda{major}]'"
    elif platform.libc_ver()[0] == "glibc":
        yield (
            "For CPU training, glibc returns large buffers to the system after each use and pays page faults to get "
            "them back. These two settings stop that: MALLOC_MMAP_THRESHOLD_=4294967296 "
            "MALLOC_TRIM_THRESHOLD_=4294967296"
        )


def main(console: Console | None = None) -> None:
    """Print versions, devices, threads, and the backends that serve CPU and CUDA tensors with their ops, and why.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to print; the terminal by default.
    """
    console = console or Console()
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts():
        facts.add_row(f"[bold]{name}[/]", value)
    console.print(facts)

    ops = Table(show_edge=False, pad_edge=False)
    for column in ("float32 on", "backend", "ops", "other backends"):
        ops.add_column(column, overflow="fold")
    for name, device_type in DEVICES.items():
        alike: dict[tuple[str, str], list[str]] = {}
        for op, table in registry.tables().items():
            alike.setdefault(_served(table, device_type), []).append(op)
        for (chosen, why), served in alike.items():
            colour = "yellow" if chosen == "reference" else "green"
            ops.add_row(name, f"[{colour}]{chosen}[/]", ", ".join(served), escape(why))
    console.print()
    console.print(ops)
    for advice in _advice():
        console.print(f"\n[bold]Advice[/] {escape(advice)}")
