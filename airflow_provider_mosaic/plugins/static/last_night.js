/** "Last night": a card for each run, post or upload in Mosaic, with the task that created it. */

import { followTheme, letLinksLeaveFrame } from "./airflow.js";
import { ROOT, RequestError, get, unexpected } from "./api.js";
import { element, icon, setChildren, setKeyedChildren } from "./elements.js";
import { counted, duration, number, timeElement } from "./format.js";
import { showInFrame, thumbnail } from "./media.js";
import { pageMessage, requestMessage } from "./problems.js";
import { capitalized, labelOf, stateElement, toneOf } from "./states.js";

/** @typedef {import("./types.js").LastNight} LastNight */
/** @typedef {import("./types.js").Card} Card */

/** @type {<T extends HTMLElement = HTMLElement>(selector: string) => T} */
const find = (selector) => /** @type {any} */ (document.querySelector(selector));
const [cards, total, states, message, pager, position] = [
  "#cards",
  "#total",
  "#states",
  "#message",
  "#pager",
  "#position",
].map((each) => find(each));
const [newer, older] = ["[name=newer]", "[name=older]"].map((each) => /** @type {HTMLButtonElement} */ (find(each)));
const filters = /** @type {HTMLFormElement} */ (find("#filters"));

/** The filters that list the values of these days, each with its field of `choices`. */
const CHOICES = /** @type {const} */ ({ dag_id: "dag_ids", agent_id: "agent_ids", state: "states" });

/** What the filter "Show" calls a card. */
const NOUNS = { run: "run", post: "post", asset: "upload", all: "item" };

/** The names of agents by id. */
let names = new Map();
/** Agents whose names were requested. */
const requested = new Set();
/** @type {LastNight | null} The newest response. */
let shown = null;
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

/**
 * Request the names of new agents. Mosaic is asked for them, so the page does not wait.
 *
 * @param {string[]} agents
 */
async function loadNames(agents) {
  if (agents.every((agent) => requested.has(agent))) return;
  for (const agent of agents) requested.add(agent);
  const found = await get("api/agent-names").catch(() => ({ names: {} }));
  names = new Map(Object.entries(found.names));
  if (shown) show(shown);
}

/** @param {RequestError} error */
function showError(error) {
  cards.replaceChildren();
  states.replaceChildren();
  total.textContent = "";
  pager.hidden = true;
  message.replaceChildren(requestMessage(error));
}

/** @param {LastNight} night */
function show(night) {
  shown = night;
  showFilters(night);
  setKeyedChildren(cards, night.cards, keyOf, createCard, updateCard);
  const days = night.days === 1 ? "24 hours" : `${night.days} days`;
  total.textContent = `${counted(night.total, NOUNS[night.kind])} in the last ${days}${night.truncated ? "; older ones are left out" : ""}`;
  const counts = Object.entries(night.states);
  setChildren(
    states,
    ...counts.map(([state, count]) => element("li", { "data-tone": toneOf(state) }, `${number(count)} ${labelOf(state)}`)),
  );
  message.replaceChildren(...(night.total === 0 ? [emptyMessage(night, days)] : []));
  pager.hidden = night.pages <= 1;
  position.textContent = `Page ${number(night.page)} of ${number(night.pages)}`;
  newer.disabled = night.page <= 1;
  older.disabled = night.page >= night.pages;
  loadNames(night.choices.agent_ids);
}

/**
 * @param {LastNight} night
 * @param {string} days
 */
function emptyMessage({ kind, choices }, days) {
  if (Object.keys(CHOICES).some((name) => query.has(name))) {
    return pageMessage("Nothing matches the filters", "Choose other filters, or a longer time.");
  }
  const noun = NOUNS[kind];
  const others = choices.kinds.length > 0 ? ` Choose Everything to see ${choices.kinds.map(plural).join(" and ")}.` : "";
  return pageMessage(`No ${noun}s`, `No task of a DAG that you may read has a ${noun} in the last ${days}.${others}`);
}

/** @param {string} kind */
function plural(kind) {
  return `${NOUNS[/** @type {keyof typeof NOUNS} */ (kind)]}s`;
}

