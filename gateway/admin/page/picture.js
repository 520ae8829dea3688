"use strict";
/* `GET /v1/decisions` as a picture: above what was allowed, below what was refused or failed, one bar a minute; and by reason, as
   a table that says the same in figures. The colours tell kinds of reasons; each kind is named beside its colour. */

const MINUTES = 60;
const ALLOWED = 44; // heights of the two parts, in pixels, each below its title
const REFUSED = 120;
const TITLE = 20;
const MARGIN = 34; // on the left, for the scale

const KINDS = [
  ["revoked", "revoked or reused", ["revoked-token", "revoked-session", "old-version", "retired-key", "blocked-user", "refresh-reused", "replayed-token"]],
  ["changed", "another client", ["device-changed", "network-changed", "country-changed"]],
  ["broken", "no good token", ["malformed-token", "bad-signature", "unknown-key", "wrong-issuer", "wrong-audience", "lifetime-too-long", "not-yet-valid"]],
  ["missing", "none, or expired", ["no-token", "expired-token", "unknown-session"]],
  ["rights", "not permitted", ["forbidden", "csrf"]],
  ["away", "something is away", ["store-unavailable", "upstream-unreachable", "upstream-timeout"]],
  ["other", "not understood", ["bad-request", "too-large", "no-route"]],
];

let decisions = null;

async function lookAtDecisions() {
  decisions = await ask("GET", "/v1/decisions");
  showDecisions();
}

function showDecisions() {
  const series = decisions.series.map(bars);
  const isAllowed = ({ reason }) => reason === "none";
  const refused = series.filter((one) => !isAllowed(one));
  $("chart").replaceChildren(chart(series.filter(isAllowed), refused));
  $("legend").replaceChildren(...KINDS.filter(([kind]) => refused.some((one) => one.kind === kind)).map(([kind, words]) => h("li", {}, swatch(kind), words)));
  const sorted = [...series].sort((a, b) => isAllowed(b) - isAllowed(a) || b.total - a.total);
  $("reasons").replaceChildren(...orNone(sorted.map(reasonRow), "Nothing was asked yet."));
}

/* One series as sixty bars, the newest last. What happened before they begin is left out. */
function bars({ decision, reason, counts }) {
  const minute = (at) => Math.floor((at - 1) / 60);
  const newest = minute(decisions.times.at(-1));
  const heights = new Array(MINUTES).fill(0);
  counts.forEach((count, place) => {
    const at = MINUTES - 1 - (newest - minute(decisions.times[place]));
    if (at >= 0) heights[at] += count;
  });
  const name = reason === "none" ? (decision === "allow" ? "allowed" : "allowed, replica stale") : decision === "deny" ? reason : `${reason}, after it was allowed`;
  const kind = reason === "none" ? (decision === "allow" ? "allowed" : "stale") : KINDS.find(([, , reasons]) => reasons.includes(reason))?.[0] ?? "other";
  return { name, kind, reason, heights, total: heights.reduce((sum, height) => sum + height, 0) };
}

function chart(allowed, refused) {
  const width = Math.max(240, $("chart").clientWidth);
  const bottom = TITLE + ALLOWED + TITLE + REFUSED;
  const height = bottom + TITLE;
  const x = (place) => MARGIN + ((width - MARGIN) * place) / MINUTES;
  const drawing = svg("svg", { role: "img", viewBox: `0 0 ${width} ${height}`, width, height, "aria-label": inWords(allowed, refused) });
  drawing.append(...panel(allowed, TITLE, ALLOWED, x, "allowed a minute"), ...panel(refused, TITLE + ALLOWED + TITLE, REFUSED, x, "refused or failed a minute"));
  for (let place = 0; place < MINUTES; place += 1) {
    if (minuteAt(place) % 15) continue;
    drawing.append(svg("line", { class: "axis", x1: x(place), x2: x(place), y1: bottom, y2: bottom + 4 }));
    drawing.append(svg("text", { x: x(place), y: bottom + 17, "text-anchor": place < 3 ? "start" : place > 56 ? "end" : "middle" }, clockOf(place)));
  }
  return drawing;
}

/* A row of stacked bars with its scale. */
function panel(series, top, height, x, title) {
  const sums = Array.from({ length: MINUTES }, (_, place) => series.reduce((sum, one) => sum + one.heights[place], 0));
  const most = roundUp(Math.max(...sums, 1));
  const drawn = [
    svg("line", { class: "grid", x1: x(0), x2: x(MINUTES), y1: top + 0.5, y2: top + 0.5 }),
    svg("line", { class: "axis", x1: x(0), x2: x(MINUTES), y1: top + height, y2: top + height }),
    svg("text", { x: MARGIN - 6, y: top + 4, "text-anchor": "end" }, short(most)),
    svg("text", { x: MARGIN, y: top - 6 }, title),
  ];
  const order = KINDS.map(([kind]) => kind);
  const stacked = [...series].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  for (let place = 0; place < MINUTES; place += 1) {
    let floor = top + height;
    for (const one of stacked) {
      if (!one.heights[place]) continue;
      const tall = Math.max(1.5, (one.heights[place] / most) * height);
      floor -= tall;
      const bar = { class: `bar ${one.kind}`, x: x(place) + 0.5, y: floor, width: x(1) - x(0) - 1, height: tall };
      drawn.push(svg("rect", bar, svg("title", {}, `${number(one.heights[place])} × ${one.name}, ${clockOf(place)}`)));
    }
  }
  return drawn;
}

/* The minute of a bar, counted from 1970, and as a clock shows it. */
const minuteAt = (place) => Math.floor((decisions.times.at(-1) - 1) / 60) - (MINUTES - 1 - place);
const clockOf = (place) => clockToTheMinute(minuteAt(place) * 60);

function inWords(allowed, refused) {
  const total = (series) => series.reduce((sum, one) => sum + one.total, 0);
  const most = [...refused].sort((a, b) => b.total - a.total)[0];
  const mostly = most ? `, above all ${most.name}` : "";
  return `In the last hour ${number(total(allowed))} requests were allowed and ${number(total(refused))} refused or failed${mostly}. The table tells them by reason.`;
}

function reasonRow(one) {
  const most = Math.max(...one.heights, 1);
  const line = svg("svg", { viewBox: `0 0 ${MINUTES * 3} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  one.heights.forEach((height, place) => {
    const tall = height ? Math.max(1.5, (height / most) * 20) : 0;
    if (tall) line.append(svg("rect", { class: `bar ${one.kind}`, x: place * 3, y: 20 - tall, width: 2, height: tall }));
  });
  return row(h("th", { scope: "row" }, swatch(one.kind), one.name), cell(line, { class: "line" }), figure(number(one.heights.at(-1))), figure(number(one.total)));
}

function swatch(kind) {
  return svg("svg", { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { class: `bar ${kind}`, width: 10, height: 10, rx: 2 }));
}

/* The next number of one digit and zeros. */
function roundUp(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return size * Math.ceil(value / size);
}

const short = (value) => value.toLocaleString("en", { notation: "compact" });
