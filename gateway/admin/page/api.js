"use strict";
/* The admin API, asked with the token. The token is in this variable and nowhere else: not in a cookie, which a foreign page could
   make a browser send; not in sessionStorage, which browsers write to disk to restore their tabs, copy into a duplicated one, and
   give to whatever serves this address next. A reload asks for it again. */

let token = "";
let visit = new AbortController(); // from the token to when it is forgotten; whatever waits ends with it

/* What could not be had, as a sentence. `status` 0: there was no answer. */
class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/* An act waits for receipts, of which some need several: it is given longer than a look. */
async function ask(method, path, { body, longest = method === "GET" ? 15 : 40 } = {}) {
  const headers = { Authorization: `Bearer ${bytes(token)}`, Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  const { signal } = visit;
  const options = { method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store", redirect: "error" };
  let answer, text;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.any([signal, AbortSignal.timeout(longest * 1000)]) });
    text = await answer.text();
  } catch {
    if (signal.aborted) throw new Left();
    throw new Refused(0, "The gateway’s admin port does not answer. What was asked of it may or may not have happened; asking again is safe.");
  }
  if (signal.aborted) throw new Left();
  const date = Date.parse(answer.headers.get("Date"));
  if (date && Math.abs(date / 1000 - now()) > 2) skew = date / 1000 - Date.now() / 1000;
  const document = parsed(text);
  if (answer.ok && document) return document;
  throw new Refused(answer.status, answer.ok ? "The answer cannot be read." : sentence(answer.status, document ?? {}));
}

/* The token was forgotten while something waited: nobody wants its answer. */
class Left extends Error {}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/* A problem+json as a sentence: title, detail, and what is wrong with each field. */
function sentence(status, problem) {
  const fields = Object.entries(problem.errors ?? {}).map(([name, wrong]) => `${name} ${wrong}`).join("; ");
  const said = [problem.title ?? `The admin port answered ${status}`, problem.detail, fields].filter(isThere).map(String);
  return said.map((part) => (/[.!?]$/.test(part) ? part : `${part}.`)).join(" ");
}

/* A name as a part of a path. NB: a browser takes `.`, `..` and their escapes for steps, and would act on another path. */
function part(name) {
  if (/^\.{1,2}$/.test(name) || name === "") throw new Refused(404, `Nothing here can be called “${name}”.`);
  try {
    return encodeURIComponent(name);
  } catch {
    throw new Refused(404, "The name holds half a character.");
  }
}

/* A header field carries bytes, and the token's are those of UTF-8. */
function bytes(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/* Until somebody looks: a page in the background asks for nothing. */
async function wanted() {
  while (document.visibilityState === "hidden") {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

const AGAIN_S = 2;

/* Look again and again while the token is there. What goes wrong is said at `place`, and the next look tries again. */
async function keep(place, seconds, look) {
  const { signal } = visit;
  while (!signal.aborted) {
    let rest = seconds;
    try {
      await look();
      say(place);
    } catch (error) {
      if (error instanceof Left) return;
      if (!(error instanceof Refused)) throw error; // a mistake of ours, to be seen in the console
      if (error.status === 401) return leave("The gateway does not accept this token any more.");
      say(place, error.message);
      rest = AGAIN_S;
    }
    await pause(rest);
    await wanted();
  }
}
