/** A grid of thumbnails. A click plays a video or a sound in place, or shows an image in full. */

import { ROOT } from "./api.js";
import { element, icon, setChildren, setKeyedChildren } from "./elements.js";

/** @typedef {import("./types.js").Media} Media */

/** How often in a row a link is renewed that does not deliver. */
const RENEWALS = 2;
/** Milliseconds before a link is renewed, times the attempt. The server does not ask Mosaic again within a second. */
const RENEWAL_PAUSE = 1500;

const VERBS = { video: "Play", audio: "Play", image: "Enlarge", file: "" };

/**
 * Show media in a grid. What is open stays open.
 *
 * @param {HTMLElement} grid
 * @param {readonly Media[]} media
 */
export function showMedia(grid, media) {
  setKeyedChildren(grid, media, (each) => each.id, create, update);
}

/** @param {Media} media */
function create(media) {
  const figure = element("figure", { class: "media" }, element("div", { class: "frame" }), element("figcaption"));
  close(figure, media);
  return figure;
}

/**
 * @param {HTMLElement} figure
 * @param {Media} media
 */
function update(figure, media) {
  const isOpen = figure.classList.contains("open");
  if (!isOpen && figure.dataset.shown !== JSON.stringify(media)) close(figure, media);
  figure.dataset.shown = JSON.stringify(media);
  showCaption(figure, media);
}

/**
 * @param {HTMLElement} figure
 * @param {Media} media
 */
function showCaption(figure, media) {
  const caption = /** @type {HTMLElement} */ (figure.querySelector("figcaption"));
  setChildren(
    caption,
    element("p", { class: "name" }, media.name),
    element(
      "p",
      { class: "media-links" },
      media.url && fileLink("Download", media.url, media.name),
      media.premiere_url && fileLink("Premiere project", media.premiere_url, media.name),
      figure.classList.contains("open") && closeButton(figure, media),
    ),
  );
}

/**
 * Link to a file. It opens in a new tab: the storage decides whether the browser shows or saves it. (With `download`,
 * a redirect to the storage would replace Airflow.)
 *
 * @param {string} text
 * @param {string} path
 * @param {string} name Of the file, for screen readers.
 */
function fileLink(text, path, name) {
  return element(
    "a",
    { href: new URL(path, ROOT).href, target: "_blank", rel: "noopener", "data-leaves-frame": true },
    icon("download"),
    text,
    element("span", { class: "visually-hidden" }, ` of ${name} (new tab)`),
  );
}

/**
 * @param {HTMLElement} figure
 * @param {Media} media
 */
function closeButton(figure, media) {
  const button = element("button", { type: "button", class: "plain" }, "Close");
  button.addEventListener("click", () => {
    close(figure, media);
    showCaption(figure, media);
    figure.querySelector("button")?.focus();
  });
  return button;
}

/**
 * Show the thumbnail.
 *
 * @param {HTMLElement} figure
 * @param {Media} media
 */
function close(figure, media) {
  figure.classList.remove("open");
  const preview = media.thumbnail_url ?? (media.kind === "image" ? media.url : null);
  const picture = [icon(media.kind), preview && thumbnail(preview)];
  const canOpen = media.url && VERBS[media.kind];
  frameOf(figure).className = "frame";
  frameOf(figure).replaceChildren(
    ...(canOpen ? [opener(figure, media, picture)] : picture.filter((each) => each instanceof Node)),
  );
}

/**
 * Create a thumbnail. If it cannot be loaded, the icon behind it shows, and the next refresh tries again.
 *
 * @param {string} path
 */
export function thumbnail(path) {
  const image = element("img", { alt: "", loading: "lazy", decoding: "async", src: new URL(path, ROOT).href });
  image.addEventListener("error", () => {
    image.closest("[data-shown]")?.removeAttribute("data-shown");
    image.remove();
  });
  return image;
}

/**
 * @param {HTMLElement} figure
 * @param {Media} media
 * @param {(Node | string | null | false)[]} picture
 */
