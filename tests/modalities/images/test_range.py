"""Pixels keep the range of their type, for files and arrays alike, and a model remembers it."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import tacita
from tacita import errors
from tacita.data.notes import ReadingWarning
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe

LEVELS = np.arange(36).reshape(6, 6)


def save(path, values: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def test_files_of_16_bits_keep_every_level_whatever_they_hold(tmp_path):
    for name, factor in (("eight", 5), ("twelve", 100), ("full", 1800)):
        save(tmp_path / name / "0.png", (LEVELS * factor).astype(np.uint16))
        save(tmp_path / name / "1.tif", (LEVELS * factor // 2).astype(np.uint16))
        data = load(tmp_path / name)
        assert data.x.dtype == torch.float32
        assert np.array_equal(data.x[0, 0].numpy(), LEVELS * factor)
        assert data.meta.pixels == "uint16"
        assert data.meta.limits(data.samples) == (0, 65535)
        (again,) = read_like(tmp_path / name, data.schema)
        assert torch.equal(again.x, data.x)
    assert ("pixels", "uint16, 0 to 63000") in describe(data).facts


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("floats", (LEVELS / 7 - 2).astype(np.float32)),
        ("integers", (LEVELS * 1000 - 500).astype(np.int32)),
    ],
)
def test_floats_and_32_bits_keep_their_range(tmp_path, kind, values):
    for i in range(2):
        save(tmp_path / f"{i}.tiff", values + i)
    data = load(tmp_path)
    assert (data.meta.pixels, data.x.shape) == (kind, (2, 1, 6, 6))
    assert np.array_equal(data.x[1, 0].numpy(), values + 1)
    assert torch.equal(as_dataset(np.stack([values, values + 1])[:, None]).x, data.x)


def test_unsigned_32_bits_do_not_turn_negative(tmp_path):
    head = struct.pack("<2sHIH", b"II", 42, 8, 8)
    tags = [(256, 4, 2), (257, 4, 1), (258, 3, 32), (259, 3, 1), (262, 3, 1), (273, 4, 110)]
    tags += [(278, 4, 1), (279, 4, 8)]
    ifd = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    pixels = np.array([7, 2**31 + 3], "<u4").tobytes()
    (tmp_path / "a.tif").write_bytes(head + ifd + bytes(4) + pixels)
    assert load(tmp_path).x.flatten().tolist() == [7, 2**31 + 3]


def test_files_of_16_bits_are_turned_and_resized_as_others_are(tmp_path):
    options = Image.Exif()
    options[0x0112] = 6
    save(tmp_path / "a.png", (LEVELS[:3] * 1000).astype(np.uint16), exif=options)
    assert np.array_equal(load(tmp_path).x[0, 0].numpy(), np.rot90(LEVELS[:3] * 1000, -1))
    small = load(tmp_path, image_size=3).x
    assert small.shape == (1, 1, 3, 3)
    assert float(small.mean()) == pytest.approx(LEVELS[:3].mean() * 1000, rel=0.05)


def test_not_a_number_in_a_file_is_refused_by_name(tmp_path):
    save(tmp_path / "a.tif", np.array([[0.5, np.nan]], np.float32))
    with pytest.raises(errors.DataError, match=r"a\.tif, pixel \(0, 1\)"):
        load(tmp_path)


def test_files_of_different_depth_are_refused(tmp_path):
    save(tmp_path / "a.png", LEVELS.astype(np.uint8))
    save(tmp_path / "b.png", LEVELS.astype(np.uint16))
    with pytest.raises(errors.DataError, match=r"b\.png: its pixels are uint16, those of a\.png"):
        load(tmp_path)


def images(count: int, dtype: str) -> np.ndarray:
    x = np.random.default_rng(0).integers(0, 100, (count, 8, 8)).astype(dtype)
    x[::2] += 120
    return x


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_the_type_of_an_array_decides_and_not_its_brightest_pixel(dtype):
    x = images(12, dtype)
    x[0, 0, 0] = 4095
    model = tacita.adapt("knn", x, ["a", "b"] * 6, modality="images", quiet=True)
    assert model.predict(x[1:]).tolist() == ["b", *["a", "b"] * 5]


@pytest.mark.parametrize(
    ("learnt", "given", "passes"),
    [
        ("uint8", "int64", True),
        ("uint16", "int64", True),
        ("int64", "uint8", True),
        ("int64", "uint16", True),
        ("uint8", "uint16", False),
        ("uint16", "uint8", False),
        ("uint8", "float32", False),
        ("float32", "uint8", False),
        ("float32", "int64", False),
        ("int64", "float32", False),
    ],
)
def test_a_model_takes_what_means_the_same(learnt, given, passes):
    known = as_dataset(images(4, learnt), modality="images")
    if passes:
        (read,) = read_like(images(4, given), known.schema)
        assert torch.equal(read.x.double(), known.x.double())
        assert (read.x.dtype == torch.uint8) == (known.x.dtype == torch.uint8)
    else:
        with pytest.raises(errors.DataError, match="the model learnt from"):
            list(read_like(images(4, given), known.schema))


def test_eight_bits_take_a_byte_a_pixel_and_other_integers_must_fit():
    known = as_dataset(images(4, "uint8"))
    assert known.x.dtype == torch.uint8
    with pytest.raises(errors.DataError, match="integers, but the model learnt from uint8"):
        list(read_like(images(4, "int64")[:, None] + 60, known.schema))


# What is said of what is done


def deep_colours() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = (b"\0" + np.arange(0, 6000, 1000, dtype=">u2").tobytes()) * 2
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_what_is_done_to_colours_frames_and_transparency_is_said(tmp_path):
    (tmp_path / "deep.png").write_bytes(deep_colours())
    save(tmp_path / "clear.png", np.zeros((2, 2, 4), np.uint8))
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "ink.jpg")
    frames = [Image.new("L", (2, 2), value) for value in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    (tmp_path / "pages.tif").write_bytes(buffer.getvalue())
    data = load(tmp_path)
    assert [str(note) for note in data.notes] == [
        "1 image of 16 bits a colour, read at 8: deep.png",
        "1 image with further frames or pages, left out: pages.tif",
        "1 image with transparent pixels, made white: clear.png",
        "1 image of printing inks, made RGB: ink.jpg",
    ]
    assert data.x[0].unique().tolist() == [255]
    assert data.x[3].unique().tolist() == [10]
    red = data.x[2, :, 0, 0].tolist()
    assert red[0] > 200 > 60 > max(red[1:])
    with pytest.warns(ReadingWarning, match="left out|read at 8") as said:
        list(read_like(tmp_path, data.schema))
    assert len(said) == 2


@pytest.mark.parametrize(
    "ending", ["jfif", "jpe", "JPG", "Png", "jp2", "avif", "tga", "pcx", "dib"]
)
def test_further_formats_are_read_in_any_case(tmp_path, ending):
    kind = {"jfif": "JPEG", "jpe": "JPEG", "jp2": "JPEG2000"}.get(ending)
    picture = Image.new("L", (16, 16), 100)
    with (tmp_path / f"a.{ending}").open("wb") as file:
        picture.save(file, kind or {"jpg": "JPEG"}.get(ending.lower(), ending.upper()))
    data = load(tmp_path)
    assert float(data.x.float().mean()) == pytest.approx(100, abs=2)


def test_files_that_are_passed_over_are_counted_and_litter_is_not(tmp_path):
    save(tmp_path / "cat" / "0.png", LEVELS.astype(np.uint8))
    save(tmp_path / "dog" / "1.PNG", LEVELS.astype(np.uint8))
    for name in ("cat/x.heic", "dog/y.HEIC", "README"):
        (tmp_path / name).write_text("?")
    for name in (".DS_Store", "Thumbs.db", "dog/desktop.ini", "__MACOSX/._0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("?")
    data = load(tmp_path)
    assert (len(data), data.task.classes) == (2, ("cat", "dog"))
    assert [str(note) for note in data.notes] == [
        "3 files are not read here (.heic, no ending), the first: README"
    ]
    with pytest.warns(ReadingWarning, match="3 files"):
        list(read_like(tmp_path, data.schema))


def test_a_label_file_wins_over_sub_folders_and_says_so(tmp_path):
    for i in range(4):
        save(tmp_path / ("cat" if i < 2 else "dog") / f"{i}.png", LEVELS.astype(np.uint8) + i)
    (tmp_path / "labels.csv").write_text("file,label\n0,x\n2,y\n")
    data = load(tmp_path)
    assert (data.task.classes, data.y.tolist()) == (("x", "y"), [0, -1, 1, -1])
    assert "the names of 2 sub-folders" in str(data.notes[0])
    assert load(tmp_path, labels="folders").task.classes == ("cat", "dog")
