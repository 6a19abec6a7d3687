"""What goes wrong in contrast of regions: a region is cut beyond the map or in the wrong place, its
negatives are itself, views move what must keep its place, or the frozen half changes."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from tacita.encoders import build
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.modalities.memory import as_dataset
from tacita.modalities.volumes.views import VolumeViews
from tacita.pretrain.local_contrast import (
    LocalContrast,
    local_region_loss,
    nearest_others,
    region_positions,
    regions,
)
from tests.helpers import assert_close, volume_batch


def maps(seed: int, shape: tuple[int, ...] = (2, 3, 9, 8)) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def objective(**options: object) -> LocalContrast:
    spec, _ = volume_batch(2)
    torch.manual_seed(0)
    return LocalContrast(build("unet", spec, widths=(4, 6, 8)), **options)


def by_hand(f_a: np.ndarray, f_b: np.ndarray, temperature: float, size: int) -> float:
    """The paper's equation 3, region by region."""
    positions = region_positions(*f_a.shape[2:], size).tolist()
    costs = []
    for own, other in ((f_a, f_b), (f_b, f_a)):
        for image in range(len(own)):

            def cut(maps, at, image=image):
                r, c = positions[at]
                v = maps[image, :, r : r + size, c : c + size].ravel()
                return v / np.sqrt(v @ v)

            for at, (r, c) in enumerate(positions):
                away = [(p - r) ** 2 + (q - c) ** 2 for p, q in positions]
                others = [n for n in np.argsort(away, kind="stable") if n != at][:5]
                anchor = cut(own, at)
                good = math.exp(anchor @ cut(other, at) / temperature)
                bad = sum(
                    math.exp(anchor @ cut(view, n) / temperature)
                    for n in others
                    for view in (own, other)
                )
                costs.append(-math.log(good / (good + bad)))
    return sum(costs) / len(costs)


@pytest.mark.parametrize("size", [1, 3])
def test_the_loss_is_the_loop_over_regions(size):
    f_a, f_b = maps(0), maps(1)
    loss = local_region_loss(f_a, f_b, 0.3, size).item()
    assert loss == pytest.approx(by_hand(f_a.numpy(), f_b.numpy(), 0.3, size), rel=1e-9)


def test_the_gradient_is_that_of_finite_differences():
    f_a, f_b = maps(0, (1, 2, 7, 7)).requires_grad_(), maps(1, (1, 2, 7, 7)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: local_region_loss(a, b, 0.5), (f_a, f_b))


def test_features_all_equal_cost_the_logarithm_of_one_and_ten():
    f = torch.ones(3, 4, 12, 12, dtype=torch.float64)
    assert local_region_loss(f, f, 0.1).item() == pytest.approx(math.log(11))


def test_equal_views_of_regions_that_share_nothing_cost_next_to_nothing():
    side = 19
    f = torch.zeros(1, 13, side, side, dtype=torch.float64)
    for at, (row, column) in enumerate(region_positions(side, side, 3).tolist()):
        f[0, at, row : row + 3, column : column + 3] = 1.0
    assert local_region_loss(f, f, 0.1).item() == pytest.approx(math.log(1 + 10 * math.exp(-10)))


def test_moved_by_a_region_the_views_no_longer_match():
    f = maps(3, (2, 6, 19, 19))
    assert local_region_loss(f, f, 0.1) + 1 < local_region_loss(f, f.roll(4, 3), 0.1)


def test_the_views_may_change_places():
    f_a, f_b = maps(0), maps(1)
    assert_close(local_region_loss(f_a, f_b, 0.2), local_region_loss(f_b, 3 * f_a, 0.2))


@pytest.mark.parametrize("height, width, size", [(7, 7, 3), (48, 48, 3), (20, 9, 5), (8, 30, 1)])
def test_thirteen_regions_lie_in_thirteen_places_inside_the_map(height, width, size):
    positions = region_positions(height, width, size)
    assert len({tuple(p) for p in positions.tolist()}) == 13
    assert int(positions.min()) == 0
    assert positions.amax(0).tolist() == [height - size, width - size]


def test_regions_are_the_cells_of_the_map():
    f = maps(0)
    cut = regions(f, 3)
    for at, (row, column) in enumerate(region_positions(9, 8, 3).tolist()):
        assert torch.equal(cut[:, at], f[:, :, row : row + 3, column : column + 3].flatten(1))


def test_each_region_has_five_others_as_negatives():
    near = nearest_others(region_positions(48, 48, 3))
    assert near.sum(1).tolist() == [5] * 13
    assert not bool(near.diagonal().any())
    # The centre's: the four quarter points, and the first of the edges that are equally far.
    assert near[4].nonzero().flatten().tolist() == [1, 9, 10, 11, 12]


def test_training_changes_the_first_steps_up_alone():
    _, batch = volume_batch(8)
    made = objective()
    assert made.blocks == 1
    before = copy.deepcopy(made.encoder.state_dict())
    train(made, as_dataset(batch.x, modality="volumes"), steps=3, batch_size=4)
    after = made.encoder.state_dict()
    for name, value in before.items():
        if not name.startswith("expanding.0"):
            assert torch.equal(after[name], value), name  # running statistics as well
        elif name.endswith("weight"):
            assert not torch.equal(after[name], value), name
    assert all(parameter.requires_grad for parameter in made.encoder.parameters())


def test_a_run_that_is_resumed_ends_as_one_that_was_not(tmp_path):
    _, batch = volume_batch(6)
    data = as_dataset(batch.x, modality="volumes").normalised()
    once, twice = objective(), objective()
    train(once, data, steps=4, batch_size=3)

    class Stop(Exception):
        pass

    def interrupt(progress: object) -> None:
        raise Stop

    options = {"steps": 4, "batch_size": 3, "checkpoint": tmp_path / "run", "checkpoint_every": 0}
    with pytest.raises(Stop):
        train(objective(), data, **options, log_every=3, callbacks=[interrupt])
    train(twice, data, **options, resume=True)
    for name, value in once.state_dict().items():
        assert torch.equal(twice.state_dict()[name], value), name


def test_the_views_by_default_leave_every_voxel_in_its_place():
    made = objective()
    assert isinstance(made.views, VolumeViews)
    assert not made.views.moves_voxels
    with pytest.raises(ConfigError, match="move voxels"):
        objective(views=VolumeViews(crop=0.8))


def test_a_map_without_room_for_the_regions_is_refused():
    with pytest.raises(ConfigError, match="13 regions"):
        objective(size=5)
    with pytest.raises(ConfigError, match="2 steps up"):
        objective(blocks=3)
