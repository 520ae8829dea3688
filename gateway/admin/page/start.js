"use strict";
/* In with the token, out when it is forgotten; and what is looked at meanwhile. */

const STATE_EVERY_S = 2;
const DECISIONS_EVERY_S = 3;

async function enter(event) {
  event.preventDefault();
  token = $("token").value.trim();
  visit = new AbortController();
  say("door-problem");
  try {
    await lookAtState();
  } catch (error) {
    token = "";
    if (!(error instanceof Refused)) throw error;
    say("door-problem", error.status === 401 ? "This is no admin token of this gateway." : error.message);
    $("token").select();
    return;
  }
  $("token").value = "";
  showInside(true);
  $("main").focus();
  keep("trouble", STATE_EVERY_S, lookAtState);
  keep("decisions-problem", DECISIONS_EVERY_S, lookAtDecisions);
  keep("events-problem", 0, followEvents);
}

/* Everything that was shown goes with the token. */
function leave(why = "") {
  visit.abort();
  token = user = "";
  known = decisions = cursor = null;
  waiting = [];
  seenAt = 0;
  $("dialog").close();
  for (const id of ["tiles", "workers", "keys", "upstreams", "issuers", "chart", "legend", "reasons", "trail", "user-found", "receipts", "dialog-says"]) $(id).replaceChildren();
  for (const id of ["where", "as-of", "trouble", "decisions-problem", "events-problem", "user-problem", "user-said", "heard"]) say(id);
  for (const id of ["user-found", "done"]) $(id).hidden = true;
  for (const form of document.forms) form.reset();
  document.title = "gateway";
  showInside(false);
  say("door-problem", why);
  $("token").focus();
}

function showInside(isInside) {
  $("door").hidden = isInside;
  for (const each of document.querySelectorAll(".within")) each.hidden = !isInside;
}

$("door").addEventListener("submit", enter);
$("leave").addEventListener("click", () => leave());
addEventListener("pagehide", () => leave()); // a page that comes back from the browser's memory knows nothing
new ResizeObserver(() => decisions && showDecisions()).observe($("chart"));
setInterval(() => known && now() - seenAt > 2 * STATE_EVERY_S && showStale(), 1000);
showHint();
showInside(false);
$("token").focus();
