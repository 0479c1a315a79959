/** Times, durations and numbers as text. Times are in the zone of Airflow's UI, and have 24 hours as there. */

import { timeZone } from "./airflow.js";

const ZONE = { timeZone: timeZone() };
const CLOCK = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const TIME = new Intl.DateTimeFormat(undefined, { ...ZONE, ...CLOCK });
const DATE_TIME = new Intl.DateTimeFormat(undefined, { ...ZONE, ...CLOCK, day: "numeric", month: "short" });
const WITH_ZONE = new Intl.DateTimeFormat(undefined, {
  ...ZONE,
  dateStyle: "full",
  timeStyle: "long",
  hourCycle: "h23",
});
const DAY = new Intl.DateTimeFormat(undefined, ZONE);
const NUMBER = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });

/**
 * Create a <time>: the time alone for today, else with the day. Its title has the zone.
 *
 * @param {string | null | undefined} text ISO 8601.
 * @returns {HTMLElement | null}
 */
export function timeElement(text) {
  const date = text ? new Date(text) : null;
  if (!date || Number.isNaN(date.getTime())) return null;
  const node = document.createElement("time");
  node.dateTime = date.toISOString();
  node.title = WITH_ZONE.format(date);
  const isToday = DAY.format(date) === DAY.format(new Date());
  node.textContent = (isToday ? TIME : DATE_TIME).format(date);
  return node;
}

/**
 * Return a duration with its two largest units: "42 s", "3 min 05 s", "2 h 07 min", "1 d 4 h".
 *
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const total = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [
    Math.floor(total / 86400),
    Math.floor(total / 3600) % 24,
    Math.floor(total / 60) % 60,
  ];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${pad(minutes)} min`;
  if (minutes) return `${minutes} min ${pad(total % 60)} s`;
  return `${total} s`;
}

/** @param {number} number */
function pad(number) {
  return String(number).padStart(2, "0");
}

/**
 * Return a number with its noun: "1 tile", "3 tiles".
 *
 * @param {number} count
 * @param {string} noun
 * @param {string} [plural]
 */
export function counted(count, noun, plural = `${noun}s`) {
  return `${NUMBER.format(count)} ${count === 1 ? noun : plural}`;
}

/** @param {number} value */
export function number(value) {
  return NUMBER.format(value);
}

/**
 * Return a status in words: "partial_complete" is "partial complete".
 *
 * @param {string} status
 */
export function words(status) {
  return status.replaceAll(/[_\s]+/g, " ").trim();
}
