"use strict";
/* What changes something: it is asked for once more, done, and answered with its receipt, in one dialog; and the list of what was
   done from this page. An act is `{title, says, label, hasReason?, run(reason), then?, undo?}`; `run` gives the API's answer, and nobody
   waits for `then`. */

let act = null;
let isBusy = false;

function propose(proposed) {
  act = proposed;
  say("dialog-title", act.title);
  say("dialog-problem");
  $("dialog-says").replaceChildren(...act.says.map((text) => h("p", {}, text)));
  $("dialog-reason").hidden = !act.hasReason;
  $("reason").value = "";
  say("dialog-go", act.label);
  say("dialog-close", "Cancel");
  $("dialog-go").hidden = false;
  $("dialog").showModal();
  if (act.hasReason) $("reason").focus(); // else the title, which is the first that can have it
}

async function carryOut(event) {
  event.preventDefault();
  if (isBusy) return;
  setBusy(true);
  say("dialog-problem");
  try {
    showReceipt(await act.run($("reason").value.trim()));
    act.then?.();
  } catch (error) {
    if (error instanceof Left) return;
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) leave("The gateway does not accept this token any more. Nothing was done.");
    say("dialog-problem", error.message);
  } finally {
    setBusy(false);
  }
}

function setBusy(isIt) {
  isBusy = isIt;
  for (const id of ["dialog-go", "dialog-close"]) {
    if (isIt) $(id).setAttribute("aria-disabled", "true");
    else $(id).removeAttribute("aria-disabled");
  }
}

/* In the dialog, and on the list. What can be undone is undone from the list. */
function showReceipt(receipt) {
  const { title, undo } = act;
  say("dialog-title", `${title}: done`);
  $("dialog-says").replaceChildren(...receiptOf(receipt));
  $("dialog-reason").hidden = true;
  $("dialog-go").hidden = true;
  say("dialog-close", "Close");
  $("dialog-title").focus();
  const again = undo && h("button", { type: "button", class: "little", onclick: () => propose(undoing(receipt, title)) }, "Undo …");
  $("done").hidden = false;
  $("receipts").prepend(h("li", {}, h("p", {}, moment(now()), ` ${title} `, again), ...receiptOf(receipt)));
  while ($("receipts").children.length > 20) $("receipts").lastChild.remove();
}

function undoing(receipt, title) {
  return {
    title: `Undo “${title}”`,
    says: ["Lifts this revocation and all that it took along. What others say about the same is not touched."],
    label: "Undo",
    run: () => ask("DELETE", `/v1/revocations/${part(receipt.id)}`),
    then: lookAgain,
  };
}

/* The receipt in a sentence, and as it is. */
function receiptOf(receipt) {
  const { enforced_by, fenced, workers, complete, durable, took_ms, not_fenced_routes } = receipt;
  const stopped = fenced ? ` ${counted(fenced, "further one", "further ones")} ${fenced === 1 ? "is" : "are"} provably stopped.` : "";
  const missing = workers - enforced_by - fenced;
  const late = complete ? "" : ` ${counted(missing, "worker")} did neither say so nor provably stop yet. It is recorded: whoever is cut off stops by itself.`;
  const routes = not_fenced_routes?.length ? ` A stopped worker may still serve: ${not_fenced_routes.join(", ")}.` : "";
  const kept = durable ? "" : " The store does not promise to remember it after a crash.";
  return [
    h("p", { class: complete ? "receipt" : "receipt late" }, `Enforced by ${enforced_by} of ${counted(workers, "worker")}, after ${took_ms} ms.${stopped}${late}${routes}${kept}`),
    h("dl", { class: "raw mono" }, Object.entries(receipt).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, Array.isArray(value) ? value.join(", ") || "none" : String(value))))),
  ];
}

$("dialog-form").addEventListener("submit", carryOut);
$("dialog-close").addEventListener("click", () => isBusy || $("dialog").close());
$("dialog").addEventListener("close", () => {
  const { activeElement, body } = document;
  keepFocus(activeElement === body || $("dialog").contains(activeElement)); // the button it came from is gone
});
$("dialog").addEventListener("cancel", (event) => isBusy && event.preventDefault()); // what is on its way is waited for

/* Revoking by name. */

const HINTS = {
  session: "One of ours loses its record; one of another issuer is refused from now on. What is issued to it later is refused, too.",
  token_id: "Without an issuer one of our own, which takes its session along. Never a whole token: it belongs into no request.",
  user: "All tokens issued until now. Who signs in again is let in: to keep somebody out, block the user.",
  key: "Whatever it has signed, and will. One of our own is succeeded first.",
};

function showHint() {
  say("subject-hint", HINTS[$("kind").value]);
}

/* From elsewhere on the page: an event names a session. */
function nameToRevoke(kind, name) {
  $("kind").value = kind;
  $("subject").value = name;
  $("issuer").value = "";
  showHint();
  $("subject").focus();
}

function proposeRevocation(event) {
  event.preventDefault();
  const [kind, name, issuer] = [$("kind").value, $("subject").value.trim(), $("issuer").value];
  if (!name) return;
  const isOurKey = kind === "key" && !issuer && known.keys.some((key) => key.kid === name);
  const what = $("kind").selectedOptions[0].textContent.replace(/ \(.*/, "").toLowerCase();
  propose({
    title: `Revoke the ${what} ${name}`,
    says: [HINTS[kind], issuer ? `Of ${issuer} alone.` : ""].filter(isThere),
    label: "Revoke",
    hasReason: !isOurKey,
    undo: !isOurKey,
    run: (reason) => {
      if (isOurKey) return ask("DELETE", `/v1/keys/${part(name)}`);
      return ask("POST", "/v1/revocations", { body: { [kind]: name, ...(issuer && { issuer }), ...(reason && { reason }) } });
    },
    then: lookAgain,
  });
}

$("kind").addEventListener("change", showHint);
$("revocation").addEventListener("submit", proposeRevocation);
