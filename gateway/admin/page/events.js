"use strict";
/* The audit trail: the newest events, then each as it comes (`GET /v1/audit?follow`), newest first. What is shown is bounded. */

const MOST_SHOWN = 300;
const FOLLOW_S = 20;
const ALARMS = [
  "replay", "refresh-after-revocation", "refresh-reuse", "fingerprint", "fingerprint-calmed", "login-flood", "expired-loop", "signature-failure",
  "session-corrupt", "admitted-although-revoked", "events-lost",
];
const MORE = [["since", "since"], ["session", "session"], ["token_id", "token"], ["device", "device"], ["route", "route"], ["target", "of"], ["source", "by"], ["text", ""]];

let cursor = null;
let isPaused = false;
let waiting = []; // came while the list is paused

async function followEvents() {
  if (cursor === null) {
    const { events } = await ask("GET", "/v1/audit?limit=50");
    $("trail").replaceChildren(...events.map(eventRow));
    $("older").hidden = events.length < 50;
    cursor = events[0]?.id ?? "0-0";
    showWhich();
  }
  const query = new URLSearchParams({ follow: "", cursor, wait: FOLLOW_S, limit: 200 });
  const page = await ask("GET", `/v1/audit?${query}`, { longest: FOLLOW_S + 15 });
  cursor = page.cursor;
  waiting.push(...page.events);
  waiting = waiting.slice(-MOST_SHOWN);
  showWaiting();
  const alarm = page.events.findLast(isAlarm);
  if (alarm) say("heard", `${alarm.action}, ${alarm.reason ?? ""}, ${alarm.user ?? "nobody known"}, at ${clock(Date.parse(alarm.time) / 1000)}`);
}

function showWaiting() {
  say("pause", !isPaused ? "Pause" : waiting.length ? `Go on (${counted(waiting.length, "new one")})` : "Go on");
  if (isPaused || !waiting.length) return;
  const fresh = waiting.map(eventRow);
  for (const each of fresh) {
    each.classList.add("fresh");
    $("trail").prepend(each);
  }
  waiting = [];
  while ($("trail").children.length > MOST_SHOWN) {
    $("trail").lastChild.remove();
    $("older").hidden = false;
  }
  showWhich();
}

async function showOlder() {
  const last = $("trail").lastChild;
  try {
    const { events } = await ask("GET", `/v1/audit?${new URLSearchParams({ limit: 50, cursor: last.dataset.id })}`);
    $("trail").append(...events.map(eventRow));
    $("older").hidden = events.length < 50;
    showWhich();
  } catch (error) {
    if (error instanceof Refused) say("events-problem", error.message);
    else if (!(error instanceof Left)) throw error;
  }
}

function isAlarm(event) {
  return ALARMS.includes(event.action) || event.reason === "reused";
}

function eventRow(event) {
  const isRefused = ["denied", "failure"].includes(event.outcome);
  const kinds = ["all", isAlarm(event) && "alarm", isRefused && "refused", /^admin token|^schedule/.test(event.source ?? "") && "operator"].filter(Boolean);
  const times = event.count > 1 ? h("span", { class: "times" }, ` ×${number(event.count)}`) : "";
  return h("tr", { role: "row", class: isAlarm(event) ? "alarm" : isRefused ? "refused" : "", "data-id": event.id, "data-kinds": kinds.join(" ") },
    trailCell("time", moment(Date.parse(event.time) / 1000)),
    trailCell("event", h("b", {}, event.action), times, h("span", { class: "quiet" }, ` ${event.outcome}`)),
    trailCell("reason", event.reason),
    trailCell("who", who(event)),
    trailCell("network", event.network),
    trailCell("more", MORE.filter(([name]) => isThere(event[name])).map(([name, label]) => further(event, name, label))));
}

function trailCell(kind, ...content) {
  return h("td", { role: "cell", class: kind }, content);
}

function who(event) {
  if (isThere(event.user)) return h("button", { type: "button", class: "link", title: "Look up", onclick: () => lookUpFrom(event.user) }, event.user);
  return isThere(event.pseudonym) ? h("span", { class: "quiet" }, `erased, ${event.pseudonym}`) : "";
}

/* What an event names and can be revoked leads to the form for it. */
function further(event, name, label) {
  const value = String(event[name]);
  const isRevocable = name === "session" || name === "token_id";
  const content = isRevocable
    ? h("button", { type: "button", class: "link mono", title: `Revoke ${value}`, onclick: () => nameToRevoke(name, value) }, shortened(event, name))
    : name === "since" ? moment(Date.parse(value) / 1000) : value;
  return h("span", {}, label ? h("span", { class: "quiet" }, `${label} `) : "", content);
}

/* The id of a token of ours begins with its session's, which stands beside it. */
function shortened(event, name) {
  const value = String(event[name]);
  const known = name === "token_id" && isThere(event.session) && value.startsWith(event.session);
  return known ? `…${value.slice(event.session.length)}` : value;
}

function lookUpFrom(name) {
  $("user").value = name;
  $("user").focus();
  lookUp(name);
}

function showWhich() {
  const wanted = $("which").value;
  let seen = 0;
  for (const each of $("trail").children) {
    each.hidden = !each.dataset.kinds.split(" ").includes(wanted);
    seen += !each.hidden;
  }
  $("no-events").hidden = seen > 0;
}

$("which").addEventListener("change", showWhich);
$("older").addEventListener("click", showOlder);
$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  $("pause").setAttribute("aria-pressed", String(isPaused));
  showWaiting();
});
