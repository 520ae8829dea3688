"use strict";
/* Elements, and how moments, numbers and names are written.
   Whatever is shown came over the network, much of it from strangers: it is put in as text, never as markup. */

const $ = (id) => document.getElementById(id);

/* An element. `onclick` is listened to; true, false and undefined are attributes that are there, or not. */
function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== ""));
  return element;
}

/* A sentence in a place made for it; none empties it. */
function say(id, sentence = "") {
  if ($(id).textContent !== sentence) $(id).textContent = sentence;
}

/* The server's clock, by its own word: a browser's may be wrong, and ages would be. */
let skew = 0;
const now = () => Date.now() / 1000 + skew;

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const clockToTheMinute = (seconds) => clock(seconds).slice(0, 5);

function moment(seconds) {
  const date = new Date(seconds * 1000);
  const isToday = date.toDateString() === new Date(now() * 1000).toDateString();
  const day = isToday ? "" : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} `;
  return h("time", { datetime: date.toISOString(), title: date.toString() }, day + clock(seconds));
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/* `3 h`: of the largest unit that fits. */
function span(seconds) {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}

function ago(seconds) {
  return h("time", { datetime: new Date(seconds * 1000).toISOString(), title: new Date(seconds * 1000).toString() }, `${span(now() - seconds)} ago`);
}

const number = (value) => Number(value).toLocaleString("en");
const counted = (value, one, several = `${one}s`) => `${number(value)} ${Number(value) === 1 ? one : several}`;
const isThere = (value) => value !== undefined && value !== null && value !== "";
const shown = (value) => (isThere(value) ? String(value) : "–");

/* A state as a word and, for those who do not read words first, a sign. */
function mark(isWell, word) {
  return h("span", { class: isWell ? "well" : "unwell" }, h("span", { "aria-hidden": "true" }, isWell ? "● " : "▲ "), word);
}

function row(...cells) {
  return h("tr", {}, cells);
}

function cell(content, attributes) {
  return h("td", attributes, content);
}

const figure = (content) => cell(content, { class: "number" });
