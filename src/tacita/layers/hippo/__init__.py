"""HiPPO: memories whose state is the coefficients of the past in an orthogonal basis."""

from tacita.layers.hippo.bases import basis, measure_weight, reconstruct, timescale
from tacita.layers.hippo.matrices import Measure, hippo, legs_modes, nplr

__all__ = [
    "Measure",
    "basis",
    "hippo",
    "legs_modes",
    "measure_weight",
    "nplr",
    "reconstruct",
    "timescale",
]
