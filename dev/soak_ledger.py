"""Compare the runs, files and posts of all pipelines with the emulator's state."""

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
    The pipeline of one recording.

    :param name: Name of the file, and text of the post.
    :param folder: Contains the downloaded outputs.
    :param run_id: The run id in the XCom of the task.
    :param requested_runs: Expected number of runs: one, and one more for each manual clear.
    """

    name: str
    folder: Path
    run_id: str | None = None
    requested_runs: int = 1


@dataclass(kw_only=True)
class Findings:
    """Errors by kind. All lists must be empty."""

    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    lost_outputs: list[str] = field(default_factory=list)
    wrong_posts: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there are no errors."""
        return not (self.duplicates or self.orphans or self.lost_outputs or self.wrong_posts)


def runs_by_recording(mosaic: Emulator) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each recording by their input uploads."""
    names = {upload["id"]: Path(upload["file_name"] or "?").stem for upload in mosaic.uploads()}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in mosaic.runs():
        for name in {names.get(each["reference"], "?") for each in run["inputs"]}:
            found[name].append(run)
    return found


def audit(
    mosaic: Emulator, pipelines: Iterable[Pipeline], *, reviewed_runs: frozenset[str] = frozenset(), posted: bool = True
) -> Findings:
    """
    Return the differences between the pipelines and the emulator, which must have no faults.

    :param reviewed_runs: Ids of manually reviewed runs.
    :param posted: Whether each pipeline publishes a post.
    """
    findings = Findings()
    runs = runs_by_recording(mosaic)
    posts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for post in mosaic.posts():
        posts[post["description"]].append(post)
    pipelines = list(pipelines)
    for pipeline in pipelines:
        started = runs.pop(pipeline.name, [])
        if len(started) > pipeline.requested_runs:
            findings.duplicates.append(
                f"{pipeline.name}: {len(started)} runs for {pipeline.requested_runs} requested run(s)"
            )
        for run in started:
            owned = run["run_id"] == pipeline.run_id or run["run_id"] in reviewed_runs or run["status"] == "cancelled"
            if not owned or run["status"] in ACTIVE:
                findings.orphans.append(f"{pipeline.name}: run {run['run_id']} is {run['status']}, without an owner")
        outputs = _outputs(mosaic, pipeline.run_id)
        findings.lost_outputs += [f"{pipeline.name}: {error}" for error in _output_errors(pipeline.folder, outputs)]
        found_posts = posts.pop(pipeline.name, [])
        if len(found_posts) > 1:
            findings.duplicates.append(f"{pipeline.name}: {len(found_posts)} posts")
        if posted:
            findings.wrong_posts += [f"{pipeline.name}: {error}" for error in _post_errors(found_posts, outputs)]
    findings.orphans += [f"{name}: {len(others)} run(s) without a pipeline" for name, others in runs.items()]
    findings.wrong_posts += [f"{text}: a post without a pipeline" for text in posts]
    return findings


def _get(mosaic: Emulator, path: str) -> dict[str, Any]:
    request = urllib.request.Request(mosaic.url + path, headers={"Authorization": f"Bearer {mosaic.api_key}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        body: dict[str, Any] = json.load(response)
        return body


def _outputs(mosaic: Emulator, run_id: str | None) -> dict[str, str]:
    """Return the links to a run's videos by output id."""
    if run_id is None:
        return {}
    return {each["id"]: each["video_url"] for each in _get(mosaic, f"/agent_run/{run_id}")["outputs"]}


def _output_errors(folder: Path, outputs: Mapping[str, str]) -> list[str]:
    if not outputs:
        return ["no outputs"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    error = []
    for output_id, link in outputs.items():
        path = folder / f"{output_id}.mp4"
        with opener.open(link, timeout=30) as response:
            content = response.read()
        if not path.exists():
            error.append(f"output {output_id} is missing")
        elif path.read_bytes() != content:
            error.append(f"output {output_id} differs from the rendered file")
    return error


def _post_errors(found_posts: list[dict[str, Any]], outputs: Mapping[str, str]) -> list[str]:
    if not found_posts:
        return ["no post"]
    post = found_posts[0]
    if post["status"] != "posted":
        return [f"post {post['post_id']} is {post['status']}"]
    shown = Counter(urlsplit(link).path for link in post["media_urls"])
    if shown != Counter(urlsplit(link).path for link in outputs.values()):
        return [f"post {post['post_id']} has other media than the run's outputs"]
    return []
