"""Views: batches seen differently with the label kept, computed on the whole batch at once.

A view maker is a module from a `Batch` to a `Batch`; it draws from torch's global generator, so
a seed before the call fixes the view. It works on normalised samples, on any device.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from tacita.data.batch import InputSpec
from tacita.data.views.circle import RotationInvariantViews
from tacita.data.views.images import ImageViews
from tacita.data.views.sensors import SensorViews
from tacita.data.views.series import SeriesViews
from tacita.data.views.tables import TableViews
from tacita.data.views.volumes import VolumeViews

__all__ = [
    "ImageViews",
    "RotationInvariantViews",
    "SensorViews",
    "SeriesViews",
    "TableViews",
    "VolumeViews",
    "default_views",
]


def default_views(spec: InputSpec, strength: Literal["weak", "strong"]) -> nn.Module:
    """The view maker for a modality where a recipe names none.

    >>> type(default_views(InputSpec("series", (100, 3)), "weak")).__name__
    'SeriesViews'
    """
    makers = {
        "images": (ImageViews.weak, ImageViews.strong),
        "volumes": (VolumeViews.weak, VolumeViews.strong),
        "series": (SeriesViews.weak, SeriesViews.strong),
        "tables": (TableViews.weak, TableViews.strong),
    }
    weak, strong = makers[spec.modality]
    if spec.rates:  # rows are seconds, so views of rows would tear the signals apart
        weak, strong = SensorViews.weak, SensorViews.strong
    return weak(spec) if strength == "weak" else strong(spec)
