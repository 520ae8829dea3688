"use strict";
/* One user: account, sessions, whether kept out, what was last heard of them; and what can be done about it. */

let user = "";

async function lookUp(name) {
  user = name;
  say("user-problem");
  try {
    const found = await findUser(name);
    if (user !== name) return; // another one was asked for meanwhile
    showUser(found);
  } catch (error) {
    if (error instanceof Left) return;
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) return leave("The gateway does not accept this token any more.");
    $("user-found").hidden = true;
    say("user-problem", error.message);
  }
}

async function lookAgain() {
  if (user) await lookUp(user);
}

/* An account has sessions here. A user of another issuer has none, but can be kept out all the same. */
async function findUser(name) {
  const path = `/v1/users/${part(name)}`;
  const query = new URLSearchParams({ user: name, limit: 6 });
  const ofAccount = (document) => document.catch((error) => (error.status === 404 ? null : Promise.reject(error)));
  const [account, listed, { blocked }, { events }] = await Promise.all([
    ofAccount(ask("GET", path)), ofAccount(ask("GET", `${path}/sessions`)), ask("GET", `${path}/block`), ask("GET", `/v1/audit?${query}`),
  ]);
  return { name: account?.user ?? name, path, account, sessions: listed?.sessions ?? [], damaged: listed?.damaged ?? [], blocked, events };
}

function showUser({ name, path, account, sessions, damaged, blocked, events }) {
  const hasFocus = $("user-found").contains(document.activeElement);
  $("user").value = name;
  say("user-said", `${name}: ${account ? counted(sessions.length, "session") : "no account"}${blocked ? ", blocked" : ""}`);
  $("user-found").hidden = false;
  $("user-found").replaceChildren(
    h("h3", { class: "name" }, name, blocked ? h("span", { class: "tag bad" }, "blocked") : ""),
    h("p", { class: "quiet small" }, account ? accountInWords(account) : "There is no account of this name. A user of another issuer can be blocked and revoked all the same."),
    h("div", { class: "controls" },
      account ? h("button", { type: "button", onclick: () => propose(endingAll(name, path, sessions)) }, "End all sessions …") : "",
      h("button", { type: "button", onclick: () => propose(blocked ? unblocking(name, path) : blocking(name, path)) }, blocked ? "Unblock …" : "Block …")),
    account ? h("h4", {}, counted(sessions.length, "session")) : "",
    h("ul", { class: "sessions" }, sessions.map((session) => sessionItem(name, session)), damaged.map(damagedItem)),
    events.length ? h("h4", {}, "Last heard of") : "",
    h("ul", { class: "heard small" }, events.map(heardItem)));
  keepFocus(hasFocus);
}

/* What had the focus was replaced: a keyboard goes on from here, and not from the top of the page. */
function keepFocus(isLost) {
  if (isLost) $("user").focus();
}

function accountInWords(account) {
  return ["Account since ", moment(account.created), `, version ${account.version}, ${account.groups.length ? `groups ${account.groups.join(", ")}` : "no groups"}.`];
}

function sessionItem(name, session) {
  const place = [session.network, session.country].filter(isThere).join(", ");
  return h("li", {},
    h("div", {},
      h("p", { class: "name" }, session.device || "An unknown client"),
      h("p", { class: "quiet small" }, `${place || "network not known"} · ${session.delivery === "token" ? "token" : "cookies"} · since `, moment(session.created), " · seen ", ago(session.last_seen)),
      h("p", { class: "mono" }, session.id)),
    h("button", { type: "button", class: "little", "aria-label": `End the session ${session.id}`, onclick: () => propose(ending(name, session)) }, "End …"));
}

function damagedItem(id) {
  return h("li", {}, h("div", {}, h("p", { class: "name" }, "A damaged record, which nobody can use"), h("p", { class: "mono" }, id)));
}

function heardItem(event) {
  return h("li", {}, ago(Date.parse(event.time) / 1000), ` · ${event.action}${event.count > 1 ? ` ×${number(event.count)}` : ""}`, [event.reason, event.network].filter(isThere).map((text) => ` · ${text}`));
}

/* Acts. */

function ending(name, session) {
  return {
    title: `End a session of ${name}`,
    says: [`${session.device || "An unknown client"}, ${session.network || "network not known"}.`, "Its tokens are refused from the next request on, and its open connections are cut."],
    label: "End the session",
    run: () => ask("DELETE", `/v1/sessions/${part(session.id)}`),
    then: lookAgain,
  };
}

function endingAll(name, path, sessions) {
  return {
    title: `End all sessions of ${name}`,
    says: [`${counted(sessions.length, "session")}, on every device. The user can sign in again.`],
    label: "End all",
    run: () => ask("DELETE", `${path}/sessions`),
    then: lookAgain,
  };
}

function blocking(name, path) {
  return {
    title: `Block ${name}`,
    says: ["Keeps this user out, whichever issuer a token is from, until it is lifted. The sessions stay, and serve again afterwards."],
    label: "Block",
    hasReason: true,
    run: (reason) => ask("POST", `${path}/block`, { body: reason ? { reason } : {} }),
    then: lookAgain,
  };
}

function unblocking(name, path) {
  return { title: `Unblock ${name}`, says: ["Sessions that are not over serve again."], label: "Unblock", run: () => ask("DELETE", `${path}/block`), then: lookAgain };
}

$("look-up").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("user").value.trim();
  if (name) lookUp(name);
});
