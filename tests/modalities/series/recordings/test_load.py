"""What could go wrong: a label on the wrong windows, a model that reads later recordings in another
order of channels, and a session that vanishes without a word."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.data.dataset import Schema
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load, read_like
from tacita.modalities.series.meta import SeriesMeta
from tacita.modalities.series.recordings import read_recordings, windows
from tacita.modalities.series.recordings.load import SkippedRecording
from tacita.report.describe import describe
from tests.modalities.series.recordings.sessions import files_of, write, write_zip


@pytest.fixture
def wearables(tmp_path):
    folder = tmp_path / "wearables"
    for number in range(3):
        write(folder / f"S{number}", files_of(700, seed=number))
    write_zip(folder / "S3.zip", files_of(700, seed=3))
    (tmp_path / "sessions.csv").write_text(
        "session,label,subject\nS0,ill,anna\nS1,well,bert\nS2,,anna\nS3,ill,carl\n"
    )
    return folder


def test_a_folder_of_sessions_is_windows_with_the_labels_of_their_sessions(wearables):
    data = load(wearables, labels=wearables.parent / "sessions.csv", group="subject")
    assert data.meta.rates == (32, 32, 32, 64, 4, 4)
    assert data.x.shape == (8, 512, 168)
    assert data.ids[:3] == ("S0@0", "S0@128", "S1@0")
    assert data.task.classes == ("ill", "well")
    assert data.y.tolist() == [0, 0, 1, 1, -1, -1, 0, 0]
    assert data.groups.tolist() == [0, 0, 1, 1, 0, 0, 2, 2]
    assert (
        describe(data)
        .lines()[0]
        .endswith(
            "8 windows of 512 s, 6 channels at 32, 32, 32, 64, 4, 4 a second,"
            " 6 labelled of 8, 2 classes"
        )
    )
    direct = windows(
        read_recordings(wearables), channels=("acc_x", "acc_y", "acc_z", "bvp", "eda", "temp")
    )
    assert torch.equal(direct.data.x, data.x)


def test_labels_in_the_folder_are_found_and_sessions_are_their_own_subjects(wearables):
    (wearables / "labels.csv").write_text("session,label\nS0,ill\nS1,well\n")
    data = load(wearables)
    assert data.y.tolist() == [0, 0, 1, 1, -1, -1, -1, -1]
    assert data.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_one_zip_is_read_alone(wearables):
    data = load(wearables / "S3.zip")
    assert data.ids == ("S3@0", "S3@128")
    with pytest.raises(DataError, match="none of its"):
        load(wearables, modality="images")
    with pytest.raises(ConfigError, match="has no columns"):
        load(wearables, group="subject")
    with pytest.raises(ConfigError, match="series_id"):
        load(wearables, series_id="x")


def test_a_label_of_no_session_and_a_missing_sensor_are_errors(wearables):
    labels = wearables / "labels.csv"
    labels.write_text("session,label\nS0,ill\nS9,well\n")
    with pytest.raises(DataError, match="1 id without a sample: 'S9'"):
        load(wearables)
    labels.unlink()
    (wearables / "S1" / "EDA.csv").unlink()
    with pytest.raises(DataError, match=r"S1: there is no EDA.csv, which 3 of 4 sessions have"):
        load(wearables)
    for name in ("S0", "S2"):
        (wearables / name / "EDA.csv").unlink()
    (wearables / "S3.zip").unlink()
    assert load(wearables).meta.rates == (32, 32, 32, 64, 4)


def test_a_session_without_a_window_is_named_in_a_warning(wearables):
    write(wearables / "S4", files_of(60))
    write(wearables / "S5", files_of(700, eda=0.0))
    (wearables / "labels.csv").write_text("session,label\nS0,ill\nS1,well\nS4,ill\n")
    with pytest.warns(SkippedRecording, match=r"S4: 60 seconds.*S5: 700 seconds, 700 of them off"):
        data = load(wearables)
    assert len(data) == 8
    with pytest.raises(DataError, match="no recording gives a window"):
        load(wearables / "S5")


def test_a_model_reads_later_recordings_as_it_did_the_first(wearables):
    data = load(wearables, labels=wearables.parent / "sessions.csv", group="subject")
    parts = list(read_like(wearables, data.schema, labels=wearables.parent / "sessions.csv"))
    assert [len(part) for part in parts] == [2, 2, 2, 2]
    assert torch.equal(torch.cat([part.x for part in parts]), data.x)
    assert torch.equal(torch.cat([part.y for part in parts]), data.y)
    assert {part.meta.rates for part in parts} == {data.meta.rates}
    assert [name for part in parts for name in part.ids] == list(data.ids)


def test_a_model_of_other_windows_and_channels_reads_those(wearables):
    data = windows(read_recordings(wearables), length=60, step=15, channels=("temp", "bvp")).data
    first = next(iter(read_like(wearables, data.schema)))
    assert torch.equal(first.x, data.x[: len(first)])
    assert first.meta.rates == (4, 64)


def test_recordings_of_other_rates_or_none_are_refused(wearables):
    recordings = read_recordings(wearables, ("eda", "temp"))
    data = windows(recordings, length=60).data
    plain = load(wearables / "S0", modality="series").schema
    assert plain.spec.rates
    schema = Schema(SeriesMeta(shape=(60, 8)), data.task)
    with pytest.raises(DataError, match="of one rate"):
        list(read_like(wearables, schema))
    other = windows(recordings, length=60, channels=("eda",)).data
    with pytest.raises(DataError, match=r"rates \(4,\), those of the model \(4, 4\)"):
        list(read_like(other, data.schema))
    slow = files_of(700)
    slow["EDA.csv"] = slow["EDA.csv"].replace("4.00\n", "2.00\n", 1)
    write(wearables / "S0", slow)
    with pytest.raises(DataError, match=r"S0: its rates are \(2, 4\)"):
        list(read_like(wearables, data.schema))


def test_the_report_draws_a_point_a_second():
    from tests.modalities.series.recordings.test_windows import counting

    data = windows([counting("r", 8)], length=4).data
    shown = data.kind.show(data, 0)
    assert np.array_equal(shown, [[1.5, 0], [5.5, 1], [9.5, 2], [13.5, 3]])
