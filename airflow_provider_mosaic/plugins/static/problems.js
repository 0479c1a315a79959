/** What the pages say when there is nothing to show. */

import { airflowAddress } from "./airflow.js";
import { element } from "./elements.js";

/** @type {Record<string, string>} By `Problem.kind` of plugins/pages.py. */
const TITLES = {
  not_started: "Nothing in Mosaic yet",
  not_ours: "Not a Mosaic task",
  not_found: "Mosaic does not know this item any more",
  no_access: "Mosaic does not let Airflow read this",
  unreachable: "Mosaic does not respond",
};

/** @param {string} kind */
export function problemTitle(kind) {
  return TITLES[kind] ?? "This page is incomplete";
}

/**
 * Create the text of a page that has nothing else to show.
 *
 * @param {string} title
 * @param {...(Node | string)} paragraphs
 */
export function pageMessage(title, ...paragraphs) {
  return element(
    "div",
    { class: "message" },
    element("h1", {}, title),
    ...paragraphs.map((each) => (each instanceof Node ? each : element("p", {}, each))),
  );
}

/**
 * Create the text of a page that Airflow does not deliver.
 *
 * @param {import("./api.js").RequestError} error
 */
export function requestMessage(error) {
  if (error.status === 401) {
    const link = element(
      "a",
      { class: "button", href: airflowAddress(), target: "_top", "data-leaves-frame": true },
      "Log in again",
    );
    return pageMessage("Your login has expired", "Log in to Airflow again to see this page.", link);
  }
  if (error.status === 403) {
    return pageMessage(
      "You may not see this",
      "Your role in Airflow may not read the XComs of this DAG. Ask an administrator for access.",
    );
  }
  if (error.status === 404) return pageMessage("Airflow does not have this task instance", error.message);
  return pageMessage("This page cannot be loaded", error.message);
}

/**
 * Create a notice: a sentence or two in a box, above what is shown.
 *
 * @param {"failed" | "partial" | "idle"} tone
 * @param {string} title
 * @param {...(string | null)} sentences
 */
export function notice(tone, title, ...sentences) {
  return element(
    "div",
    { class: "notice", "data-tone": tone },
    element("strong", {}, title),
    ...sentences.filter(Boolean).map((each) => element("p", {}, each)),
  );
}
