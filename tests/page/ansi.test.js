// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { after, PLAIN, render } from "../../gaia_local/server/page/ansi.js";
import { random } from "./random.js";

/** @param {string} line */
const text = (line) => render(line).spans.map((span) => span.text).join("");

test("a line without controls is itself, and an empty one has no text", () => {
  assert.deepEqual(render("größe 日本語\t<b>").spans, [{ text: "größe 日本語\t<b>", style: PLAIN }]);
  assert.deepEqual(render("").spans, []);
});

test("colours and attributes hold until they end, also in later lines", () => {
  const { spans, style } = render("a\x1b[1;31mb\x1b[22mc\x1b[0;4md\x1b[mplain\x1b[92;103m");
  const red = { ...PLAIN, fore: 1 };
  assert.deepEqual(spans.map((span) => span.style), [
    PLAIN, { ...red, bold: true }, red, { ...PLAIN, underline: true }, PLAIN]);
  assert.deepEqual(style, { ...PLAIN, fore: 10, back: 11 });
  assert.deepEqual(render("next", style).spans, [{ text: "next", style }]);
  assert.deepEqual(render("\x1b[7;3;2mx\x1b[27;23mx").style, { ...PLAIN, dim: true });
});

test("256 and true colours are read in both forms, and wrong ones are none", () => {
  /** @type {[string, Partial<import("../../gaia_local/server/page/ansi.js").Style>][]} */
  const cases = [
    ["38;5;208", { fore: 208 }], ["48;5;0", { back: 0 }], ["38:5:9", { fore: 9 }],
    ["38;2;255;0;16", { fore: "#ff0010" }], ["48:2::1:2:3", { back: "#010203" }],
    ["38:2:1:2:3", { fore: "#010203" }], ["38;2;1;2;3;1", { fore: "#010203", bold: true }],
    ["38;5;256", {}], ["38;2;1;2", {}], ["38", {}], ["38;5", {}], ["38;9;1", { bold: true }],
    ["4:0", {}], ["4:3", { underline: true }], ["999", {}], ["31;39", {}], ["?25", {}],
  ];
  for (const [code, wanted] of cases)
    assert.deepEqual(after(`\x1b[${code}m`), { ...PLAIN, ...wanted }, code);
});

test("carriage returns, backspaces and erasures leave what a terminal would", () => {
  assert.equal(text("10%\r50%\r100%"), "100%");
  assert.equal(text("100%\r5"), "500%");
  assert.equal(text("windows\r"), "windows");
  assert.equal(text("abc\b\bX"), "aXc");
  assert.equal(text("\b\bx"), "x");
  assert.equal(text("working\r\x1b[Kdone"), "done");
  assert.equal(text("working\r\x1b[2Kdone"), "done");
  assert.equal(text("working\x1b[1Kdone"), "       done");
  const { spans } = render("\x1b[31mred\r\x1b[32mg");
  assert.deepEqual(spans.map((span) => [span.text, span.style.fore]), [["g", 2], ["ed", 1]]);
});

test("titles, links, moves and other sequences are dropped, and their texts stay", () => {
  assert.equal(text("\x1b]0;a title\x07plain"), "plain");
  assert.equal(text("\x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x1b\\!"), "link!");
  assert.equal(text("\x1b[2J\x1b[10;10Hhome\x1b[?25l\x1b[6n"), "home");
  assert.equal(text("\x1bPq#0;2;0;0;0\x1b\\six\x1b(Bel\x1bc\x1b7"), "sixel");
  assert.equal(text("\x9b31mred\x9d0;title\x9c!\x85"), "red!");
  assert.equal(text("bell\x07 nul\0 del\x7f"), "bell nul del");
  assert.equal(render("\x1b[8mconcealed").spans[0].text, "concealed");
});

test("an unfinished sequence hides nothing of the line", () => {
  assert.equal(text("\x1b]0;not a title"), "0;not a title");
  assert.equal(text("\x1b[31"), "31");
  assert.equal(text("end\x1b"), "end");
  assert.equal(text("\x1b\x1b[1mbold"), "bold");
});

test("characters that turn text are replaced", () => {
  assert.equal(text("a\u202eb\u2066c"), "a\ufffdb\ufffdc");
  assert.equal(text("a\u202e\rb"), "b\ufffd");
});

test("what comes out never holds a control, and the text of plain lines stays", () => {
  const { pick, whole } = random(5);
  const pieces = ["\x1b", "[", "]", "31", "m", ";", "38", "5", "2", "\r", "\b", "K", "a", "ö", "😀",
    "\x07", "\\", "\x9b", "\x9d", "\x9c", "\x90", "P", "?", " ", "\u202e", "\0", "8;;", "\t"];
  for (let round = 0; round < 20_000; round += 1) {
    const line = Array.from({ length: whole(20) }, () => pick(pieces)).join("");
    const { spans, style } = render(line);
    assert.doesNotMatch(spans.map((span) => span.text).join(""),
      /[\0-\x08\x0a-\x1f\x7f-\x9f\u202e]/);
    assert.ok(spans.every((span) => span.text !== ""));
    const again = render("x", style).spans;
    assert.deepEqual(again, [{ text: "x", style }]);
  }
});

test("a text that is cut at its lines gives the same lines and styles", () => {
  const { pick, whole } = random(6);
  const pieces =
    ["\x1b[31m", "\x1b[0m", "\x1b[1m", "\x1b[48;5;4m", "a", "bc", "\r", "\x1b]0;t\x07"];
  for (let round = 0; round < 500; round += 1) {
    const lines = Array.from({ length: 6 },
      () => Array.from({ length: whole(6) }, () => pick(pieces)).join(""));
    /** @param {string[]} some @param {typeof PLAIN} style */
    const all = (some, style) => some.map((line) => {
      const rendered = render(line, style);
      style = rendered.style;
      return rendered;
    });
    const whole6 = all(lines, PLAIN);
    const cut = whole(7);
    const style = cut === 0 ? PLAIN : whole6[cut - 1].style;
    assert.deepEqual(all(lines.slice(cut), style), whole6.slice(cut));
  }
});

test("hostile lines take little time", () => {
  for (const line of ["\x1b]".repeat(5000), "\x9d".repeat(10_000), "\x1b[".repeat(5000),
    `\x1b[${"1;".repeat(5000)}m`, "\x1b[31mx".repeat(1600), `\x1b]${" ".repeat(10_000)}`,
    `\x1b[${" ".repeat(10_000)}`]) {
    const begun = performance.now();
    render(line);
    assert.ok(performance.now() - begun < 250, JSON.stringify(line.slice(0, 10)));
  }
});
