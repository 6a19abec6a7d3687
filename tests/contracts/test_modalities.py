"""What holds for every modality in the catalog, on its own example and on variants of it.

What its card promises is kept; its facts travel; a normaliser can be undone; and what is read at
first is read again bit for bit, whole or in pieces of any size.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tacita.catalog.discover import cards, load_class, modalities, reads
from tacita.catalog.recipe import find_recipe
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset, check_alike, joined
from tacita.data.modality import Modality, find
from tacita.data.normalise import Normaliser
from tacita.encoder import TokenEncoder
from tacita.encoders import build, default_encoder
from tacita.errors import ConfigError, DataError, TacitaError
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.report.samples import shown
from tacita.tasks import UNLABELLED
from tacita.values import Graphs, Ragged, Values, with_tensor
from tests.forms import Form, forms_of
from tests.helpers import VARIANTS, example, same_values, with_examples

MODALITIES = with_examples()
NAMES = [*MODALITIES, *VARIANTS]
every_modality = pytest.mark.parametrize("name", MODALITIES)
every_example = pytest.mark.parametrize("name", NAMES)
FORMS = [
    pytest.param(name, form, id=f"{name}-{form.write.__name__}")
    for name in NAMES
    for form in forms_of(name)
]
PROMISES = {
    "views": lambda kind, data: kind.views(data.spec, "weak"),
    "crops": lambda kind, data: kind.crops(data.spec, scale=(0.5, 1.0)),
    "halves": lambda kind, data: halves(data),
}
"""What a modality refuses unless its card says that it gives it."""


def giving(promise: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "name", [name for name in NAMES if promise in example(name).kind.card.gives]
    )


def kind_and_data(name: str) -> tuple[Modality, Dataset]:
    """The data anew each time, so that a test sees what another has changed."""
    data = VARIANTS[name]() if name in VARIANTS else find(name).example()
    return data.kind, data


def some(data: Dataset, count: int = 12) -> Batch:
    return data.normalised().take(torch.arange(min(count, len(data))))


def halves(data: Dataset) -> torch.Tensor:
    batch = some(data)
    other = (torch.arange(len(batch)) % 2 == 1).view(-1, *[1] * (batch.x.ndim - 1))
    return data.kind.first_half(batch, data.spec, other)


def floats(values: Values) -> Values:
    """8-bit values as a normaliser gives them back."""
    return values.float() / 255 if values.dtype == torch.uint8 else values


# The example


@every_modality
def test_the_example_is_small_real_and_always_the_same(name: str) -> None:
    kind, data = kind_and_data(name)
    again = kind.example()
    same_values(again.samples, data.samples)
    same_values(again.targets, data.targets)
    assert (again.meta, again.task, again.ids) == (data.meta, data.task, data.ids)
    assert 20 <= len(data) <= 1000
    assert data.modality == name
    assert data.kind is kind


@every_modality
def test_the_example_has_two_classes_or_more_among_any_of_its_samples(name: str) -> None:
    _, data = kind_and_data(name)
    assert data.labelled.any()
    assert len(data.y[data.labelled].unique()) >= 2
    first = data.subset(torch.arange(20))
    assert not torch.equal(first.y, first.y[:1].expand_as(first.y)) or name == "tables"


# Facts


@every_example
def test_its_facts_travel_through_json(name: str) -> None:
    kind, data = kind_and_data(name)
    meta = data.meta
    assert type(meta) is kind.meta
    assert type(meta).model_validate_json(meta.model_dump_json()) == meta
    assert (meta.modality, meta.spec.modality, len(meta.shape)) == (
        kind.card.name,
        kind.card.name,
        meta.rank,
    )
    assert meta.like(data.samples) == meta
    assert type(meta.like(data.subset(torch.arange(3)).samples)) is kind.meta


@every_example
def test_facts_that_there_are_not_are_refused(name: str) -> None:
    meta = kind_and_data(name)[1].meta
    facts = meta.model_dump()
    for wrong in ({"shape": ()}, {"shape": (0,) * len(meta.shape)}, {"nonsense": 1}):
        with pytest.raises(ValueError, match=r"shape|nonsense"):
            type(meta).model_validate({**facts, **wrong})


@every_example
def test_no_samples_are_samples_of_its_kind(name: str) -> None:
    _, data = kind_and_data(name)
    none = data.meta.empty()
    assert len(none) == 0
    assert type(none) is type(data.samples)
    nothing = replace(data.subset(torch.arange(0)), samples=none)
    assert len(nothing) == 0
    assert nothing.meta == data.meta


# What the card says


def test_every_modality_of_the_catalog_has_its_example() -> None:
    assert {"images", "series", "tables", "volumes"} <= set(NAMES)


@every_modality
def test_its_encoders_are_there_and_read_it(name: str) -> None:
    card, (_, data) = modalities()[name], kind_and_data(name)
    for slug in {card.encoder, *card.encoders.values()}:
        encoder = build(slug, data.spec, **load_class(slug).tiny)
        assert encoder.eval()(some(data)).pooled.isfinite().all()
    if "patches" in card.gives:
        assert issubclass(load_class(default_encoder(data.spec, ["patches"])), TokenEncoder)
    assert set(card.encoders) <= set(card.gives)
    assert 0 < card.hidden_share < 1


@every_modality
def test_its_usual_recipes_are_there_and_read_it(name: str) -> None:
    card = modalities()[name]
    for recipe in card.usual:
        for section in find_recipe(recipe).sections.values():
            assert name in reads(cards()[section.method]), f"{recipe}: {section.method}"


@every_modality
@pytest.mark.parametrize("promise", PROMISES)
def test_what_it_promises_it_keeps_and_nothing_else(name: str, promise: str) -> None:
    kind, data = kind_and_data(name)
    if promise in kind.card.gives:
        assert PROMISES[promise](kind, data) is not None
    else:
        with pytest.raises(ConfigError, match=f"There are no {promise} of {name}"):
            PROMISES[promise](kind, data)


# Learning


def fitted(data: Dataset) -> Normaliser:
    return data.kind.normaliser(data.spec).fit(data.samples)


def numbers_of(values: Values) -> torch.Tensor:
    if isinstance(values, Graphs):
        return values.nodes
    return values.flat if isinstance(values, Ragged) else values


@every_example
def test_normalised_samples_are_finite_and_can_be_brought_back(name: str) -> None:
    _, data = kind_and_data(name)
    normaliser = fitted(data)
    there = normaliser(data.samples)
    assert numbers_of(there).isfinite().all()
    expected, found = numbers_of(floats(data.samples)), numbers_of(normaliser.inverse(there))
    known = ~expected.isnan()  # an empty cell becomes the mean
    torch.testing.assert_close(found[known], expected[known].to(found.dtype), rtol=1e-4, atol=1e-4)
    assert found.isfinite().all()


@every_example
def test_a_normaliser_leaves_padding_and_what_it_is_given_as_they_are(name: str) -> None:
    _, data = kind_and_data(name)
    before = kind_and_data(name)[1].samples
    there = fitted(data)(data.samples)
    same_values(data.samples, before)
    assert type(there) is type(data.samples)
    if isinstance(there, Ragged):
        assert torch.equal(there.lengths, data.lengths)
        assert (there.padded[~there.mask] == 0).all()


@every_example
def test_a_sample_is_normalised_apart_from_its_batch(name: str) -> None:
    _, data = kind_and_data(name)
    normaliser, at = fitted(data), torch.tensor([5, 2])
    alone, among = normaliser(data.samples[at]), normaliser(data.samples)[at]
    if isinstance(alone, Ragged):
        assert torch.equal(alone.flat, among.flat)
    else:
        same_values(alone, among)


@every_example
def test_a_saved_normaliser_is_the_same(name: str) -> None:
    kind, data = kind_and_data(name)
    normaliser = fitted(data)
    other = kind.normaliser(data.spec)
    other.load_state_dict(normaliser.state_dict())
    same_values(other(data.samples), normaliser(data.samples))


def check_seen(seen: Batch, batch: Batch) -> None:
    assert type(seen.samples) is type(batch.samples)
    assert len(seen) == len(batch)
    assert torch.equal(seen.y, batch.y)
    assert torch.equal(seen.index, batch.index)
    if isinstance(seen.samples, Ragged):
        assert (seen.samples.lengths >= 1).all()
        assert (seen.samples.padded[~seen.samples.mask] == 0).all()
    if not isinstance(seen.samples, Graphs):
        assert seen.x.isfinite().all()
        assert seen.x.dtype == batch.x.dtype


def same_batch(actual: Batch, expected: Batch) -> bool:
    try:
        same_values(actual.samples, expected.samples)
    except AssertionError:
        return False
    return True


def check_views(views: torch.nn.Module, data: Dataset) -> None:
    batch = some(data)
    torch.manual_seed(0)
    first = views(batch)
    check_seen(first, batch)
    torch.manual_seed(0)
    assert same_batch(views(batch), first)
    assert any(not same_batch(views(batch), first) for _ in range(5))
    same_values(batch.samples, some(data).samples)


@giving("views")
@pytest.mark.parametrize("strength", ["weak", "strong"])
def test_views_keep_labels_repeat_under_a_seed_and_leave_the_batch(
    name: str, strength: Any
) -> None:
    kind, data = kind_and_data(name)
    check_views(kind.views(data.spec, strength), data)


@giving("crops")
@pytest.mark.parametrize("size", [0.5, 1.0])
def test_crops_keep_labels_repeat_under_a_seed_and_have_their_sides(name: str, size: float) -> None:
    kind, data = kind_and_data(name)
    crops = kind.crops(data.spec, scale=(0.3, 0.7), size=size)
    check_views(crops, data)
    seen, whole = crops(some(data)).x.shape, some(data).x.shape
    cut = kind.sides(data.spec)
    if size == 1.0 or not cut:
        assert seen == whole
    else:
        assert seen.numel() < whole.numel()


@giving("halves")
def test_a_first_half_is_neither_all_nor_nothing_of_a_sample(name: str) -> None:
    _, data = kind_and_data(name)
    batch, half = some(data), halves(data)
    assert half.dtype == torch.bool
    share = half.expand_as(batch.x).flatten(1).float().mean(1)
    assert (share < 1).all()
    long = slice(None) if batch.lengths is None else batch.lengths > 1  # one step has no half
    assert (share[long] > 0).all()


@every_example
def test_pieces_joined_are_the_whole(name: str) -> None:
    kind, data = kind_and_data(name)
    cuts = [torch.arange(0, 3), torch.arange(3, 4), torch.arange(4, len(data))]
    same_values(kind.join([data.samples[cut] for cut in cuts], data.source), data.samples)
    whole = joined([data.subset(cut) for cut in cuts])
    same_values(whole.samples, data.samples)
    same_values(whole.targets, data.targets)
    assert (whole.meta, whole.ids) == (data.meta, data.ids)
    assert torch.equal(whole.index, data.index)


@every_modality
def test_samples_that_are_unlike_are_refused(name: str) -> None:
    _, data = kind_and_data(name)
    check_alike(data, data.subset(torch.arange(3)))
    for other in {*MODALITIES} - {name}:
        with pytest.raises(DataError, match=f"{other}"):
            check_alike(data, find(other).example())
    with pytest.raises(DataError):
        check_alike(data, of_another_shape(data))


def of_another_shape(data: Dataset) -> Dataset:
    """One column, channel, line or word less or more."""
    if data.spec.vocabulary:
        more = data.meta.model_copy(update={"vocabulary": data.spec.vocabulary + 1})
        return replace(data, meta=more)
    samples = data.samples
    if isinstance(samples, Graphs):
        narrow: Values = Graphs(
            samples.nodes[:, :-1], samples.ends, samples.node_counts, samples.edge_counts
        )
    else:
        x = data.x[..., :-1]
        narrow = samples.with_padded(x) if isinstance(samples, Ragged) else x
    return Dataset.of(data.modality, narrow, data.targets, data.task)


@every_example
def test_a_forward_pass_takes_at_least_one_sample(name: str) -> None:
    kind, data = kind_and_data(name)
    for size in (1, 512):
        assert 1 <= kind.at_once(data.spec, size) <= size


# Words and pictures


@every_example
def test_it_is_said_in_words(name: str) -> None:
    kind, data = kind_and_data(name)
    assert str(len(data)) in kind.words(data)
    assert "\n" not in kind.words(data)
    for key, phrase in kind.facts(data):
        assert key
        assert phrase
    assert all(isinstance(said, str) and said for said in kind.suspicions(data))


@every_example
def test_coarse_features_are_numbers_a_sample_finite_where_it_is_known(name: str) -> None:
    kind, data = kind_and_data(name)
    found = kind.coarse(data)
    whole = not numbers_of(data.samples).isnan().any()
    for features in found or ():
        assert features.ndim == 2
        assert len(features) == len(data)
        assert not features.isinf().any()
        assert features.isfinite().all() or not whole


@every_example
def test_a_sample_can_be_drawn(name: str) -> None:
    kind, data = kind_and_data(name)
    for position in (0, len(data) - 1):
        assert shown(kind.show(data, position)) is not None


@every_example
def test_random_inputs_of_a_program_are_such_samples(name: str) -> None:
    kind, data = kind_and_data(name)
    normaliser = fitted(data)
    inputs = kind.example_inputs(normaliser, data.meta, 5)
    assert type(inputs) is type(data.samples)
    assert len(inputs) == 5
    other = replace(data.subset(torch.arange(5)), samples=inputs, meta=data.meta.like(inputs))
    batch = other.normalised(normaliser).take(torch.arange(5))
    encoder = build(kind.card.encoder, data.spec, **load_class(kind.card.encoder).tiny)
    assert encoder.eval()(batch).pooled.isfinite().all()


# Reading


def written(name: str, form: Form, folder: Path) -> tuple[Dataset, Path]:
    _, data = kind_and_data(name)
    data = data.subset(data.labelled)
    return data, form.write(data, folder)


def in_pieces(source: Any, first: Dataset, chunk: int, **options: Any) -> Dataset:
    parts = list(read_like(source, first.schema, chunk=chunk, **options))
    assert all(0 < len(part) <= chunk for part in parts)
    assert all(part.task == first.task for part in parts)
    return joined(parts)


def label_file(form: Form, path: Path) -> Path | None:
    """Named, as a model's further samples are not labelled by the file that lies beside them."""
    return None if form.labels is None else path / form.labels


