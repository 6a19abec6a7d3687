"""The hot loops: scans, spiking neurons, exponential sums, long convolutions; each in plain torch and faster.

The functions are imported when they are first used; numba and triton when they first run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tacita.kernels.cauchy.function import cauchy_product
    from tacita.kernels.causal_conv.function import causal_conv
    from tacita.kernels.convolution import fft_convolution
    from tacita.kernels.linear.function import linear_scan
    from tacita.kernels.selective.function import selective_scan
    from tacita.kernels.selective_2d.function import selective_scan_2d
    from tacita.kernels.spiking.function import lif
    from tacita.kernels.vandermonde import vandermonde_product, vandermonde_transpose

_WHERE = {
    "cauchy_product": "tacita.kernels.cauchy.function",
    "causal_conv": "tacita.kernels.causal_conv.function",
    "fft_convolution": "tacita.kernels.convolution",
    "lif": "tacita.kernels.spiking.function",
    "linear_scan": "tacita.kernels.linear.function",
    "selective_scan_2d": "tacita.kernels.selective_2d.function",
    "selective_scan": "tacita.kernels.selective.function",
    "vandermonde_product": "tacita.kernels.vandermonde",
    "vandermonde_transpose": "tacita.kernels.vandermonde",
}

__all__ = [
    "cauchy_product",
    "causal_conv",
    "fft_convolution",
    "lif",
    "linear_scan",
    "selective_scan",
    "selective_scan_2d",
    "vandermonde_product",
    "vandermonde_transpose",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'tacita.kernels' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_WHERE[name]), name)
    return value
