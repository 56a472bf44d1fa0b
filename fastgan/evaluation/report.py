"""An evaluation as a table and as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from .evaluate import Evaluation
from .scores import LABELS

__all__ = ["table", "to_json", "write"]


def _side(side: dict[str, Any]) -> str:
    height, width = side["size"]
    return f"{side['name']}: {side['images']} images, {height}x{width}"


def table(result: Evaluation) -> Group:
    """Figures with what they depend on, for a terminal."""
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for label, text in (
        ("real", _side(result.real)),
        ("generated", _side(result.fake)),
        ("features", result.features),
        *((LABELS[name], f"{value:.5g}") for name, value in result.metrics.items()),
    ):
        grid.add_row(label, Text(text))
    return Group(grid, *(Text(f"Note: {note}") for note in result.notes))


def to_json(result: Evaluation) -> str:
    """Everything that an ``Evaluation`` holds."""
    return json.dumps(dataclasses.asdict(result), indent=2)


def write(path: Path, result: Evaluation) -> None:
    """Write the JSON, whole or not at all; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(to_json(result) + "\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
