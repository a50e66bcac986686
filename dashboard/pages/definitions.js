// The definitions at work, file by file, and whether the directory still holds them.

import * as api from "../api.js";
import { h } from "../dom.js";
import { coloured, pieces } from "../language.js";
import { card, head, note } from "../parts.js";
import { diagnosticList } from "./trial.js";

const TOLD = {
  same: null,
  "built-in": "These are built into the program.",
  changed: "The directory holds other definitions by now, and nothing is wrong with them: a restart puts them to work.",
  wrong: "The directory holds other definitions by now, and they are wrong: a restart would refuse them.",
};

export async function show(place, { signal }) {
  const { definitions, files, on_disk: onDisk, diagnostics } = await api.definitions();
  if (signal.aborted) return;
  place.append(head("Definitions", h("p", { class: "lead" }, `${files.length} file${files.length === 1 ? "" : "s"} at work, as set `, h("code", null, definitions), ".")));
  if (TOLD[onDisk]) place.append(note(TOLD[onDisk], onDisk === "wrong" ? "bad" : onDisk === "changed" ? "warn" : ""));
  if (diagnostics.length) place.append(card("What is wrong with the directory", null, diagnosticList(diagnostics)));
  place.append(files.map(file).reduce((all, one) => (all.append(one), all), h("div", { class: "files" })));
}

function file({ name, text }) {
  const count = (text.match(/^\s*- (\{)?name:/gm) ?? []).length;
  const code = h("pre", { class: "code block", tabindex: "0", "aria-label": `Text of ${name}` });
  const details = h(
    "details",
    { class: "card file" },
    h("summary", null, h("h2", null, name), h("span", { class: "dim" }, `${count} names, ${text.split("\n").length} lines`)),
    code,
    h("p", { class: "foot" }, h("a", { href: `#/try?${new URLSearchParams({ file: name })}` }, "Try changes to this file")),
  );
  details.addEventListener("toggle", () => {
    if (details.open && !code.childNodes.length) code.append(...coloured(text, pieces(text, true)));
  });
  return details;
}