function opener(figure, media, picture) {
  const button = element(
    "button",
    { type: "button", "aria-label": `${VERBS[media.kind]} ${media.name}` },
    ...picture,
    media.kind !== "image" && element("span", { class: "play" }, icon("play")),
  );
  button.addEventListener("click", () => open(figure, media));
  return button;
}

/**
 * @param {HTMLElement} figure
 * @param {Media} media
 */
function open(figure, media) {
  figure.classList.add("open");
  showInFrame(frameOf(figure), media);
  showCaption(figure, media);
  const instant = matchMedia("(prefers-reduced-motion: reduce)").matches;
  figure.scrollIntoView({ block: "nearest", behavior: instant ? "auto" : "smooth" });
}

/**
 * Play or show the media in the place of its thumbnail.
 *
 * @param {HTMLElement} frame
 * @param {Media} media
 */
export function showInFrame(frame, media) {
  const address = new URL(/** @type {string} */ (media.url), ROOT);
  frame.classList.toggle("sound", media.kind === "audio");
  if (media.kind === "image") {
    frame.replaceChildren(element("img", { alt: media.name, src: address.href }));
    return;
  }
  const player = createPlayer(media, address, (message) => {
    frame.append(element("p", { class: "player-error", role: "alert" }, message));
  });
  frame.replaceChildren(player);
  player.play().catch(() => {}); // the controls remain
  player.focus({ preventScroll: true });
}

/**
 * Create a player that renews its link when the link expires, and continues at the same second.
 *
 * @param {Media} media
 * @param {URL} address Redirects to a fresh link.
 * @param {(message: string) => void} fail
 * @returns {HTMLMediaElement}
 */
function createPlayer(media, address, fail) {
  const player = /** @type {HTMLMediaElement} */ (
    element(media.kind === "audio" ? "audio" : "video", {
      controls: true,
      playsinline: true,
      tabindex: "0",
      "aria-label": media.name,
      poster: media.kind === "video" && media.thumbnail_url ? new URL(media.thumbnail_url, ROOT).href : null,
    })
  );
  let renewals = 0;
  let position = 0;
  player.src = address.href;
  player.addEventListener("timeupdate", () => {
    if (player.currentTime > position) renewals = 0;
    position = player.currentTime || position; // 0 while a new link is loaded
  });
  player.addEventListener("seeking", () => {
    position = player.currentTime || position;
  });
  player.addEventListener("loadedmetadata", () => {
    if (position > 0) player.currentTime = position;
  });
  player.addEventListener("play", () => pauseOthers(player));
  player.addEventListener("error", async () => {
    const renewed = new URL(address);
    renewed.searchParams.set("renew", "1");
    renewals += 1;
    if (renewals > RENEWALS) {
      fail(`${media.name} cannot be played: ${await reasonOf(renewed)} Close it and try again later.`);
      return;
    }
    renewed.searchParams.set("attempt", String(renewals)); // another URL, so that the browser asks again
    const wasPlaying = !player.paused;
    await new Promise((resolve) => setTimeout(resolve, RENEWAL_PAUSE * renewals));
    if (!player.isConnected) return; // closed meanwhile
    player.src = renewed.href;
    if (wasPlaying) player.play().catch(() => {});
  });
  return player;
}

/**
 * Return why a link delivers no media, as a sentence.
 *
 * @param {URL} address
 */
async function reasonOf(address) {
  try {
    const response = await fetch(address, { redirect: "manual", cache: "no-store" });
    if (response.type === "opaqueredirect") return "the storage did not deliver it, or this browser cannot decode it.";
    const { detail } = await response.json();
    return typeof detail === "string" ? detail : `Airflow responded with status ${response.status}.`;
  } catch {
    return "Airflow did not respond.";
  }
}

/** @param {HTMLMediaElement} player */
function pauseOthers(player) {
  for (const other of document.querySelectorAll("video, audio")) {
    if (other !== player) /** @type {HTMLMediaElement} */ (other).pause();
  }
}

/** @param {HTMLElement} figure */
function frameOf(figure) {
  return /** @type {HTMLElement} */ (figure.querySelector(".frame"));
}
