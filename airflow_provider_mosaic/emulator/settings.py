"""Every switch of the emulator, with what it stands for; the page ``docs/emulator.md`` lists the same names."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """How this emulator behaves. The defaults are the documented facts, or the likeliest reading of them."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # Pace
    speed: float = Field(1.0, gt=0, description="Divides the seconds that nodes, queues and posts take.")
    node_seconds: float = Field(2.0, ge=0, description="How long each node of a run works.")
    queue_seconds: float = Field(0.0, ge=0, description="How long a run waits in `initial_status` before it runs.")
    post_seconds: float = Field(1.0, ge=0, description="How long publishing takes.")
    hold_runs: bool = Field(
        False, description="Runs work on their first node until this is off or `finish_run` decides."
    )
    hold_posts: bool = Field(False, description="Posts stay `processing` until this is off.")
    clock_skew: float = Field(0.0, description="Seconds by which the server's clock is ahead.")
    list_lag: float = Field(0.0, ge=0, description="Real seconds until a new run or post shows in lists.")

    # Runs
    initial_status: str = Field("running", description="Status of a run that has just been started.")
    failing_nodes: dict[str, str] = Field(
        default_factory=dict, description="Nodes that fail: template node id or node type name, to the message."
    )
    credits: float | None = Field(None, description="Balance that nodes are paid from; null is unlimited.")
    node_credits: float = Field(10.0, ge=0, description="What each node but an input costs.")
    outputs_while_running: bool = Field(True, description="A finished node's outputs show while the run goes on.")
    late_output_seconds: float = Field(0.0, ge=0, description="A run's last output shows this long after its end.")
    waiting_counts_as_progress: bool = Field(
        True, description="`not_started` and `blocked` nodes of an active run count in `in_progress`."
    )
    cancel_lag: float = Field(0.0, ge=0, description="Seconds from a cancel's answer to the run being `cancelled`.")
    cancel_terminal_status: Literal[200, 400, 409] = Field(409, description="Answer to cancelling an ended run.")
    unknown_input_status: Literal[400, 404, 422] = Field(404, description="Answer to an unknown id among the inputs.")
    unknown_ignored_node_status: Literal[200, 400, 404] = Field(
        400, description="Answer to an unknown id in `ignore_nodes`; 200 ignores it."
    )
    mixed_shorthand: bool = Field(True, description="Several top-level input arrays may be combined.")
    max_concurrent_runs: int | None = Field(None, ge=0, description="Above it a start is refused with 403.")
    finalize_required: bool = Field(True, description="An upload is known as an input only after finalize.")

    # Rendering
    render: Literal["auto", "passthrough", "tiny"] = Field(
        "auto", description="`auto` cuts with ffmpeg where it is found, `tiny` answers a small fixed clip."
    )
    clip_seconds: float = Field(4.0, gt=0, description="Length of a rendered clip.")
    clips: int = Field(2, ge=1, le=20, description="Outputs of a tile Clips that is not told `num_clips`.")
    output_bytes: int | None = Field(None, ge=0, description="With `tiny`: pad the clip to this many bytes.")
    premiere_zip: bool = Field(False, description="Each output has a Premiere zip.")
    thumbnails: bool = Field(True, description="Outputs have a thumbnail.")
    licensed_sources: bool = Field(False, description="Each output lists one licensed source.")

    # Uploads
    upload_seconds: float = Field(3600.0, ge=0, description="Lifetime of an upload's form.")
    max_file_size: int | None = Field(None, ge=0, description="Instead of the documented limits by type.")
    discard_uploads: bool = Field(False, description="Uploaded bytes are counted and dropped (for benchmarks).")
    upload_success_status: Literal[200, 201, 204] = Field(204, description="The storage host's answer to a good form.")
    upload_field_order: bool = Field(True, description="The form's fields must come in the given order.")
    chunked_upload: Literal["accept", "refuse"] = Field("accept", description="`refuse` answers 411 without a length.")
    refuse_early: bool = Field(False, description="A refused upload is answered without reading it to its end.")
    view_seconds: float = Field(900.0, ge=0, description="Lifetime of view links.")
    finalize_answer: Literal["id", "status_ok", "file_uuid", "empty"] = Field(
        "id", description="Shape of finalize's answer: today's, two of 2025, or 204 without a body."
    )

    # Links
    link_seconds: float = Field(604800.0, ge=0, description="Lifetime of the links of inputs and outputs.")
    expired_link_status: Literal[400, 401, 403, 404, 410] = Field(400, description="Answer to an expired link.")
    download_length: Literal["present", "chunked", "absent"] = Field(
        "present", description="Whether downloads say how long they are."
    )
    ranges: bool = Field(True, description="The storage host honours `Range`.")

    # Webhooks
    webhook_secret: str | None = Field("whsk_emulator", description="Sent in `X-Mosaic-Signature`; null: no header.")
    webhook_loss: float = Field(0.0, ge=0, le=1, description="Share of webhooks that are never sent.")
    webhook_copies: int = Field(1, ge=1, description="How often each webhook is delivered.")
    webhook_delay: float = Field(0.0, ge=0, description="Seconds before a delivery.")
    webhook_retries: int = Field(3, ge=0, description="Repeats after an answer that is no 2xx.")
    webhook_backoff: float = Field(1.0, ge=0, description="Seconds before the first repeat, doubled each time.")
    webhook_timeout: float = Field(30.0, gt=0, description="Seconds that a receiver has.")
    webhook_on_cancel: bool = Field(False, description="RUN_FINISHED is sent for a cancelled run.")
    webhook_on_resume: bool = Field(True, description="RUN_STARTED is sent again for a resumed run.")

    # Posts
    failing_platforms: dict[str, str] = Field(
        default_factory=dict, description="Destinations that fail: platform or connection id, to the message."
    )
    approval: bool = Field(False, description="New posts wait in `pending_approval`.")
    platforms_allowed: bool = Field(True, description="`platforms` without `destinations` is accepted.")
    fold_processing: bool = Field(
        True, description="GET one shows a scheduled post as `scheduled` while it is processed."
    )
    disconnected: list[str] = Field(default_factory=list, description="Connection ids with `connected: false`.")
    past_schedule: Literal["publish", "refuse"] = Field("publish", description="What a schedule in the past means.")

    # Access
    scopes: list[str] | None = Field(None, description="Scopes of the key; null is unrestricted.")
    accept_x_api_key: bool = Field(False, description="`X-API-Key` is taken instead of `Authorization`.")
    whoami: Literal["organization", "user"] = Field("organization", description="Today's answer, or that of 2025.")

    # Shapes
    optional_fields: Literal["documented", "null", "absent", "empty"] = Field(
        "documented", description="How optional fields without a value are written."
    )
    needs_credits_key: Literal["needs_credits", "needsCredits", "absent"] = Field(
        "needs_credits", description="Spelling of that key."
    )
    detail_shape: Literal["text", "list", "object"] = Field("text", description="Shape of an error's `detail`.")
    error_codes: bool = Field(True, description="Errors carry `error` beside `detail`.")
    validation_status: Literal[400, 422] = Field(400, description="Status of a body or query that is not valid.")
    unknown_body_fields: Literal["refuse", "ignore"] = Field(
        "refuse", description="Body fields that nothing documents."
    )
    success_status: Literal[200, 201, 204] = Field(
        200, description="Success of POSTs; 204 has no body and only comes where the answer says nothing new."
    )
    extra_fields: bool = Field(False, description="Unknown fields in every object.")
    cursor_key: Literal["next_cursor", "cursor"] = Field("next_cursor", description="Where lists put the next cursor.")
    list_order: Literal["newest", "oldest"] = Field("newest", description="Order of the lists of runs and agents.")
    timestamps: Literal["seconds", "milliseconds", "microseconds", "offset"] = Field(
        "seconds", description="How times are written; `offset` is `+02:00` with microseconds."
    )

    # The emulator itself
    request_log: int = Field(20000, ge=0, description="How many requests the log keeps.")
    fetch_hosts: Literal["loopback", "any"] = Field(
        "loopback", description="Whose `video_urls` are fetched and whose `callback_url` is called."
    )
    seed: int = Field(0, description="Seed of what happens with a probability.")


def parse_assignment(text: str) -> tuple[str, object]:
    """
    Read ``NAME=VALUE`` of the command line; the value is JSON, or else plain text.

    :param text: one assignment.
    """
    import json

    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value
