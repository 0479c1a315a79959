"""What a soak came to: every pipeline's run, files and post, compared with what the local Mosaic has."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mosaic_emulator import Emulator

ACTIVE = frozenset({"running", "queued", "pending", "processing"})


@dataclass(kw_only=True)
class Pipeline:
    """
    One recording's way.

    :param name: Its name, which is its file's and its post's.
    :param folder: Where its outputs go.
    :param run_id: The run that its task names, once it is known.
    :param orders: How often a run was asked for: once, and once more for each clear by a person.
    """

    name: str
    folder: Path
    run_id: str | None = None
    orders: int = 1


@dataclass(kw_only=True)
class Findings:
    """The four that must be nothing, each with a line for everything that was found."""

    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    lost_outputs: list[str] = field(default_factory=list)
    wrong_posts: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there is nothing."""
        return not (self.duplicates or self.orphans or self.lost_outputs or self.wrong_posts)


def runs_by_recording(mosaic: Emulator) -> dict[str, list[dict[str, Any]]]:
    """The runs of each recording, by the uploads that they were given."""
    names = {upload["id"]: Path(upload["file_name"] or "?").stem for upload in mosaic.uploads()}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in mosaic.runs():
        for name in {names.get(each["reference"], "?") for each in run["inputs"]}:
            found[name].append(run)
    return found


def audit(
    mosaic: Emulator, pipelines: Iterable[Pipeline], *, settled: frozenset[str] = frozenset(), posted: bool = True
) -> Findings:
    """
    Compare.

    :param mosaic: The local Mosaic, without faults by now.
    :param pipelines: All of them.
    :param settled: Runs that a person has looked at and decided about.
    :param posted: Whether each pipeline ends with a post.
    """
    findings = Findings()
    runs = runs_by_recording(mosaic)
    posts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for post in mosaic.posts():
        posts[post["description"]].append(post)
    pipelines = list(pipelines)
    for pipeline in pipelines:
        started = runs.pop(pipeline.name, [])
        if len(started) > pipeline.orders:
            findings.duplicates.append(f"{pipeline.name}: {len(started)} runs for {pipeline.orders} order(s)")
        for run in started:
            owned = run["run_id"] == pipeline.run_id or run["run_id"] in settled or run["status"] == "cancelled"
            if not owned or run["status"] in ACTIVE:
                findings.orphans.append(f"{pipeline.name}: run {run['run_id']} is {run['status']}, nobody has it")
        outputs = _outputs(mosaic, pipeline.run_id)
        findings.lost_outputs += [f"{pipeline.name}: {lost}" for lost in _lost(pipeline.folder, outputs)]
        made = posts.pop(pipeline.name, [])
        if len(made) > 1:
            findings.duplicates.append(f"{pipeline.name}: {len(made)} posts")
        if posted:
            findings.wrong_posts += [f"{pipeline.name}: {wrong}" for wrong in _wrong(made, outputs)]
    findings.orphans += [f"{name}: {len(more)} run(s) of no pipeline" for name, more in runs.items()]
    findings.wrong_posts += [f"{text}: a post of no pipeline" for text in posts]
    return findings


def _ask(mosaic: Emulator, path: str) -> dict[str, Any]:
    request = urllib.request.Request(mosaic.url + path, headers={"Authorization": f"Bearer {mosaic.api_key}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        body: dict[str, Any] = json.load(answer)
        return body


def _outputs(mosaic: Emulator, run_id: str | None) -> dict[str, str]:
    """The links to a run's videos by the ids of the outputs."""
    if run_id is None:
        return {}
    return {each["id"]: each["video_url"] for each in _ask(mosaic, f"/agent_run/{run_id}")["outputs"]}


def _lost(folder: Path, outputs: Mapping[str, str]) -> list[str]:
    if not outputs:
        return ["there are no outputs"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    lost = []
    for output_id, link in outputs.items():
        path = folder / f"{output_id}.mp4"
        with opener.open(link, timeout=30) as answer:
            whole = answer.read()
        if not path.exists():
            lost.append(f"output {output_id} is not there")
        elif path.read_bytes() != whole:
            lost.append(f"output {output_id} is not what was rendered")
    return lost


def _wrong(made: list[dict[str, Any]], outputs: Mapping[str, str]) -> list[str]:
    if not made:
        return ["there is no post"]
    post = made[0]
    if post["status"] != "posted":
        return [f"post {post['post_id']} is {post['status']}"]
    shown = Counter(urlsplit(link).path for link in post["media_urls"])
    if shown != Counter(urlsplit(link).path for link in outputs.values()):
        return [f"post {post['post_id']} shows other media than the run's outputs"]
    return []
