"use strict";
/* How the gateway is: `GET /v1/status`, as tiles and tables. Keeps the newest document: other parts ask it for issuers and keys. */

let known = null;
let seenAt = 0;

async function lookAtState() {
  known = await ask("GET", "/v1/status");
  seenAt = now();
  showState();
}

function showState() {
  document.title = `${known.ready ? "" : "▲ not ready · "}gateway`;
  say("where", `${known.version} on ${location.host}`);
  say("as-of", `As of ${clock(seenAt)}`);
  $("tiles").replaceChildren(...tiles());
  $("workers").replaceChildren(...known.workers.map(workerRow));
  $("keys").replaceChildren(...orNone(known.keys.map(keyRow), "None yet."));
  $("upstreams").replaceChildren(...known.upstreams.flatMap(upstreamRows));
  $("issuers").replaceChildren(...orNone(known.issuers.map(issuerRow), "None: only the gateway’s own tokens."));
  showIssuersToChoose();
}

/* It did not answer: what is shown is old, and says so. */
function showStale() {
  if (seenAt) say("as-of", `As of ${clock(seenAt)}, ${span(now() - seenAt)} ago`);
}

function tiles() {
  const { workers, store, accounts } = known;
  const live = workers.filter((worker) => worker.ready).length;
  const restarts = workers.reduce((sum, worker) => sum + worker.restarts, 0);
  const signing = known.keys.find((key) => key.state === "signing");
  return [
    tile("Gateway", mark(known.ready, known.ready ? "Ready" : "Not ready"), known.config.split("/").at(-1), known.config),
    tile("Workers", mark(live === workers.length, `${live} of ${workers.length} live`), counted(restarts, "restart")),
    tile("Store", mark(store.up, store.up ? "Up" : "Down"), store.problem || store.url),
    tile("Revocation log", isThere(store.head) ? `Position ${number(store.head)}` : mark(false, "No answer"), behind(workers, store.head)),
    tile("Sessions", number(known.sessions), `accounts ${accounts.state}, registration ${accounts.registration}`),
    tile("Signing key", signing ? `${span(now() - signing.since)} in use` : mark(false, "None"), signing ? signing.kid : ""),
  ];
}

function tile(name, value, note, whole = note) {
  return h("div", { class: "card" }, h("dt", {}, name), h("dd", { class: "value" }, value), h("dd", { class: "note", title: whole }, note));
}

function behind(workers, head) {
  if (!isThere(head)) return "how far workers are behind is not known";
  const late = workers.filter((worker) => worker.position < head).map((worker) => `worker ${worker.index} by ${number(head - worker.position)}`);
  return late.length ? `behind: ${late.join(", ")}` : "every worker is there";
}

function workerRow(worker) {
  const replica = worker.state === "running" ? worker.replica : worker.state;
  const offset = Math.abs(worker.clock_offset_ms) > 1000 ? `, clock off by ${number(worker.clock_offset_ms)} ms` : "";
  return row(
    h("th", { scope: "row" }, String(worker.index)), figure(shown(worker.pid)), cell(mark(worker.ready, replica.replaceAll("_", " ") + offset)),
    figure(lag(worker.lag_ms)),
    figure(number(worker.position)), figure(number(worker.entries)), figure(number(worker.connections.client)), figure(number(worker.restarts)));
}

function lag(milliseconds) {
  if (milliseconds === null) return "–";
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : span(milliseconds / 1000);
}

function keyRow(key) {
  return row(h("th", { scope: "row", class: "mono" }, key.kid), cell(key.algorithm), cell(key.state), figure(span(now() - key.created)));
}

function issuerRow(issuer) {
  const [fewest, most] = [Math.min(...issuer.keys), Math.max(...issuer.keys)];
  const keys = fewest === most ? number(fewest) : `${fewest} to ${most}`;
  return row(h("th", { scope: "row" }, issuer.issuer), figure(fewest ? keys : mark(false, keys)), figure(issuer.fetched_at ? ago(issuer.fetched_at) : "never"));
}

/* The upstream, and below it each address as it is configured: of a host name there may be several. */
function upstreamRows(one) {
  const servers = one.servers ?? [];
  const isWhole = servers.every((server) => !out(server));
  const word = one.up ? (isWhole ? "up" : "partly up") : "failed";
  return [row(h("th", { scope: "row", class: "mono" }, one.name), cell(mark(one.up && isWhole, word))), ...servers.map(serverRow)];
}

const out = (server) => server.ejected + server.down;

function serverRow(server) {
  const all = server.up + out(server);
  const states = ["up", "ejected", "down"].filter((state) => server[state]);
  const words = all === 1 ? states[0] : states.map((state) => `${server[state]} ${state}`).join(", ");
  return row(h("th", { scope: "row", class: "mono inner" }, server.address), cell(all ? mark(!out(server), words) : "–"));
}

function orNone(rows, text) {
  return rows.length ? rows : [row(cell(text, { colspan: "9", class: "quiet" }))];
}

/* The choice stays what it is, unless the gateway has other issuers now. */
function showIssuersToChoose() {
  const names = known.issuers.map((one) => one.issuer);
  const shownNow = [...$("issuer").options].slice(1).map((option) => option.value);
  if (names.join("\n") !== shownNow.join("\n")) {
    $("issuer").replaceChildren(h("option", { value: "" }, "Any"), ...names.map((name) => h("option", { value: name }, name)));
  }
}
