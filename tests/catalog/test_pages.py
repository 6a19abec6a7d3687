"""The pages say what stands in the source and in the results, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tacita.catalog import claims, discover
from tacita.catalog.pages import method_list, method_page
from tacita.errors import ConfigError

pytestmark = pytest.mark.usefixtures("house")


def test_the_list_has_a_line_a_method_under_its_family() -> None:
    lines = method_list(discover.search()).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "encoder",
        "pretrain",
        "adapt",
        "baseline",
    ]
    assert lines[1].split() == ["tiny-cnn", "images", "Looks", "at", "images."]
    assert len(lines) == 8
    narrow = method_list(discover.search(), width=40).splitlines()
    assert max(map(len, narrow)) == 40
    assert method_list([]) == ""


def test_the_page_has_the_card_and_the_options_with_their_defaults() -> None:
    page = method_page("tiny-probe")
    for part in (
        "tiny-probe: Tiny probe (adapt)",
        "https://example.org/probe (2020)",
        "tacita.adapt.tiny_probe.TinyProbe",
        "width=8  a whole number; how wide it is, in features.",
        "pool=None  'mean', 'max' or null",
        "views=required  only given from Python",
        "tacita adapt tiny-probe DATA",
    ):
        assert part in page
    assert page.count("how wide it is") == 1
    assert "measured" not in page


def test_measured_figures_are_shown_where_there_are_any() -> None:
    results = claims._folders()[0] / "results"
    results.mkdir(parents=True)
    (results / "tiny-probe.json").write_text(
        json.dumps({"holds": False, "mean": {"probe": 0.912345, "random": 0.95}, "seeds": [1, 2]})
    )
    page = method_page("tiny-probe")
    assert "claim does NOT hold here: probe 0.912, random 0.950 (mean of 2 seeds)" in page
    (results / "tiny-probe.json").write_text("{")
    with pytest.raises(ConfigError, match=r"tiny-probe\.json: is not JSON"):
        method_page("tiny-probe")


def test_a_claim_script_is_found_in_the_clone_or_in_the_wheel(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tiny-probe has no claim check"):
        claims.claim_script("tiny-probe")
    with pytest.raises(ConfigError, match="did you mean tiny-probe"):
        claims.claim_script("tiny-prob")
    wheel = discover.ROOT / "_claims" / "tiny_probe.py"
    wheel.parent.mkdir()
    wheel.touch()
    assert claims.claim_script("tiny-probe") == wheel