def same_data(actual: Dataset, expected: Dataset) -> None:
    same_values(actual.samples, expected.samples)
    same_values(actual.targets, expected.targets)
    assert actual.ids == expected.ids
    assert torch.equal(actual.index, expected.index)


@pytest.mark.parametrize("name, form", FORMS)
def test_what_is_read_first_is_read_again_whole_and_in_pieces(
    name: str, form: Form, tmp_path: Path
) -> None:
    data, path = written(name, form, tmp_path)
    first = load(path, modality=data.modality, **form.options)
    assert len(first) == len(data)
    assert sorted(first.task.answers) == sorted(data.task.answers)
    if form.exact and not first.ids:  # files in folders come in the order of their classes
        # Text has the digits of 32 bits, and is read as numbers of 64.
        wide = (first.samples.dtype, data.samples.dtype) == (torch.float64, torch.float32)
        found = with_tensor(first.samples, first.x.float()) if wide else first.samples
        same_values(found, data.samples)
    for chunk in (len(data) + 1, len(data) // 2 + 1, 7):
        same_data(in_pieces(path, first, chunk, labels=label_file(form, path)), first)
    same_data(in_pieces(first, first, 9), first)


@pytest.mark.parametrize("name, form", FORMS)
def test_labels_are_read_or_left_alone(name: str, form: Form, tmp_path: Path) -> None:
    data, path = written(name, form, tmp_path)
    first = load(path, modality=data.modality, **form.options)
    counted = {first.task.answers[int(code)]: int((first.y == code).sum()) for code in first.y}
    expected = {data.task.answers[int(code)]: int((data.y == code).sum()) for code in data.y}
    assert counted == expected
    hidden = in_pieces(path, first, 50, hide_labels=True)
    assert (hidden.y == UNLABELLED).all()


@every_modality
def test_what_is_in_memory_is_read_as_from_a_file(name: str, tmp_path: Path) -> None:
    _, data = kind_and_data(name)
    data = data.subset(data.labelled)
    labels = np.array(data.task.decode(data.targets))
    form = forms_of(name)[0]
    if form.write.__name__ != "arrays":
        return
    from_file = load(form.write(data, tmp_path), modality=name)
    given = data.samples
    if isinstance(given, Ragged):
        in_memory = as_dataset(given.padded, labels, modality=name, lengths=given.lengths)
    else:
        in_memory = as_dataset(given, labels, modality=name)
    same_data(in_memory, from_file)
    assert in_memory.task == from_file.task


@every_modality
def test_what_is_not_of_its_kind_is_refused_with_what_it_wants(name: str, tmp_path: Path) -> None:
    _, data = kind_and_data(name)
    for other in {*MODALITIES} - {name}:
        path = forms_of(other)[-1].write(find(other).example(), tmp_path)
        with pytest.raises(TacitaError):
            list(read_like(path, data.schema))
