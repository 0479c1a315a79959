"""The settings of the emulator. ``docs/emulator.md`` lists the same names and descriptions."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """How the emulator behaves. The defaults follow the documentation, or its likeliest reading."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # Speed
    speed: float = Field(1.0, gt=0, description="Divides the durations of nodes, queues, posts and avatar profiles.")
    node_seconds: float = Field(2.0, ge=0, description="Duration of each node of a run.")
    queue_seconds: float = Field(0.0, ge=0, description="Duration of `initial_status`.")
    post_seconds: float = Field(1.0, ge=0, description="Duration of publishing.")
    hold_runs: bool = Field(
        False, description="Runs stay at their first node until this is off or `finish_run` is called."
    )
    hold_posts: bool = Field(False, description="Posts stay `processing` until this is off.")
    clock_skew: float = Field(0.0, description="Seconds that the server's clock is ahead.")
    list_lag: float = Field(
        0.0, ge=0, description="Real seconds until lists include a new run, post, agent or avatar profile."
    )

    # Agents
    created_status: Literal[200, 201] = Field(
        200, description="Status of a created agent, copied agent or avatar profile."
    )
    agent_change_response: Literal["operations", "metadata", "both"] = Field(
        "operations", description="Response of create and update: the documented fields, those of early 2026, or both."
    )
    agent_response: Literal["graph", "nodes"] = Field(
        "graph", description="Shape of an agent: as documented, or as in early 2026 without connections."
    )
    atomic_operations: bool = Field(
        True, description="A rejected operation undoes the request. If off, earlier operations and metadata are kept."
    )
    max_operations: int | None = Field(None, ge=0, description="Maximum number of operations in an update.")
    params_merge: Literal["shallow", "deep"] = Field("shallow", description="How `update_node` merges params.")
    null_params: Literal["store", "unset"] = Field("store", description="Effect of a null in merged params.")
    checked_params: Literal["complete", "listed", "none"] = Field(
        "complete",
        description="Tiles whose unknown params are rejected: with all params documented, with any, or none.",
    )
    required_params: Literal["update", "start", "run", "ignore"] = Field(
        "update",
        description="When a missing required param is rejected: update, start of a run, start of its node, never.",
    )
    params_checked_in_runs: bool = Field(
        False, description="`update_params` of runs are validated like params of agents."
    )
    unknown_node_types: Literal["accept", "refuse"] = Field(
        "accept", description="Unknown node types that are UUIDs. `refuse` responds 404."
    )
    unknown_operation_node_status: Literal[400, 404] = Field(
        404, description="Status of an operation on an unknown node or connection."
    )
    node_type_params: Literal["absent", "listed"] = Field(
        "absent", description="Whether node types contain their known params."
    )
    default_params: bool = Field(False, description="A new node gets its tile's default params.")
    dropped_params: list[str] = Field(
        default_factory=list, description="Params of nodes that are accepted but not stored."
    )
    repeated_agent_name: Literal["accept", "refuse"] = Field(
        "accept", description="Creating an agent with an existing name. `refuse` responds 409."
    )
    repeated_connection: Literal["refuse", "ignore"] = Field("refuse", description="Creating an existing connection.")
    connections_into_inputs: bool = Field(False, description="Tiles of known types can connect to a Video Input.")
    empty_bodies: Literal["accept", "refuse"] = Field(
        "accept", description="A missing body of an endpoint without required fields (create, duplicate)."
    )
    empty_agents: Literal["run", "refuse"] = Field("run", description="Starting an agent without tiles.")
    duplicate_triggers: bool = Field(False, description="A copy of an agent gets copies of its triggers.")
    repeated_delete: Literal[200, 404] = Field(404, description="Status of deleting an agent or a connection again.")
    delete_cancels_runs: bool = Field(False, description="Deleting an agent cancels its active runs.")
    runtime_node_ids: bool = Field(False, description="`/agent_nodes` also accepts the ids of nodes of runs.")

    # Runs
    initial_status: str = Field("running", description="Status of a new run.")
    failing_nodes: dict[str, str] = Field(
        default_factory=dict, description="Nodes that fail: node id or node type name, to the message."
    )
    credits: float | None = Field(None, description="Balance of credits. Null is unlimited.")
    node_credits: float = Field(10.0, ge=0, description="Credits that each node except an input costs.")
    outputs_while_running: bool = Field(True, description="An active run contains the outputs of completed nodes.")
    late_output_seconds: float = Field(
        0.0, ge=0, description="Seconds from the end of a run until its last output is visible."
    )
    waiting_counts_as_progress: bool = Field(
        True, description="`in_progress` includes the `not_started` and `blocked` nodes of an active run."
    )
    start_response: Literal["id", "summary"] = Field(
        "id", description="Response of a start: the run's id, or the run as in lists."
    )
    cancel_lag: float = Field(
        0.0, ge=0, description="Seconds from the response of a cancel until the run is `cancelled`."
    )
    cancel_terminal_status: Literal[200, 400, 409] = Field(409, description="Status of cancelling an ended run.")
    unknown_input_status: Literal[400, 404, 422] = Field(404, description="Status of an unknown id in the inputs.")
    unknown_ignored_node_status: Literal[200, 400, 404] = Field(
        400, description="Status of an unknown id in `ignore_nodes`. 200 ignores the id."
    )
    mixed_shorthand: bool = Field(True, description="Several top-level input arrays can be combined.")
    max_concurrent_runs: int | None = Field(
        None, ge=0, description="Maximum number of active runs. A further start responds 403."
    )
    finalize_required: bool = Field(True, description="Inputs must be finalized uploads.")
    broken_inputs: dict[str, str] = Field(
        default_factory=dict,
        description="Videos that cannot be read: id, URL or file name (`*` matches any characters), to the message.",
    )
    unreadable_inputs: Literal["fail", "pass"] = Field(
        "fail", description="A video that ffmpeg cannot read fails its run, or is passed through."
    )

    # Rendering
    render: Literal["auto", "passthrough", "tiny"] = Field(
        "auto",
        description="`auto` renders with ffmpeg if installed, `passthrough` outputs the input, `tiny` a small clip.",
    )
    clip_seconds: float = Field(4.0, gt=0, description="Length of a rendered clip.")
    clips: int = Field(2, ge=1, le=20, description="Number of outputs of a Clips tile without `num_clips`.")
    output_bytes: int | None = Field(None, ge=0, description="With `tiny`: size in bytes to pad the clip to.")
    premiere_zip: bool = Field(False, description="Each output has a Premiere zip.")
    thumbnails: bool = Field(True, description="Outputs have a thumbnail.")
    generated_url: Literal["video_url", "own", "own_null", "both"] = Field(
        "video_url",
        description="Field with the URL of a generated image or audio: `video_url`; `image_url` or `audio_url`; "
        "the same with a `video_url` of null; or both.",
    )
    licensed_sources: bool = Field(False, description="Each output lists one licensed source.")

    # Uploads
    upload_seconds: float = Field(3600.0, ge=0, description="Seconds that an upload form is valid.")
    max_file_size: int | None = Field(
        None, ge=0, description="Maximum size of a file in bytes, instead of the documented limits by type."
    )
    discard_uploads: bool = Field(False, description="Uploaded bytes are counted but not stored (for benchmarks).")
    upload_success_status: Literal[200, 201, 204] = Field(204, description="Status of a stored form.")
    upload_field_order: bool = Field(True, description="Form fields must be in the order of `upload_fields`.")
    chunked_upload: Literal["accept", "refuse"] = Field(
        "accept", description="Uploads without a `Content-Length`. `refuse` responds 411."
    )
    refuse_early: bool = Field(False, description="A rejected upload is answered before its body is read.")
    view_seconds: float = Field(900.0, ge=0, description="Seconds that a view link is valid.")
    finalize_response: Literal["id", "status_ok", "file_uuid", "empty"] = Field(
        "id", description="Response of finalize: as documented, two shapes of 2025, or 204 without a body."
    )

    # Links
    link_seconds: float = Field(604800.0, ge=0, description="Seconds that links to inputs and outputs are valid.")
    expired_link_status: Literal[400, 401, 403, 404, 410] = Field(400, description="Status of an expired link.")
    download_length: Literal["present", "chunked", "absent"] = Field(
        "present", description="Whether downloads have a `Content-Length`, or are chunked, or have neither."
    )
    ranges: bool = Field(True, description="The storage host supports `Range`.")
    signature_mark: str = Field("", description="Prefix of all signatures of links and forms, to search logs for them.")

    # Webhooks
    webhook_secret: str | None = Field(
        "whsk_emulator", description="Value of `X-Mosaic-Signature`. Null omits the header."
    )
    webhook_loss: float = Field(0.0, ge=0, le=1, description="Fraction of webhooks that are not sent.")
    webhook_copies: int = Field(1, ge=1, description="Number of deliveries of each webhook.")
    webhook_delay: float = Field(0.0, ge=0, description="Seconds before a delivery.")
    webhook_retries: int = Field(3, ge=0, description="Retries of a delivery without a 2xx response.")
    webhook_backoff: float = Field(
        1.0, ge=0, description="Seconds before the first retry, doubled for each further one."
    )
    webhook_timeout: float = Field(30.0, gt=0, description="Timeout of a delivery in seconds.")
    webhook_on_cancel: bool = Field(False, description="RUN_FINISHED is sent for a cancelled run.")
    webhook_on_resume: bool = Field(True, description="RUN_STARTED is sent for a resumed run.")

    # Triggers
    triggers_response: Literal["array", "object"] = Field(
        "array", description="Shape of an agent's triggers: an array, or one object or null as in 2025."
    )
    listed_channels: Literal["ids", "urls"] = Field("ids", description="Channels of triggers: ids, or URLs as in 2025.")
    channel_details: Literal["full", "pending", "missing"] = Field(
        "full", description="Metadata of channels: complete, all null, or no entry."
    )
    unresolvable_channels: list[str] = Field(
        default_factory=list, description="Channels that cannot be resolved (400), as sent."
    )
    partial_channels: bool = Field(
        False, description="The other channels of a request with an unresolvable channel are added."
    )
    add_channels_response: Literal["rich", "status_ok"] = Field(
        "rich", description="Response of adding: as documented, or as in 2025."
    )
    remove_channels_response: Literal["message", "status_ok", "empty"] = Field(
        "message", description="Response of removing. `empty` has no body."
    )
    unknown_channel_removal: Literal[200, 400, 404] = Field(
        200, description="Status of removing a channel that no trigger of the agent watches."
    )
    callback_required: bool = Field(False, description="`trigger_callback_url` is required, as in 2025.")
    empty_filter_is_none: bool = Field(
        True, description="Empty `filter_options` mean the same trigger as no `filter_options`."
    )
    unknown_trigger_runs: Literal[200, 404] = Field(
        404, description="Status of listing the runs of an unknown trigger. 200 returns an empty list."
    )
    listed_trigger: Literal["trigger_id", "flat", "nested"] = Field(
        "trigger_id", description="Shape of `triggered_by` in lists."
    )
    webhook_trigger: Literal["trigger_id", "flat", "nested", "sample"] = Field(
        "flat",
        description="Shape of `triggered_by` in webhooks. `sample` is that of Mosaic's sample listener of 2025.",
    )
    webhook_inputs: Literal["links", "files"] = Field(
        "links", description="Shape of `inputs` in webhooks: as documented, or as in the sample listener."
    )
    manual_trigger: Literal["null", "manual", "absent"] = Field(
        "null",
        description="`triggered_by` in webhooks of a run that the API started: as documented, or two shapes of 2025.",
    )

    # Observability
    observability_lists: Literal["named", "items"] = Field(
        "named", description="Key of the lists: a separate one for each, or `items`."
    )
    pipeline_run_id: Literal["run_id", "id", "agent_state_id"] = Field(
        "run_id", description="Key of a run's id in `/pipeline_runs` and `progress`."
    )
    automations_total: bool = Field(False, description="`/automations/*` contain `total`.")
    workspace_header_required: bool = Field(False, description="`/automations/*` require `X-Workspace-Id` (400).")
    notification_channels: list[str] = Field(
        default_factory=lambda: ["email"],
        description="Channels of the notifications about completed runs, besides webhooks.",
    )

    # Avatars
    avatar_seconds: float = Field(
        4.0, ge=0, description="Duration of an avatar profile: half `pending`, half `processing`."
    )
    hold_avatars: bool = Field(False, description="Avatar profiles stay `processing` until this is off.")
    failing_avatars: dict[str, str] = Field(
        default_factory=dict, description="Avatar profiles that fail: name, to the message."
    )
    avatar_create_response: Literal["profile", "wrapped", "id"] = Field(
        "profile", description="Response of create: the profile, the profile in `avatar_profile`, or its id."
    )
    avatar_status_key: Literal["status", "processing_status"] = Field(
        "status", description="Key of a profile's status. The documentation uses both."
    )

    # Posts
    failing_platforms: dict[str, str] = Field(
        default_factory=dict, description="Destinations that fail: platform or connection id, to the message."
    )
    approval: bool = Field(False, description="New posts wait in `pending_approval`.")
    platforms_allowed: bool = Field(True, description="`platforms` without `destinations` is accepted.")
    fold_processing: bool = Field(
        True, description="`GET /social/post/{post_id}` returns `scheduled` while a scheduled post is processed."
    )
    disconnected: list[str] = Field(default_factory=list, description="Connection ids with `connected: false`.")
    past_schedule: Literal["publish", "refuse"] = Field("publish", description="Effect of a schedule in the past.")
    post_create_response: Literal["post", "short", "results"] = Field(
        "post", description="Response of creating a post: the post, its id and status, or as in early 2026."
    )
    post_outcomes: Literal["destinations", "results"] = Field(
        "destinations", description="Location of a post's results: in the destinations, or as in early 2026."
    )
    patch_response: Literal["short", "post", "success"] = Field(
        "short", description="Response of PATCH: id and status, the post, or as in early 2026."
    )
    patch_extras: bool = Field(False, description="PATCH accepts `scheduled_pause` and `notes`, as in early 2026.")
    wrong_post_state_status: Literal[400, 409] = Field(
        409, description="Status of changing a post whose status does not allow it."
    )
    comment_platforms: list[str] = Field(
        default_factory=lambda: ["linkedin", "instagram", "facebook", "youtube"],
        description="Platforms whose comments can be disabled after publishing.",
    )
    undeletable_platforms: list[str] = Field(
        default_factory=lambda: ["instagram", "tiktok"],
        description="Platforms whose published posts cannot be deleted.",
    )
    repeated_post_delete: Literal[200, 404, 409] = Field(409, description="Status of deleting a `rejected` post.")
    deleted_posts_listed: bool = Field(True, description="Lists include deleted posts.")
    unpublished_status: Literal[200, 404, 409] = Field(
        409, description="Status of analytics and comments of an unpublished post. 200 returns empty ones."
    )
    analytics_post_id: bool = Field(False, description="Analytics contain `post_id`.")
    comments: int = Field(3, ge=0, description="Number of comments of each published destination.")
    max_connections: int | None = Field(None, ge=0, description="Maximum number of connected accounts.")
    connection_limit_status: Literal[400, 403, 409] = Field(403, description="Status above `max_connections`.")

    # Billing
    plan: Literal["creator", "creator_annual", "professional", "professional_annual", "pro"] | None = Field(
        "professional", description="The organization's plan."
    )
    free_plan: Literal["null", "object"] = Field("null", description="JSON of no plan.")
    unlimited_balance: float = Field(10000.0, description="Returned balance while `credits` is null.")
    credits_response: Literal["flat", "nested"] = Field(
        "flat", description="Shape of credits: as documented, or as in early 2026."
    )
    out_of_range_status: Literal[400, 422] = Field(400, description="Status of a threshold or quantity out of range.")
    upgrade: Literal["immediate", "checkout"] = Field("immediate", description="Whether an upgrade needs a checkout.")
    downgrade: Literal["scheduled", "immediate"] = Field(
        "scheduled", description="Whether a cheaper plan starts at the end of the period."
    )
    same_plan_status: Literal[200, 400, 409] = Field(409, description="Status of choosing the current plan.")
    plan_family_key: Literal["plan_family", "family"] = Field(
        "plan_family", description="Key of the plan's family after an upgrade."
    )
    plan_list_response: Literal["billing", "prices"] = Field(
        "billing", description="Items of the plan list: as documented, or as in early 2026."
    )

    # Access
    scopes: list[str] | None = Field(None, description="Scopes of the API key. Null is unrestricted.")
    unconfirmed_scopes: Literal["enforce", "ignore"] = Field(
        "enforce", description="Endpoints whose scope is not documented, but assumed from the others."
    )
    unknown_workspace_status: Literal[400, 403, 404] = Field(404, description="Status of an unknown `workspace_id`.")
    workspace_header: Literal["narrows", "observability"] = Field(
        "narrows",
        description="What `X-Workspace-Id` restricts: all endpoints, or the observability lists only.",
    )
    lists_without_workspace: Literal["all", "primary"] = Field(
        "all", description="Workspaces whose posts are listed without `X-Workspace-Id`."
    )
    avatar_workspace: Literal["organization", "primary"] = Field(
        "organization", description="What avatar profiles belong to: the organization, or its primary workspace."
    )
    accept_x_api_key: bool = Field(False, description="`X-API-Key` is accepted instead of `Authorization`.")
    whoami: Literal["organization", "user"] = Field(
        "organization", description="Response of `/whoami`: as documented, or as in 2025."
    )

    # Shapes
    optional_fields: Literal["documented", "null", "absent", "empty"] = Field(
        "documented", description="Optional fields without a value: as documented, all null, all absent, or all empty."
    )
    needs_credits_key: Literal["needs_credits", "needsCredits", "absent"] = Field(
        "needs_credits", description="Spelling of `needs_credits`."
    )
    detail_shape: Literal["text", "list", "object"] = Field("text", description="Shape of an error's `detail`.")
    error_codes: bool = Field(False, description="Errors contain `error` besides `detail`, as in 2025.")
    validation_status: Literal[400, 422] = Field(400, description="Status of an invalid body or query.")
    unknown_body_fields: Literal["refuse", "ignore"] = Field(
        "refuse", description="Undocumented body fields and query parameters."
    )
    success_status: Literal[200, 201, 204] = Field(
        200, description="Success of all methods but GET. 204 is used only where the client does not need the body."
    )
    extra_fields: bool = Field(False, description="All objects contain an unknown field.")
    cursor_key: Literal["next_cursor", "cursor"] = Field("next_cursor", description="Key of the next cursor in lists.")
    list_order: Literal["newest", "oldest"] = Field("newest", description="Order of the lists of runs and agents.")
    timestamps: Literal["seconds", "milliseconds", "microseconds", "offset"] = Field(
        "seconds", description="Format of times. `offset` is `+02:00` with microseconds."
    )

    # The emulator itself
    request_log: int = Field(20000, ge=0, description="Number of requests that the request log keeps.")
    fetch_hosts: Literal["loopback", "any"] = Field(
        "loopback", description="Hosts whose `video_urls` are downloaded and whose `callback_url` is called."
    )
    fetch_bytes: int = Field(5368709120, ge=0, description="Maximum size of each of the `video_urls`, in bytes.")
    fetch_seconds: float = Field(
        120.0, gt=0, description="Timeout for downloading one of the `video_urls`, in seconds."
    )
    seed: int = Field(0, description="Seed of the random numbers.")


def parse_assignment(text: str) -> tuple[str, object]:
    """Parse ``NAME=VALUE``. The value is JSON, or else plain text."""
    import json

    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value
