// The dashboard as its readers meet it: what they do, by mouse and by keyboard, wide and narrow, light and dark. No page may
// complain on the console, ask anyone but its own server, or be hard to read for who cannot see well.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { startBrowser, startDemo } from "./demo.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 375, height: 760 };
const PATIENCE = 30_000;

let demo;
let browser;

before(async () => {
  [demo, browser] = await Promise.all([startDemo(), startBrowser()]);
  for (;;) {
    const ready = await fetch(`${demo.base}/readyz`);
    if (ready.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** Opens a page of the dashboard, does something with it, and fails on whatever the page complained about. */
async function visit(path, act, { viewport = WIDE, colorScheme = "light", prepare, expected = [] } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, bypassCSP: false, reducedMotion: "reduce" });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(demo.base)) complaints.push(`asked ${request.url()}`);
  });
  await prepare?.(page);
  try {
    await page.goto(`${demo.base}/#${path}`);
    await act(page);
  } finally {
    await context.close();
  }
  const rest = complaints.filter((complaint) => !expected.some((pattern) => pattern.test(complaint)));
  assert.deepEqual(rest, [], `the page ${path} complained`);
}

const text = (page, selector) => page.locator(selector).first().innerText();

/** Waits until something about the page is so. */
async function until(what, isSo) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await isSo();
    if (found) return found;
    assert.ok(Date.now() < deadline, `${what} never comes`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The customer whom the shop never forgets, and a segment of theirs that does not end within seconds. */
async function somebody() {
  return until("a member", async () => {
    const known = await fetch(`${demo.base}/v1/customers/ada`);
    if (!known.ok) return null;
    const { customer_id: id, memberships } = await known.json();
    const lasting = memberships.find(({ segment }) => !segment.startsWith("demo_"));
    return lasting && { id, segment: lasting.segment };
  });
}

test("the overview shows rates, sizes, changes and workers", () =>
  visit("/", async (page) => {
    await page.locator(".tile .value", { hasText: /\d/ }).first().waitFor();
    const rows = page.locator("table.segments tbody tr");
    await rows.nth(20).waitFor();
    const all = await rows.count();
    await until("members", async () => Number(await text(page, "table.segments tbody td.number")) > 0);
    const sizes = await page.locator("table.segments tbody tr td:nth-child(2)").allInnerTexts();
    assert.deepEqual(sizes.map(Number), sizes.map(Number).toSorted((a, b) => b - a), "the largest come first");
    await page.getByRole("button", { name: "Segment", exact: true }).click();
    const names = await page.locator("table.segments tbody th a").allInnerTexts();
    assert.deepEqual(names, names.toSorted((a, b) => a.localeCompare(b)), "then by name");
    await page.getByLabel("Filter segments").fill("loyalty");
    await until("fewer rows", async () => (await rows.count()) < all);
    await page.locator("ol.changes .change").first().waitFor();
    await page.locator(".workers .chip.good").first().waitFor();
    await page.locator(".plot canvas").first().waitFor();
    await page.locator(".pulse.good").waitFor();
  }));

test("a segment's page tells its definition, size, movers and members", async () => {
  const { segment } = await somebody();
  await visit("/", async (page) => {
    await page.locator("table.segments").getByRole("link", { name: segment, exact: true }).click();
    await page.getByRole("heading", { level: 1, name: segment }).waitFor();
    await page.locator(".definition .t-function, .definition .t-keyword, .definition .t-number, .definition .t-string").first().waitFor();
    await page.locator(".plot canvas").nth(1).waitFor();
    const member = page.locator("section", { hasText: "Members" }).locator("tbody th a").first();
    const id = await member.innerText();
    await member.click();
    await page.getByRole("heading", { level: 1, name: id, exact: true }).waitFor();
    await page.goBack();
    await page.getByRole("link", { name: "Try a variation" }).click();
    await page.locator(".found .chip.good").waitFor();
    await page.locator(".tried .big").waitFor();
  });
});

test("a customer's page tells each segment with its conditions and what comes next", async () => {
  const { id } = await somebody();
  await visit("/", async (page) => {
    await page.locator("table.segments").waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type(id);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: id, exact: true }).waitFor();
    await page.locator(".facts dt").first().waitFor();
    await page.locator(".timeline .change").first().waitFor();
    const first = page.locator(".explained details").first();
    await first.locator("summary").focus();
    await page.keyboard.press("Enter");
    await first.locator(".condition .code, .condition .junction").first().waitFor();
    await first.locator(".holds.yes").first().waitFor();
    await page.getByRole("button", { name: /About to change/ }).click();
    await page.getByRole("button", { name: /^All/ }).click();
    const all = await page.locator(".explained > li").count();
    await page.getByLabel("Filter segments").fill("demo_");
    await until("fewer segments", async () => (await page.locator(".explained > li").count()) < all);
  });
});

test("an unknown customer is said to be unknown", () =>
  visit("/customers/nobody%20at%20all", async (page) => {
    await page.locator(".note.warn", { hasText: "nobody at all" }).waitFor();
  }, { expected: [/404.*customers\/nobody/] }));

