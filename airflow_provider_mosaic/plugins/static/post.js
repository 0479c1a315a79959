/** A post: its text, and its result at each destination. */

import { element, setChildren } from "./elements.js";
import { number, timeElement } from "./format.js";
import { heading, idElement, outsideLink, showFacts, showTable, showTitle } from "./sections.js";
import { labelOf, stateElement } from "./states.js";

/** @typedef {import("./types.js").Post} Post */
/** @typedef {import("./types.js").PostDestination} PostDestination */

/**
 * @param {import("./sections.js").Parts} parts
 * @param {Post} post
 */
export function showPost(parts, post) {
  showTitle(parts.title, "Social post", post.status, post.outcome);
  showFacts(parts.facts, {
    Post: idElement(post.id),
    Created: timeElement(post.created_at),
    "Scheduled for": timeElement(post.scheduled_at),
  });
  parts.inputs.hidden = true;
  parts.outputs.hidden = !post.text;
  setChildren(
    parts.outputs,
    post.text && heading("Text"),
    post.text && element("p", { class: "post-text" }, post.text),
  );
  showTable(
    parts.table,
    "Destinations",
    ["Destination", "State", "Result", "Metrics"],
    post.destinations.map(destinationRow),
  );
}

/** @param {PostDestination} destination */
function destinationRow({ platform, account, status, url, error, metrics }) {
  const where = element("span", { class: "visually-hidden" }, ` on ${platform ?? "its platform"}`);
  const link = url && outsideLink(url, "Open the post", where);
  return element(
    "tr",
    {},
    element(
      "th",
      { scope: "row" },
      platform ?? "unknown platform",
      account && element("div", { class: "muted account" }, account),
    ),
    element("td", {}, status && stateElement(status)),
    element("td", { class: "wide" }, (error || link) && element("span", { class: "messages" }, error, link)),
    element("td", { class: "wide" }, metricsElement(metrics)),
  );
}

/** @param {Record<string, number>} metrics */
function metricsElement(metrics) {
  const named = Object.entries(metrics);
  if (named.length === 0) return null;
  return element(
    "ul",
    { class: "metrics" },
    ...named.map(([name, value]) => element("li", {}, `${number(value)} ${labelOf(name)}`)),
  );
}
