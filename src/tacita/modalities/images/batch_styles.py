"""One style for a whole batch: low-frequency amplitudes of one image given to all of them.

Scalbert, Vakalopoulou and Couzinié-Devy, "Towards domain-invariant Self-Supervised Learning with
Batch Styles Standardization", 2024. What a picture looks like (light, tint, texture at large) is in
the amplitudes of its low frequencies, what it shows is mostly in the phases. If all images of a
batch look alike, an objective that tells them apart cannot do it by their looks. For images from
several sources; two Fourier transforms of the batch a view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from tacita.data.batch import Batch, InputSpec
from tacita.errors import ConfigError
from tacita.modalities.images.views import ImageViews
from tacita.processes import alike, gathered, mean_over_processes, own, processes


class BatchStyles(nn.Module):
    """Warps an image each, then one style for the batch, then one contrast and brightness for it.

    views: the changes; by default none but the style. The warp is each image's own and comes before
        the style, noise and erasing are its own and come after it; contrast and brightness are one
        draw for the batch, since a draw an image would bring different looks back.
    ratio: the range that the share of the frequencies to replace is drawn from, by area. (0, 0.02)
        reaches up to one wave over a side of 28 pixels, and to 15 over 224.
    share: whose style: `"batch"`, one image's for all, or `"image"`, another for each image, with a
        ratio and a contrast of its own. That is Fourier augmentation, the paper's baseline.

    Shapes: `x (B, C, H, W)` to the same. After the style a channel is cut off at the smallest and the
    largest value that it had in the batch, where the paper has 0 and 1. Raises `ConfigError` for a
    ratio that is no range within 0 and 1, and for samples that are not images.

    >>> views = BatchStyles(ratio=(0.5, 0.5))
    >>> batch = Batch(torch.rand(4, 3, 8, 8), torch.zeros(4), torch.arange(4))
    >>> views(batch).x.shape
    torch.Size([4, 3, 8, 8])
    """

    def __init__(
        self,
        views: ImageViews | None = None,
        *,
        ratio: tuple[float, float] = (0.0, 0.02),
        share: Literal["batch", "image"] = "batch",
    ) -> None:
        super().__init__()
        check_ratio(ratio)
        if share not in ("batch", "image"):
            raise ConfigError(f"share={share!r} is unknown.", remedy="Known: batch, image.")
        views = views or ImageViews()
        self.warp = ImageViews(
            rotate=views.rotate,
            translate=views.translate,
            scale=views.scale,
            shear=views.shear,
            flip=views.flip,
        )
        self.rest = ImageViews(noise=views.noise, erase=views.erase)
        self.intensity = views.intensity
        self.ratio = ratio
        self.share = share

    @classmethod
    def strong(cls, spec: InputSpec, ratio: tuple[float, float] = (0.0, 0.02)) -> BatchStyles:
        """Around the strong views of images."""
        if spec.modality != "images":
            raise ConfigError(
                f"batch styles are of images, not of {spec.modality}.",
                remedy="batch_style_standardise(x, ratio, index, dims=(1,)) does it for series.",
            )
        return cls(ImageViews.strong(spec), ratio=ratio)

    def forward(self, batch: Batch) -> Batch:
        before = self.warp(batch).x
        count, device = before.shape[0], before.device
        one = self.share == "batch"
        draws = processes() * count if not one else 1
        everyone = gathered(before)
        with alike(device):
            index = torch.randint(len(everyone), (draws,), device=device)
            ratio = torch.rand(draws, device=device)
            intensity = torch.rand((2, draws, 1, 1, 1), device=device) if self.intensity else None
        if not one:
            index, ratio = own(index), own(ratio)
        smallest, largest = self.ratio
        ratio = smallest + (largest - smallest) * ratio
        x = batch_style_standardise(
            before, ratio.expand(count), index.expand(count), among=everyone
        )
        x = x.clamp(everyone.amin((0, 2, 3), keepdim=True), everyone.amax((0, 2, 3), keepdim=True))
        if intensity is not None:
            contrast, brightness = self.intensity * (
                2 * (intensity if one else own(intensity, 1)) - 1
            )
            # All images of a batch have (nearly) one mean now, so this is one line for all of them.
            centre = x.mean((0, 1, 2, 3) if one else (1, 2, 3), keepdim=True)
            if one:
                centre = mean_over_processes(centre)
            x = torch.addcmul(brightness - centre * contrast, x, 1 + contrast)
        return self.rest(batch.with_x(x))


def batch_style_standardise(
    x: Tensor,
    ratio: float | Tensor,
    index: int | Tensor,
    dims: Sequence[int] = (2, 3),
    *,
    among: Tensor | None = None,
) -> Tensor:
    """Each sample of `x (B, ...)` with the low-frequency amplitudes of sample `index`, its phases kept.

    ratio: share of the frequencies replaced, by area: up to its root of the highest one, along each
        of `dims`. At 0 this is the mean alone, at 1 all of them. `(B,)` for one a sample.
    index: whose amplitudes, one for all; `(B,)` for one a sample.
    dims: the axes of the Fourier transform; `(2, 3)` for images `(B, C, H, W)`. `(1,)` for series
        `(B, L, C)` of equal lengths is an extension of the paper.
    among: the samples that `index` counts, where these are not `x`.

    The paper works on pixels in [0, 1], before they are normalised; this works on either. Of
    `z = (x - m) / s`, a channel's amplitudes are those of `x` over `s`, and its phases are the same,
    but for the mean: that of pixels is never negative, so that its amplitude is itself, and its phase
    is 0. Here the mean is taken over with its sign, and the result is that of the pixels, normalised:
    `s` cancels in the amplitudes, and `m` stands in both means. (Before the paper's clip to [0, 1].)

    The replaced band is symmetric about 0, the highest frequency of an even side included, so the
    result is real. In float32 at least, in the type of `x`.

    >>> x = torch.tensor([[1.0, 3.0], [5.0, 9.0]])[:, None, None]
    >>> batch_style_standardise(x, 0.0, 1).squeeze().tolist()
    [[6.0, 8.0], [5.0, 9.0]]
    """
    count = x.shape[0]
    ratio = torch.as_tensor(ratio, dtype=torch.float64, device=x.device).expand(count)
    index = torch.as_tensor(index, device=x.device).expand(count)
    values = x if x.dtype == torch.float64 else x.float()
    spectrum = torch.fft.rfftn(values, dim=tuple(dims))
    others = spectrum
    if among is not None and among is not x:
        others = torch.fft.rfftn(among.to(values), dim=tuple(dims))
    style = others[index]
    # A mean of 0 has no phase of its own: `style` at frequency 0 is the other's, signed.
    replaced = torch.polar(style.abs(), spectrum.angle())
    low, mean = _band(x, ratio, dims), _band(x, torch.zeros_like(ratio), dims)
    spectrum = torch.where(mean, style, torch.where(low, replaced, spectrum))
    sizes = [x.shape[dim] for dim in dims]
    return torch.fft.irfftn(spectrum, s=sizes, dim=tuple(dims)).to(x.dtype)


def _band(x: Tensor, ratio: Tensor, dims: Sequence[int]) -> Tensor:
    """Which coefficients of the half spectrum are of low frequencies: bool, `(B, ...)` as it."""
    inside = torch.ones((len(ratio),) + (1,) * (x.ndim - 1), dtype=torch.bool, device=x.device)
    for dim in dims:
        size = x.shape[dim]
        frequencies = torch.fft.rfftfreq if dim == dims[-1] else torch.fft.fftfreq
        cycles = frequencies(size, 1 / size, device=x.device).round().abs()  # whole, a sample
        # Up to a root of the highest, `size // 2`: the slack keeps a whole number of cycles whole.
        highest = (ratio.sqrt() * (size / 2) + 1e-9)[:, None]
        shape = [1] * x.ndim
        shape[0], shape[dim] = len(ratio), len(cycles)
        inside = inside & (cycles <= highest).view(shape)
    return inside


def check_ratio(ratio: tuple[float, float]) -> None:
    """Refuse what is no range of shares. Raises `ConfigError`."""
    smallest, largest = ratio
    if not 0 <= smallest <= largest <= 1 or math.isnan(smallest + largest):
        raise ConfigError(
            f"ratio={tuple(ratio)} is no range within 0 and 1.", remedy="The default is (0, 0.02)."
        )
