"""What goes wrong in contrast of slices: images are matched with the wrong slice, the way up is
trained though the loss does not reach it, or volumes of other parts attract."""

from __future__ import annotations

import math

import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.modalities.memory import as_dataset
from tacita.parts.contrast import masked_ntxent
from tacita.pretrain.global_contrast import GlobalContrast
from tacita.tasks import UNLABELLED
from tests.helpers import assert_close, volume_batch


def objective(**options: object) -> GlobalContrast:
    spec, _ = volume_batch(2)
    torch.manual_seed(0)
    return GlobalContrast(build("unet", spec, widths=(4, 6, 8)), **options)


def slice_numbers(made: GlobalContrast, batch: Batch) -> list[torch.Tensor]:
    """What the objective embeds, with each image told by the number that all its pixels have."""
    seen = []

    def embedded(slices: torch.Tensor) -> torch.Tensor:
        seen.append(slices[:, 0, 0, 0])
        return slices.flatten(1)[:, :5] + torch.randn(len(slices), 5)

    made.embedded = embedded  # type: ignore[method-assign]
    made(batch)
    return seen


def numbered(volumes: int, depth: int = 4) -> Batch:
    """Volumes whose voxels are `10 * volume + slice`."""
    number = 10.0 * torch.arange(volumes)[:, None] + torch.arange(depth)
    x = number[:, None, :, None, None].expand(-1, 1, -1, 16, 16)
    return Batch(x, torch.full((volumes,), UNLABELLED), torch.arange(volumes))


@pytest.mark.parametrize("positives, kinds", [("views", 2), ("slices", 3), ("volumes", 2)])
def test_images_that_attract_show_what_they_should(positives, kinds):
    made = objective(positives=positives, views=lambda b: b)
    (number,) = slice_numbers(made, numbered(3))
    positive, negative = made.pairs(3, kinds, number.device)
    part, volume = number % 10, number // 10
    same_slice = number[:, None] == number
    itself = torch.eye(len(number), dtype=torch.bool)
    if positives == "views":
        assert torch.equal(positive, same_slice & ~itself)
        assert torch.equal(negative, ~same_slice)
        return
    assert torch.equal(negative, part[:, None] != part)
    assert bool(positive[same_slice & ~itself].all())
    elsewhere = positive & (volume[:, None] != volume)
    assert bool((part[:, None] == part)[elsewhere].all())
    assert int(elsewhere.sum()) == (kinds * 4 * 3 * 2 if positives == "volumes" else 0)


def test_originals_attract_originals_and_views_views():
    made = objective(views=lambda b: b.with_x(b.x + 0.5))
    (number,) = slice_numbers(made, numbered(2))
    positive, _ = made.pairs(2, 2, number.device)
    is_view = number % 1 == 0.5
    other_volume = number[:, None] // 10 != number // 10
    found = positive & other_volume
    assert bool(found.any())
    assert bool((is_view[:, None] == is_view)[found].all())


def test_the_loss_is_that_of_its_embeddings_and_masks():
    _, batch = volume_batch(3)
    made = objective(views=lambda b: b)  # one slice a part: nothing is left to be drawn
    slices = batch.x.transpose(1, 2).flatten(0, 1)
    z = made.embedded(torch.cat([slices, slices]))
    expected = masked_ntxent(z, *made.pairs(3, 2, z.device), 0.1)
    assert_close(made(batch).total, expected)


def test_embeddings_that_are_all_equal_cost_the_logarithm_of_the_candidates():
    made = objective()
    made.embedded = lambda slices: torch.ones(len(slices), 4)  # type: ignore[method-assign]
    assert made(volume_batch(3)[1]).total.item() == pytest.approx(math.log(1 + 2 * 3 * 3))


def test_training_moves_the_way_down_alone_and_frees_the_way_up_at_the_end():
    _, batch = volume_batch(8)
    made = objective()
    before = {name: value.clone() for name, value in made.encoder.state_dict().items()}
    train(made, as_dataset(batch.x, modality="volumes"), steps=3, batch_size=4)
    after = made.encoder.state_dict()
    for name, value in before.items():
        if name.startswith("expanding"):
            assert torch.equal(after[name], value), name
        elif name.endswith("weight"):
            assert not torch.equal(after[name], value), name
    assert all(parameter.requires_grad for parameter in made.encoder.parameters())


def test_a_constant_volume_gives_a_finite_loss_and_gradient():
    _, batch = volume_batch(3)
    made = objective()
    batch.x[1] = 0.7
    loss = made(batch).total
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in made.parameters() if p.grad is not None)


def test_one_volume_is_refused_where_volumes_are_to_match_and_only_there():
    _, batch = volume_batch(1)
    with pytest.raises(ConfigError, match="no other volume"):
        objective()(batch)
    assert objective(positives="slices")(batch).total.isfinite()


@pytest.mark.parametrize("partitions", [1, 5])
def test_partitions_that_volumes_do_not_have_are_refused(partitions):
    with pytest.raises(ConfigError, match="4 slices"):
        objective(partitions=partitions)


def test_another_encoder_or_kind_of_pair_is_refused():
    with pytest.raises(ConfigError, match="U-Net"):
        GlobalContrast(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=8))
    with pytest.raises(ConfigError, match="positives="):
        objective(positives="slice")
    with pytest.raises(ConfigError, match="temperature="):
        objective(temperature=0.0)


def test_anchors_are_the_embeddings_of_each_volume():
    _, batch = volume_batch(3)
    made = objective(projector=(16, 5)).eval()
    anchors = made.anchors(batch)
    assert anchors.shape == (3, 4 * 5)
    assert_close(made.anchors(Batch(batch.x[1:2], batch.y[1:2], batch.index[1:2])), anchors[1:2])
