// A running demo and a browser to look at it with.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"];

/** Starts the demo on a free port, or takes the one that SEGUE_DASHBOARD names. */
export async function startDemo() {
  if (process.env.SEGUE_DASHBOARD) return { base: process.env.SEGUE_DASHBOARD, stop: async () => {} };
  const program = process.env.SEGUE ?? "segue";
  const child = spawn(program, ["demo", "--listen", "127.0.0.1:0", "--visits-per-second", "10", "--duration", "10m"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const lines = createInterface({ input: child.stdout });
  const base = await new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      const found = /http:\/\/[\d.:]+/.exec(line);
      if (found) resolve(found[0]);
    });
    child.once("error", reject);
    ended.then((code) => reject(new Error(`${program} demo ended with ${code}`)));
  });
  const stop = async () => {
    child.kill("SIGINT");
    await ended;
  };
  return { base, stop };
}

export async function startBrowser() {
  const executablePath = process.env.SEGUE_BROWSER ?? PLACES.find((place) => existsSync(place));
  if (!executablePath) throw new Error("no Chromium: set SEGUE_BROWSER to one");
  const args = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
  return chromium.launch({ executablePath, args: args.split(" ") });
}
