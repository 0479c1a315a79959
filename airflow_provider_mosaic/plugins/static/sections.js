/** The skeleton of a task's page, and the kinds of sections that fill it. */

import { element, icon, setChildren } from "./elements.js";
import { number } from "./format.js";
import { showMedia } from "./media.js";
import { stateElement } from "./states.js";

/** @typedef {import("./types.js").Media} Media */
/** @typedef {import("./elements.js").Child} Child */

/**
 * The parts of the page that change.
 *
 * @typedef {object} Parts
 * @property {HTMLElement} title
 * @property {HTMLElement} elapsed
 * @property {HTMLElement} actions
 * @property {HTMLElement} nodes
 * @property {HTMLElement} facts
 * @property {HTMLElement} notices
 * @property {HTMLElement} sections
 * @property {HTMLElement} outputs
 * @property {HTMLElement} table
 * @property {HTMLElement} inputs
 * @property {HTMLElement} status
 */

/**
 * Fill an element with the skeleton, and return its parts.
 *
 * @param {HTMLElement} main
 * @returns {Parts}
 */
export function createParts(main) {
  const outputs = element("section", { class: "section outputs" });
  const table = element("section", { class: "section table" });
  const inputs = element("section", { class: "section inputs" });
  const parts = {
    title: element("h1"),
    elapsed: element("span", { class: "elapsed" }),
    actions: element("div", { class: "actions" }),
    nodes: element("div", { class: "nodes", hidden: true }),
    facts: element("dl", { class: "facts" }),
    notices: element("div", { class: "notices" }),
    sections: element("div", { class: "sections" }, outputs, table, inputs),
    outputs,
    table,
    inputs,
    status: element("p", { class: "page-status" }),
  };
  const { title, elapsed, actions, nodes, facts, notices, sections, status } = parts;
  const top = element("div", { class: "summary-top" }, title, elapsed, actions);
  main.replaceChildren(element("header", { class: "summary" }, top, nodes, facts, notices), sections, status);
  return parts;
}

/**
 * Show what the page is about, and its state, as the page's heading.
 *
 * @param {HTMLElement} title
 * @param {string} what
 * @param {string} status
 * @param {import("./types.js").Outcome} outcome
 */
export function showTitle(title, what, status, outcome) {
  setChildren(title, element("span", { class: "visually-hidden" }, `${what}: `), stateElement(status, outcome));
}

/**
 * Show names with values, without those that have none.
 *
 * @param {HTMLElement} list
 * @param {Record<string, Child>} facts
 */
export function showFacts(list, facts) {
  const present = Object.entries(facts).filter(([, value]) => value);
  setChildren(
    list,
    ...present.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/** @param {string} id */
export function idElement(id) {
  return element("span", { class: "id" }, id);
}

/**
 * @param {HTMLElement} section
 * @param {string} title
 * @param {string[]} columns
 * @param {HTMLElement[]} rows
 */
export function showTable(section, title, columns, rows) {
  section.hidden = rows.length === 0;
  const head = element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name))));
  setChildren(
    section,
    heading(title, rows.length),
    element("table", { "aria-label": title }, head, element("tbody", {}, ...rows)),
  );
}

/**
 * @param {HTMLElement} section
 * @param {string} title
 * @param {Media[]} media
 * @param {string} [empty] What to say without media. By default the section is hidden.
 */
export function showMediaSection(section, title, media, empty = "") {
  section.hidden = media.length === 0 && !empty;
  if (!section.firstElementChild) {
    section.append(element("div"), element("div", { class: "media-grid" }), element("p", { class: "muted" }));
  }
  const [head, grid, text] = /** @type {HTMLElement[]} */ ([...section.children]);
  setChildren(head, heading(title, media.length));
  showMedia(grid, media);
  setChildren(text, empty);
  grid.hidden = media.length === 0;
  text.hidden = media.length > 0;
}

/**
 * Create the heading of a section, with a number if there are several items.
 *
 * @param {string} title
 * @param {number} [count]
 */
export function heading(title, count = 0) {
  return element("h2", {}, title, count > 1 && element("span", { class: "count" }, number(count)));
}

/**
 * Link to another site, in a new tab. Any other address than http and https becomes plain text.
 *
 * @param {string} url
 * @param {...Child} children
 */
export function outsideLink(url, ...children) {
  if (!/^https?:\/\//i.test(url)) return element("span", {}, ...children);
  const attributes = { href: url, target: "_blank", rel: "noopener noreferrer", "data-leaves-frame": true };
  const hint = element("span", { class: "visually-hidden" }, " (new tab)");
  return element("a", attributes, ...children, icon("outside"), hint);
}
