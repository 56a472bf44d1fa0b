"""Where a run that lost its numbers lost them: its last steps once more, looked at closely."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from . import checkpoint
from .processes import anywhere

if TYPE_CHECKING:
    from .loop import Trainer

__all__ = ["explain_non_finite"]


def explain_non_finite(trainer: Trainer, step: int, checkpoints: Path) -> str:
    """Say what was not finite first when a loss or weight at ``step`` was not, and which checkpoint is the last good.

    Training repeats itself exactly: the run is built anew from its last checkpoint, or from its start, and brought to
    that step. All processes must call this.

    Parameters
    ----------
    trainer : Trainer
        The run, whose networks may hold nothing but NaN by now.
    step : int
        Steps done, the one with what is not finite included.
    checkpoints : Path
        The folder of its checkpoints.

    Returns
    -------
    str
    """
    path = checkpoint.latest(checkpoints)
    good = "there is no checkpoint yet" if path is None else f"the last good checkpoint is {path}"
    try:
        again = trainer.rebuild()
        if path is not None:
            again.load(path)
        found: list[str] = []
        while again.step < step and not found:
            # A step may spoil the weights by its gradients, and leave it to the next one's losses to show it.
            suspect = again.step >= step - 2
            with _watched(again, found) if suspect else nullcontext():
                losses = again.update()
            again._unchecked.clear()  # nothing here is to stop at losses that are known not to be finite
            if suspect and not found and not all(loss.isfinite() for loss in losses.values()):
                found.append("the loss itself, of finite outputs")
            # The processes end this together, for none can take a step alone.
            if suspect and anywhere(again.fabric, bool(found)) and not found:
                found.append("in another process")
        if not found and (name := again.find_non_finite()):
            found.append(f"{name}, of finite gradients")
        place = f"the first that is not finite is {found[0]}, in step {again.step}" if found else "it did not recur"
    except (RuntimeError, checkpoint.CheckpointError) as error:  # memory for a second trainer, say
        place = f"the layer was not found ({error})"
    return f"{place}; {good}"


@contextmanager
def _watched(trainer: Trainer, found: list[str]) -> Iterator[None]:
    """Collect the names of outputs and gradients that are not finite, in the order in which they arise."""
    # A loss scaled for float16 overflows now and then, and its steps are skipped.
    gradients = trainer.config.precision != "16-mixed"
    handles: list[Any] = []

    def look(name: str, tensor: Tensor | None) -> None:
        # A gradient may be undefined.
        if tensor is not None and not tensor.detach().isfinite().all():
            found.append(name)

    def after(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
            for output in _tensors(outputs):
                look(f"the output of {name} ({type(module).__name__})", output)
                if gradients and output.requires_grad:
                    output.register_hook(lambda g: look(f"the gradient at the output of {name}", g))

        return hook

    for network, root in trainer._modules().items():
        if network == "ema":
            continue
        for path, module in root.named_modules():
            handles.append(module.register_forward_hook(after(f"{network}.{path}".rstrip("."), module)))
        for path, parameter in root.named_parameters():
            name = f"the gradient of {network}.{path}"
            if gradients and parameter.requires_grad:
                handles.append(parameter.register_hook(lambda g, name=name: look(name, g)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(outputs: Any) -> Iterable[Tensor]:
    if isinstance(outputs, Tensor):
        return (outputs,) if outputs.is_floating_point() else ()
    parts = outputs.values() if isinstance(outputs, dict) else outputs if isinstance(outputs, (tuple, list)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]
