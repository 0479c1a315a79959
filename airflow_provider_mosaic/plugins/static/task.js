/** The page of a task instance: its run, post or upload in Mosaic. */

import { askAndSend } from "./actions.js";
import { followTheme, letLinksLeaveFrame } from "./airflow.js";
import { ROOT, RequestError, get } from "./api.js";
import { element, icon, setChildren } from "./elements.js";
import { duration, number, timeElement } from "./format.js";
import { showMedia } from "./media.js";
import { notice, pageMessage, problemTitle, requestMessage } from "./problems.js";
import { refreshing } from "./refresh.js";
import { labelOf, stateElement } from "./states.js";

/** This page without ROOT: tasks/{dag_id}/{run_id}/{task_id}/{map_index} */
const PATH = location.pathname.slice(ROOT.pathname.length);

const main = /** @type {HTMLElement} */ (document.querySelector("main"));
const announcement = /** @type {HTMLElement} */ (document.querySelector("#announcement"));

/** @type {any} The `TaskPage` of plugins/pages.py that is shown. */
let page = null;
/** @type {Record<string, HTMLElement> | null} The parts of the page, once there is something to show. */
let parts = null;
let announcementTimer = 0;
/** Milliseconds by which the clock of the server is ahead. */
let clockAhead = 0;

followTheme();
letLinksLeaveFrame();
const refresh = refreshing(load, showError);
setInterval(tick, 1000);

main.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  if (button?.dataset.command === "refresh") refresh();
  const action = page?.actions.find((/** @type {any} */ each) => each.name === button?.dataset.action);
  if (action) askAndSend(action, page.csrf_token, announce, refresh);
});

/** @returns {Promise<number | null>} */
async function load() {
  const next = await get(`api/${PATH}`);
  announceChange(page, next);
  page = next;
  if (page.read_at) clockAhead = Date.parse(page.read_at) - Date.now();
  document.title = `${page.task_id} · Mosaic`;
  show();
  return page.refresh_after;
}

/**
 * Show a sentence for a while. Screen readers read it.
 *
 * @param {string} text
 */
function announce(text) {
  announcement.textContent = text;
  clearTimeout(announcementTimer);
  announcementTimer = setTimeout(() => (announcement.textContent = ""), 10_000);
}

/**
 * @param {any} before
 * @param {any} after
 */
function announceChange(before, after) {
  const [old, now] = [before, after].map((each) => each?.run?.status ?? each?.post?.status);
  if (old && now && old !== now) announce(`${after.run ? "Run" : "Post"} ${labelOf(now)}.`);
}

function show() {
  main.setAttribute("aria-busy", "false");
  if (page.run || page.post || page.asset) {
    parts ??= createParts();
    showNotices();
    if (page.run) showRun(page.run);
    else if (page.post) showPost(page.post);
    else showAsset(page.asset);
    showStatus();
  } else {
    parts = null;
    const { kind, message } = page.problem ?? { kind: "not_started", message: "The task has not created anything in Mosaic." };
    main.replaceChildren(pageMessage(problemTitle(kind), message), statusLine());
  }
  tick();
}

/**
 * Show an error of Airflow: instead of the page, or below it if the next request may succeed.
 *
 * @param {any} error
 * @param {number | null} pause
 */
function showError(error, pause) {
  main.setAttribute("aria-busy", "false");
  if (!(error instanceof RequestError)) {
    console.error(error);
    error = new RequestError(0, "This page has an error; the browser's console shows it.");
  }
  const next = pause === null ? "" : `Next try in ${duration(pause)}.`;
  if (parts && pause !== null) {
    setChildren(parts.status, element("span", {}, `${error.message} ${next}`), refreshButton("Try now"));
  } else {
    parts = null;
    const line = element("p", { class: "page-status" }, next, refreshButton("Try again"));
    main.replaceChildren(requestMessage(error), line);
  }
}

/** Create the parts that every page with a run, a post or an asset has. */
function createParts() {
  /** @type {Record<string, HTMLElement>} */
  const made = {};
  /** @type {(name: string, tag: string, attributes?: Record<string, string>, ...children: any[]) => HTMLElement} */
  const part = (name, tag, attributes = {}, ...children) => (made[name] = element(tag, attributes, ...children));
  const summary = element(
    "header",
    { class: "summary" },
    element("div", { class: "summary-top" }, part("title", "h1"), part("elapsed", "span", { class: "elapsed" }), part("actions", "div", { class: "actions" })),
    part("nodes", "div", { class: "nodes" }),
    part("facts", "dl", { class: "facts" }),
    part("notices", "div", { class: "notices" }),
  );
  const sections = part(
    "sections",
    "div",
    { class: "sections" },
    ...["outputs", "table", "inputs"].map((name) => part(name, "section", { class: `section ${name}` })),
  );
  main.replaceChildren(summary, sections, part("status", "p", { class: "page-status" }));
  return made;
}

