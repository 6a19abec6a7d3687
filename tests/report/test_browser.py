"""The page in a real browser, with the network off: it draws, fits the screen and reports no error."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tacita.report.page import render

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium found: apt-get install chromium"),
]

# A window is never narrower than 500 px, so a narrow screen is a frame in it. The frame shares its
# parent's origin, which can therefore measure what is drawn inside.
FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="screen" style="border:0;width:WIDTHpx;height:HEIGHTpx"></iframe>
<script id="text" type="application/json">TEXT</script>
<script>
const screen_ = document.getElementById("screen");
screen_.onload = () => setTimeout(() => {
  const page = screen_.contentDocument, right = (e) => e.getBoundingClientRect().right;
  const wide = [...page.querySelectorAll("section, .plot .main-svg, figure, .errors img, .errors svg")]
    .filter((e) => e.clientWidth && right(e) > right(e.parentElement) + 1);
  document.body.dataset.result = JSON.stringify({
    errors: page.body.dataset.errors,
    figures: Number(page.body.dataset.figures),
    drawn: page.querySelectorAll(".plot > .js-plotly-plot .main-svg, .js-plotly-plot .plot-container").length,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    wide: wide.map((e) => e.outerHTML.slice(0, 80)),
    ink: page.querySelectorAll(".plot .scatterlayer path, .plot .heatmaplayer image").length,
    dark: page.defaultView.matchMedia("(prefers-color-scheme: dark)").matches,
  });
}, 1500);
screen_.srcdoc = JSON.parse(document.getElementById("text").textContent);
</script>"""


def browse(folder, text, *, width, dark=False, height=3000):
    """What the frame measured, what the console said, and a screenshot."""
    values = {"WIDTH": str(width), "HEIGHT": str(height)}
    values["TEXT"] = json.dumps(text).replace("<", "\\u003c")
    page = folder / "frame.html"
    page.write_text(re.sub("WIDTH|HEIGHT|TEXT", lambda word: values[word[0]], FRAME), "utf-8")
    shot = folder / f"{width}{'-dark' if dark else ''}.png"
    flags = f"""--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
        --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars
        --proxy-server=127.0.0.1:9 --enable-logging=stderr --v=0 --virtual-time-budget=8000
        --user-data-dir={folder / "profile"} --window-size={max(width, 500)},{height}
        --blink-settings=preferredColorScheme={0 if dark else 1}
        --dump-dom --screenshot={shot} {page.as_uri()}""".split()
    output = subprocess.run([CHROMIUM, *flags], capture_output=True, timeout=120, check=True)
    found = re.search(rb'data-result="([^"]*)"', output.stdout)
    assert found, output.stderr.decode()[-2000:]
    result = json.loads(
        found[1].decode().replace("&quot;", '"').replace("&lt;", "<").replace("&amp;", "&")
    )
    console = [line for line in output.stderr.decode().splitlines() if "CONSOLE" in line]
    return result, console, shot


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize(
    "name, figures", [("full", 10), ("regression", 3), ("ordinal", 2), ("hostile", 8)]
)
def test_a_page_draws_fits_and_has_no_error(tmp_path, request, name, figures, width):
    text = render(request.getfixturevalue(name))
    result, console, shot = browse(tmp_path, text, width=width, dark=width == 400)
    assert console == []
    assert result["errors"] == ""
    assert result["figures"] == result["drawn"] == figures
    assert result["ink"] >= figures
    assert result["overflow"] == 0
    assert result["wide"] == []
    assert result["dark"] == (width == 400)
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[1] == max(width, 500)
    assert len(np.unique(pixels)) > 30
    assert (pixels.mean() < 80) == (width == 400)


def test_an_injected_script_is_refused_by_the_pages_own_policy(tmp_path, full):
    text = render(full).replace("</main>", "<script>document.title = 'owned'</script></main>", 1)
    result, console, _ = browse(tmp_path, text, width=1280)
    assert any("Content Security Policy" in line for line in console)
    assert result["figures"] == 10


def test_a_broken_figure_is_seen_in_the_error_count(tmp_path, full):
    text = render(full).replace('id="figure-map"', 'id="figure-gone"', 1)
    result, _, _ = browse(tmp_path, text, width=1280)
    assert "null" in result["errors"]
