/* Opening an account: which rules the password keeps already, and a guess at the time zone. The server has the last word. */
"use strict";
{
  const form = document.querySelector("[data-sign-up]");
  const password = form.elements.password;

  form.querySelector("[data-show-password]").addEventListener("change", (event) => {
    password.type = event.target.checked ? "text" : "password";
  });

  // About what the server's own comparison finds: a word of theirs that makes up most of the password.
  const isAlike = (secret) => {
    const words = ["company", "contact_name", "email"].flatMap((name) => form.elements[name].value.toLowerCase().split(/\W+/));
    return words.some((word) => word.length > 2 && secret.includes(word) && word.length > secret.length / 2);
  };

  const rules = {
    length: (secret) => secret.length >= 10,
    alike: (secret) => secret !== "" && !isAlike(secret),
  };

  form.addEventListener("input", () => {
    for (const item of form.querySelectorAll("[data-rule]")) {
      item.toggleAttribute("data-met", rules[item.dataset.rule](password.value.toLowerCase()));
    }
  });

  // What somebody has chosen stays.
  const zone = form.elements.time_zone;
  const theirs = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if ("fresh" in form.dataset && zone.querySelector(`option[value="${CSS.escape(theirs)}"]`)) zone.value = theirs;
}
