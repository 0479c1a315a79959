/** "Last night": a card for each task instance that created something in Mosaic. */

import { followTheme, letLinksLeaveFrame } from "./airflow.js";
import { ROOT, RequestError, get, unexpected } from "./api.js";
import { element, icon, setChildren, setKeyedChildren } from "./elements.js";
import { counted, duration, number, timeElement } from "./format.js";
import { thumbnail } from "./media.js";
import { pageMessage, requestMessage } from "./problems.js";
import { labelOf, stateElement, toneOf } from "./states.js";

/** @typedef {import("./types.js").LastNight} LastNight */
/** @typedef {import("./types.js").Card} Card */

/** @type {<T extends HTMLElement = HTMLElement>(selector: string) => T} */
const find = (selector) => /** @type {any} */ (document.querySelector(selector));
const [cards, total, message, pager, position] = ["#cards", "#total", "#message", "#pager", "#position"].map((each) =>
  find(each),
);
const [newer, older] = ["[name=newer]", "[name=older]"].map((each) => /** @type {HTMLButtonElement} */ (find(each)));
const filters = /** @type {HTMLFormElement} */ (find("#filters"));

/** The filters that list the values of these days, each with its field of `choices`. */
const CHOICES = /** @type {const} */ ({ dag_id: "dag_ids", agent_id: "agent_ids", state: "states" });

/** What is shown: the query of the page's own address. */
let query = new URLSearchParams(location.search);
/** Number of the newest request. A slow response to an older one is dropped. */
let newest = 0;

followTheme();
letLinksLeaveFrame();
filters.addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
filters.addEventListener("change", () => {
  const chosen = /** @type {[string, string][]} */ ([...new FormData(filters)]);
  query = new URLSearchParams(chosen.filter(([, value]) => value));
  load();
});
newer.addEventListener("click", () => turn(-1));
older.addEventListener("click", () => turn(1));
load();

/** @param {number} step */
async function turn(step) {
  query.set("page", String(Math.max(1, Number(query.get("page")) || 1) + step));
  await load();
  scrollTo({ top: 0 });
}

async function load() {
  const request = ++newest;
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  cards.setAttribute("aria-busy", "true");
  try {
    const result = await get(`api/last-night?${query}`);
    if (request === newest) show(result);
  } catch (error) {
    if (request === newest) showError(error instanceof RequestError ? error : unexpected(error));
  }
  if (request === newest) cards.setAttribute("aria-busy", "false");
}

/** @param {RequestError} error */
function showError(error) {
  cards.replaceChildren();
  total.textContent = "";
  pager.hidden = true;
  message.replaceChildren(requestMessage(error));
}

/** @param {LastNight} night */
function show(night) {
  showFilters(night);
  setKeyedChildren(cards, night.cards, keyOf, createCard, updateCard);
  const days = night.days === 1 ? "24 hours" : `${night.days} days`;
  total.textContent = `${counted(night.total, "task")} in the last ${days}${night.truncated ? "; older ones are left out" : ""}`;
  message.replaceChildren(...(night.total === 0 ? [emptyMessage(days)] : []));
  pager.hidden = night.pages <= 1;
  position.textContent = `Page ${number(night.page)} of ${number(night.pages)}`;
  newer.disabled = night.page <= 1;
  older.disabled = night.page >= night.pages;
}

/** @param {string} days */
function emptyMessage(days) {
  const isFiltered = Object.keys(CHOICES).some((name) => query.has(name));
  if (isFiltered) return pageMessage("No task matches the filters", "Choose other filters, or a longer time.");
  return pageMessage(
    "Nothing ran",
    `No task of a DAG that you may read created anything in Mosaic in the last ${days}.`,
  );
}

/** @param {LastNight} night */
function showFilters({ days, choices }) {
  selectOf("days").value = String(days);
  for (const [name, field] of Object.entries(CHOICES)) {
    const chosen = query.get(name) ?? "";
    // The value of a bookmark may have no card today.
    const values = new Set([...choices[field], chosen].filter(Boolean));
    const text = name === "state" ? labelOf : String;
    const select = selectOf(name);
    setChildren(
      select,
      element("option", { value: "" }, "All"),
      ...[...values].map((value) => element("option", { value }, text(value))),
    );
    select.value = chosen;
  }
}

/** @param {string} name */
function selectOf(name) {
  return /** @type {HTMLSelectElement} */ (filters.elements.namedItem(name));
}

/** @param {Card} card */
function keyOf(card) {
  return JSON.stringify([card.dag_id, card.run_id, card.task_id, card.map_index, card.item_id]);
}

function createCard() {
  return element(
    "li",
    {},
    element("article", { class: "card" }, element("div", { class: "frame" }), element("div", { class: "body" })),
  );
}

/** @type {Record<Card["kind"], string>} */
const ICONS = { run: "video", post: "post", asset: "file" };

/**
 * @param {HTMLElement} item
 * @param {Card} card
 */
function updateCard(item, card) {
  const article = /** @type {HTMLElement} */ (item.firstElementChild);
  const [frame, body] = /** @type {HTMLElement[]} */ ([...article.children]);
  // A running run may get its thumbnail later. Others are not loaded again.
  if (item.dataset.thumbnail !== String(card.thumbnail_url)) {
    item.dataset.thumbnail = String(card.thumbnail_url);
    frame.replaceChildren(icon(ICONS[card.kind]), ...(card.thumbnail_url ? [thumbnail(card.thumbnail_url)] : []));
  }
  const state = card.status ?? card.task_state ?? "waiting";
  article.dataset.tone = toneOf(state);
  const task = card.map_index < 0 ? card.task_id : `${card.task_id} [${card.map_index}]`;
  const link = { href: new URL(card.airflow_url, ROOT).href, target: "_top", "data-leaves-frame": true };
  setChildren(
    body,
    element("p", { class: "row" }, stateElement(state), element("span", { class: "muted" }, duration(card.duration))),
    element("h2", {}, element("a", link, card.dag_id)),
    element("p", { class: "row" }, element("span", {}, task), timeElement(card.started_at)),
    element(
      "p",
      { class: "muted detail", title: card.agent_id ?? card.item_id },
      card.agent_id ? `Agent ${card.agent_id}` : card.item_id,
    ),
    taskFailed(card, state) && element("p", { class: "muted" }, "The task in Airflow failed."),
  );
}

/**
 * Return whether the task failed, although its item in Mosaic did not.
 *
 * @param {Card} card
 * @param {string} state
 */
function taskFailed(card, state) {
  return card.task_state === "failed" && toneOf(state) !== "failed";
}
