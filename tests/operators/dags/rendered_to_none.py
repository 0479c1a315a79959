"""The DAGs of test_came_to_nothing.py: Airflow takes them only from its DAG folder."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, task

from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicCreateAvatarProfileOperator,
    MosaicDownloadOutputsOperator,
    MosaicPostAnalyticsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
    MosaicYouTubeTriggerOperator,
)

AGENT = "a0000000-0000-4000-8000-000000000004"
NODE = "b0000004-0000-4000-8000-000000000002"
VIDEO = "https://cdn.example.org/host.mp4"


@task
def nothing() -> Any:
    return None


@task
def things(values: Any) -> Any:
    return values


def run(**arguments: Any) -> None:
    MosaicRunAgentOperator(task_id="act", agent_id=AGENT, poll_interval=0.05, **arguments)


def post(**arguments: Any) -> None:
    MosaicSocialPostOperator(**{"task_id": "act", "text": "New episode", "platforms": ["youtube"], **arguments})


def channels(**arguments: Any) -> None:
    MosaicYouTubeTriggerOperator(task_id="act", agent_id=AGENT, youtube_channels=["@demo"], **arguments)


def mapped() -> Any:
    return MosaicRunAgentOperator.partial(task_id="act", agent_id=AGENT, poll_interval=0.05)


def mapped_post() -> None:
    MosaicSocialPostOperator.partial(task_id="act", platforms=["youtube"]).expand(text=["New episode"])


def in_groups(outer: dict[str, Any], inner: dict[str, Any], build: Any) -> None:
    """Build the tasks in a group inside of another, each with its ``default_args``."""
    with TaskGroup("outer", default_args=outer), TaskGroup("inner", default_args=inner):
        build()


PARAM = "{{ params.nothing }}"
#: Rejected, by the argument that renders to None.
REFUSED = {
    "update_params": lambda: run(update_params=nothing()),
    "update_params_by_text": lambda: run(update_params="{{ ti.xcom_pull(task_ids='nowhere') }}"),
    "update_params['x']['prompt']": lambda: run(update_params={"x": {"prompt": nothing()}}),
    "update_params['x']['prompt']_of_a_task": lambda: run(update_params=things({"x": {"prompt": None}})),
    "update_params['x']['prompt']_by_json": lambda: run(update_params="{{ {'x': {'prompt': none}} | tojson }}"),
    "update_params['x']['prompt']_of_an_object_of_a_task": lambda: run(update_params={"x": things({"prompt": None})}),
    "update_params['x']['prompt']_of_expand": lambda: mapped().expand(update_params=things([{"x": {"prompt": None}}])),
    "video_inputs[0]['input_clip_start_ms']": lambda: run(
        video_inputs=things([{"agent_node_id": NODE, "video_ids": ["v"], "input_clip_start_ms": None}])
    ),
    "callback_url": lambda: run(callback_url=nothing()),
    "min_credits": lambda: run(min_credits=nothing()),
    "run_id": lambda: post(run_id=nothing()),
    "schedule_date": lambda: post(schedule_date=nothing()),
    "media_urls": lambda: post(media_urls=nothing()),
    "output_ids": lambda: post(run_id="a-run", output_ids=nothing()),
    "text": lambda: post(text="{{ ti.xcom_pull(task_ids='nowhere') }}"),
    "text_by_json": lambda: post(text=" {{ params.nothing | tojson }} "),
    f"update_params['{NODE}']['prompt']_by_json": lambda: run(
        update_params={NODE: {"prompt": "{{ params.nothing | tojson }}"}}
    ),
    "callback_url_of_channels": lambda: channels(callback_url=nothing()),
    "filter_options": lambda: channels(filter_options=nothing()),
    "filter_options['duration']['max_seconds']": lambda: channels(
        filter_options={"duration": {"min_seconds": 60, "max_seconds": nothing()}}
    ),
    "image_url": lambda: MosaicCreateAvatarProfileOperator(
        task_id="act", name="Host", video_url=VIDEO, image_url=nothing()
    ),
    "agent_id": lambda: MosaicApplyAgentOperator(
        task_id="act", definition={"name": "Nightly", "nodes": {}}, agent_id=nothing()
    ),
    "asset_type": lambda: MosaicUploadOperator(task_id="act", source=VIDEO, asset_type=nothing()),
    "social_connection_id": lambda: MosaicPostAnalyticsOperator(
        task_id="act", post_id="a-post", social_connection_id=nothing()
    ),
    # Mapped: Airflow creates the operator with the None itself.
    "update_params_of_expand": lambda: mapped().expand(update_params=things([None])),
    "update_params_of_a_written_expand": lambda: mapped().expand(update_params=[None]),
    "update_params_of_partial": lambda: MosaicRunAgentOperator.partial(
        task_id="act", agent_id=AGENT, update_params=nothing()
    ).expand(callback_url=["https://example.com/hook"]),
}
#: Rejected in a DAG with native rendering and a default ``schedule_date`` that renders to None.
NATIVELY_REFUSED = {
    "text_by_json": lambda: post(text="{{ params.nothing | tojson }}", schedule_date=None),
    "schedule_date_of_the_dag": lambda: in_groups({}, {}, mapped_post),
    "workspace_id_of_the_outer_group": lambda: in_groups(
        {"workspace_id": PARAM, "schedule_date": None}, {"provider_options": None}, mapped_post
    ),
    "min_credits_of_the_inner_group": lambda: in_groups(
        {"min_credits": 5}, {"min_credits": PARAM}, lambda: mapped().expand(update_params=[{NODE: {"number": 1}}])
    ),
    "min_credits_of_the_group_of_entries": lambda: in_groups(
        {"min_credits": PARAM}, {}, lambda: mapped().expand_kwargs(things([{}]))
    ),
    f"update_params['{NODE}']['prompt']_by_json_of_the_group": lambda: in_groups(
        {"update_params": f"{{{{ {{'{NODE}': {{'prompt': none}}}} | tojson }}}}"},
        {},
        lambda: mapped().expand(min_credits=[0]),
    ),
}
#: Accepted: a None in the DAG file, and one in an entry of expand_kwargs.
TAKEN = {
    "none_written": lambda: run(update_params=None, callback_url=None),
    "none_of_partial": lambda: MosaicRunAgentOperator.partial(task_id="act", agent_id=AGENT, callback_url=None).expand(
        update_params=[{NODE: {"number": 1}}]
    ),
    "none_of_a_written_entry": lambda: mapped().expand_kwargs([{"update_params": None}]),
    "none_of_an_entry_from_a_task": lambda: mapped().expand_kwargs(things([{"update_params": None}])),
    "no_key_in_an_entry_from_a_task": lambda: mapped().expand_kwargs(things([{}])),
    "none_in_a_written_json": lambda: run(update_params=f'{{"{NODE}": {{"prompt": null}}}}'),
    "none_deep_inside": lambda: run(update_params={NODE: {"prompt": None}}),
    "written_texts": lambda: run(update_params={NODE: {"prompt": "null", "style": "None"}}),
    "text_of_a_task": lambda: run(update_params=things({NODE: {"prompt": "null"}})),
    "none_of_the_inner_group": lambda: in_groups(
        {"callback_url": PARAM},
        {"callback_url": None},
        lambda: mapped().expand(update_params=[{NODE: {"number": 1}}]),
    ),
    "none_of_an_entry_instead_of_a_default": lambda: in_groups(
        {"update_params": PARAM}, {}, lambda: mapped().expand_kwargs(things([{"update_params": None}]))
    ),
}
#: Optional arguments that render to an empty value. The parameter ``nothing`` is empty.
PROMPT = {"number": 1, "prompt": PARAM}
PROMPT_PLACE = f"update_params['{NODE}']['prompt']"
OPTIONAL = {
    "callback_url": lambda: run(callback_url=PARAM, optional=["callback_url"]),
    "callback_url_by_one_text": lambda: run(callback_url=PARAM, optional="callback_url"),
    "callback_url_as_empty_text": lambda: run(callback_url="{{ params.nothing or '' }}", optional=["callback_url"]),
    "callback_url_as_json": lambda: run(callback_url="{{ params.nothing | tojson }}", optional=["callback_url"]),
    "callback_url_of_a_task": lambda: run(callback_url=nothing(), optional=["callback_url"]),
    "update_params": lambda: run(update_params=PARAM, optional=["update_params"]),
    "prompt": lambda: run(update_params={NODE: PROMPT}, optional=[PROMPT_PLACE]),
    "prompt_in_other_quotes": lambda: run(update_params={NODE: PROMPT}, optional=[PROMPT_PLACE.replace("'", '"')]),
    "prompt_of_a_task": lambda: run(
        update_params=things({NODE: {"number": 1, "prompt": None}}), optional=[PROMPT_PLACE]
    ),
    "prompt_by_json": lambda: run(
        update_params="{{ {params.node: {'number': 1, 'prompt': none}} | tojson }}", optional=[PROMPT_PLACE]
    ),
    "param_with_an_apostrophe": lambda: run(
        update_params={NODE: {"number": 1, "editor's note": PARAM}},
        optional=[f"update_params['{NODE}']['editor's note']"],
    ),
    "param_with_an_apostrophe_in_other_quotes": lambda: run(
        update_params={NODE: {"number": 1, "editor's note": PARAM}},
        optional=[f"update_params['{NODE}'][\"editor's note\"]"],
    ),
    "ignore_nodes": lambda: run(ignore_nodes="{{ params.none_of_them }}", optional=["ignore_nodes"]),
    "min_credits": lambda: run(min_credits=PARAM, optional=["min_credits"]),
    "callback_url_of_partial": lambda: MosaicRunAgentOperator.partial(
        task_id="act", agent_id=AGENT, poll_interval=0.05, callback_url=PARAM, optional=["callback_url"]
    ).expand(update_params=[{NODE: {"number": 1}}]),
    "callback_url_of_expand": lambda: MosaicRunAgentOperator.partial(
        task_id="act", agent_id=AGENT, poll_interval=0.05, optional=["callback_url"]
    ).expand(callback_url=things([None])),
}
#: One optional argument and one that is not, both with an empty parameter.
NOT_OPTIONAL = {
    "callback_url": lambda: run(callback_url=PARAM, update_params=PARAM, optional=["update_params"]),
    PROMPT_PLACE: lambda: run(update_params={NODE: PROMPT}, optional=["update_params"]),
    "update_params": lambda: run(update_params=PARAM, optional=[PROMPT_PLACE]),
    "update_params['it's']['note']": lambda: run(update_params={"it's": {"note": PARAM}}),
    "schedule_date": lambda: post(schedule_date="{{ params.nothing or '' }}"),
    "workspace_id": lambda: post(workspace_id=" {{ params.nothing or '' }} "),
}


def all_of(name: str, cases: dict[str, Any], **options: Any) -> DAG:
    """Return a DAG with a task ``act`` for each case, in a group with the number of the case."""
    nothing = Param(None, type=["null", "string"])
    params: Any = {"nothing": nothing, "none_of_them": Param([], type="array"), "node": NODE}
    with DAG(name, schedule=None, params=params, **options) as dag:
        for number, build in enumerate(cases.values()):
            with TaskGroup(f"case_{number}"):
                build()
    return dag


refused = all_of("rendered_to_none", REFUSED)
natively_refused = all_of(
    "natively_rendered_to_none",
    NATIVELY_REFUSED,
    render_template_as_native_obj=True,
    default_args={"schedule_date": PARAM},
)
taken = all_of("none_was_meant", TAKEN)
optional = all_of("may_be_empty", OPTIONAL)
natively_optional = all_of("may_be_none", OPTIONAL, render_template_as_native_obj=True)
not_optional = all_of("may_not_be_empty", NOT_OPTIONAL)
with DAG("callback_left_as_it_is", schedule=None, params={"nothing": Param(None, type=["null", "string"])}) as left:
    channels(callback_url=PARAM, optional=["callback_url"])
with DAG("null_of_a_definition", schedule=None) as null_of_a_definition:
    node = {"tile": "Rough Cut", "params": {"prompt": None}}
    MosaicApplyAgentOperator(task_id="act", definition=things({"name": "Nightly", "nodes": {"cut": node}}))
with DAG("post_of_now", schedule=None, params={"nothing": Param(None, type=["null", "string"])}) as post_of_now:
    names = ["schedule_date", "workspace_id", "provider_options"]
    post(**dict.fromkeys(names, PARAM), optional=names)
with DAG("files", schedule=None, params={"nothing": Param(None, type=["null", "string"]), "run": ""}) as files:
    MosaicDownloadOutputsOperator(
        task_id="act",
        run_id="{{ params.run }}",
        destination="{{ dag_run.conf['folder'] }}",
        include=PARAM,
        filename=PARAM,
        optional=["include", "filename"],
    )
with DAG("callback_came_to_nothing", schedule=None) as callback:
    REFUSED["callback_url_of_channels"]()
#: Texts that native rendering would change, reject as None, or make unsendable.
TEXTS = ["1_000", '"New" \U0001f600', "null"]
with DAG("texts", schedule=None, render_template_as_native_obj=True) as texts:
    for number, text in enumerate(TEXTS):
        post(task_id=f"post_{number}", text=texts.param(f"text_{number}", text))
