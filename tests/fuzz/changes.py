"""Changes to the folder of a model, each drawn from a number: bytes, fields, tensors, and what files are.

Most are sealed afterwards: the digest is made anew, as someone would who knows how, so that what stands
behind it is reached too.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file

from tacita.engine.checkpoint import read_tensors, write_tensors
from tacita.model.folder import digest

WEIGHTS = "model.safetensors"
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 3, 7, 255, 2**24, 2**31, 2**63, 10**30, -(2**40), 0.5, 1e308, float("nan"),
    float("inf"), "", "x", "\u0000", "a" * 5000, "../../etc/passwd", "os.system", [], {}, [1], [[]],
    [0] * 2000, ["a", "a"], {"a": 1}, [None], [1e9, 1e9], [2**24, 2**24], "series", "text", "images",
    "volumes", "tables", "regression", "ordinal", "classification", "segmentation", "open-set",
)  # fmt: skip


def change(number: int, folders: Path, kinds: list[str], folder: Path) -> tuple[str, str]:
    """Copy one model of those in `folders` to `folder` and change it; gives which, and what was done."""
    drawn = np.random.default_rng(number)
    kind = kinds[int(drawn.integers(len(kinds)))]
    shutil.copytree(folders / kind, folder)
    said = [str(_one(drawn, folder, folders, kinds))]
    if drawn.random() < 0.15:
        said.append(str(_one(drawn, folder, folders, kinds)))
    if drawn.random() < 0.85 and sealed(folder):
        said.append("sealed")
    return kind, ", ".join(said)


def sealed(folder: Path) -> bool:
    """Make the digest anew, where files can be read at all."""
    kept = ("baseline.safetensors", "ledger.json")
    plain = all(path.is_file() and not path.is_symlink() for path in folder.iterdir())
    if not plain:
        return False
    try:
        tensors, metadata = read_tensors(folder / WEIGHTS, remedy="")
        files = [name for name in kept if (folder / name).exists()]
        metadata = {**metadata, "digest": digest(folder, files, tensors)}
        write_tensors(folder / WEIGHTS, tensors, metadata)
    except Exception:
        return False
    return True


def _one(drawn: np.random.Generator, folder: Path, folders: Path, kinds: list[str]) -> str:
    ways = (_bytes, _cut, _field, _field, _field, _tensor, _tensor, _tensor, _header, _kind, _deep)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    if drawn.random() < 0.06:
        other = folders / kinds[int(drawn.integers(len(kinds)))]
        name = _choice(drawn, sorted(path.name for path in other.iterdir()))
        shutil.copy(other / name, folder / name)
        return f"swapped {name} of {other.name}"
    return _choice(drawn, ways)(drawn, folder, names)


def _choice(drawn: np.random.Generator, among: Any) -> Any:
    return among[int(drawn.integers(len(among)))] if len(among) else None


def _bytes(drawn: np.random.Generator, folder: Path, names: list[str]) -> str:
    path = folder / _choice(drawn, names)
    content = bytearray(path.read_bytes()) or bytearray(b"x")
    for _ in range(int(drawn.integers(1, 9))):
        content[int(drawn.integers(len(content)))] = int(drawn.integers(256))
    path.write_bytes(content)
    return f"bytes {path.name}"


def _cut(drawn: np.random.Generator, folder: Path, names: list[str]) -> str:
    path = folder / _choice(drawn, names)
    content = path.read_bytes()
    place = int(drawn.integers(len(content) + 1))
    more = content[place : place + int(drawn.integers(1, 40))] if drawn.random() < 0.5 else b""
    path.write_bytes(content[:place] + more + (content[place:] if more else b""))
    return f"cut {path.name} at {place}"


def _field(drawn: np.random.Generator, folder: Path, names: list[str]) -> str:
    texts = [name for name in names if name.endswith((".json", ".yaml"))]
    path = folder / _choice(drawn, texts)
    try:
        raw = path.read_text(encoding="utf-8")
        if path.suffix == ".yaml" and "&" in raw:
            return f"field {path.name} unread"  # Names that stand for names would fill the memory here.
        value = json.loads(raw) if path.suffix == ".json" else yaml.safe_load(raw)
    except Exception:
        return f"field {path.name} unread"
    where = _places(value)
    keys = _choice(drawn, where)
    if not keys:
        return f"field {path.name} empty"
    at = value
    for key in keys[:-1]:
        at = at[key]
    odd, way = _choice(drawn, ODD), drawn.random()
    old = at[keys[-1]]
    if way < 0.1:
        del at[keys[-1]]
    elif way < 0.2 and isinstance(at, dict):
        at["unknown"] = odd
    elif way < 0.4 and isinstance(old, int | float):
        at[keys[-1]] = old * _choice(drawn, (-1, 2, 10, 1e6, 0)) + _choice(drawn, (-1, 1, 0))
    elif way < 0.5 and isinstance(old, list):
        at[keys[-1]] = old * int(_choice(drawn, (2, 50))) if drawn.random() < 0.5 else old[:-1]
    else:
        at[keys[-1]] = odd
    dumped = json.dumps(value) if path.suffix == ".json" else yaml.safe_dump(value)
    path.write_text(dumped, encoding="utf-8", errors="replace")
    return f"field {path.name} {'.'.join(map(str, keys))} {str(odd)[:30]!r}"


def _places(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value[:3]))
    else:
        return []
    return [
        place for key, each in items for place in [(*before, key), *_places(each, (*before, key))]
    ]


def _tensor(drawn: np.random.Generator, folder: Path, names: list[str]) -> str:
    path = folder / _choice(
        drawn, [name for name in names if name.endswith(".safetensors")] or [""]
    )
    try:
        tensors = load_file(path)
        metadata = read_tensors(path, remedy="")[1]
    except Exception:
        return f"tensor {path.name} unread"
    name = _choice(drawn, sorted(tensors))
    if name is None:
        return f"tensor {path.name} empty"
    old = tensors[name]
    way = int(drawn.integers(12))
    flat = old.clone().reshape(-1)
    place = int(drawn.integers(max(1, flat.numel())))
    if way < 5 and flat.numel():
        floats = (float("nan"), float("inf"), -float("inf"), 0.0, 1e30, -1e30, 1e-38, 3.0)
        wholes = (-1, 0, 1, -2, 2**31 - 1, -(2**63), 2**40, int(flat.numel()), 255)
        few = floats if old.is_floating_point() else wholes
        odd = _choice(drawn, few)
        if old.dtype not in (torch.float32, torch.float64, torch.int64):
            odd = 1
        if drawn.random() < 0.2:
            flat[:] = odd
        else:
            flat[place] = odd
        tensors[name] = flat.reshape(old.shape)
    elif way == 5:
        tensors[name] = old.to(
            _choice(drawn, (torch.float16, torch.float64, torch.int64, torch.bool))
        )
    elif way == 6:
        tensors[name] = flat[: int(drawn.integers(flat.numel() + 1))].clone()
    elif way == 7:
        tensors[name] = torch.cat([old, old]) if old.ndim else old[None]
    elif way == 8:
        del tensors[name]
    elif way == 9:
        tensors[_choice(drawn, ("more", "head/more", "0/more", name + "x"))] = old.clone()
    elif way == 10 and flat.numel() > 1:
        tensors[name] = flat[
            torch.randperm(len(flat), generator=torch.Generator().manual_seed(place))
        ]
        tensors[name] = tensors[name].reshape(old.shape).clone()
    else:
        tensors[name] = torch.zeros(0, dtype=old.dtype) if way == 11 else torch.zeros_like(old)
    own = {key: value.contiguous().clone() for key, value in tensors.items()}
    save_file(own, path, {"tacita": json.dumps(metadata)})
    return f"tensor {path.name} {name} way {way}"


def _header(drawn: np.random.Generator, folder: Path, names: list[str]) -> str:
    path = folder / _choice(
        drawn, [name for name in names if name.endswith(".safetensors")] or [""]
    )
    try:
        content = path.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
    except Exception:
        return f"header {path.name} unread"
    where = _places(header)
    keys = _choice(drawn, where)
    at = header
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = _choice(drawn, (*ODD, "F64", "I64", "BF16", "BOOL", [0, 2**62], [2**32, 2**32]))
    raw = json.dumps(header).encode(errors="replace")
    told = (
        len(raw)
        if drawn.random() < 0.9
        else int(_choice(drawn, (0, 2**40, 2**63, 3, len(content))))
    )
    path.write_bytes(struct.pack("<Q", told) + raw + content[8 + size :])
    return f"header {path.name} {'.'.join(map(str, keys))}"


def _kind(drawn: np.random.Generator, folder: Path, names: list[str]) -> str:
    """A file that is none: a link, a pipe, a folder, empty, gone; or one too many."""
    path = folder / _choice(drawn, names)
    way = int(drawn.integers(8))
    if way == 7:
        (
            folder
            / _choice(drawn, ("baseline.safetensors", "baseline.pkl", "ledger.json", "model.py"))
        ).write_bytes(b"x")
        return "kind one more"
    path.unlink()
    if way == 0:
        path.symlink_to("/dev/zero")
    elif way == 1:
        path.symlink_to(folder)
    elif way == 2:
        os.mkfifo(path)
    elif way == 3:
        path.mkdir()
    elif way == 4:
        path.write_bytes(b"")
    elif way == 5:
        path.symlink_to(path)
    return f"kind {path.name} way {way}"


def _deep(drawn: np.random.Generator, folder: Path, names: list[str]) -> str:
    """Brackets in brackets, names that stand for themselves, or a file that is far too large."""
    path = folder / _choice(drawn, [name for name in names if name.endswith((".json", ".yaml"))])
    depth = int(_choice(drawn, (100, 300, 2000, 100_000)))
    way = int(drawn.integers(4))
    raw = path.read_text(encoding="utf-8", errors="replace")
    if way == 0:
        path.write_text("[" * depth + "]" * depth)
    elif way == 1:
        path.write_text(
            raw.rstrip().removesuffix("}") + ', "deep": ' + "[" * depth + "]" * depth + "}"
        )
    elif way == 2:
        path.write_text('{"a":' * depth + "1" + "}" * depth)
    elif path.suffix == ".yaml":
        lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
        path.write_text("\n".join(lines))
    else:
        with path.open("r+b") as file:
            file.truncate(2**28)
    return f"deep {path.name} way {way} of {depth}"