/** @param {LastNight} night */
function showFilters({ days, kind, choices }) {
  selectOf("days").value = String(days);
  selectOf("kind").value = kind;
  for (const [name, field] of Object.entries(CHOICES)) {
    const chosen = query.get(name) ?? "";
    // The value of a bookmark may have no card today.
    const values = new Set([...choices[field], chosen].filter(Boolean));
    /** @type {(value: string) => string} */
    const text = name === "state" ? (state) => capitalized(labelOf(state)) : name === "agent_id" ? agentName : String;
    const options = [...values].map((value) => ({ value, text: text(value) }));
    options.sort((a, b) => a.text.localeCompare(b.text));
    const select = selectOf(name);
    setChildren(
      select,
      element("option", { value: "" }, "All"),
      ...options.map(({ value, text }) => element("option", { value }, text)),
    );
    select.value = chosen;
  }
}

/** @param {string} agent */
function agentName(agent) {
  return names.get(agent) ?? agent;
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
  if (item.dataset.shown !== String(card.thumbnail_url) && !article.classList.contains("open")) {
    item.dataset.shown = String(card.thumbnail_url);
    setChildren(
      frame,
      icon(ICONS[card.kind]),
      card.thumbnail_url && thumbnail(card.thumbnail_url),
      card.has_media && playButton(article, frame, card),
    );
  }
  const state = card.state ?? "waiting";
  article.dataset.tone = toneOf(state);
  const link = { href: new URL(card.airflow_url, ROOT).href, target: "_top", "data-leaves-frame": true };
  const title = titleOf(card);
  // What the title does not say.
  const place = [title !== card.dag_id && card.dag_id, title !== `${card.task_id} [${card.map_index}]` && card.task_id];
  setChildren(
    body,
    element("p", { class: "row" }, stateElement(state), element("span", { class: "muted" }, duration(card.duration))),
    element("h2", {}, element("a", link, title)),
    element("p", { class: "place muted" }, ...place.map((each) => each && element("span", {}, each))),
    element(
      "p",
      { class: "row muted" },
      element(
        "span",
        { class: "detail", title: card.agent_id ?? card.item_id },
        card.agent_id ? agentName(card.agent_id) : card.item_id,
      ),
      timeElement(card.started_at),
    ),
    card.needs_credits && element("p", {}, element("span", { class: "tag" }, "short of credits")),
    taskNote(card, state) && element("p", { class: "muted" }, taskNote(card, state)),
  );
}

/** @param {Card} card */
function titleOf({ dag_id, task_id, map_index, map_label }) {
  if (map_index < 0) return dag_id;
  return map_label && map_label !== String(map_index) ? map_label : `${task_id} [${map_index}]`;
}

/**
 * @param {HTMLElement} article
 * @param {HTMLElement} frame
 * @param {Card} card
 */
function playButton(article, frame, card) {
  const button = element("button", { type: "button", class: "play", "aria-label": `Play ${titleOf(card)}` }, icon("play"));
  button.addEventListener("click", async () => {
    button.toggleAttribute("disabled", true);
    try {
      // Only Mosaic knows whether it is a video, an image or audio.
      const page = await get(`api/${card.page_url}`);
      const media = [...(page.run?.outputs ?? []), ...(page.asset ? [page.asset] : [])].find(({ url }) => url);
      if (!media) throw new RequestError(404, page.problem?.message ?? "There is nothing to play.");
      article.classList.add("open");
      showInFrame(frame, { ...media, name: titleOf(card) });
    } catch (error) {
      const text = (error instanceof RequestError ? error : unexpected(error)).message;
      button.replaceWith(element("p", { class: "note", role: "alert" }, text));
    }
  });
  return button;
}

/**
 * Return what Airflow's task does, if the state in Mosaic does not tell.
 *
 * @param {Card} card
 * @param {string} state
 */
function taskNote({ task_state }, state) {
  if (task_state === "up_for_retry" && state !== task_state) return "Airflow retries the task.";
  return task_state === "failed" && toneOf(state) !== "failed" ? "The task in Airflow failed." : "";
}
