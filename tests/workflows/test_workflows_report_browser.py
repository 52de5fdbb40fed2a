"""The report in a real browser: no errors, nothing wider than a phone, and the figures of the JSON."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aimc_deploy.artifact.noise_budget import losses
from aimc_deploy.artifact.results import from_json
from aimc_deploy.config.run import Run
from aimc_deploy.workflows import adapt, evaluate, report

Configure = Callable[..., Run]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium or Chrome on the PATH")

# In the page: what is on it, told to whoever shows it.
PROBE = """<script>
const box = element => element.getBoundingClientRect();
parent.postMessage({
  wide: document.documentElement.scrollWidth, window: innerWidth,
  pictures: [...document.querySelectorAll("svg")].map(svg => [box(svg).width, box(svg).height]),
  ink: getComputedStyle(document.querySelector("figure.plot svg text")).fill,
  paper: getComputedStyle(document.body).backgroundColor,
  text: getComputedStyle(document.body).color,
}, "*");
</script>"""
# Around the page: no window of Chromium is as narrow as a phone, but a frame may be.
FRAME = """<!doctype html><title>nothing</title><script>
addEventListener("message", event => { document.title = JSON.stringify(event.data); });
</script><iframe src="page.html" style="width: %dpx; height: 800px; border: 0"></iframe>"""


@pytest.fixture(scope="module")
def bundle(adapted_once: Path, configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copytree(adapted_once, tmp_path_factory.mktemp("page") / "bundle"))
    adapt.run(configure(path, adapt={"epochs": 0.3, "hardware_aware": False}))
    asked = {"chips": 3, "times": ("0s", "1y"), "noise_budget": 2, "gate": {"max_drop": 0.0, "at": "1y"}}
    evaluate.run(
        configure(path, hardware="pcm-x12", evaluate={**asked, "adapters": ("sst2", "sst2-digital")})
    )
    report.run(path)
    return path


def browse(page: Path, *options: str) -> tuple[str, list[str]]:
    """The page as the browser has built it, and what it wrote to its console."""
    command = [
        str(BROWSER),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={page.parent / 'profile'}",
        *("--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=1280,900"),
        *options,
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, re.findall(r":CONSOLE[:(].*", done.stderr)


def probe(bundle: Path, folder: Path, width: int, *options: str) -> dict[str, Any]:
    text = (bundle / "report" / "index.html").read_text(encoding="utf-8")
    (folder / "page.html").write_text(text.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME % width, encoding="utf-8")
    dom, console = browse(folder / "frame.html", *options)
    assert console == []
    title = re.search(r"<title>(.*?)</title>", dom, re.S)
    assert title is not None
    return json.loads(html.unescape(title[1]))


def test_figures_in_the_browser_are_those_of_the_results(bundle: Path, tmp_path: Path) -> None:
    shutil.copy(bundle / "report" / "index.html", tmp_path / "page.html")
    dom, console = browse(tmp_path / "page.html")
    assert console == []
    rows = [
        [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in cells]
        for cells in (
            re.findall(r"<t[dh]\b[^>]*>(.*?)</t[dh]>", row, re.S)
            for row in re.findall(r"<tr>(.*?)</tr>", dom, re.S)
        )
    ]
    content = json.loads((bundle / "results" / "sst2.json").read_text())
    for baseline in content["baselines"]:
        digital = f"{baseline['metrics']['accuracy']:.4f}"
        own = [part for part in content["summary"] if part["adapter"] == baseline["adapter"]]
        cells = [f"{p['mean']:.4f} ± {p['std']:.4f} {p['ci_low']:.4f} to {p['ci_high']:.4f}" for p in own]
        assert [baseline["adapter"], digital, *cells] in rows
        lost = f"{baseline['metrics']['accuracy'] - own[-1]['mean']:+.4f}"
        ends = [f"{own[0]['mean']:.4f} 0s", f"{own[-1]['mean']:.4f} 1y"]
        assert ["sst2", baseline["adapter"], "accuracy", "fails", digital, *ends, lost] in rows
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", dom)).split())
    assert "Fail. The gate fails for sst2, sst2-digital." in text
    for loss in losses(from_json(json.dumps(content))):
        assert f"{loss.mean:+.4f} ± {loss.std:.4f}" in text
    assert content["gate"] == {"min_accuracy": None, "max_drop": 0.0, "at": "1y"}
    assert text.count("at most 0 is allowed") == 2, "each failure is told"


def test_the_console_of_a_page_with_a_mistake_is_seen(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<script>nowhere.to.be.found</script>")
    _, console = browse(tmp_path / "page.html")
    assert len(console) == 1
    assert "nowhere is not defined" in console[0]


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen_and_every_picture_is_drawn(bundle: Path, tmp_path: Path, width: int) -> None:
    found = probe(bundle, tmp_path, width)
    assert found["window"] == width
    assert found["wide"] <= width, "the page itself must not scroll sideways"
    assert len(found["pictures"]) == 4, "accuracy, noise budget, layers, tiles"
    assert all(w > 100 and h > 50 for w, h in found["pictures"])


def test_dark_and_light(bundle: Path, tmp_path: Path) -> None:
    light = probe(bundle, tmp_path, 800)
    dark = probe(bundle, tmp_path, 800, "--blink-settings=preferredColorScheme=0")
    for found in (light, dark):
        assert found["ink"] == found["text"], "the plot is drawn in the colour of the text"
    assert light["text"] == "rgb(0, 0, 0)"
    assert dark["text"] == "rgb(255, 255, 255)"
