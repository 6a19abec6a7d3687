"""`.npy` and `.npz`: what an array may be, and what a hostile archive may not do."""

import io
import zipfile

import numpy as np
import pytest

from tacita import errors
from tacita.modalities.load import load
from tacita.modalities.readers.arrays import ArrayFile


def header(shape, descr="<f4", fortran=False):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": descr, "fortran_order": fortran, "shape": shape}
    )
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_every_number_type_is_read_whole_and_in_chunks(tmp_path, dtype, order, ending):
    x = np.asarray(np.arange(10).reshape(5, 2) % 2, dtype=dtype, order=order)
    path = tmp_path / f"x.{ending}"
    np.save(path, x) if ending == "npy" else np.savez_compressed(path, x=x)
    assert load(path).x.tolist() == x.astype(float).tolist()
    pieces = list(ArrayFile(path).chunks("x", [2, 2, 1]))
    assert np.array_equal(np.concatenate(pieces), x)
    assert [len(piece) for piece in pieces] == [2, 2, 1]


def test_a_large_npy_is_mapped_and_never_written_to(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 3), np.float32))
    data = load(tmp_path / "x.npy")
    data.x[0, 0] = 5
    assert np.load(tmp_path / "x.npy")[0, 0] == 1


def test_the_rank_and_the_type_decide_the_modality(tmp_path):
    for shape, dtype, expected in (
        ((4, 6), "f4", "tables"),
        ((4, 6, 2), "f4", "series"),
        ((4, 6, 5), "u1", "images"),
        ((4, 3, 6, 6), "f4", "images"),
    ):
        np.savez(tmp_path / "x.npz", x=np.zeros(shape, dtype))
        assert load(tmp_path / "x.npz").modality == expected
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 6)))
    assert load(tmp_path / "x.npz", modality="series").x.shape == (4, 6, 1)
    with pytest.raises(errors.ConfigError, match="Did you mean 'series'"):
        load(tmp_path / "x.npz", modality="serie")


def test_object_arrays_are_refused_because_they_can_run_code(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([[1, 2], [3]], dtype=object))
    with pytest.raises(errors.DataError, match="run code"):
        load(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(errors.DataError, match="run code"):
        load(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "x",
    [np.zeros((2, 2), complex), np.zeros(3), np.zeros((0, 3)), np.array([["a"]]), np.float32(1)],
)
def test_what_is_not_samples_of_numbers_is_refused(tmp_path, x):
    np.savez(tmp_path / "x.npz", x=x)
    with pytest.raises(errors.DataError) as caught:
        load(tmp_path / "x.npz")
    assert caught.value.remedy


def test_a_file_without_samples_names_what_it_has(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 2)))
    with pytest.raises(errors.DataError, match="found: images"):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2**40,), (-1, 2), (4, 3)])
def test_a_shape_larger_than_the_file_is_refused_before_any_memory_is_taken(tmp_path, shape):
    (tmp_path / "x.npy").write_bytes(header(shape) + b"\0" * 16)
    with pytest.raises(errors.DataError):
        load(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header(shape) + b"\0" * 16)
    with pytest.raises(errors.DataError):
        load(tmp_path / "x.npz")


def test_a_decompression_bomb_is_refused_by_its_directory(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\0" * 1000)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(errors.DataError, match="bomb"):
        load(path)


def test_labels_may_be_another_array(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 2)), kind=["u", "v", "u"])
    assert load(tmp_path / "x.npz", labels="kind").y.tolist() == [0, 1, 0]
    with pytest.raises(errors.ConfigError, match="Did you mean 'kind'"):
        load(tmp_path / "x.npz", labels="kinds")


@pytest.mark.parametrize("y", [np.zeros(2, int), np.zeros((3, 2), int)])
def test_labels_of_another_shape_are_refused(tmp_path, y):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 2)), y=y)
    with pytest.raises(errors.DataError):
        load(tmp_path / "x.npz")


def test_paths_that_are_not_what_they_seem(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "sensors.npz").write_bytes(b"")
    for path, said in (
        (tmp_path / "folder.csv", "the folder is empty"),
        (tmp_path / "notes.txt", "no delimiter parts its lines"),
        (tmp_path / "sensors.npz", "cannot be read as NumPy arrays"),
        (tmp_path / "notes.txt" / "x.csv", "no such file"),
        (tmp_path / "senors.npz", r"Did you mean .*sensors\.npz"),
        ("digitz", "Did you mean digits"),
        ("a\0b", "is not a path"),
    ):
        with pytest.raises(errors.DataError, match=said):
            load(path)
