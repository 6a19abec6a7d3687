"""FixMatch as semilearn 0.3.2 trains it, around our networks and on a CPU, as a learner.

Semilearn imports what its speech, text and logging parts need wherever any part of it is imported, in
versions that clash with others. None of that takes part in FixMatch on images, so it is stood in for
while semilearn is imported: `pip install --no-deps semilearn==0.3.2` is enough.

Its algorithm, augmentation, data sets, samplers, loaders, optimiser and averaging are its own. Two
things are not, as it runs on a GPU alone: batches stay on the CPU, and the hook that times steps
by CUDA events is left out; so are those that evaluate, print and save, which costs it nothing.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from inspect import signature
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

from tacita.data.dataset import Dataset
from tacita.data.normalise import Standardiser
from tacita.encoder import Encoder
from tacita.learner import NetworkLearner
from tacita.tasks import Task

NOT_NEEDED = (
    "aim", "wandb", "progress", "progress.bar", "ruamel", "ruamel.yaml", "skimage", "skimage.util",
    "torch.utils.tensorboard", "torchaudio", "transformers", "transformers.data",
    "transformers.file_utils", "transformers.tokenization_utils_base",
)  # fmt: skip
"""What semilearn imports for logging, configuration files, speech, text and medical images."""


@cache
def semilearn() -> SimpleNamespace | None:
    """The parts of semilearn used here; None where it is not installed."""
    before = {name: sys.modules.get(name) for name in NOT_NEEDED}
    sys.modules.update({name: MagicMock() for name in NOT_NEEDED})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old names of timm
            from semilearn import BasicDataset, get_config, get_data_loader
            from semilearn.algorithms.fixmatch.fixmatch import FixMatch
            from semilearn.algorithms.hooks import FixedThresholdingHook, PseudoLabelingHook
            from semilearn.core.hooks import EMAHook, ParamUpdateHook
            from semilearn.datasets.augmentation import RandAugment
    except ModuleNotFoundError as error:
        if error.name != "semilearn":
            raise
        return None
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module

    class OnCpu(FixMatch):
        """Semilearn's FixMatch where there is no GPU."""

        def process_batch(self, **batch: Any) -> dict[str, Any]:
            known = signature(FixMatch.train_step).parameters
            return {name: value for name, value in batch.items() if name in known}

        def set_hooks(self) -> None:
            self.register_hook(PseudoLabelingHook(), "PseudoLabelingHook")
            self.register_hook(FixedThresholdingHook(), "MaskingHook")
            self.register_hook(ParamUpdateHook(), None, "HIGHEST")
            self.register_hook(EMAHook(), None, "HIGH")

    return SimpleNamespace(
        algorithm=OnCpu,
        data=BasicDataset,
        config=get_config,
        loader=get_data_loader,
        rand_augment=RandAugment,
    )


class Network(nn.Module):
    """An encoder and a head that answer as semilearn's networks do."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.encoder(x).pooled
        return {"logits": self.head(features), "feat": features}


class SemilearnFixMatch(NetworkLearner):
    """Semilearn's FixMatch on images, with as many steps and images a step as ours.

    steps, batch_size: as in `tacita.train`; the labelled samples of a step are no more than there are,
        and there are seven unlabelled ones each, or twice `batch_size` in all.
    flip: whether its views mirror images, as they do for all of its own data sets.
    workers: processes that make the views of labelled samples; unlabelled ones get twice as many, as
        in semilearn. 0: the process that trains.
    options: of semilearn's configuration.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        steps: int,
        batch_size: int,
        flip: bool = False,
        workers: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.encoder = encoder
        self.steps = steps
        self.batch_size = batch_size
        self.flip = flip
        self.workers = workers
        self.options = dict(options or {})

    def _fit(self, data: Dataset, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            algorithm = self.algorithm(data)
            algorithm.train()
        algorithm.ema.apply_shadow()
        algorithm.model.eval()
        self.encoder, self.head = algorithm.model.encoder, algorithm.model.head

    def algorithm(self, data: Dataset) -> Any:
        """Ready to be trained: `algorithm.train()`."""
        peer = semilearn()
        assert peer is not None, "pip install --no-deps semilearn==0.3.2"
        few = min(self.batch_size, int(data.labelled.sum()))
        many = min(max(7 * few, 2 * self.batch_size), len(data))
        config = peer.config(
            {
                "algorithm": "fixmatch",
                "dataset": "given",
                "num_classes": data.task.out_dim,
                "num_train_iter": self.steps,
                "batch_size": few,
                "gpu": None,
                "distributed": False,
                "world_size": 1,
                "rank": 0,
                **self.options,
            }
        )
        head = data.task.head(self.encoder.dim)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a scaler of gradients that waits for a GPU
            algorithm = peer.algorithm(config, self._network(head, data.task), None, _Silent())
        algorithm.loader_dict = {
            name: peer.loader(
                config, samples, size, data_sampler="RandomSampler", num_workers=workers
            )
            for name, samples, size, workers in (
                ("train_lb", self.samples(data, unlabelled=False), few, self.workers),
                ("train_ulb", self.samples(data, unlabelled=True), many, 2 * self.workers),
            )
        }
        return algorithm

    def samples(self, data: Dataset, *, unlabelled: bool) -> Any:
        """A data set of semilearn's, with its views for small images (those of CIFAR-10).

        Its views are of colour images, so grey ones become such and are grey again at the end.
        """
        peer = semilearn()
        assert peer is not None
        assert isinstance(data.normaliser, Standardiser)
        side = data.x.shape[-1]
        mean, std = data.normaliser.mean.flatten(), data.normaliser.std.flatten()
        begin = [
            transforms.Resize(side),
            transforms.RandomCrop(side, padding=side // 8, padding_mode="reflect"),
            *([transforms.RandomHorizontalFlip()] if self.flip else []),
        ]
        grey = [transforms.Grayscale()] if data.x.shape[1] == 1 else []
        end = [*grey, transforms.ToTensor(), transforms.Normalize(mean.tolist(), std.tolist())]
        weak = transforms.Compose([*begin, *end])
        strong = transforms.Compose([*begin, peer.rand_augment(3, 5), *end])
        chosen = slice(None) if unlabelled else data.labelled
        pixels = data.x[chosen].movedim(1, 3).expand(-1, -1, -1, 3).contiguous().numpy()
        labels = data.y[chosen].numpy()
        return peer.data("fixmatch", pixels, labels, data.task.out_dim, weak, unlabelled, strong)

    def _network(self, head: nn.Module, task: Task) -> Any:
        def build(num_classes: int, **_: Any) -> Network:
            assert num_classes == task.out_dim
            return copy.deepcopy(Network(self.encoder, head))

        return build


class _Silent:
    """A logger that says nothing."""

    def info(self, *_: Any) -> None:
        """Nothing."""


def first_batches(algorithm: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A labelled and an unlabelled batch with their views made."""
    loaders: Mapping[str, DataLoader[Any]] = algorithm.loader_dict
    return next(iter(loaders["train_lb"])), next(iter(loaders["train_ulb"]))
