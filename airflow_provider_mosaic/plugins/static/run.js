/** A run: its nodes, tiles, outputs and inputs. */

import { element, setChildren } from "./elements.js";
import { number, timeElement } from "./format.js";
import { notice } from "./problems.js";
import { idElement, outsideLink, showFacts, showMediaSection, showTable, showTitle } from "./sections.js";
import { stateElement } from "./states.js";

/** @typedef {import("./types.js").Run} Run */
/** @typedef {import("./types.js").Tile} Tile */

/** How many failed tiles the notice above the pictures names. The table has all. */
const NOTICED_TILES = 3;

/**
 * @param {import("./sections.js").Parts} parts
 * @param {Run} run
 */
export function showRun(parts, run) {
  showTitle(parts.title, "Mosaic run", run.status, run.outcome);
  showNodes(parts.nodes, run.nodes);
  showFacts(parts.facts, {
    Run: idElement(run.id),
    Agent: agentElement(run),
    Started: timeElement(run.started_at),
    Ended: timeElement(run.ended_at),
  });
  showMediaSection(
    parts.outputs,
    "Outputs",
    run.outputs,
    run.outcome === "pending" ? "No output yet." : "The run has no outputs.",
  );
  showTable(parts.table, "Tiles", ["Tile", "State", "Message"], run.tiles.map(tileRow));
  showMediaSection(parts.inputs, "Inputs", run.inputs);
  parts.sections.classList.toggle("beside", run.tiles.length > 0);
}

/** @param {Run} run */
function agentElement({ agent_id, agent_name, editor_url }) {
  if (!agent_id) return null;
  const name = agent_name ? element("span", { title: agent_id }, agent_name) : idElement(agent_id);
  return editor_url ? outsideLink(editor_url, name) : name;
}

/**
 * Show a bar with a segment for each state, and the numbers in words.
 *
 * @param {HTMLElement} part
 * @param {import("./types.js").NodeProgress} nodes
 */
function showNodes(part, { completed, in_progress, failed, total }) {
  part.hidden = total === 0;
  /** @type {[string, number, string][]} */
  const counts = [
    ["success", completed, "completed"],
    ["running", in_progress, "in progress"],
    ["failed", failed, "failed"],
    ["idle", Math.max(0, total - completed - in_progress - failed), "waiting"],
  ];
  if (!part.firstElementChild) {
    part.append(
      element(
        "div",
        { class: "bar", "aria-hidden": "true" },
        ...counts.map(([tone]) => element("span", { "data-tone": tone })),
      ),
      element("ul", { class: "legend", "aria-label": "Tiles by state" }),
    );
  }
  const [bar, legend] = /** @type {HTMLElement[]} */ ([...part.children]);
  counts.forEach(([, count], position) => {
    const segment = /** @type {HTMLElement} */ (bar.children[position]);
    segment.hidden = count === 0;
    segment.style.flexGrow = String(count);
  });
  const named = counts.filter(([tone, count]) => count > 0 || tone === "success");
  setChildren(
    legend,
    ...named.map(([tone, count, word]) => element("li", { "data-tone": tone }, `${number(count)} ${word}`)),
  );
}

/** @param {Tile} tile */
function tileRow(tile) {
  const credits = tile.needs_credits && element("span", {}, element("span", { class: "tag" }, "short of credits"));
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, tile.name),
    element("td", {}, stateElement(tile.status)),
    element(
      "td",
      { class: "wide" },
      (tile.message || credits) && element("span", { class: "messages" }, tile.message, credits),
    ),
  );
}

/**
 * Say what went wrong: what Mosaic reports about the run, and the messages of its first failed tiles.
 *
 * @param {Run} run
 * @returns {HTMLElement | null}
 */
export function runNotice(run) {
  if (run.outcome === "success" || !(run.status_message || run.needs_credits || run.outcome === "failed")) return null;
  const sentences = run.tiles
    .filter((tile) => tile.status === "failed" && tile.message && tile.message !== run.status_message)
    .slice(0, NOTICED_TILES)
    .map((tile) => `${tile.name}: ${tile.message}`);
  if (run.needs_credits) sentences.push("Add credits in Mosaic before you resume the run.");
  const title = run.status_message ?? (run.needs_credits ? "The run needs more credits" : `The run is ${run.status}`);
  const tone =
    run.outcome === "failed" ? "failed" : run.outcome === "partial" || run.needs_credits ? "partial" : "idle";
  return notice(tone, title, ...sentences);
}
