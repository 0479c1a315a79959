/** The page of a task instance: its run, post or upload in Mosaic. */

import { askAndSend } from "./actions.js";
import { followTheme, letLinksLeaveFrame } from "./airflow.js";
import { ROOT, RequestError, get } from "./api.js";
import { element, setChildren } from "./elements.js";
import { duration, timeElement } from "./format.js";
import { showPost } from "./post.js";
import { notice, pageMessage, problemTitle, requestMessage } from "./problems.js";
import { refreshing } from "./refresh.js";
import { runNotice, showRun } from "./run.js";
import { createParts, idElement, showFacts, showMediaSection, showTitle } from "./sections.js";
import { labelOf } from "./states.js";

/** @typedef {import("./types.js").TaskPage} TaskPage */
/** @typedef {import("./sections.js").Parts} Parts */

/** The path of this page, relative to ROOT: tasks/{dag_id}/{run_id}/{task_id}/{map_index} */
const PATH = location.pathname.slice(ROOT.pathname.length);
/** Milliseconds for which an announcement is shown. */
const ANNOUNCEMENT = 10_000;

const main = /** @type {HTMLElement} */ (document.querySelector("main"));
const announcement = /** @type {HTMLElement} */ (document.querySelector("#announcement"));

/** @type {TaskPage | null} What is shown. */
let page = null;
/** @type {Parts | null} The parts of the page, while there is something to show. */
let parts = null;
/** Milliseconds by which the clock of the server is ahead. */
let clockAhead = 0;
let announcementTimer = 0;

followTheme();
letLinksLeaveFrame();
const refresh = refreshing(load, showError);
setInterval(tick, 1000);

main.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  if (button?.dataset.command === "refresh") refresh();
  const action = page?.actions.find(({ name }) => name === button?.dataset.action);
  if (action && page?.csrf_token) askAndSend(action, page.csrf_token, announce, refresh);
});

/** @returns {Promise<number | null>} Seconds until the next refresh. */
async function load() {
  /** @type {TaskPage} */
  const next = await get(`api/${PATH}`);
  announceChange(page, next);
  page = next;
  if (next.read_at) clockAhead = Date.parse(next.read_at) - Date.now();
  document.title = `${next.task_id} · Mosaic`;
  show(next);
  return next.refresh_after;
}

/**
 * Show a sentence for a while. Screen readers read it.
 *
 * @param {string} text
 */
function announce(text) {
  announcement.textContent = text;
  clearTimeout(announcementTimer);
  announcementTimer = setTimeout(() => (announcement.textContent = ""), ANNOUNCEMENT);
}

/**
 * @param {TaskPage | null} before
 * @param {TaskPage} after
 */
function announceChange(before, after) {
  const [old, now] = [before, after].map((each) => each?.run?.status ?? each?.post?.status);
  if (old && now && old !== now) announce(`${after.run ? "Run" : "Post"} ${labelOf(now)}.`);
}

/** @param {TaskPage} shown */
function show(shown) {
  const { problem, run, post, asset } = shown;
  main.setAttribute("aria-busy", "false");
  if (!run && !post && !asset) {
    parts = null;
    const title = problemTitle(problem?.kind ?? "not_started");
    main.replaceChildren(
      pageMessage(title, problem?.message ?? ""),
      element("p", { class: "page-status" }, ...statusLine(shown)),
    );
    return;
  }
  parts ??= createParts(main);
  setChildren(
    parts.notices,
    problem && notice("partial", `${problemTitle(problem.kind)}.`, problem.message),
    run && runNotice(run),
  );
  setChildren(parts.actions, ...shown.actions.map(actionButton));
  if (run) showRun(parts, run);
  else if (post) showPost(parts, post);
  else if (asset) showAsset(parts, asset);
  setChildren(parts.status, ...statusLine(shown));
  tick();
}

/** @param {import("./types.js").Action} action */
function actionButton({ name, label }) {
  return element(
    "button",
    { type: "button", class: name === "cancel" ? "button danger" : "button", "data-action": name },
    label,
  );
}

/**
 * @param {Parts} parts
 * @param {import("./types.js").Media} asset
 */
function showAsset(parts, asset) {
  showTitle(parts.title, `The ${asset.kind}`, "uploaded", "success");
  showFacts(parts.facts, { Asset: idElement(asset.id), Type: asset.content_type });
  parts.inputs.hidden = parts.table.hidden = true;
  showMediaSection(parts.outputs, "Preview", [asset]);
}

/**
 * Create the line at the end: how old the page is, and whether it changes by itself.
 *
 * @param {TaskPage} shown
 */
function statusLine({ read_at, refresh_after }) {
  const read = timeElement(read_at);
  return [
    read && element("span", {}, "Read from Mosaic at ", read),
    element(
      "span",
      {},
      refresh_after === null ? "Final: this page does not refresh." : `Refreshes every ${duration(refresh_after)}.`,
    ),
    refreshButton("Refresh"),
  ];
}

/** @param {string} text */
function refreshButton(text) {
  return element("button", { type: "button", class: "plain", "data-command": "refresh" }, text);
}

/**
 * Show an error of Airflow: below what is shown if the next request may succeed, else instead of it.
 *
 * @param {RequestError} error
 * @param {number | null} pause Seconds until the next request.
 */
function showError(error, pause) {
  main.setAttribute("aria-busy", "false");
  const next = pause === null ? "" : `Next try in ${duration(pause)}.`;
  if (parts && pause !== null) {
    setChildren(parts.status, element("span", {}, `${error.message} ${next}`), refreshButton("Try now"));
  } else {
    parts = null;
    main.replaceChildren(
      requestMessage(error),
      element("p", { class: "page-status" }, next, refreshButton("Try again")),
    );
  }
}

/** Show for how long the run is running, or ran. */
function tick() {
  const run = page?.run;
  if (!parts || !run?.started_at) return;
  const now = run.outcome === "pending" ? Date.now() + clockAhead : NaN;
  const end = run.ended_at ? Date.parse(run.ended_at) : now;
  parts.elapsed.textContent = duration((end - Date.parse(run.started_at)) / 1000);
}
