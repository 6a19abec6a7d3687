"""What could go wrong: a row read as a header, units, a late heart rate that shifts the other signals,
a hostile archive, and a message that does not name file and row."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tacita.errors import DataError
from tacita.modalities.series.recordings import device, read_recordings, seconds_of
from tacita.modalities.series.recordings.device import is_device, sessions, signals_of
from tests.modalities.series.recordings.sessions import START, files_of, write, write_zip


def test_a_session_comes_back_as_it_was_written(tmp_path):
    files = files_of(30)
    (recording,) = read_recordings(write(tmp_path / "S1", files).parent)
    assert (recording.name, recording.subject) == ("S1", "S1")
    assert list(recording.signals) == ["acc_x", "acc_y", "acc_z", "bvp", "eda", "temp", "hr"]
    rates = [signal.rate for signal in recording.signals.values()]
    assert rates == [32, 32, 32, 64, 4, 4, 1]
    written = np.array([float(line) for line in files["BVP.csv"].split()[2:]], np.float32)
    assert np.array_equal(recording.signals["bvp"].values, written)
    rows = [line.split(",") for line in files["ACC.csv"].splitlines()[2:]]
    in_g = np.array(rows, float)[:, 2] / 64
    assert np.allclose(recording.signals["acc_z"].values, in_g, atol=1e-6)
    assert recording.signals["eda"].start == START
    assert recording.signals["hr"].start == START + 10
    assert recording.events["tags"].tolist() == [START + 5]
    assert recording.events["ibi"].tolist() == [[START + 1.5, 0.8], [START + 2.25, 0.75]]


def test_a_heart_rate_that_begins_late_costs_the_others_ten_seconds(tmp_path):
    (recording,) = read_recordings(write(tmp_path / "S1", files_of(30)))
    with_rate = seconds_of(recording)
    without = seconds_of(recording, ("bvp", "eda"))
    assert (with_rate.start, without.start) == (START + 10, START)
    assert (len(with_rate.rows), len(without.rows)) == (20, 30)
    assert np.array_equal(with_rate.of("bvp"), without.of("bvp")[10:])


def test_signals_of_different_lengths_are_cut_to_the_shortest(tmp_path):
    files = files_of(30)
    files["TEMP.csv"] = "\n".join(files["TEMP.csv"].splitlines()[: 2 + 4 * 21 + 3])
    (recording,) = read_recordings(write(tmp_path / "S1", files), ("bvp", "temp"))
    assert seconds_of(recording).rows.shape == (21, 68)


def test_empty_lines_are_missing_samples_and_shift_nothing():
    lines = ["0.0", "4.0", "1", "", "3", "4", ""]
    values = signals_of("\n".join([*lines, ""]).encode(), ("eda",), "EDA.csv")["eda"].values
    assert np.array_equal(values, np.float32([1, np.nan, 3, 4, np.nan]), equal_nan=True)
    rows = b"0,0,0\r\n32,32,32\r\n64,0,0\r\n\r\n\r\n0,64,-64\r\n"
    read = signals_of(rows, ("acc_x", "acc_y", "acc_z"), "ACC.csv")
    assert np.array_equal(read["acc_z"].values, np.float32([0, np.nan, np.nan, -1]), equal_nan=True)


def test_subjects_are_the_folders_above_sessions(tmp_path):
    write(tmp_path / "anna" / "monday", files_of(2))
    write(tmp_path / "anna" / "tuesday", files_of(2))
    write_zip(tmp_path / "bert" / "monday.zip", files_of(2))
    write_zip(
        tmp_path / "carl.zip", {f"s{i}/{k}": v for i in (1, 2) for k, v in files_of(2).items()}
    )
    found = {r.name: r.subject for r in read_recordings(tmp_path)}
    assert found == {
        "anna/monday": "anna",
        "anna/tuesday": "anna",
        "bert/monday": "bert",
        "carl/s1": "carl",
        "carl/s2": "carl",
    }


def test_folders_and_zips_read_alike(tmp_path):
    files = files_of(12)
    (one,) = read_recordings(write(tmp_path / "a" / "S1", files).parent)
    (two,) = read_recordings(write_zip(tmp_path / "b" / "S1.zip", files))
    (nested,) = read_recordings(
        write_zip(tmp_path / "c" / "S1.zip", {f"x/y/{name}": text for name, text in files.items()})
    )
    assert one.name == two.name == nested.name == "S1"
    for other in (two, nested):
        assert np.array_equal(seconds_of(one).rows, seconds_of(other).rows)


def test_only_files_side_by_side_are_a_session(tmp_path):
    write(tmp_path / "tables", {"ACC.csv": "a,b\n1,2\n"})
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 cut short")
    assert not is_device(tmp_path)
    with pytest.raises(DataError, match="no session"):
        read_recordings(tmp_path / "tables")
    write(tmp_path / "S1", {"BVP.csv": "", "EDA.csv": ""})
    assert is_device(tmp_path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no samples"),
        ("0.0\n4.0\n", "no samples"),
        ("0.0\n4.0\n1.0\nx\n", r"EDA.csv, row 4: 'x' is not 1 number"),
        ("0.0\n4.0\n1.0\n1,2\n", r"EDA.csv, row 4: '1,2'"),
        ("zero\n4.0\n1.0\n", r"EDA.csv, row 1"),
        ("0.0\n0.0\n1.0\n", r"EDA.csv, row 2: a rate of 0"),
        ("0.0\n4.5\n1.0\n", r"EDA.csv, row 2: a rate of 4.5"),
        ("0.0\ninf\n1.0\n", r"EDA.csv, row 2"),
        ("0.0\nnan\n1.0\n", r"EDA.csv, row 2"),
        ("nan\n4.0\n1.0\n", r"EDA.csv, row 1"),
        ("0.0\n4.0\n1.0\n2.0\ninf\n", r"EDA.csv, row 5: an infinite"),
        ("\x00\xff\n\x00\n\x00\n", r"EDA.csv, row 1"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_row(tmp_path, text, message):
    files = files_of(2) | {"EDA.csv": text}
    with pytest.raises(DataError, match=message):
        read_recordings(write(tmp_path / "S1", files))


def test_columns_of_one_file_must_agree():
    with pytest.raises(DataError, match=r"ACC.csv, rows 1 and 2"):
        signals_of(b"0,0,1\n32,32,32\n1,2,3\n", ("acc_x", "acc_y", "acc_z"), "ACC.csv")
    with pytest.raises(DataError, match=r"ACC.csv, row 4: '1,2' is not 3 numbers"):
        signals_of(b"0,0,0\n32,32,32\n1,2,3\n1,2\n", ("acc_x", "acc_y", "acc_z"), "ACC.csv")


@pytest.mark.parametrize(
    "name", ["../ACC.csv", "/tmp/ACC.csv", "a/../../BVP.csv", "..\\EDA.csv", "C:/x"]
)
def test_an_archive_that_climbs_out_is_refused(tmp_path, name):
    path = write_zip(tmp_path / "S1.zip", files_of(2) | {name: "x"})
    with pytest.raises(DataError, match="leads out"):
        sessions(path)
    assert [p.name for p in tmp_path.iterdir()] == ["S1.zip"]


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(device, "LARGEST", 2000)
    path = tmp_path / "S1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files_of(1).items():
            archive.writestr(name, text)
        archive.writestr("x/EDA.csv", "0\n4\n" + "0\n" * 100_000)
        archive.writestr("x/BVP.csv", "0\n64\n0\n")
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match=r"EDA.csv: takes .* GiB"):
        read_recordings(path, ("eda",))


def test_too_many_members_and_doubled_ones_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "S1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BVP.csv", "0\n64\n1\n")
        archive.writestr("EDA.csv", "0\n4\n1\n")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("EDA.csv", "0\n4\n1\n")
    with pytest.raises(DataError, match=r"EDA\.csv twice"):
        sessions(path)
    monkeypatch.setattr(device, "_MEMBERS", 2)
    with pytest.raises(DataError, match="3 members"):
        sessions(path)


def test_a_damaged_archive_among_sessions_is_an_error(tmp_path):
    write(tmp_path / "S1", files_of(2))
    (tmp_path / "S2.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"S2.zip: cannot be read as a zip"):
        read_recordings(tmp_path)


def test_a_folder_and_a_zip_of_one_name_are_refused(tmp_path):
    write(tmp_path / "S1", files_of(2))
    write_zip(tmp_path / "S1.zip", files_of(2))
    with pytest.raises(DataError, match="two sessions are called 'S1'"):
        sessions(tmp_path)


LINES = st.sampled_from(
    [
        b"",
        b"1",
        b"4.0",
        b"-2.5",
        b"1,2,3",
        b"nan",
        b"inf",
        b"1e999",
        b"1e39",
        b"x",
        b",",
        b",,",
        b'"',
        b"\xff",
        b"\x00",
        b" 7 ",
    ]
)


@given(
    st.lists(LINES, max_size=9).map(b"\n".join) | st.binary(max_size=40),
    st.sampled_from([("eda",), ("acc_x", "acc_y", "acc_z")]),
)
@example(b"0\n4\n\n\n", ("eda",))
@example(b"0,0,0\n4,4,4\n\n\n1,2,3", ("acc_x", "acc_y", "acc_z"))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_signal_of_finite_numbers_and_gaps_or_a_data_error(data, names):
    try:
        signals = signals_of(data, names, "X.csv")
    except DataError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert "X.csv" in message
        return
    rows = data.split(b"\n", 2)[2].removesuffix(b"\n").count(b"\n") + 1
    for signal in signals.values():
        assert not np.isinf(signal.values).any()
        assert len(signal.values) == rows
