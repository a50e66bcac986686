// The frame: which page is shown, the search, the theme, and whether all is well.

import * as api from "./api.js";
import { fill, h, text } from "./dom.js";
import { trouble } from "./parts.js";
import * as customer from "./pages/customer.js";
import * as definitions from "./pages/definitions.js";
import * as feed from "./pages/feed.js";
import * as overview from "./pages/overview.js";
import * as segment from "./pages/segment.js";
import * as trial from "./pages/trial.js";

const PAGES = [
  { path: /^\/$/, page: overview, nav: "Overview", href: "#/" },
  { path: /^\/segments\/([^/]+)$/, page: segment },
  { path: /^\/customers\/([^/]+)$/, page: customer },
  { path: /^\/feed$/, page: feed, nav: "Live feed", href: "#/feed" },
  { path: /^\/definitions$/, page: definitions, nav: "Definitions", href: "#/definitions" },
  { path: /^\/try$/, page: trial, nav: "Try it", href: "#/try" },
];

const main = document.getElementById("main");
const links = PAGES.filter((page) => page.nav).map((page) => h("a", { href: page.href }, page.nav));
document.getElementById("nav").append(...links);

let leave = new AbortController();
let isFirst = true;

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [path, query] = (location.hash.slice(1) || "/").split("?");
  const found = PAGES.map((page) => ({ page, match: page.path.exec(path) })).find(({ match }) => match);
  for (const link of links) {
    const isHere = link.getAttribute("href") === `#${found?.page.nav ? path : ""}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = h("div", { class: "page" });
  fill(main, place);
  window.scrollTo(0, 0);
  // A page is announced to who cannot see that it changed.
  if (!isFirst) main.focus({ preventScroll: true });
  isFirst = false;
  if (!found) {
    document.title = "Nothing here · segue";
    fill(place, h("h1", null, "Nothing here"), h("p", null, h("a", { href: "#/" }, "To the overview")));
    return;
  }
  try {
    const argument = found.match[1] === undefined ? undefined : decodeURIComponent(found.match[1]);
    document.title = `${argument ?? found.page.nav} · segue`;
    await found.page.page.show(place, { argument, query: new URLSearchParams(query), signal });
  } catch (error) {
    if (!signal.aborted) place.append(trouble(error));
  }
}

window.addEventListener("hashchange", show);

const find = document.getElementById("find");
const input = document.getElementById("find-customer");
find.addEventListener("submit", (event) => {
  event.preventDefault();
  const id = input.value.trim();
  if (id) location.hash = `#/customers/${encodeURIComponent(id)}`;
});
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    input.focus();
  }
});

const theme = document.getElementById("theme");
function nameTheme() {
  const isDark = document.documentElement.dataset.theme === "dark";
  text(theme, isDark ? "Light" : "Dark");
  theme.setAttribute("aria-label", isDark ? "Switch to light colours" : "Switch to dark colours");
}
theme.addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("segue-theme", next);
  } catch {
    // Then it is for this visit only.
  }
  nameTheme();
});
nameTheme();

const pulse = document.getElementById("pulse");
async function watch() {
  try {
    const status = await api.status();
    const wrong = status.unhealthy.length ? "Standing still" : status.not_ready.length ? "Not ready" : "";
    pulse.className = `pulse ${wrong ? "bad" : "good"}`;
    text(pulse, wrong || "All is well");
    pulse.title = [...status.unhealthy, ...status.not_ready].join("\n");
  } catch {
    pulse.className = "pulse bad";
    text(pulse, "No answer");
  }
  setTimeout(watch, 5000);
}

show().then(watch);
