"""Every switch of the emulator, with what it stands for; the page ``docs/emulator.md`` lists the same names."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """How this emulator behaves. The defaults are the documented facts, or the likeliest reading of them."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # Pace
    speed: float = Field(
        1.0, gt=0, description="Divides the seconds that nodes, queues, posts and avatar profiles take."
    )
    node_seconds: float = Field(2.0, ge=0, description="How long each node of a run works.")
    queue_seconds: float = Field(0.0, ge=0, description="How long a run waits in `initial_status` before it runs.")
    post_seconds: float = Field(1.0, ge=0, description="How long publishing takes.")
    hold_runs: bool = Field(
        False, description="Runs work on their first node until this is off or `finish_run` decides."
    )
    hold_posts: bool = Field(False, description="Posts stay `processing` until this is off.")
    clock_skew: float = Field(0.0, description="Seconds by which the server's clock is ahead.")
    list_lag: float = Field(
        0.0, ge=0, description="Real seconds until a new run, post, agent or avatar profile shows in lists."
    )

    # Agents
    created_status: Literal[200, 201] = Field(
        200, description="Success of making an agent, a copy of one, or an avatar profile."
    )
    agent_change_answer: Literal["operations", "metadata", "both"] = Field(
        "operations", description="What create and update answer: today's fields, those of early 2026, or all."
    )
    agent_answer: Literal["graph", "nodes"] = Field(
        "graph", description="Shape of an agent: today's, or that of early 2026 without connections."
    )
    atomic_operations: bool = Field(
        True, description="A refused operation undoes those before it; else they stay, and so does what was renamed."
    )
    max_operations: int | None = Field(None, ge=0, description="Above it an update is refused.")
    params_merge: Literal["shallow", "deep"] = Field("shallow", description="How `update_node` merges params.")
    null_params: Literal["store", "unset"] = Field("store", description="What a null among merged params does.")
    checked_params: Literal["complete", "listed", "none"] = Field(
        "complete",
        description="Tiles whose unknown params are refused: with a table that is wholly known, with any known, none.",
    )
    required_params: Literal["update", "start", "run", "ignore"] = Field(
        "update",
        description="When a tile without a required param is refused: in operations, as a run starts, as it works.",
    )
    params_checked_in_runs: bool = Field(False, description="`update_params` of runs are checked like those of agents.")
    unknown_node_types: Literal["accept", "refuse"] = Field(
        "accept", description="Node types (UUIDs) that the catalogue does not have; `refuse` is 404."
    )
    unknown_operation_node_status: Literal[400, 404] = Field(
        404, description="Answer to an operation on a node or a connection that is not there."
    )
    node_type_params: Literal["absent", "listed"] = Field(
        "absent", description="Node types list the params that are known of them."
    )
    default_params: bool = Field(False, description="A new node has its tile's defaults besides what it is given.")
    dropped_params: list[str] = Field(
        default_factory=list, description="Params of nodes that are accepted and then not kept."
    )
    repeated_agent_name: Literal["accept", "refuse"] = Field(
        "accept", description="Making an agent of a name that another one has; `refuse` is 409."
    )
    repeated_connection: Literal["refuse", "ignore"] = Field("refuse", description="A connection that is there.")
    connections_into_inputs: bool = Field(False, description="Tiles of known types may lead into a Video Input.")
    empty_bodies: Literal["accept", "refuse"] = Field(
        "accept", description="No body at all where every field of it is optional (create, duplicate)."
    )
    empty_agents: Literal["run", "refuse"] = Field("run", description="Starting an agent that has no tile.")
    duplicate_triggers: bool = Field(False, description="A copy of an agent has copies of its triggers.")
    repeated_delete: Literal[200, 404] = Field(404, description="Answer to deleting an agent or a connection again.")
    delete_cancels_runs: bool = Field(False, description="Active runs of a deleted agent are cancelled.")
    runtime_node_ids: bool = Field(False, description="Agent nodes are also found by the ids of runs' nodes.")

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
    start_answer: Literal["id", "summary"] = Field(
        "id", description="What a start answers: the run's id, or all that lists tell of a run."
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
    broken_inputs: dict[str, str] = Field(
        default_factory=dict,
        description="Videos that can't be read: id, URL or file name, `*` for any characters, to the message.",
    )
    unreadable_inputs: Literal["fail", "pass"] = Field(
        "fail", description="With `auto`: a video that ffmpeg can't read fails its run, or is passed through."
    )

    # Rendering
    render: Literal["auto", "passthrough", "tiny"] = Field(
        "auto", description="`auto` cuts with ffmpeg where it is found, `tiny` answers a small fixed clip."
    )
    clip_seconds: float = Field(4.0, gt=0, description="Length of a rendered clip.")
    clips: int = Field(2, ge=1, le=20, description="Outputs of a tile Clips that is not told `num_clips`.")
    output_bytes: int | None = Field(None, ge=0, description="With `tiny`: pad the clip to this many bytes.")
    premiere_zip: bool = Field(False, description="Each output has a Premiere zip.")
    thumbnails: bool = Field(True, description="Outputs have a thumbnail.")
    generated_url: Literal["video_url", "own", "own_null", "both"] = Field(
        "video_url",
        description="Where a generated image or sound is: in `video_url`, in `image_url` or `audio_url` instead, "
        "likewise with a `video_url` of null, or in both.",
    )
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
    signature_mark: str = Field(
        "", description="Every signature of a link or form begins with it: what to search logs for."
    )

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

    # Triggers
    triggers_answer: Literal["array", "object"] = Field(
        "array", description="Today's list of triggers, or the one object or null of 2025."
    )
    listed_channels: Literal["ids", "urls"] = Field(
        "ids", description="How triggers name their channels: by id, or by URL as in 2025."
    )
    channel_details: Literal["full", "pending", "missing"] = Field(
        "full", description="Metadata of channels: there, all null as before a refresh, or no entry at all."
    )
    unresolvable_channels: list[str] = Field(
        default_factory=list, description="Channels, as they are sent, that lead nowhere (400)."
    )
    partial_channels: bool = Field(False, description="The other channels of such a request are added all the same.")
    add_channels_answer: Literal["rich", "status_ok"] = Field("rich", description="Today's answer, or that of 2025.")
    remove_channels_answer: Literal["message", "status_ok", "empty"] = Field(
        "message", description="What removing answers; `empty` has no body."
    )
    unknown_channel_removal: Literal[200, 400, 404] = Field(
        200, description="Answer to removing a channel that no trigger of the agent has."
    )
    callback_required: bool = Field(False, description="`trigger_callback_url` must be sent, as in 2025.")
    empty_filter_is_none: bool = Field(
        True, description="`filter_options` that bound nothing select the same trigger as none at all."
    )
    unknown_trigger_runs: Literal[200, 404] = Field(
        404, description="Answer to listing the runs of an unknown trigger; 200 is an empty list."
    )
    listed_trigger: Literal["trigger_id", "flat", "nested"] = Field(
        "trigger_id", description="Shape of `triggered_by` in lists."
    )
    webhook_trigger: Literal["trigger_id", "flat", "nested", "sample"] = Field(
        "flat",
        description="Shape of `triggered_by` in webhooks; `sample` is what the vendor's sample listener of 2025 reads.",
    )
    webhook_inputs: Literal["links", "files"] = Field(
        "links", description="Shape of `inputs` in webhooks: today's, or that which the sample listener reads."
    )
    manual_trigger: Literal["null", "manual", "absent"] = Field(
        "null", description="`triggered_by` in webhooks of a run that the API started: today's, or two of 2025."
    )

    # Observability
    observability_lists: Literal["named", "items"] = Field(
        "named", description="Whether those lists have a key of their own or are all called `items`."
    )
    pipeline_run_id: Literal["run_id", "id", "agent_state_id"] = Field(
        "run_id", description="Where `/pipeline_runs` and `progress` put a run's id."
    )
    automations_total: bool = Field(False, description="`/automations/*` tell the `total`.")
    workspace_header_required: bool = Field(False, description="`/automations/*` need `X-Workspace-Id` (400 without).")
    notification_channels: list[str] = Field(
        default_factory=lambda: ["email"], description="Where the end of a run is told, beside webhooks."
    )

    # Avatars
    avatar_seconds: float = Field(
        4.0, ge=0, description="How long an avatar profile is `pending`, then `processing`: half of it each."
    )
    hold_avatars: bool = Field(False, description="Avatar profiles stay `processing` until this is off.")
    failing_avatars: dict[str, str] = Field(
        default_factory=dict, description="Avatar profiles that fail: name, to the message."
    )
    avatar_create_answer: Literal["profile", "wrapped", "id"] = Field(
        "profile", description="What create answers: the profile, that under `avatar_profile`, or its id."
    )
    avatar_status_key: Literal["status", "processing_status"] = Field(
        "status", description="Name of a profile's status: that of the table, or of the text beside it."
    )

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
    post_create_answer: Literal["post", "short", "results"] = Field(
        "post", description="What making a post answers: the post, its id and status, or that of early 2026."
    )
    post_outcomes: Literal["destinations", "results"] = Field(
        "destinations", description="Where a post says what became of it: at its destinations, or as in early 2026."
    )
    patch_answer: Literal["short", "post", "success"] = Field(
        "short", description="What PATCH answers: id and status, the whole post, or that of early 2026."
    )
    patch_extras: bool = Field(False, description="PATCH takes `scheduled_pause` and `notes`, as in early 2026.")
    wrong_post_state_status: Literal[400, 409] = Field(
        409, description="Answer to changing a post whose status does not allow it."
    )
    comment_platforms: list[str] = Field(
        default_factory=lambda: ["linkedin", "instagram", "facebook", "youtube"],
        description="Where comments can be disabled after publishing.",
    )
    undeletable_platforms: list[str] = Field(
        default_factory=lambda: ["instagram", "tiktok"], description="Where a published post can't be deleted."
    )
    repeated_post_delete: Literal[200, 404, 409] = Field(409, description="Answer to deleting a `rejected` post.")
    deleted_posts_listed: bool = Field(True, description="Deleted posts stay in the list.")
    unpublished_status: Literal[200, 404, 409] = Field(
        409, description="Answer to analytics and comments of a post that is nowhere yet; 200 is an empty one."
    )
    analytics_post_id: bool = Field(False, description="Analytics repeat the `post_id`.")
    comments: int = Field(3, ge=0, description="Comments that each published destination has.")
    max_connections: int | None = Field(None, ge=0, description="With so many no further account is linked.")
    connection_limit_status: Literal[400, 403, 409] = Field(403, description="The answer then.")

    # Billing
    plan: Literal["creator", "creator_annual", "professional", "professional_annual", "pro"] | None = Field(
        "professional", description="The organization's plan; an upgrade changes it."
    )
    free_plan: Literal["null", "object"] = Field("null", description="How no plan is written.")
    unlimited_balance: float = Field(10000.0, description="The balance that is told while `credits` is null.")
    credits_answer: Literal["flat", "nested"] = Field("flat", description="Today's answer, or that of early 2026.")
    out_of_range_status: Literal[400, 422] = Field(400, description="Answer to a threshold or quantity out of range.")
    upgrade: Literal["immediate", "checkout"] = Field("immediate", description="How a plan is changed.")
    downgrade: Literal["scheduled", "immediate"] = Field(
        "scheduled", description="Whether a cheaper plan waits for the end of the period."
    )
    same_plan_status: Literal[200, 400, 409] = Field(409, description="Answer to choosing the plan that there is.")
    plan_family_key: Literal["plan_family", "family"] = Field("plan_family", description="Its name after an upgrade.")
    plan_list_answer: Literal["billing", "prices"] = Field("billing", description="Items of today, or of early 2026.")

    # Access
    scopes: list[str] | None = Field(None, description="Scopes of the key; null is unrestricted.")
    unconfirmed_scopes: Literal["enforce", "ignore"] = Field(
        "enforce", description="Endpoints whose scope is only guessed by the pattern of the names."
    )
    unknown_workspace_status: Literal[400, 403, 404] = Field(404, description="Answer to an unknown `workspace_id`.")
    workspace_header: Literal["narrows", "observability"] = Field(
        "narrows",
        description="What `X-Workspace-Id` hides of other workspaces: everything, or only what observability lists.",
    )
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
    error_codes: bool = Field(False, description="Errors carry `error` beside `detail`, as in 2025.")
    validation_status: Literal[400, 422] = Field(400, description="Status of a body or query that is not valid.")
    unknown_body_fields: Literal["refuse", "ignore"] = Field(
        "refuse", description="Body fields that nothing documents."
    )
    success_status: Literal[200, 201, 204] = Field(
        200, description="Success of all but GETs; 204 has no body and only comes where the answer says nothing new."
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
    fetch_bytes: int = Field(5368709120, ge=0, description="Size above which one of `video_urls` is not fetched.")
    fetch_seconds: float = Field(120.0, gt=0, description="Time that fetching one of `video_urls` may take in all.")
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
