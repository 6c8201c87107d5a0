// What a reader does on the playground, in a real browser:
//   node playground.mjs CHROMIUM BASE_URL SCENARIO [ARGUMENT...]
// Ends with exit code 0 if everything was as it should be. A scenario that needs the test's help
// says so with a line on standard output.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [executablePath, base, scenario, ...rest] = process.argv.slice(2);
const LIMIT_MILLIS = 20_000;
const problems = [];

const text = (page, id) => page.locator(`#${id}`).innerText();
const ended = (page, how) =>
  page.waitForFunction((end) => document.getElementById("finish").textContent === end, how);
const option = (page, name, value) => page.fill(`#form [name=${name}]`, String(value));
const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.name);

async function open(browser) {
  const page = await browser.newPage();
  page.setDefaultTimeout(LIMIT_MILLIS);
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    // A refusal is no error of the page's, though the browser reports it as one.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
      problems.push(message.text());
    }
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(base)) {
      problems.push(`the page asked for ${request.url()}`);
    }
  });
  await page.goto(base);
  return page;
}

async function ready(page) {
  await page.waitForFunction(() => document.getElementById("model").textContent.startsWith("serves"));
}

async function assertHeatMap(page) {
  const rows = await page.locator("#heat tbody tr").all();
  assert.equal(rows.length, 6, "layers");
  for (const row of rows) {
    const shares = (await row.locator("td").allInnerTexts()).map(Number);
    assert.equal(shares.length, 8, "experts");
    const sum = shares.reduce((a, b) => a + b);
    assert.ok(Math.abs(sum - 200) <= 4, `each token goes to two experts, but ${shares} sums to ${sum}`);
    assert.equal(await row.locator("td.chosen").count(), 2);
  }
  const paints = await page.locator("#heat td").evaluateAll((cells) =>
    new Set(cells.map((cell) => getComputedStyle(cell).backgroundColor)).size);
  assert.ok(paints > 5, `only ${paints} shades`);
}

async function complete(page) {
  await ready(page);
  await page.fill("#prompt", "Once upon a time");
  await option(page, "max_tokens", 24);
  await page.click("#run");
  await ended(page, "length");
  assert.equal(await text(page, "count"), "24");
  assert.ok((await text(page, "conversation")).startsWith("Once upon a time"));
  assert.match(await text(page, "rate"), /^\d+\.\d$/);
  assert.match(await text(page, "heat-summary"), /^28 tokens .*Busiest: expert \d of layer \d/);
  await page.hover(".token:nth-of-type(5)");
  assert.match(await text(page, "token"), /log-probability -?\d+\.\d+\); likeliest: /);
  await page.waitForFunction(() => document.querySelectorAll("#heat td.chosen").length === 12);
  await assertHeatMap(page);
  await page.waitForFunction(() => /^\d+%$/.test(document.getElementById("kv-text").textContent));
  assert.match(await text(page, "snippet"), /"max_tokens": 24/);
}

/** Asks for a story that goes on for seconds; most others end by themselves. */
async function longStory(page) {
  await page.fill("#prompt", "Once upon a time");
  for (const [name, value] of [["max_tokens", 4000], ["temperature", 1], ["top_p", 1], ["seed", 2]]) {
    await option(page, name, value);
  }
}

async function stop(page) {
  await ready(page);
  await longStory(page);
  await page.click("#run");
  await page.waitForSelector(".token");
  await page.waitForSelector("#heat td"); // as it happens, not at the end
  assert.ok(await page.isDisabled("#run"));
  await page.click("#stop");
  await ended(page, "you");
  assert.ok(Number(await text(page, "count")) < 4000);
  assert.ok(await page.isEnabled("#run"));
  assert.ok(await page.isDisabled("#stop"));
}

async function chat(page) {
  await ready(page);
  await page.check("input[value=chat]");
  await option(page, "max_tokens", 12);
  for (const message of ["Tell me of a king.", "And then?"]) {
    await page.fill("#prompt", message);
    await page.click("#run");
    await page.waitForFunction(() => document.getElementById("prompt").value === "");
  }
  assert.equal(await page.locator("#conversation .turn").count(), 4);
  const snippet = await text(page, "snippet");
  for (const part of ["/v1/chat/completions", "Tell me of a king.", "And then?", "assistant"]) {
    assert.ok(snippet.includes(part), part);
  }
  await page.click("#clear");
  assert.equal(await page.locator("#conversation .turn").count(), 0);
}

