/* What makes the two phones feel like phones. The page works without it. */
"use strict";
{
  // A text that was sent leaves the field empty and ready for the next.
  document.addEventListener("htmx:afterRequest", (event) => {
    const form = event.detail.elt.closest?.("[data-phone]");
    if (!form || !event.detail.successful) return;
    const words = form.elements.body;
    const byChip = event.detail.requestConfig?.triggeringEvent?.submitter?.name === "chip";
    if (!byChip) words.value = "";
    if (!matchMedia("(pointer: coarse)").matches) words.focus(); // on a phone the keyboard would hide the answer
  });

  // “Fine weather” puts the switches back too; the answer replaces the screens only.
  document.addEventListener("htmx:afterRequest", (event) => {
    const submitter = event.detail.requestConfig?.triggeringEvent?.submitter;
    if (!event.detail.successful || !submitter?.matches("[data-reset]")) return;
    for (const field of submitter.form.elements) {
      if (field.type === "checkbox") field.checked = false;
      if (field.tagName === "SELECT") field.selectedIndex = 0;
    }
  });

  // Another business or phone is another page; no need to press the button for the first.
  document.getElementById("business")?.addEventListener("change", (event) => event.target.form.requestSubmit());
}
