"""What goes wrong in segmentation: a label is warped otherwise than its slice, unlabelled voxels
teach background, whole volumes come out of another order, or the Dice is not what it is called."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita import Model
from tacita.adapt.segmentation import (
    Segmentation,
    SegmentSlices,
    held_out_dice,
    labelled_slices,
    voxel_logits,
)
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.encoders.unet import UNet
from tacita.engine.stopping import Stopping
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.modalities.memory import as_dataset
from tacita.tasks import UNLABELLED, Classification, dice_loss
from tacita.verbs.adapt import adapt
from tacita.verbs.fit import fit
from tacita.verbs.pretrain import pretrain
from tests.helpers import assert_close


def blobs(count: int = 4, labelled: int = 2) -> Dataset:
    """Noisy volumes with a bright ball, labelled 2, and a dark one, labelled 5."""
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*(np.arange(n) for n in (6, 16, 16)), indexing="ij"))
    x = rng.normal(size=(count, 1, 6, 16, 16)).astype(np.float32) * 0.2
    y = np.zeros((count, 6, 16, 16), np.int64)
    for volume in range(count):
        for number, sign in ((2, 2.0), (5, -2.0)):
            centre = rng.uniform((2, 4, 4), (4, 12, 12))
            inside = ((place - centre[:, None, None, None]) ** 2).sum(0) < 9
            x[volume, 0, inside] += sign
            y[volume, inside] = number
    y[labelled:] = UNLABELLED
    return as_dataset(x, y)


def unet(data: Dataset, seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    encoder = build("unet", data.spec, widths=(4, 8, 8))
    assert isinstance(encoder, UNet)
    return encoder


def test_slices_come_with_their_own_labels_and_labelled_ones_first():
    number = 10 * torch.arange(2)[:, None] + torch.arange(5)
    x = number[:, None, :, None, None].float().expand(2, 1, 5, 4, 4)
    y = number[:, :, None, None].expand(2, 5, 4, 4).clone()
    y[:, 3:] = UNLABELLED
    for seed in range(10):
        torch.manual_seed(seed)
        drawn = labelled_slices(Batch(x, y, torch.arange(2)), 2)
        assert drawn.x.shape == (4, 1, 4, 4)
        assert torch.equal(drawn.x[:, 0].long(), drawn.y)
        assert drawn.index.tolist() == [0, 0, 1, 1]
        assert int((drawn.y // 10)[:2].max()) == 0
    assert len(labelled_slices(Batch(x, y, torch.arange(2)), 99)) == 10


def test_logits_of_a_volume_lie_where_its_voxels_are():
    data = blobs().normalised()
    encoder, head = unet(data).eval(), torch.nn.Linear(4, 3)
    x = data.take(torch.arange(2)).x
    logits = voxel_logits(encoder, head, x)
    assert logits.shape == (2, 3, 6, 16, 16)
    features = encoder.expand(encoder.contract(x[1, :, 4][None]))
    assert_close(logits[1, :, 4], head(features[0].permute(1, 2, 0)).permute(2, 0, 1))


def test_two_labelled_volumes_teach_to_segment_the_others():
    data = blobs()
    truth = blobs(labelled=4)
    torch.manual_seed(0)
    encoder = build("unet", data.spec, widths=(8, 16, 16))
    learner = Segmentation(encoder, slices=6, engine={"steps": 80, "learning_rate": 1e-2})
    learner.fit(data)
    assert learner.score(truth.subset(torch.tensor([2, 3]))) > 0.7
    predicted = learner.predict(truth.x)
    assert predicted.shape == (4, 6, 16, 16)
    assert set(np.unique(predicted)) == {0, 2, 5}
    assert learner.predict_proba(truth.x).shape == (4, 3, 6, 16, 16)


def test_the_given_encoder_stays_and_all_of_its_copy_is_trained():
    data = blobs()
    encoder = unet(data)
    encoder.contracting.requires_grad_(True)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    learner = Segmentation(encoder, engine={"steps": 3}).fit(data)
    for name, value in before.items():
        assert torch.equal(encoder.state_dict()[name], value), name
        if name.endswith("weight"):
            assert not torch.equal(learner.encoder.state_dict()[name], value), name


def test_the_weights_are_kept_that_do_best_on_the_validation_volumes():
    data = blobs(labelled=3).normalised()
    aside = data.subset(torch.tensor([2]))
    few = data.hide_labels(torch.tensor([0]))
    score = held_out_dice(aside)
    seen = []

    def watched(objective: SegmentSlices) -> float:
        seen.append(score(objective))
        return seen[-1]

    objective = SegmentSlices(unet(data), data.task, slices=6)
    history = train(
        objective,
        few,
        steps=40,
        batch_size=1,
        learning_rate=0.02,
        stopping=Stopping(watched, 5, 99),
    )
    assert history.best.score == max(seen)
    assert score(objective) == pytest.approx(max(seen))


def test_a_run_that_is_resumed_ends_as_one_that_was_not(tmp_path):
    data = blobs().normalised()

    class Stop(Exception):
        pass

    def interrupt(progress: object) -> None:
        raise Stop

    once, broken, twice = (SegmentSlices(unet(data), data.task, slices=3) for _ in range(3))
    for other in (broken, twice):
        other.load_state_dict(once.state_dict())
    train(once, data, steps=6, batch_size=1)
    options = {"steps": 6, "batch_size": 1, "checkpoint": tmp_path / "run", "checkpoint_every": 0}
    with pytest.raises(Stop):
        train(broken, data, **options, log_every=4, callbacks=[interrupt])
    train(twice, data, **options, resume=True)
    for name, value in once.state_dict().items():
        assert torch.equal(twice.state_dict()[name], value), name


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
def test_the_stages_follow_each_other_as_verbs_and_the_model_is_saved(tmp_path):
    data = blobs()
    small = {"steps": 2, "batch_size": 3, "quiet": True}
    first = pretrain("global-contrast", data, out=tmp_path / "a", **small,
                     **{"encoder": "unet", "encoder.widths": [4, 8, 8]})  # fmt: skip
    second = pretrain("local-contrast", data, start=tmp_path / "a", out=tmp_path / "b", **small)
    frozen = first.learner.encoder.contracting.state_dict()
    for name, value in second.learner.encoder.contracting.state_dict().items():
        assert torch.equal(frozen[name], value), name
    third = adapt("segmentation", data, start=tmp_path / "b", out=tmp_path / "c", **small)
    loaded = Model.load(tmp_path / "c")
    assert np.array_equal(loaded.predict(data.x.numpy()), third.predict(data.x.numpy()))
    assert loaded.evaluate(data)["dice"] == third.evaluate(data)["dice"]
    assert (tmp_path / "c" / "report.html").is_file()


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
@pytest.mark.parametrize("packed", [False, True])
def test_volumes_in_files_are_segmented_on_their_own_grids(tmp_path, packed):
    nibabel = pytest.importorskip("nibabel")
    ending = ".nii.gz" if packed else ".nii"
    data = blobs()
    model = adapt(
        "segmentation",
        data,
        steps=2,
        quiet=True,
        **{"encoder": "unet", "encoder.widths": [4, 8, 8]},
    )
    scans = tmp_path / "scans"
    (scans / "labels").mkdir(parents=True)
    for name, depth in (("a", 6), ("b", 4)):
        values = data.x[0, 0, :depth].numpy().transpose(2, 1, 0)
        nibabel.Nifti1Image(values, np.diag([2, 2, 3, 1])).to_filename(scans / f"{name}{ending}")
        known = np.array(model.task.decode(data.y[:1, :depth])[0], np.int16).transpose(2, 1, 0)
        nibabel.Nifti1Image(known, np.diag([2, 2, 3, 1])).to_filename(
            scans / "labels" / f"{name}{ending}"
        )
    assert model.predict_file(scans, tmp_path / "out") == 2
    written = nibabel.load(tmp_path / "out" / f"b{ending}")
    expected = model.predict(data.x[:1, :, :4].numpy())[0]
    assert np.array_equal(np.asarray(written.dataobj), expected.transpose(2, 1, 0))
    scores = model.evaluate_file(scans)
    assert 0 <= scores["dice"] <= 1
    np.savez(tmp_path / "v.npz", x=data.x.numpy())
    assert model.predict_file(tmp_path / "v.npz", tmp_path / "p.npz") == 4
    with np.load(tmp_path / "p.npz") as found:
        assert np.array_equal(found["predicted"], model.predict(data.x.numpy()))
    wrong = (
        (None, scans),
        (scans, scans),
        (scans / "labels", scans),
        (scans, scans / f"a{ending}"),
    )
    for out, source in (*wrong, (tmp_path / "p.csv", tmp_path / "v.npz")):
        with pytest.raises(ConfigError, match="out"):
            model.predict_file(source, out)


@pytest.mark.long
def test_an_exported_model_gives_the_probabilities_of_every_voxel(tmp_path):
    data = blobs()
    options = {"steps": 2, "quiet": True, "encoder": "unet", "encoder.widths": [4, 8, 8]}
    model = adapt("segmentation", data, **options)
    program = torch.export.load(model.export(tmp_path / "m.pt2", "torch")).module()
    with torch.no_grad():
        found = program(data.x)
    assert_close(found, torch.from_numpy(model.predict_proba(data.x.numpy())))


def test_fit_takes_it_by_a_recipe_and_has_nothing_of_its_own_to_compare(tmp_path):
    data = blobs(labelled=4)
    with pytest.raises(ConfigError, match="tacita adapt segmentation"):
        fit(data, quiet=True)
    (tmp_path / "quick.yaml").write_text(
        "format: 1\nname: quick\nencoder: {method: unet, widths: [4, 8, 8]}\n"
        "learn: {method: segmentation, train: {steps: 2}}\n"
    )
    (row,) = fit(data, recipe=str(tmp_path / "quick.yaml"), quiet=True).metrics.leaderboard
    assert row.metric == "dice"
    assert len(row.folds) == 4


def test_cross_entropy_stands_beside_the_dice_with_its_weight():
    data = blobs().normalised()
    batch = data.take(torch.arange(2))
    objective = SegmentSlices(unet(data), data.task, cross_entropy=0.5, views=lambda b: b).eval()
    torch.manual_seed(0)
    losses = objective(batch)
    logits = voxel_logits(objective.encoder, objective.head, batch.x)
    expected = torch.nn.functional.cross_entropy(logits, batch.y)
    assert_close(losses["cross_entropy"], 0.5 * expected)
    assert_close(losses["dice"], dice_loss(logits, batch.y))
    with pytest.raises(ConfigError, match="cross_entropy=-1"):
        SegmentSlices(unet(data), data.task, cross_entropy=-1.0)


def test_another_encoder_or_task_is_refused():
    data = blobs()
    with pytest.raises(ConfigError, match="feature a voxel"):
        SegmentSlices(build("residual-cnn", InputSpec("images", (1, 8, 8)), width=4), data.task)
    with pytest.raises(ConfigError, match="not one a voxel"):
        SegmentSlices(unet(data), Classification(("a", "b")))
    with pytest.raises(ConfigError, match="slices=0"):
        SegmentSlices(unet(data), data.task, slices=0)
    with pytest.raises(ConfigError, match="not normalised"):
        held_out_dice(data)
