"""Images: layouts of arrays, folders of files, and what a stranger may have put into them."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from tacita import errors
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset

GREY = np.arange(48, dtype=np.uint8).reshape(1, 6, 8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize(
    "shape", [(2, 3, 6, 8), (2, 6, 8, 3), (2, 6, 8), (2, 6, 8, 1), (2, 4, 6, 8)]
)
def test_the_axis_with_1_3_or_4_entries_is_the_channels(shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = as_dataset(x)
    assert data.modality == "images"
    assert data.spec.shape[1:] == (6, 8)
    expected = (
        x[:, None] if x.ndim == 3 else x if shape[1] in (1, 3, 4) else x.transpose(0, 3, 1, 2)
    )
    assert np.array_equal(data.x.numpy(), expected)


@pytest.mark.parametrize("shape", [(2, 3, 6, 3), (2, 5, 6, 7)])
def test_a_layout_that_cannot_be_told_is_refused(shape):
    with pytest.raises(errors.DataError, match=r"channels|axis"):
        as_dataset(np.zeros(shape))


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "webp"])
def test_lossless_files_come_back_exactly(tmp_path, ending):
    options = {"lossless": True} if ending == "webp" else {}
    for name, label in (("a", "cat"), ("b", "dog"), ("c", "unlabelled")):
        save(tmp_path / "set" / label / f"{name}.{ending}", GREY[0], **options)
    data = load(tmp_path / "set")
    assert data.x.shape == (3, 1, 6, 8)
    assert np.array_equal(data.x[0].numpy(), GREY)
    assert dict(zip(data.ids, data.y.tolist(), strict=True)) == {
        f"cat/a.{ending}": 0,
        f"dog/b.{ending}": 1,
        f"unlabelled/c.{ending}": -1,
    }


def test_one_coloured_image_makes_the_folder_rgb(tmp_path):
    save(tmp_path / "a.png", GREY[0])
    save(tmp_path / "b.png", np.stack([GREY[0], GREY[0] * 0, GREY[0]], 2))
    data = load(tmp_path)
    assert data.spec.shape == (3, 6, 8)
    assert torch.equal(data.x[0, 0], data.x[0, 1])


def test_transparency_becomes_white(tmp_path):
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0, 3] = 255
    save(tmp_path / "clear" / "a.png", clear)
    assert load(tmp_path / "clear").x[0, 0].tolist() == [[0, 255], [255, 255]]


def test_the_orientation_of_a_camera_is_honoured(tmp_path):
    image = Image.fromarray(GREY[0])
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load(tmp_path).x[0, 0].numpy(), np.rot90(GREY[0], -1))


def test_differing_sizes_become_squares_of_the_median_side(tmp_path):
    for name, side in (("a", 10), ("b", 20), ("c", 400)):
        save(tmp_path / f"{name}.png", np.full((side, side), 9, np.uint8))
    data = load(tmp_path)
    assert data.spec.shape == (1, 20, 20)
    assert (data.x == 9).all()
    assert load(tmp_path, image_size=7).spec.shape == (1, 7, 7)
    with pytest.raises(errors.ConfigError):
        load(tmp_path, image_size=0)


def test_large_images_of_one_size_keep_their_shape(tmp_path):
    save(tmp_path / "a.png", np.zeros((100, 200), np.uint8))
    assert load(tmp_path).spec.shape == (1, 48, 96)


def test_shrinking_averages_rather_than_skips(tmp_path):
    stripes = np.zeros((40, 40), np.uint8)
    stripes[:, ::2] = 200
    save(tmp_path / "a.png", stripes)
    assert (load(tmp_path, image_size=10).x.float() - 100).abs().max() < 15


@pytest.mark.parametrize("content", [b"", b"hello, not an image", "cut"])
def test_a_broken_image_is_refused_by_name(tmp_path, content):
    good = save(
        tmp_path / "good.png", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    )
    data = good.read_bytes()[:2000] if content == "cut" else content
    (tmp_path / "broken.png").write_bytes(data)
    with pytest.raises(errors.DataError, match=r"broken\.png"):
        load(tmp_path)


def test_a_decompression_bomb_is_refused_without_decoding(tmp_path):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(errors.DataError, match=r"bomb\.png"):
        load(tmp_path)


def test_missing_pixels_are_refused_even_when_imputing():
    x = np.zeros((1, 3, 5, 5))
    x[0, 1, 2, 3] = np.nan
    with pytest.raises(errors.DataError, match="image 0, channel 1"):
        as_dataset(x, missing="impute")


def test_flat_files_take_their_labels_from_a_file(tmp_path):
    for name in "abc":
        save(tmp_path / "set" / f"{name}.png", GREY[0])
    (tmp_path / "labels.csv").write_text("file,label\na,x\nc.png,y\n")
    data = load(tmp_path / "set", labels=tmp_path / "labels.csv")
    assert data.y.tolist() == [0, -1, 1]
    with pytest.raises(errors.DataError, match="no class sub-folders"):
        load(tmp_path / "set", labels="folders")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..\\secret", "C:\\secret"])
def test_a_label_file_cannot_lead_out_of_the_folder(tmp_path, name):
    save(tmp_path / "set" / "a.png", GREY[0])
    (tmp_path / "labels.csv").write_text(f"file,label\n{name},x\n")
    with pytest.raises(errors.DataError, match="leads out of the folder"):
        load(tmp_path / "set", labels=tmp_path / "labels.csv")


def test_a_stem_that_two_files_share_is_refused(tmp_path):
    save(tmp_path / "set" / "a.png", GREY[0])
    save(tmp_path / "set" / "a.bmp", GREY[0])
    (tmp_path / "labels.csv").write_text("file,label\na,x\n")
    with pytest.raises(errors.DataError, match=r"'a' fits a\.bmp and a\.png"):
        load(tmp_path / "set", labels=tmp_path / "labels.csv")


def test_links_that_leave_or_loop_are_refused(tmp_path):
    save(tmp_path / "set" / "a.png", GREY[0])
    outside = save(tmp_path / "outside.png", GREY[0])
    for target, said in (
        (outside, "leaves the folder"),
        (tmp_path / "set", "link to a folder"),
        (tmp_path / "set" / "link.png", "nowhere or in a circle"),
        (tmp_path / "absent.png", "nowhere or in a circle"),
    ):
        link = tmp_path / "set" / "link.png"
        link.symlink_to(target)
        with pytest.raises(errors.DataError, match=said):
            load(tmp_path / "set")
        link.unlink()
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "set" / "a.png")
    assert len(load(tmp_path / "set")) == 2


def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(errors.DataError, match="neither a file nor a folder"):
        load(tmp_path)


def test_a_whole_path_means_that_file_even_where_another_has_the_same_name(tmp_path):
    save(tmp_path / "set" / "a.png", GREY[0])
    save(tmp_path / "set" / "sub" / "a.png", GREY[0])
    (tmp_path / "labels.csv").write_text("file,label\na.png,x\n")
    data = load(tmp_path / "set", labels=tmp_path / "labels.csv")
    assert dict(zip(data.ids, data.y.tolist(), strict=True)) == {"a.png": 0, "sub/a.png": -1}


def test_only_image_formats_are_decoded_whatever_the_name_says(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(GREY[0]).save(buffer, "PCX")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    with pytest.raises(errors.DataError, match=r"a\.png"):
        load(tmp_path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("last", [False, True])
def test_arrays_have_one_to_four_channels_of_8_or_16_bits(channels, dtype, last):
    x = np.zeros((2, channels, 6, 5), dtype)
    x[1] = np.iinfo(dtype).max
    data = as_dataset(x.transpose(0, 2, 3, 1) if last else x, modality="images")
    assert data.spec.shape == (channels, 6, 5)
    most = {"uint8": 1, "uint16": 65535}[dtype]
    assert data.take(torch.arange(2)).x.amax((1, 2, 3)).tolist() == [0, most]


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tiff", "gif", "ppm", "jpg"])
def test_the_formats_of_image_files_give_one_image(tmp_path, suffix):
    pixels = np.full((6, 5, 3), 200, np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    Image.fromarray(pixels[::-1]).save(tmp_path / f"b.{suffix}")
    data = load(tmp_path)
    assert data.spec.shape[1:] == (6, 5)
    assert ((data.x.int() - 200).abs() <= 4).all()
