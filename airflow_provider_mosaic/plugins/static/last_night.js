/** "Last night": a card for each task instance that created something in Mosaic. */

import { followTheme, letLinksLeaveFrame } from "./airflow.js";
import { ROOT, RequestError, get } from "./api.js";
import { element, icon, setChildren, setKeyedChildren } from "./elements.js";
import { counted, duration, number, timeElement } from "./format.js";
import { thumbnail } from "./media.js";
import { pageMessage, requestMessage } from "./problems.js";
import { labelOf, stateElement, toneOf } from "./states.js";

/** @type {(selector: string) => any} */
const find = (selector) => document.querySelector(selector);
const [cards, total, message, pager, position] = ["#cards", "#total", "#message", "#pager", "#position"].map(find);
/** @type {HTMLFormElement} */
const filters = find("#filters");

/** Names of the filters that list the values of these days, each with its field of `Choices` in plugins/pages.py. */
const CHOICES = { dag_id: "dag_ids", agent_id: "agent_ids", state: "states" };

/** What the page shows: the query of its own address. */
let query = new URLSearchParams(location.search);
/** Number of the newest request: a slow response to an older one is dropped. */
let newest = 0;

followTheme();
letLinksLeaveFrame();
filters.addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
filters.addEventListener("change", () => {
  query = new URLSearchParams(/** @type {any} */ (new FormData(filters)));
  for (const [name, value] of [...query]) if (!value) query.delete(name);
  load();
});
pager.addEventListener("click", (/** @type {Event} */ event) => {
  const step = { previous: -1, next: 1 }[/** @type {HTMLButtonElement} */ (event.target).name];
  if (!step) return;
  query.set("page", String(pageNumber() + step));
  load().then(() => scrollTo({ top: 0 }));
});
load();

function pageNumber() {
  return Math.max(1, Number(query.get("page")) || 1);
}

async function load() {
  const request = ++newest;
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  cards.setAttribute("aria-busy", "true");
  try {
    const result = await get(`api/last-night?${query}`);
    if (request === newest) show(result);
  } catch (error) {
    if (request !== newest) return;
    if (!(error instanceof RequestError)) console.error(error);
    cards.replaceChildren();
    total.textContent = "";
    pager.hidden = true;
    message.replaceChildren(requestMessage(error instanceof RequestError ? error : new RequestError(0, String(error))));
  }
  if (request === newest) cards.setAttribute("aria-busy", "false");
}

/** @param {any} result A `LastNight` of plugins/pages.py. */
function show(result) {
  showFilters(result);
  setKeyedChildren(cards, result.cards, keyOf, createCard, updateCard);
  const days = result.days === 1 ? "24 hours" : `${result.days} days`;
  total.textContent = `${counted(result.total, "task")} in the last ${days}${result.truncated ? ", older ones are left out" : ""}`;
  message.replaceChildren(...(result.total === 0 ? [emptyMessage(days)] : []));
  pager.hidden = result.pages <= 1;
  position.textContent = `Page ${number(result.page)} of ${number(result.pages)}`;
  pager.querySelector("[name=previous]").disabled = result.page <= 1;
  pager.querySelector("[name=next]").disabled = result.page >= result.pages;
}

/** @param {string} days */
function emptyMessage(days) {
  const filtered = Object.keys(CHOICES).some((name) => query.has(name));
  return pageMessage(
    filtered ? "No task matches the filters" : "Nothing ran",
    filtered
      ? "Choose other filters, or a longer time."
      : `No task of a DAG that you may read started something in Mosaic in the last ${days}.`,
  );
}

/** @param {any} result */
function showFilters(result) {
  filters.elements.namedItem("days").value = String(result.days);
  for (const [name, field] of Object.entries(CHOICES)) {
    const select = /** @type {HTMLSelectElement} */ (filters.elements.namedItem(name));
    const chosen = query.get(name) ?? "";
    const values = new Set(result.choices[field]);
    if (chosen) values.add(chosen);
    const text = name === "state" ? labelOf : String;
    setChildren(select, element("option", { value: "" }, "All"), ...[...values].map((value) => element("option", { value }, text(value))));
    select.value = chosen;
  }
}

/** @param {any} card */
function keyOf(card) {
  return JSON.stringify([card.dag_id, card.run_id, card.task_id, card.map_index, card.item_id]);
}

function createCard() {
  return element("li", {}, element("article", { class: "card" }, element("div", { class: "frame" }), element("div", { class: "body" })));
}

/**
 * @param {HTMLElement} item
 * @param {any} card A `Card` of plugins/pages.py.
 */
function updateCard(item, card) {
  const [frame, body] = /** @type {HTMLElement[]} */ ([.../** @type {Element} */ (item.firstElementChild).children]);
  if (item.dataset.thumbnail !== String(card.thumbnail_url)) {
    item.dataset.thumbnail = String(card.thumbnail_url);
    frame.replaceChildren(icon(KIND_ICONS[card.kind] ?? "file"), ...(card.thumbnail_url ? [thumbnail(card.thumbnail_url)] : []));
  }
  const task = card.map_index < 0 ? card.task_id : `${card.task_id} [${card.map_index}]`;
  const state = card.status ?? card.task_state ?? "waiting";
  /** @type {HTMLElement} */ (item.firstElementChild).dataset.tone = toneOf(state);
  setChildren(
    body,
    element("p", { class: "row" }, stateElement(state), element("span", { class: "muted" }, duration(card.duration))),
    element("h2", {}, element("a", { href: new URL(card.airflow_url, ROOT).href, target: "_top", "data-leaves-frame": true }, card.dag_id)),
    element("p", { class: "row" }, element("span", {}, task), timeElement(card.started_at)),
    element("p", { class: "muted detail", title: card.agent_id ?? card.item_id }, card.agent_id ? `Agent ${card.agent_id}` : card.item_id),
    taskStateElement(card, state),
  );
}

/** @type {Record<string, string>} */
const KIND_ICONS = { run: "video", post: "post", asset: "file" };

/**
 * Say how the task ended, if it ended otherwise than what it created in Mosaic.
 *
 * @param {any} card
 * @param {string} state
 */
function taskStateElement(card, state) {
  const differs = card.task_state && ["failed", "up_for_retry"].includes(card.task_state) && toneOf(card.task_state) !== toneOf(state);
  return differs ? element("p", { class: "muted" }, `Task in Airflow: ${labelOf(card.task_state)}`) : null;
}
