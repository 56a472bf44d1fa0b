"""Whatever Hugging Face's ``datasets`` loads, local or from the hub."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import torch
from torch import Tensor

from .base import ArrayData, DataError, ImageData
from .decode import need_pillow, square
from .decoded import PROBES, DecodedData

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PREFIX", "HuggingFaceData", "open_hugging_face"]

PREFIX = "hf:"


class HuggingFaceData(DecodedData):
    """Images of a ``datasets.Dataset``, decoded as they are drawn.

    Parameters
    ----------
    dataset : datasets.Dataset
        Of one split, random access.
    name : str
        Shown in logs and errors.
    image, label : str, optional
        Columns; by default the only one of images, and the only one of class labels, if there is one. A label column
        may also hold integers from 0 on.
    strict, image_size, image_channels
        See ``DecodedData``.

    Raises
    ------
    DataError
        If the columns are not there or not of these types; the message lists what there is.
    """

    def __init__(
        self,
        dataset: Any,
        name: str,
        *,
        image: str | None = None,
        label: str | None = None,
        strict: bool = False,
        image_size: int = 32,
        image_channels: int = 3,
    ) -> None:
        image, label, num_classes = _columns(dataset, name, image, label)
        labels = None
        if label is not None:
            labels, num_classes = _labels(name, dataset.select_columns([label])[:][label], num_classes)
        if not len(dataset):
            raise DataError(f"{name}: no images in it")
        super().__init__(
            name, len(dataset), labels, num_classes,
            strict=strict, image_size=image_size, image_channels=image_channels,
        )  # fmt: skip
        self._column = image
        self._rows = _undecoded(dataset, image).select_columns([image])

    def fingerprint(self) -> str:
        """Number of the images, CRC-32 of all labels and of some images' bytes."""
        checksum = 0 if self._labels is None else zlib.crc32(self._labels.numpy().data)
        for index in range(0, len(self), max(1, len(self) // PROBES)):
            checksum = zlib.crc32(_bytes(self._rows[index][self._column]), checksum)
        return f"{len(self)} rows {checksum:08x}"

    def _open(self, index: int) -> Image:
        from PIL import Image

        return Image.open(io.BytesIO(_bytes(self._rows[index][self._column])))

    def _where(self, index: int) -> str:
        return f"{self.name}, row {index}"


def open_hugging_face(data: str, *, strict: bool = False, image_size: int = 32) -> ImageData:
    """Open ``hf:PATH?OPTION=VALUE&...``, what ``datasets.load_dataset(PATH, OPTION=VALUE, ...)`` loads.

    Parameters
    ----------
    data : str
        PATH is a name on the hub, or a format (``imagefolder``, ``parquet``, ``webdataset``) with ``data_dir`` or
        ``data_files``. Options for here: ``split`` (default ``train``), ``image`` and ``label`` (columns), ``channels``
        (3 or 1), ``take``: only the first so many images, held in memory. With ``streaming=true``, which needs
        ``take``, nothing else is downloaded.
    strict : bool, default: False
        A broken image stops the run instead of being skipped.
    image_size : int, default: 32
        Height and width in pixels.

    Returns
    -------
    ImageData
        ``HuggingFaceData``, or ``ArrayData`` with ``take``.

    Raises
    ------
    DataError
        If datasets is not installed or cannot load it, or for columns and options that do not fit.
    """
    path, _, query = data.removeprefix(PREFIX).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    split = options.pop("split", "train")
    columns = {name: options.pop(name, None) for name in ("image", "label")}
    channels, take = _number(data, options, "channels", 3), _number(data, options, "take", 0)
    streaming = options.pop("streaming", "false").lower() == "true"
    if channels not in (1, 3):
        raise DataError(f"{data}: channels must be 3 or 1, got {channels}")
    if streaming and not take:
        raise DataError(f"{data}: streaming needs take=N, the number of images to hold in memory")
    try:
        import datasets
    except ImportError as error:
        raise DataError(f'{data} needs Hugging Face\'s datasets: pip install "fastgan[hub]"') from error
    try:
        dataset = datasets.load_dataset(path, split=split, streaming=streaming, **options)
    # The loaders of the formats and of the hub raise errors of many libraries.
    except Exception as error:
        raise DataError(f"{data}: datasets cannot load it ({error})") from error
    if take:
        return _held(dataset, data, take, columns, strict=strict, image_size=image_size, channels=channels)
    return HuggingFaceData(dataset, data, **columns, strict=strict, image_size=image_size, image_channels=channels)


def _held(
    dataset: Any,
    name: str,
    take: int,
    columns: dict[str, str | None],
    *,
    strict: bool,
    image_size: int,
    channels: int,
) -> ArrayData:
    """The first images of a data set, streamed or not, in memory."""
    from PIL import Image

    need_pillow(name)
    image, label, num_classes = _columns(dataset, name, columns["image"], columns["label"])
    images, labels = [], []
    for index, row in enumerate(_undecoded(dataset, image).take(take)):
        try:
            with Image.open(io.BytesIO(_bytes(row[image]))) as picture:
                images.append(torch.from_numpy(square(picture, image_size, channels).copy()))
        except Exception as error:  # as in DecodedData
            message = f"{name}, row {index}: broken image ({error})"
            if strict:
                raise DataError(message) from error
            warnings.warn(f"{message}; skipped", stacklevel=2)
            continue
        labels.append(None if label is None else row[label])
    if not images:
        raise DataError(f"{name}: no images in it that can be decoded")
    pixels = torch.stack(images).permute(0, 3, 1, 2)
    if label is None:
        return ArrayData(name, pixels, None, image_size)
    found, num_classes = _labels(name, labels, num_classes)
    return ArrayData(name, pixels, found, image_size, num_classes)


def _columns(dataset: Any, name: str, image: str | None, label: str | None) -> tuple[str, str | None, int | None]:
    """The columns of images and labels, and the number of classes where the data set says it."""
    from datasets import ClassLabel
    from datasets import Image as ImageFeature

    features = dataset.features or {}
    listed = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in features.items()) or "none known"
    pictures = [key for key, feature in features.items() if isinstance(feature, ImageFeature)]
    classes = [key for key, feature in features.items() if isinstance(feature, ClassLabel)]
    if image is None and len(pictures) != 1:
        raise DataError(f"{name}: image=COLUMN must say which column holds the images; there are: {listed}")
    if label is None and len(classes) == 1:
        label = classes[0]
    image = image or pictures[0]
    if image not in pictures or (label is not None and label not in features):
        wanted = image if image not in pictures else label
        raise DataError(
            f"{name}: no column {wanted} of {'images' if wanted == image else 'labels'}; there are: {listed}"
        )
    return image, label, features[label].num_classes if label in classes else None


def _labels(name: str, values: Iterable[Any], num_classes: int | None) -> tuple[Tensor, int]:
    values = list(values)
    for value in values:
        if not isinstance(value, int) or value < 0:
            raise DataError(f"{name}: labels must be integers from 0 on, got {value!r}")
    return torch.tensor(values, dtype=torch.long), num_classes or max(values, default=0) + 1


def _undecoded(dataset: Any, image: str) -> Any:
    from datasets import Image as ImageFeature

    return dataset.cast_column(image, ImageFeature(decode=False))


def _bytes(cell: dict[str, Any]) -> bytes:
    if cell["bytes"] is not None:
        return cell["bytes"]
    with open(cell["path"], "rb") as file:
        return file.read()


def _number(data: str, options: dict[str, str], name: str, default: int) -> int:
    given = options.pop(name, str(default))
    if not given.isdigit():
        raise DataError(f"{data}: {name} must be a number, got {given!r}")
    return int(given)
