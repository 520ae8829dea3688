"use strict";
// A look at what was typed. The field is a password again before it is sent, or the browser would remember it as a text.
for (const button of document.querySelectorAll("button[data-reveal]")) {
  const field = document.getElementById(button.dataset.reveal);
  const show = (is_shown) => {
    field.type = is_shown ? "text" : "password";
    button.firstElementChild.textContent = is_shown ? button.dataset.hide : button.dataset.show;
  };
  button.hidden = false;
  button.addEventListener("click", () => show(field.type === "password"));
  field.form.addEventListener("submit", () => show(false));
}
// A second click sends nothing a second time. A page that comes back from the browser's memory may be sent again.
for (const form of document.querySelectorAll("form[data-once]")) {
  const button = form.querySelector("button:not([type])");
  form.addEventListener("submit", (event) => {
    if (button.getAttribute("aria-disabled")) event.preventDefault();
    button.setAttribute("aria-disabled", "true");
  });
  addEventListener("pageshow", () => button.removeAttribute("aria-disabled"));
}
