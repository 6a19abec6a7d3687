"""A small valid file of every kind that is read, by the name that it is written under."""

import gzip
import io
import zipfile

import nibabel
import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

FRAME = pd.DataFrame(
    {
        "a": [1.5, -2.0, 3e5, 4.0],
        "b": ["u", "v", "u", "w"],
        "c": [True, False, True, True],
        "y": ["p", "", "q", "p"],
    }
)
LONG = pd.DataFrame({"m": list("ppqq"), "t": [0, 1, 0, 1], "u": [1.0, 2, 3, 4], "y": list("aabb")})
SERIES = np.arange(24, dtype=np.float32).reshape(3, 4, 2)


def written(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def image(kind, mode="RGB", **options):
    pixels = np.arange(108, dtype=np.uint8).reshape(6, 6, 3)
    picture = Image.fromarray(pixels).convert(mode)
    return written(lambda file: picture.save(file, kind, **options))


def zipped(members):
    def write(file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return written(write)


def arrow(compression, frame=FRAME):
    options = pa.ipc.IpcWriteOptions(compression=compression)

    def write(file):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.ipc.new_file(file, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=3)

    return written(write)


def session():
    times = {"EDA.csv": 4, "TEMP.csv": 4, "BVP.csv": 8}
    return {name: f"100.0\n{rate}.0\n" + "33.0\n" * (520 * rate) for name, rate in times.items()}


WORDS = FRAME.astype({"b": "category", "y": "category"})
CSV = FRAME.to_csv(index=False).encode()
JSONL = FRAME.to_json(orient="records", lines=True).encode()
NIFTI = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(4, 3, 2), np.eye(4)).to_bytes()
SEEDS = {
    "t.csv": CSV,
    "t.tsv": FRAME.to_csv(index=False, sep="\t").encode(),
    "t.txt": FRAME.to_csv(index=False, sep=";").encode(),
    "t.csv.gz": gzip.compress(CSV),
    "t.csv.zst": pa.compress(CSV, "zstd", asbytes=True),
    "t.csv.zip": zipped({"one.csv": CSV, "two.csv": CSV}),
    "t.zip": zipped({"one.csv": CSV}),
    "t.jsonl": JSONL,
    "t.jsonl.gz": gzip.compress(JSONL),
    "t.parquet": written(lambda file: FRAME.to_parquet(file)),
    "p.parquet": written(
        lambda file: FRAME.to_parquet(file, compression="zstd", use_dictionary=False)
    ),
    "t.feather": arrow("lz4"),
    "t.arrow": arrow(None),
    "z.arrow": arrow("zstd"),
    "t.words.parquet": written(lambda file: WORDS.to_parquet(file)),
    "t.words.arrow": arrow("lz4", WORDS),
    "t.xlsx": written(lambda file: FRAME.to_excel(file, index=False)),
    "long.csv": LONG.to_csv(index=False).encode(),
    "long.parquet": written(lambda file: LONG.to_parquet(file)),
    "x.npy": written(lambda file: np.save(file, SERIES)),
    "u.npy": written(lambda file: np.save(file, SERIES.astype(np.uint8))),
    "x.npz": written(lambda file: np.savez(file, x=SERIES, y=["a", "", "b"], lengths=[4, 1, 2])),
    "v.npz": written(
        lambda file: np.savez_compressed(file, values=SERIES[0], lengths=[1, 3], y=[0, 1])
    ),
    "time.npz": written(lambda file: np.savez(file, x=SERIES, time=np.arange(12.0).reshape(3, 4))),
    "s.ts": b"@classLabel true a b\n@data\n1,2:3,4:a\n5,6:7,8:b\n",
    "r.zip": zipped(session()),
    "n.nii": NIFTI,
    "n.nii.gz": gzip.compress(NIFTI),
    "set/i.png": image("PNG"),
    "set/p.png": image("PNG", "P"),
    "set/i.jpg": image("JPEG"),
    "set/i.bmp": image("BMP"),
    "set/i.webp": image("WEBP", lossless=True),
    "set/i.tiff": image("TIFF", compression="tiff_deflate"),
    "set/i.gif": image("GIF"),
    "set/i.ppm": image("PPM"),
    "set/s.csv": b"u,v\n1,2\n3,4\n",
    "set/s.csv.gz": gzip.compress(b"u,v\n1,2\n3,4\n"),
    "set/s.npy": written(lambda file: np.save(file, SERIES[0])),
    "set/t.txt": "gr\u00fc\u00dfe und mehr\n".encode(),
    "labels/labels.csv": b"file,label\ni.png,a\nj.png,b\n",
}
