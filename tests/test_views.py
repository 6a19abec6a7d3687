"""Views of one's own: checked on the first batch, repeatable, known by name, and not needed to predict.

What could go wrong: random numbers that a resumed run draws anew, a sample that a view changed for all
others, padding that becomes data, or a function that is asked for where nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tacita
from tacita import cli
from tacita import views as rooms
from tacita.catalog.discover import cards, load_class
from tacita.catalog.signature import parameters
from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.pretrain.simclr import SimCLR
from tacita.values import Ragged
from tacita.views import unneeded, views_of, wrap

IMAGES = InputSpec("images", (1, 8, 8))
TRAINING: dict[str, Any] = {"encoder": "residual-cnn", "encoder.width": 4, "quiet": True}


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    """Names of one test are no names of the next."""
    before = dict(rooms._WRAPPED)
    yield
    rooms._WRAPPED.clear()
    rooms._WRAPPED.update(before)


def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
    return x + torch.randn(x.shape, generator=generator, device=x.device).to(x.dtype)


def batch(count: int = 3, dtype: torch.dtype = torch.float32) -> Batch:
    return Batch.of(torch.rand(count, 1, 8, 8, dtype=dtype))


def in_place(x: Tensor, generator: torch.Generator) -> Tensor:
    return x.mul_(2)


def of_numpy(x: Tensor, generator: torch.Generator) -> Tensor:
    drawn = np.random.default_rng(generator.initial_seed() % 2**32).normal(size=x.shape)
    return x + torch.from_numpy(drawn).to(x)


@pytest.mark.parametrize("function", [noisy, of_numpy])
def test_views_follow_from_torchs_seed_alone(function: Callable[..., Tensor]) -> None:
    views, samples = wrap(function, "own", modality="images"), batch()
    torch.manual_seed(3)
    first, second = views(samples), views(samples)
    torch.manual_seed(3)
    again = [views(samples).x, views(samples).x]
    assert torch.equal(first.x, again[0])
    assert torch.equal(second.x, again[1])
    assert not torch.equal(first.x, second.x)
    assert torch.equal(first.index, samples.index)


def test_the_check_of_the_first_batch_draws_nothing_that_training_would() -> None:
    fresh, used = (wrap(noisy, "own", modality="images") for _ in range(2))
    used(batch())
    after = []
    for views in (fresh, used):
        torch.manual_seed(0)
        views(Batch.of(torch.ones(2, 1, 8, 8)))
        after.append(torch.rand(3))
    assert torch.equal(*after)


def test_what_a_function_changes_in_place_stays_as_it_was_for_others() -> None:
    samples = batch()
    before = samples.x.clone()
    seen = wrap(in_place, "own", modality="images")(samples)
    assert torch.equal(samples.x, before)
    assert torch.equal(seen.x, 2 * before)


def wild(x: Tensor, generator: torch.Generator) -> Tensor:
    return x + torch.randn_like(x)


def wild_numpy(x: Tensor, generator: torch.Generator) -> Tensor:
    return x + float(np.random.default_rng().normal())


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda x, g: x[:, :, :4], r"make \(3, 1, 4, 8\) of samples of shape \(3, 1, 8, 8\)"),
        (lambda x, g: x[:2], r"make \(2, 1, 8, 8\) of"),
        (lambda x, g: x.double(), r"make torch\.float64 on cpu of samples of torch\.float32"),
        (lambda x, g: x.numpy(), "give ndarray, not a tensor"),
        (lambda x, g: None, "give NoneType"),
        (lambda x, g: x / 0, "make values that are not finite"),
        (wild, r"differ under one state of their generator[\s\S]*generator=generator"),
        (wild_numpy, r"differ under one state of their generator[\s\S]*initial_seed"),
    ],
)
def test_what_is_no_view_is_refused_with_the_first_batch(function: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^the views 'own' {said}"):
        wrap(function, "own", modality="images")(batch())


def test_the_first_batch_is_checked_and_the_others_are_not() -> None:
    calls = []

    def counted(x: Tensor, generator: torch.Generator) -> Tensor:
        calls.append(len(x))
        return x

    views = wrap(counted, "own", modality="images")
    views(batch(3))
    views(batch(2))
    assert calls == [3, 3, 2]


@pytest.mark.parametrize("function", [lambda x: x, lambda: None, lambda x, g, more: x])
def test_a_function_of_anything_else_is_refused_at_once(function: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"samples and a generator[\s\S]*def views\(x, generator\)"
    ):
        wrap(function, "own", modality="images")


def test_what_is_no_function_or_of_no_modality_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="is int, not a function"):
        wrap(3, "own", modality="images")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="imagez"):
        wrap(noisy, "own", modality="imagez")


def test_padding_stays_padding_and_a_mask_is_told_where_it_is_asked_for() -> None:
    masks: list[Tensor | None] = []

    def masked(x: Tensor, generator: torch.Generator, mask: Tensor | None) -> Tensor:
        masks.append(mask)
        return noisy(x, generator)

    lengths = torch.tensor([4, 2])
    padded = torch.ones(2, 4, 2)
    padded[1, 2:] = 0
    series = Batch.of(Ragged.of(padded, lengths))
    for function in (noisy, masked):
        seen = wrap(function, "own", modality="series")(series)
        assert torch.equal(seen.lengths, lengths)  # type: ignore[arg-type]
        assert (seen.x[1, 2:] == 0).all()
        assert (seen.x[1, :2] != 1).all()
    assert masks[0] is not None
    assert torch.equal(masks[0], series.mask)  # type: ignore[arg-type]


def test_tokens_stay_those_of_the_vocabulary() -> None:
    spec = InputSpec("text", (4,), vocabulary=5, hidden_token=1)
    texts = Batch.of(torch.randint(0, 5, (3, 4)))
    wrap(lambda x, g: x + 5, "beyond", modality="text")
    wrap(lambda x, g: x.flip(1), "backwards", modality="text")
    assert torch.equal(views_of("backwards", spec, "weak")(texts).x, texts.x.flip(1))
    with pytest.raises(ConfigError, match="tokens that are not from 0 to 4"):
        views_of("beyond", spec, "weak")(texts)


def test_a_name_stands_for_what_was_wrapped_under_it() -> None:
    own = wrap(noisy, "own", modality="images")
    for given in ("own", own):
        made = views_of(given, IMAGES, "strong")
        assert isinstance(made, rooms.OwnViews)
        assert made is not own
    assert views_of(in_place, IMAGES, "weak") is in_place  # type: ignore[arg-type, comparison-overlap]
    assert type(views_of(None, IMAGES, "weak")).__name__ == "ImageViews"
    with pytest.raises(ConfigError, match=r"wrapped as views 'owm'[\s\S]*Did you mean 'own'"):
        views_of("owm", IMAGES, "weak")
    with pytest.raises(ConfigError, match="'own' are of images, but the samples are series"):
        views_of("own", InputSpec("series", (8, 1)), "weak")
    with unneeded():
        views_of("owm", IMAGES, "weak")


def test_a_module_may_be_the_function_and_is_not_trained() -> None:
    class Blur(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
            return self.kernel(x).detach()

    objective = SimCLR(
        build("residual-cnn", IMAGES, width=4), views=wrap(Blur(), "own", modality="images")
    )
    assert not any("kernel" in name for name in objective.state_dict())


WITH_VIEWS = [
    (card.slug, name)
    for card in cards().values()
    if card.family in ("pretrain", "semisup", "adapt")
    for name in ("views", "weak", "strong", "global_views")
    if "str" in getattr(parameters(card.slug).get(name), "annotation", "").split(" | ")
]


def test_methods_with_views_of_any_samples_take_a_name() -> None:
    assert {"simclr", "byol", "dino", "supervised", "mixmatch"} <= {
        method for method, _ in WITH_VIEWS
    }
    assert {("fixmatch", "weak"), ("fixmatch", "strong")} <= set(WITH_VIEWS)


@pytest.mark.parametrize("method, argument", WITH_VIEWS)
def test_every_method_sees_its_samples_through_views_of_a_name(method: str, argument: str) -> None:
    seen = []

    def watched(x: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(len(x))
        return noisy(x, generator)

    wrap(watched, "own", modality="images")
    data = load("digits").subset(torch.arange(40))
    options: dict[str, Any] = {"steps": 1, "batch_size": 8, argument: "own", **TRAINING}
    for name, value in load_class(method).tiny.items():
        options.setdefault(name, value)
    if cards()[method].family == "pretrain":
        tacita.pretrain(method, data, **options)
    else:
        with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("tacita.verbs.screen.Screen.warning", lambda *_: None)
            tacita.adapt(method, data, **options)
    assert seen


def test_a_resumed_run_is_bit_for_bit_that_of_a_run_never_stopped(tmp_path: Path) -> None:
    wrap(noisy, "own", modality="images")
    data = load("digits").subset(torch.arange(60)).normalised()

    def objective() -> SimCLR:
        torch.manual_seed(0)
        return SimCLR(build("residual-cnn", data.spec, width=4), views="own")

    class Halt(Exception):
        pass

    def halt(progress: Any) -> None:
        if progress.step == 4:
            raise Halt

    options: dict[str, Any] = {"steps": 6, "batch_size": 16, "log_every": 1}
    kept = {"checkpoint": tmp_path / "state", "checkpoint_every": 0.0}
    whole, halted, resumed = objective(), objective(), objective()
    tacita.train(whole, data, **options)
    with pytest.raises(Halt):
        tacita.train(halted, data, callbacks=[halt], **kept, **options)
    tacita.train(resumed, data, resume=True, **kept, **options)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_saved_model_predicts_where_its_views_are_unknown_and_learns_where_they_are_not(
    tmp_path: Path,
) -> None:
    wrap(noisy, "own", modality="images")
    data = load("digits").subset(torch.arange(60))
    model = tacita.adapt("supervised", data, views="own", steps=2, out=tmp_path / "run", **TRAINING)
    rooms._WRAPPED.clear()
    again = tacita.Model.load(tmp_path / "run")
    assert (again.predict(data) == model.predict(data)).all()
    assert again.recipe.learn is not None
    assert again.recipe.learn.options["views"] == "own"
    with pytest.raises(
        ConfigError, match=r"no function is wrapped as views 'own'[\s\S]*tacita\.views\.wrap"
    ):
        tacita.adapt("supervised", data, views="own", steps=2, out=tmp_path / "more", **TRAINING)
    assert not (tmp_path / "more").exists()


def test_a_command_line_says_where_views_are_wrapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with pytest.raises(SystemExit, match="2"):
        cli.main(["pretrain", "simclr", "digits", "views=mine", "--out", str(out)])
    said = capsys.readouterr().err
    assert "In Python: tacita.views.wrap(function, 'mine', modality='images')" in said
    assert not out.exists()


@pytest.mark.parametrize("method", ["simclr", "supervised"])
def test_what_is_no_view_is_refused_before_anything_is_written(method: str, tmp_path: Path) -> None:
    wrap(lambda x, g: x[:, :, :4], "own", modality="images")
    verb = tacita.pretrain if method == "simclr" else tacita.adapt
    with pytest.raises(ConfigError, match="of samples of shape"):
        verb(method, load("digits"), views="own", out=tmp_path / "run", **TRAINING)
    assert not list(tmp_path.rglob("*.json"))


def test_recipes_and_estimators_know_the_name(tmp_path: Path) -> None:
    seen = []

    def watched(x: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(x.shape[1:])
        return x

    wrap(watched, "own", modality="tables")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "format: 1\nname: mine\nencoder: {method: feature-tokens, dim: 8, depth: 1}\n"
        "learn: {method: supervised, views: own, train: {steps: 1}}\n"
    )
    wine = load("wine").subset(torch.arange(0, 178, 3))
    model = tacita.fit(wine, recipe=[str(recipe), "random-forest"], quiet=True)
    assert set(seen) == {(13,)}
    assert "mine" in [row.name for row in model.metrics.leaderboard]
    seen.clear()
    options = {"views": "own", "encoder.dim": 8, "encoder.depth": 1}
    classifier = tacita.TacitaClassifier(
        "supervised", encoder="feature-tokens", steps=1, options=options
    )
    classifier.fit(wine.x.numpy(), wine.y.numpy())
    assert seen


@pytest.mark.parametrize("given", [noisy, nn.Identity()])
def test_a_recipe_takes_names_only(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.views: .* it is not a number, text"):
        tacita.pretrain("simclr", load("digits"), views=given, **TRAINING)