test("the feed goes on by itself, and can be filtered and paused", () =>
  visit("/feed", async (page) => {
    await page.locator(".chip.good", { hasText: "live" }).waitFor();
    const first = () => page.locator(".feed .change").first().innerText();
    const before = await first();
    await until("a new change", async () => (await first()) !== before);
    await page.getByRole("button", { name: "Pause" }).click();
    const held = await first();
    await page.getByRole("button", { name: /new\)/ }).waitFor();
    assert.equal(await first(), held, "nothing is added while paused");
    await page.getByRole("button", { name: /Go on/ }).click();
    await until("what was held back", async () => (await first()) !== held);
    await page.getByLabel("Segment").selectOption("demo_here_now");
    await until("only that segment", async () => {
      const names = await page.locator(".feed .change .segment").allInnerTexts();
      return names.length > 0 && names.every((name) => name === "demo_here_now");
    });
    await page.getByLabel("Direction").selectOption("left");
    await until("only who left", async () => {
      const marks = await page.locator(".feed .change .mark").allInnerTexts();
      return marks.length > 0 && marks.every((mark) => mark === "left");
    });
  }));

test("definitions are shown as they are at work", () =>
  visit("/definitions", async (page) => {
    const files = page.locator(".file");
    await files.first().waitFor();
    assert.ok((await files.count()) >= 8);
    await files.first().locator("summary").click();
    await files.first().locator(".t-key").first().waitFor();
    await files.first().getByRole("link", { name: "Try changes" }).click();
    await page.locator(".found .chip.good").waitFor();
  }));

test("a definition is tried as it is typed", () =>
  visit("/try", async (page) => {
    const editor = page.getByLabel("Definition, as YAML");
    await page.locator(".tried .big").waitFor();
    await editor.fill("segments:\n  - name: keen\n    when: cuont(click over 7d) >= 3\n");
    await page.locator(".diagnostics .chip.bad").waitFor();
    await page.locator(".editor .wrong", { hasText: "cuont" }).waitFor();
    await page.locator(".diagnostics button").first().click();
    const chosen = await editor.evaluate((area) => area.value.slice(area.selectionStart, area.selectionEnd));
    assert.equal(chosen, "cuont");
    await page.keyboard.type("count");
    await page.locator(".found .chip.good").waitFor();
    await editor.fill("segments:\n  - name: everybody\n    when: count(click over 9999d) >= 0\n");
    await page.locator(".tried .note.warn", { hasText: "9999d" }).waitFor();
    await until("everybody", async () => /^(\d+) of \1 /.test(await text(page, ".tried .big")));
  }));

test("everything can be reached by keyboard", () =>
  visit("/", async (page) => {
    await page.locator("table.segments tbody tr").nth(5).waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
    const seen = new Set();
    for (let index = 0; index < 20; index += 1) {
      await page.keyboard.press("Tab");
      seen.add(await page.evaluate(() => document.activeElement.textContent || document.activeElement.id));
    }
    for (const wanted of ["Overview", "Live feed", "Definitions", "Try it", "find-customer", "filter-segments"]) {
      assert.ok(seen.has(wanted), `${wanted} among ${[...seen]}`);
    }
    const focused = await page.evaluate(() => document.activeElement.textContent);
    await page.waitForResponse((response) => response.url().endsWith("/v1/segments"));
    await page.waitForTimeout(300);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), focused, "news do not take the focus away");
  }));

test("a token is asked for where one is needed", () =>
  visit("/", async (page) => {
    await page.getByRole("textbox", { name: "Token" }).fill("s3cret");
    await page.getByRole("button", { name: "Go on" }).click();
    await page.locator("table.segments tbody tr").first().waitFor();
  }, {
    expected: [/401/],
    prepare: (page) =>
      page.route("**/v1/**", async (route) => {
        if (route.request().headers().authorization === "Bearer s3cret") return route.continue();
        const body = JSON.stringify({ type: "urn:segue:problem:unauthorized", title: "This needs the token", status: 401 });
        return route.fulfill({ status: 401, contentType: "application/problem+json", body });
      }),
  }));

for (const colorScheme of ["light", "dark"]) {
  for (const viewport of [WIDE, NARROW]) {
    test(`no page is hard to read: ${colorScheme}, ${viewport.width} wide`, async () => {
      const { id, segment } = await somebody();
      const pages = ["/", `/segments/${segment}`, `/customers/${id}`, "/feed", "/definitions", "/try"];
      for (const path of pages) {
        await visit(path, (page) => judge(page, path), { viewport, colorScheme });
      }
    });
  }
}

const SETTLED = {
  "/": "table.segments tbody tr",
  "/feed": ".feed .change",
  "/definitions": ".file",
  "/try": ".tried .big",
};

async function judge(page, path) {
  await page.locator(SETTLED[path] ?? (path.startsWith("/segments") ? ".pager" : ".explained > li")).first().waitFor();
  for (const summary of await page.locator(".explained summary, .file summary").all()) {
    await summary.click();
    break;
  }
  if (process.env.SEGUE_SCREENSHOTS) {
    await page.waitForTimeout(Number(process.env.SEGUE_SETTLE ?? 0));
    const { width } = page.viewportSize();
    const theme = await page.evaluate(() => document.documentElement.dataset.theme);
    const name = path.split("/")[1] || "overview";
    await page.screenshot({ path: `${process.env.SEGUE_SCREENSHOTS}/${name}-${width}-${theme}.png`, fullPage: true });
  }
  const overflow = await page.evaluate(() => document.scrollingElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${path} is ${overflow} pixels too wide`);
  // The policy lets nothing be added to the page; the debugger may evaluate.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(" | ")}`);
  assert.deepEqual(told, [], path);
}
