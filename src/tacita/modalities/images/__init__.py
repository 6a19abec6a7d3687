"""Images: grey, colour or of any channels, from folders, arrays and tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import modality
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset, Schema
from tacita.data.modality import Fact, Modality, Strength
from tacita.data.normalise import Normaliser, Standardiser
from tacita.data.reading import Reading, Samples, Source
from tacita.modalities.choice import unreadable
from tacita.modalities.crops import Crops
from tacita.modalities.images.crops import crop_images
from tacita.modalities.images.read import (
    ImagesMeta,
    common_size,
    heads_of,
    image_array,
    image_files,
    in_size,
    resized,
    square,
)
from tacita.modalities.images.views import ImageViews
from tacita.modalities.pixels import about_channels, about_range, as_learnt, check_channels
from tacita.modalities.readers.files import IMAGE_FILES
from tacita.modalities.readers.sources import ArraySource, FolderSource

if TYPE_CHECKING:
    from numpy.typing import NDArray


@modality(
    "images",
    title="Images",
    encoder="residual-cnn",
    encoders={"patches": "vit"},
    gives=(
        "views", "crops", "halves", "rows", "numbers", "patches", "neighbours", "pixels",
    ),
    usual=("supervised", "barlow-linear-probe", "barlow-fine-tune", "fixmatch"),
    hidden_share=0.75,
)  # fmt: skip
class Images(Modality):
    """Images `(C, H, W)`: 8 bits as uint8, all else in its own range. `hidden_share` is MAE's."""

    meta = ImagesMeta
    alone = tuple(sorted(IMAGE_FILES))
    options = ("image_size",)
    wants = "Images come as a folder, or as an array in a .npz."

    def claims(self, source: Source, reading: Reading) -> int:
        if isinstance(source, FolderSource):
            return 2 * source.has(IMAGE_FILES)
        if isinstance(source, ArraySource) and not source.ragged and source.lengths is None:
            return 2 * (len(source.shape) == 4 or (len(source.shape) == 3 and source.dtype == "u1"))
        return 0

    def read(
        self, source: Source, reading: Reading, like: Schema | None, chunk: int | None
    ) -> Iterator[Samples]:
        side = reading.image_size
        if isinstance(source, FolderSource):
            entries = source.files(IMAGE_FILES)
            if not entries:
                raise unreadable(source)
            channels, shape = None, None
            if like is not None:
                channels, height, width = like.meta.shape
                shape = height, width
            step = chunk or len(entries)
            for start in range(0, len(entries), step):
                part = entries[start : start + step]
                heads = heads_of(part)
                # Without a model all come in one piece, whose own size it is.
                size = shape or common_size([head.size for head in heads], side)
                yield image_files(part, heads, size=size, channels=channels, source=source.name)
        elif isinstance(source, ArraySource):
            for piece in source.pieces(chunk):
                samples = image_array(piece.x, source=source.name, start=piece.start)
                yield samples if side is None else in_size(samples, square(side))
        else:
            raise self.cannot(source, like)

    def as_read(self, data: Dataset, reading: Reading) -> Dataset:
        if reading.image_size is None:
            return data
        return data.with_samples(resized(data.x, square(reading.image_size)))

    def conform(self, samples: Samples, like: Schema) -> Samples:
        assert isinstance(like.meta, ImagesMeta)
        check_channels(samples, like)
        samples = as_learnt(samples, like.meta)
        _, height, width = like.meta.shape
        return in_size(samples, (height, width))

    def normaliser(self, spec: InputSpec) -> Normaliser:
        return Standardiser(spec, axis=1)

    def views(self, spec: InputSpec, strength: Strength) -> nn.Module:
        return ImageViews.weak(spec) if strength == "weak" else ImageViews.strong(spec)

    def crops(self, spec: InputSpec, *, scale: tuple[float, float], size: float = 1.0) -> nn.Module:
        return Crops(crop_images, scale=scale, size=size)

    def sides(self, spec: InputSpec) -> tuple[int, ...]:
        return spec.shape[1:]

    def first_half(self, batch: Batch, spec: InputSpec, other: Tensor) -> Tensor:
        """The left half, or where `other` the upper one; an odd line goes to the second half."""
        x = batch.x
        left, top = (
            torch.arange(x.shape[axis], device=x.device) < x.shape[axis] // 2 for axis in (3, 2)
        )
        return torch.where(other, top[:, None], left)

    def words(self, data: Dataset) -> str:
        channels, height, width = data.meta.shape
        colour = {1: "grey", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
        return f"{len(data)} images, {height} x {width}, {colour}"

    def facts(self, data: Dataset) -> list[Fact]:
        return about_range(data)

    def suspicions(self, data: Dataset) -> list[str]:
        return about_channels(data, 1)

    def coarse(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """A picture of 8 x 8 cells; how much neighbours differ and pixels spread."""
        x = data.x.double()
        cells = (min(8, x.shape[2]), min(8, x.shape[3]))
        steps = x.diff(dim=-1).abs().flatten(1).mean(1)
        texture = torch.stack([steps, x.flatten(1).std(1)], 1)
        return functional.adaptive_avg_pool2d(x, cells).flatten(1), texture

    def show(self, data: Dataset, position: int) -> NDArray[Any]:
        return data.x[position].numpy()

    def example(self) -> Dataset:
        """Two hundred of the handwritten digits that scikit-learn ships."""
        from tacita.modalities.builtin import load_builtin

        return load_builtin("digits")[0].subset(torch.arange(200))
