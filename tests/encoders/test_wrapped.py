"""A module of one's own as an encoder: through the verbs, recipes and saved models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tacita
from tacita.catalog.cards import REGISTERED
from tacita.data.batch import InputSpec
from tacita.encoders import wrap
from tacita.errors import ConfigError, TacitaError
from tacita.values import Ragged

ROWS = InputSpec("tables", (13,))
SERIES = InputSpec("series", (6, 2))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test wraps is no method of the next one."""
    known = dict(REGISTERED)
    yield
    REGISTERED.clear()
    REGISTERED.update(known)


class Gated(nn.Module):
    """A layer for series that takes a mask."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.layer = nn.Linear(spec.channels, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.layer(x)


def test_a_fit_learns_with_it_and_its_model_is_the_same_once_loaded(tmp_path: Path) -> None:
    data = tacita.load("wine")
    wrap(
        lambda spec: nn.Sequential(nn.Linear(spec.channels, 32), nn.ReLU()),
        "own",
        modality="tables",
    )
    model = tacita.adapt(
        "supervised", data, encoder="own", steps=150, quiet=True, out=tmp_path / "run"
    )
    assert model.metrics.held_out is not None
    assert model.metrics.held_out["accuracy"] > 0.85
    loaded = tacita.Model.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict_proba(data), model.predict_proba(data))


def test_a_module_is_where_every_training_begins_and_is_never_changed() -> None:
    module = nn.Linear(13, 8)
    before = module.weight.detach().clone()
    Own = wrap(module, "own", modality="tables")
    first, second = Own(ROWS), Own(ROWS)
    assert torch.equal(next(first.parameters()), next(second.parameters()))
    tacita.adapt("supervised", tacita.load("wine"), encoder="own", steps=3, quiet=True)
    assert torch.equal(module.weight, before)


def test_a_saved_model_says_what_is_missing_where_its_module_is_not_wrapped(tmp_path: Path) -> None:
    wrap(nn.Linear(13, 8), "own", modality="tables")
    tacita.adapt(
        "linear-probe", tacita.load("wine"), encoder="own", quiet=True, out=tmp_path / "run"
    )
    del REGISTERED["own"]
    with pytest.raises(TacitaError, match=r"no method 'own'.*\n.*tacita\.encoders\.wrap"):
        tacita.Model.load(tmp_path / "run")


@pytest.mark.parametrize(
    "module, tokens",
    [
        (nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU()), (2, 36, 5)),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), (2, 1, 7)),
        (nn.Sequential(nn.Conv2d(1, 5, 2, 2), nn.Flatten(2)), (2, 5, 16)),
    ],
    ids=["map", "features", "tokens"],
)
def test_maps_tokens_and_features_are_read(module: nn.Module, tokens: tuple[int, ...]) -> None:
    found = wrap(module, "own", modality="images")(InputSpec("images", (1, 8, 8)))(
        torch.zeros(2, 1, 8, 8)
    )
    assert found.tokens.shape == tokens
    torch.testing.assert_close(found.pooled, found.tokens.mean(1))


def unequal(short: Tensor) -> Ragged:
    """A series of three steps beside one of six."""
    padded = torch.zeros(2, 6, 2)
    padded[0, :3], padded[1] = short, torch.randn(6, 2)
    return Ragged.of(padded, torch.tensor([3, 6]))


def test_padding_changes_nothing_where_the_module_takes_a_mask() -> None:
    encoder = wrap(Gated, "own", modality="series")(SERIES)
    short = torch.randn(1, 3, 2)
    alone = encoder(short).pooled
    beside = encoder(unequal(short[0])).pooled
    torch.testing.assert_close(beside[:1], alone)


def test_a_module_without_a_mask_refuses_series_of_unequal_lengths() -> None:
    encoder = wrap(nn.Linear(2, 4), "own", modality="series")(SERIES)
    with pytest.raises(ConfigError, match="takes no mask"):
        encoder(unequal(torch.randn(3, 2)))


def test_tokens_of_which_none_knows_what_is_valid_are_refused() -> None:
    class Halved(Gated):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return super().forward(x)[:, ::2]

    encoder = wrap(Halved, "own", modality="series")(SERIES)
    with pytest.raises(ConfigError, match="3 tokens for 6 steps"):
        encoder(unequal(torch.randn(3, 2)))


@pytest.mark.parametrize(
    "module, said",
    [
        (nn.Linear(5, 4), "does not take samples"),
        (nn.Flatten(0), r"gives \(26,\) for 2 samples"),
        (lambda spec: "no module", "makes str, not a torch module"),
    ],
)
def test_what_cannot_be_an_encoder_is_refused_when_built(module: nn.Module, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        wrap(module, "own", modality="tables")(ROWS)


def test_a_name_of_the_house_is_taken() -> None:
    with pytest.raises(ConfigError, match="is the name of a method"):
        wrap(nn.Linear(13, 8), "vit", modality="images")
