"""One small damage after the other, to the bytes of a file or to what its format packs in it."""

import ast
import gzip
import io
import random
import struct
import zipfile

import pyarrow as pa

EXTREME = [0, 1, -1, 127, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, -(2**31), 2**32, 2**62, -(2**63)]
CELLS = [
    "", " ", "nan", "NaN", "NA", "N/A", "#DIV/0!", "inf", "-inf", "1e400", "-1e39", "1e-400", "0x10",
    "1_000", "1,5", "1 000", "12%", "$3", "None", "null", "true", "-1", "99999999999999999999", "\0",
    "\ufeff", "\ud7ff", "\u202e", "\x1b[31m", '"', "'", "=1+1", "2024-02-30", "2024-01-01T00:00:00Z",
    "1700000000000000000", "u" * 5000, "?", "a:b", "..", "/etc/passwd",
]  # fmt: skip
SHAPES = [
    "(True,)",
    "(3,)",
    "()",
    "(0,)",
    "(-1, 2)",
    "(2**62, 2)",
    "(3, 8)",
    "(24, 0, 5)",
    "(1,) * 40",
]
DTYPES = ["'|S0'", "'<U0'", "'|O'", "'<f8'", "'>f4'", "'<U3'", "'<c8'", "'<M8[ns]'", "'|V4'", "'<f2'",
          "'|b1'", "[('a', '<f4')]", "'<f16'", "'<i8'", "'|S9'"]  # fmt: skip


def mutated(name: str, content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A file with one to three faults; within what is packed as often as in the packing itself."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        content = _once(name.lower(), content, others, rng)
    return content


def _once(name: str, content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    inside = rng.random() < 0.7
    try:
        if inside and name.endswith((".npz", ".zip", ".xlsx")):
            return _member(name, content, rng)
        if inside and name.endswith(".gz"):
            return gzip.compress(_once(name[:-3], gzip.decompress(content), others, rng))
        if inside and name.endswith(".zst"):
            plain = pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()
            return bytes(pa.compress(_once(name[:-4], plain, others, rng), "zstd", asbytes=True))
        if inside and name.endswith(".npy"):
            return _header(content, rng)
        if inside and name.endswith((".csv", ".tsv", ".txt", ".jsonl", ".ts", ".xml")):
            return _field(content, rng)
    except Exception:
        pass  # Damaged already, so the bytes are all that is left to damage.
    return _bytes(content, others, rng)


def _member(name: str, content: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    if not members:
        return content
    chosen = rng.choice(sorted(members))
    action = rng.random()
    if action < 0.08:
        del members[chosen]
    elif action < 0.14:
        members[rng.choice(["../out.csv", "/abs.csv", "y.npy", "a/b.csv", "x" * 300])] = members[
            chosen
        ]
    else:
        members[chosen] = _once(chosen.lower(), members[chosen], list(members.values()), rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    ) as out:
        for each, data in members.items():
            out.writestr(each, data)
    return buffer.getvalue()


def _header(content: bytes, rng: random.Random) -> bytes:
    """Another shape, type or order in the header of an array."""
    size = struct.unpack("<H", content[8:10])[0]
    fields = ast.literal_eval(content[10 : 10 + size].decode())
    shown = {key: repr(value) for key, value in fields.items()}
    what = rng.choice(["shape", "descr", "fortran_order"])
    choices = {"shape": SHAPES, "descr": DTYPES, "fortran_order": ["True", "0", "'x'"]}[what]
    shown[what] = rng.choice(choices)
    shown["shape"] = (
        shown["shape"].replace("2**62", str(2**62)).replace("(1,) * 40", str((1,) * 40))
    )
    head = ("{" + ", ".join(f"{key!r}: {value}" for key, value in shown.items()) + "}").encode()
    head = head.ljust(size - 1) + b"\n"
    return content[:8] + struct.pack("<H", len(head)) + head + content[10 + size :]


def _field(content: bytes, rng: random.Random) -> bytes:
    """A line or a cell of a text that is gone, there twice, elsewhere, or of another kind."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    at = rng.randrange(len(lines))
    action = rng.randrange(6)
    if action == 0:
        lines.insert(rng.randrange(len(lines) + 1), lines[at])
    elif action == 1:
        del lines[at]
    elif action == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        mark = rng.choice([",", ":", ";", "\t", '"', "<", ">"])
        cells = lines[at].split(mark)
        cell = rng.randrange(len(cells))
        cells[cell] = rng.choice(CELLS)
        if action == 3:
            cells.insert(cell, rng.choice(CELLS))
        lines[at] = mark.join(cells)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _bytes(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    data = bytearray(content)
    if not data:
        return rng.randbytes(rng.randrange(40))
    start = rng.randrange(len(data))
    span = slice(start, start + 1 + rng.randrange(min(64, len(data))))
    action = rng.randrange(8)
    if action < 3:
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif action == 3:
        del data[start:]
    elif action == 4:
        del data[span]
    elif action == 5:
        data[start:start] = data[span]
    elif action == 6:
        kind = rng.choice(["<i", ">i", "<q", ">q", "<h"])
        width = struct.calcsize(kind)
        number = rng.choice(EXTREME) % 2 ** (8 * width)
        data[start : start + width] = struct.pack(kind.upper(), number)
    else:
        other = rng.choice(others)
        cut = rng.randrange(len(other) + 1)
        data[start:] = other[cut:]
    return bytes(data)