async function keyboard(page) {
  await ready(page);
  const tabTo = async (id) => {
    for (let i = 0; i < 40 && (await focused(page)) !== id; i++) {
      await page.keyboard.press("Tab");
    }
    assert.equal(await focused(page), id);
  };
  await tabTo("prompt");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("There was a king");
  await tabTo("max_tokens");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("16");
  await page.keyboard.press("Control+Enter");
  await ended(page, "length");
  await tabTo("conversation");
  await page.keyboard.press("ArrowRight");
  const first = await text(page, "token");
  await page.keyboard.press("ArrowRight");
  assert.match(first, /log-probability/);
  assert.notEqual(await text(page, "token"), first);
  await tabTo("tab-curl");
  await page.keyboard.press("ArrowRight");
  assert.equal(await focused(page), "tab-java");
  assert.match(await text(page, "snippet"), /HttpRequest/);
  await longStory(page);
  await page.keyboard.press("Control+Enter");
  await page.waitForSelector(".token");
  await page.keyboard.press("Escape");
  await ended(page, "you");
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("input, select, textarea, button, progress, meter")]
      .filter((e) => !e.labels?.length && !e.ariaLabel && !e.textContent.trim())
      .map((e) => e.outerHTML));
  assert.deepEqual(nameless, []);
}

async function conversionOff(page) {
  await page.waitForFunction(() =>
    document.getElementById("convert-off").textContent.includes("gregale.convert.roots"));
  assert.ok(await page.isHidden("#convert-panel"));
}

async function conversionByKey(page) {
  const [inferenceKey, adminKey] = rest;
  const says = (words) =>
    page.waitForFunction((w) => document.getElementById("convert-off").textContent.includes(w), words);
  await says("enter an admin key");
  await option(page, "key", inferenceKey);
  await page.press("#form [name=key]", "Tab");
  await says("is no admin key");
  assert.ok(await page.isHidden("#convert-panel"));
  await option(page, "key", adminKey);
  await page.press("#form [name=key]", "Tab");
  await page.waitForSelector("#convert-panel", { state: "visible" });
  assert.ok(await page.isHidden("#convert-off"));
}

/** Each job that compares logits waits there until the test, told by a line, lets it go on. */
async function convert(page) {
  await page.waitForSelector("#convert-panel", { state: "visible" });
  const said = (words) =>
    page.waitForFunction((w) => document.getElementById("convert-said").textContent.includes(w), words);
  const field = (name, value) => page.fill(`#convert-form [name=${name}]`, value);
  await field("source", "../secret");
  await field("target", "made");
  await page.click("#convert-run");
  await page.waitForFunction(() => document.getElementById("convert-message").textContent !== "");
  assert.match(await text(page, "convert-message"), /is not a name that is taken/);

  await field("source", "model");
  await page.click("#convert-check");
  await said("would be written");
  assert.equal(await text(page, "convert-message"), "");

  const check = async (weights, body) => {
    await page.selectOption("#convert-form [name=quantize]", weights);
    const ordered = page.waitForRequest((request) => request.method() === "POST");
    await page.click("#convert-check");
    assert.deepEqual((await ordered).postDataJSON(), {
      source: "model", target: "made", ...body, dryRun: true,
    });
  };
  await check("fp8-block", { quantize: "fp8-block" });
  await said("in 1 file would be written");
  await field("expertParallelSize", "2");
  await check("", { expertParallelSize: 2 });
  await said("in 3 files, experts for 2 ranks would be written");
  await field("expertParallelSize", "");
  await check("dequantize", { dequantize: true });
  await page.waitForFunction(() =>
    document.getElementById("convert-message").textContent.includes("where weights are to be dequantised"));
  await page.selectOption("#convert-form [name=quantize]", "");

  await page.check("#convert-form [name=verify]");
  await page.selectOption("#convert-form [name=dtype]", "bf16");
  await page.click("#convert-run");
  await page.waitForFunction(() =>
    document.getElementById("convert-figures").textContent.startsWith("Comparing the logits"));
  assert.match(await text(page, "convert-figures"), /kB of [\d.]+ kB \(100%\)/);
  const bar = page.getByRole("progressbar", { name: "model to made" });
  assert.ok(await bar.isVisible());
  console.log("comparing");
  await said("logits differ by at most 0.5");
  await bar.waitFor({ state: "hidden" }); // once the stream has ended, too

  await field("target", "never");
  await page.click("#convert-run");
  await page.waitForFunction(() =>
    document.getElementById("convert-figures").textContent.startsWith("Comparing the logits"));
  await page.click("#convert-cancel");
  await page.waitForFunction(() =>
    document.getElementById("convert-figures").textContent === "Cancelling");
  console.log("cancelling");
  await page.waitForFunction(() =>
    document.querySelector("#convert-jobs li").textContent.includes("never: cancelled"));
  for (let left = await page.locator("#convert-jobs li").count(); left > 0; left--) {
    await page.locator("#convert-jobs button").first().click();
    await page.waitForFunction((n) => document.querySelectorAll("#convert-jobs li").length < n, left);
  }
  assert.ok(await page.isVisible("#convert-none"));
}

const scenarios = { complete, stop, chat, keyboard, conversionOff, conversionByKey, convert };
setTimeout(() => {
  console.log(`${scenario} takes too long`);
  process.exit(1); // and the browser with it
}, 3 * LIMIT_MILLIS).unref();

// Without the sandbox, which root cannot have: the only page shown is our own.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: LIMIT_MILLIS });
try {
  const page = await open(browser);
  await scenarios[scenario](page);
  assert.deepEqual(problems, []);
} finally {
  await browser.close();
}
