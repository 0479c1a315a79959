"""A page with each recording before and after, and what happened in between."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from string import Template

from mosaic_emulator.core.counters import Counts
from mosaic_emulator.demo.pipeline import Event

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Before and after</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #8885; padding: 1rem 0; }
.videos { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; }
figcaption { opacity: 0.7; }
video { height: 16rem; max-width: 100%; border-radius: 0.5rem; background: #000; }
.fault { color: #c62828; font-weight: 600; }
td { padding: 0 2rem 0 0; }
</style>
</head>
<body>
<h1>Before and after</h1>
<p>Airflow's DAG <code>mosaic_nightly_pipeline</code> has uploaded, edited, downloaded and posted each recording.
Mosaic was the local emulator. No credits were used, and nothing is public.</p>
$sections
<section>
<h2>What Mosaic has counted</h2>
<table>
$counts
</table>
</section>
</body>
</html>
""")


def write_page(
    path: Path, sources: list[Path], edited: dict[str, list[Path]], story: list[Event], counts: Counts
) -> Path:
    """Write the page, with relative links to the videos, and return its path."""
    sections = [
        f"<section>\n<h2>{escape(source.name)}</h2>\n<div class='videos'>\n{_video(path, source, 'before')}\n"
        + "\n".join(_video(path, each, "after") for each in edited[source.name])
        + "\n</div>\n<ol>\n"
        + "\n".join(_item(event) for event in story if event.recording == source.name)
        + "\n</ol>\n</section>"
        for source in sources
    ]
    rows = {
        "recordings": len(sources),
        "uploads": counts.uploads_finalized,
        "runs started": counts.runs_started,
        "runs resumed": counts.runs_resumed,
        "posts": counts.posts_made,
    }
    table = "\n".join(f"<tr><td>{name}</td><td>{count}</td></tr>" for name, count in rows.items())
    path.write_text(_PAGE.substitute(sections="\n".join(sections), counts=table), encoding="utf-8")
    return path


def _video(page: Path, video: Path, caption: str) -> str:
    link = escape(os.path.relpath(video, page.parent), quote=True)
    player = f"<video controls autoplay muted loop src='{link}'></video>"
    return f"<figure>{player}<figcaption>{caption}</figcaption></figure>"


def _item(event: Event) -> str:
    kind = " class='fault'" if event.text.startswith("FAULT") else ""
    return f"<li{kind}>{escape(event.text)}</li>"
