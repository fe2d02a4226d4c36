/* The theme the cookie remembers. The switch is a form that posts; with this script it also works at once. */
"use strict";
{
  const root = document.documentElement;
  const year = 60 * 60 * 24 * 365;

  const remembered = () => document.cookie.match(/(?:^|;\s*)theme=(light|dark)/)?.[1] ?? "auto";

  const wear = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    for (const choice of document.querySelectorAll(".theme-switch [name=theme]")) {
      choice.setAttribute("aria-pressed", String(choice.value === theme));
    }
  };

  wear(remembered());
  // A page that comes back from the browser's cache may be older than the choice.
  addEventListener("pageshow", () => wear(remembered()));

  document.addEventListener("submit", (event) => {
    if (!event.target.matches(".theme-switch")) return;
    event.preventDefault();
    const theme = event.submitter.value;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `theme=${theme}; path=/; max-age=${year}; samesite=lax${secure}`;
    wear(theme);
  });
}