function showNotices() {
  const { problem, run } = page;
  setChildren(
    parts.notices,
    problem && notice("partial", `${problemTitle(problem.kind)}.`, problem.message),
    run && run.outcome !== "success" && (run.status_message || run.needs_credits || run.outcome === "failed") && runNotice(run),
  );
}

/**
 * Say what went wrong: what Mosaic reports about the run, and the messages of its first failed tiles.
 *
 * @param {any} run
 */
function runNotice(run) {
  const tone = run.outcome === "failed" ? "failed" : run.outcome === "partial" || run.needs_credits ? "partial" : "idle";
  const reported = run.tiles.filter((/** @type {any} */ tile) => tile.status === "failed" && tile.message && tile.message !== run.status_message);
  const sentences = reported.slice(0, 3).map((/** @type {any} */ tile) => `${tile.name}: ${tile.message}`);
  if (run.needs_credits) sentences.push("Add credits in Mosaic before you resume the run.");
  return notice(tone, run.status_message ?? (run.needs_credits ? "The run needs more credits" : "The run failed"), ...sentences);
}

// Runs

/** @param {any} run */
function showRun(run) {
  showTitle("Mosaic run", run.status, run.outcome);
  setChildren(parts.actions, ...page.actions.map(actionButton));
  showNodes(run.nodes);
  showFacts({
    Run: element("span", { class: "id" }, run.id),
    Agent: run.agent_id && agentElement(run),
    Started: timeElement(run.started_at),
    Ended: timeElement(run.ended_at),
  });
  showMediaSection(parts.outputs, "Outputs", run.outputs, run.outcome === "pending" ? "No output yet." : "The run has no outputs.");
  showTiles(run.tiles);
  showMediaSection(parts.inputs, "Inputs", run.inputs);
  parts.sections.classList.toggle("beside", run.tiles.length > 0);
}

/**
 * @param {string} what
 * @param {string} status
 * @param {string} [outcome]
 */
function showTitle(what, status, outcome) {
  setChildren(parts.title, element("span", { class: "visually-hidden" }, `${what}: `), stateElement(status, outcome));
}

/** @param {any} action */
function actionButton(action) {
  const kind = action.name === "cancel" ? "danger" : "";
  return element("button", { type: "button", class: `button ${kind}`.trim(), "data-action": action.name }, action.label);
}

/** @param {any} run */
function agentElement(run) {
  const id = element("span", { class: "id" }, run.agent_id);
  return run.editor_url ? outsideLink(run.editor_url, id) : id;
}

/**
 * @param {string} url
 * @param {...(Node | string)} children
 */
function outsideLink(url, ...children) {
  if (!/^https?:\/\//i.test(url)) return element("span", {}, ...children);
  const attributes = { href: url, target: "_blank", rel: "noopener noreferrer", "data-leaves-frame": true };
  return element("a", attributes, ...children, element("span", { class: "visually-hidden" }, " (new tab)"));
}

/** @param {Record<string, Node | string | null | undefined | false>} facts */
function showFacts(facts) {
  const shown = Object.entries(facts).filter(([, value]) => value);
  setChildren(parts.facts, ...shown.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

/** @param {{completed: number, in_progress: number, failed: number, total: number}} nodes */
function showNodes({ completed, in_progress, failed, total }) {
  parts.nodes.hidden = total === 0;
  /** @type {[string, number, string][]} */
  const counts = [
    ["success", completed, "completed"],
    ["running", in_progress, "in progress"],
    ["failed", failed, "failed"],
    ["idle", total - completed - in_progress - failed, "waiting"],
  ];
  if (!parts.bar) {
    parts.bar = element("div", { class: "bar", "aria-hidden": "true" }, ...counts.map(([tone]) => element("span", { "data-tone": tone })));
    parts.legend = element("ul", { class: "legend", "aria-label": "Tiles by state" });
    parts.nodes.append(parts.bar, parts.legend);
  }
  counts.forEach(([, count], position) => {
    const segment = /** @type {HTMLElement} */ (parts.bar.children[position]);
    segment.hidden = count <= 0;
    segment.style.flexGrow = String(count);
  });
  const named = counts.filter(([tone, count]) => count > 0 || tone === "success");
  setChildren(parts.legend, ...named.map(([tone, count, word]) => element("li", { "data-tone": tone }, `${number(count)} ${word}`)));
}

/** @param {any[]} tiles */
function showTiles(tiles) {
  parts.table.hidden = tiles.length === 0;
  const rows = tiles.map((tile) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, tile.name),
      element("td", {}, stateElement(tile.status)),
      element(
        "td",
        { class: "wide" },
        (tile.message || tile.needs_credits) &&
          element("span", { class: "messages" }, tile.message, tile.needs_credits && element("span", {}, element("span", { class: "tag" }, "short of credits"))),
      ),
    ),
  );
  showTable("Tiles", tiles.length, ["Tile", "State", "Message"], rows);
}

/**
 * @param {string} title
 * @param {number} count
 * @param {string[]} columns
 * @param {HTMLElement[]} rows
 */
function showTable(title, count, columns, rows) {
  const head = element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name))));
  setChildren(parts.table, heading(title, count), element("table", { "aria-label": title }, head, element("tbody", {}, ...rows)));
}

