{
  const { cookie, ended, failed } = document.currentScript.dataset;
  const language = document.documentElement.lang;
  const news = document.getElementById("news");
  const say = (kind, text) => {
    document.getElementById("said")?.remove();
    news.className = "said " + kind;
    news.textContent = text;
  };
  const csrf = () => (document.cookie.split("; ").find((pair) => pair.startsWith(cookie + "=")) || "").slice(cookie.length + 1);

  // Without this script the form is sent as it is, and the answer is this page again.
  const end = async (form) => {
    const answer = await fetch("/auth/sessions/" + encodeURIComponent(form.dataset.session), {
      method: "DELETE",
      headers: { "X-CSRF-Token": csrf(), Accept: "application/json" },
      signal: AbortSignal.timeout(10000),
    });
    if (answer.status === 401) return location.reload(); // leads to the login page, or says why not
    if (!answer.ok && answer.status !== 404) throw new Error("status " + answer.status);
    form.closest("li").remove();
    document.getElementById("only").hidden = document.querySelector("form[data-session]") !== null;
    say("done", ended);
    document.getElementById("title").focus();
  };
  for (const form of document.querySelectorAll("form[data-session]")) {
    const button = form.querySelector("button");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (button.getAttribute("aria-disabled")) return;
      button.setAttribute("aria-disabled", "true");
      try {
        await end(form);
      } catch {
        say("problem", failed);
      }
      button.removeAttribute("aria-disabled");
    });
  }

  // The server does not know the reader's time zone, nor the names of all countries.
  const exactly = new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" });
  for (const time of document.querySelectorAll("time")) time.title = exactly.format(new Date(time.dateTime));
  const countries = new Intl.DisplayNames([language], { type: "region", fallback: "code" });
  for (const place of document.querySelectorAll("[data-country]")) {
    try {
      place.textContent = countries.of(place.dataset.country);
    } catch {} // not a country's code: it stays as it is
  }
}
