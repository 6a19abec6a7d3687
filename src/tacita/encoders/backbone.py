"""Any image network of timm or torchvision, by name and with random weights.

Nothing is ever downloaded: a network starts from random weights, and learns from your images.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.catalog.discover import did_you_mean
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding
from tacita.errors import ConfigError, MissingExtraError


@method(
    "backbone",
    title="A timm or torchvision network",
    family="encoder",
    modalities=("images",),
    summary="Features from any of a thousand published image networks, by name, for larger images.",
    paper="https://github.com/huggingface/pytorch-image-models",
)
class Backbone(Encoder):
    """A published architecture without its classifier.

    name: `timm/...` or `torchvision/...` and the library's name of the network.

    Shapes: `x (B, C, H, W)` with any number of channels; `tokens (B, T, dim)`, the cells of the last
    map or the patches of a Transformer, and for torchvision the features alone (T = 1).

    Raises `ConfigError` for an unknown name, or a network that cannot take images of this size;
    `MissingExtraError` where the library is not installed.

    >>> encoder = Backbone(InputSpec("images", (1, 32, 32)), name="timm/resnet18")
    >>> encoder.dim
    512
    """

    tiny = {"name": "timm/test_efficientnet"}
    modalities = ("images",)

    def __init__(self, spec: InputSpec, *, name: str = "timm/resnet18") -> None:
        super().__init__()
        self.require(spec)
        self.spec = spec
        library, _, architecture = name.partition("/")
        builders = {"timm": timm_network, "torchvision": torchvision_network}
        if library not in builders or not architecture:
            raise ConfigError(
                f"name={name!r} does not say which library the network is from.",
                remedy="Write timm/NAME or torchvision/NAME, for example timm/resnet18.",
            )
        self.network = builders[library](architecture, spec)
        self.dim = self._probe(name)

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        network: Any = self.network
        if not hasattr(network, "forward_head"):  # torchvision
            pooled = network(x)
            return Encoding(pooled[:, None], pooled)
        features = network.forward_features(x)
        pooled = network.forward_head(features)
        return Encoding(as_tokens(features, pooled), pooled)

    @torch.no_grad()
    def _probe(self, name: str) -> int:
        """The width of the features, found by one image; it also shows whether the size will do."""
        training = self.training
        try:
            features = self.eval()(torch.zeros(1, *self.spec.shape)).pooled
        except (RuntimeError, AssertionError, ValueError) as error:
            height, width = self.spec.shape[1:]
            raise ConfigError(
                f"{name} cannot take images of {height}x{width}: {error}",
                remedy="Choose another network, or resize the images.",
            ) from error
        finally:
            self.train(training)
        return int(features.shape[1])


def as_tokens(features: Tensor, pooled: Tensor) -> Tensor:
    """A last map, channels first or last, or tokens, to `(B, T, dim)`; else the pooled features."""
    dim = pooled.shape[1]
    if features.ndim == 4 and features.shape[1] == dim:
        return features.flatten(2).transpose(1, 2)
    if features.ndim == 4 and features.shape[3] == dim:
        return features.flatten(1, 2)
    if features.ndim == 3 and features.shape[2] == dim:
        return features
    return pooled[:, None]


def timm_network(architecture: str, spec: InputSpec) -> nn.Module:
    """A timm network for this number of channels and, where it is bound to one, this image size."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingExtraError("timm", "images") from error
    if not timm.is_model(architecture):
        raise unknown(f"timm/{architecture}", [f"timm/{known}" for known in timm.list_models()])
    options: dict[str, Any] = {"pretrained": False, "in_chans": spec.channels, "num_classes": 0}
    try:
        return timm.create_model(architecture, img_size=spec.shape[1:], **options)
    except TypeError:  # convolutional networks take any size and have no such argument
        return timm.create_model(architecture, **options)


def torchvision_network(architecture: str, spec: InputSpec) -> nn.Module:
    """A torchvision classifier with its first convolution and its last layer replaced."""
    try:
        from torchvision import models
    except ModuleNotFoundError as error:
        raise MissingExtraError("torchvision", "images") from error
    classifiers = models.list_models(module=models)
    if architecture not in classifiers:
        raise unknown(
            f"torchvision/{architecture}", [f"torchvision/{known}" for known in classifiers]
        )
    with (
        warnings.catch_warnings()
    ):  # of slow or changed initialisation, which is not ours to choose
        warnings.simplefilter("ignore")
        options = {"aux_logits": False} if architecture in ("googlenet", "inception_v3") else {}
        network = models.get_model(architecture, weights=None, **options)
    convolutions = [n for n, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    first = network.get_submodule(convolutions[0])
    assert isinstance(first, nn.Conv2d)
    if first.in_channels != spec.channels:
        network.set_submodule(
            convolutions[0],
            nn.Conv2d(
                spec.channels,
                first.out_channels,
                first.kernel_size,  # type: ignore[arg-type]
                first.stride,  # type: ignore[arg-type]
                first.padding,  # type: ignore[arg-type]
                first.dilation,  # type: ignore[arg-type]
                bias=first.bias is not None,
            ),
        )
    linears = [n for n, module in network.named_modules() if isinstance(module, nn.Linear)]
    if linears:  # SqueezeNet has none: its last map of 1000 channels is its features
        network.set_submodule(linears[-1], nn.Identity())
    return network


def unknown(name: str, known: list[str]) -> ConfigError:
    """The error for a network that the library does not have."""
    return ConfigError(
        f"there is no network {name!r}{did_you_mean(name, known)}.",
        remedy="timm.list_models() and torchvision.models.list_models() give all names.",
    )