/**
 * @param {string} title
 * @param {number} count
 */
function heading(title, count) {
  return element("h2", {}, title, count > 1 && element("span", { class: "count" }, number(count)));
}

/**
 * @param {HTMLElement} section
 * @param {string} title
 * @param {any[]} media
 * @param {string} [empty] What to say without media. By default the section is hidden.
 */
function showMediaSection(section, title, media, empty) {
  section.hidden = media.length === 0 && !empty;
  if (!section.firstElementChild) section.append(element("div"), element("div", { class: "media-grid" }), element("p", { class: "muted" }));
  const [head, grid, text] = /** @type {HTMLElement[]} */ ([...section.children]);
  setChildren(head, heading(title, media.length));
  showMedia(grid, media);
  grid.hidden = media.length === 0;
  setChildren(text, empty);
  text.hidden = media.length > 0;
}

// Posts and uploads

/** @param {any} post */
function showPost(post) {
  showTitle("Social post", post.status, post.outcome);
  parts.nodes.hidden = parts.inputs.hidden = true;
  showFacts({
    Post: element("span", { class: "id" }, post.id),
    Created: timeElement(post.created_at),
    "Scheduled for": timeElement(post.scheduled_at),
  });
  setChildren(parts.outputs, ...(post.text ? [heading("Text", 0), element("p", { class: "post-text" }, post.text)] : []));
  parts.outputs.hidden = !post.text;
  const rows = post.destinations.map((/** @type {any} */ each) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, each.platform ?? "unknown platform", each.account && element("div", { class: "muted account" }, each.account)),
      element("td", {}, each.status && stateElement(each.status)),
      element("td", { class: "wide" }, destinationResult(each)),
      element("td", { class: "wide" }, metricsElement(each.metrics)),
    ),
  );
  showTable("Destinations", rows.length, ["Destination", "State", "Result", "Metrics"], rows);
}

/** @param {any} destination */
function destinationResult({ url, error, platform }) {
  if (!url && !error) return null;
  const link = url && outsideLink(url, "Open the post", icon("outside"), element("span", { class: "visually-hidden" }, ` on ${platform ?? "its platform"}`));
  return element("span", { class: "messages" }, error, link);
}

/** @param {Record<string, number>} metrics */
function metricsElement(metrics) {
  const named = Object.entries(metrics);
  if (named.length === 0) return null;
  return element("ul", { class: "metrics" }, ...named.map(([name, value]) => element("li", {}, `${number(value)} ${labelOf(name)}`)));
}

/** @param {any} asset */
function showAsset(asset) {
  showTitle(`Uploaded ${asset.kind}`, "uploaded", "success");
  parts.nodes.hidden = parts.inputs.hidden = parts.table.hidden = true;
  showFacts({ Asset: element("span", { class: "id" }, asset.id), Type: asset.content_type });
  showMediaSection(parts.outputs, "Preview", [asset]);
}

// The line at the end, and what changes each second

function showStatus() {
  setChildren(parts.status, ...statusLine().childNodes);
}

function statusLine() {
  const read = timeElement(page.read_at);
  return element(
    "p",
    { class: "page-status" },
    read && element("span", {}, "Read from Mosaic at ", read),
    element("span", {}, page.refresh_after === null ? "Final: this page does not refresh." : `Refreshes every ${duration(page.refresh_after)}.`),
    refreshButton("Refresh"),
  );
}

/** @param {string} text */
function refreshButton(text) {
  return element("button", { type: "button", class: "plain", "data-command": "refresh" }, text);
}

function tick() {
  const run = page?.run;
  if (!parts || !run?.started_at) return;
  const end = run.ended_at ? Date.parse(run.ended_at) : run.outcome === "pending" ? Date.now() + clockAhead : NaN;
  parts.elapsed.textContent = duration((end - Date.parse(run.started_at)) / 1000);
}
