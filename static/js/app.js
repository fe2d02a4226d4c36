/* What makes the owner's pages swift. Every page works without it. */
"use strict";
{
  const flash = () => document.getElementById("flash");

  /* --- Telling -------------------------------------------------------------------------------------------------- */

  const tell = (sentence) => {
    const toast = document.getElementById("toast").content.cloneNode(true);
    toast.querySelector("[data-words]").textContent = sentence;
    flash().replaceChildren(toast); // the same problem ten times is one problem
  };

  document.addEventListener("click", (event) => {
    event.target.closest("[data-dismiss]")?.closest(".notice").remove();
  });

  /* --- A form that was refused: straight to what is wrong, wherever on the page it is -------------------------------- */

  const wrong = document.querySelector("[aria-invalid=true]");
  if (wrong) {
    for (let fold = wrong.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    wrong.focus({ preventScroll: true });
    wrong.scrollIntoView({ block: "center" });
  }

  /* --- Dialogs: the link leads to a page that asks; here the page is already at hand ------------------------------ */

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    document.getElementById(opener.dataset.dialog).showModal();
  });

  /* --- Menus: one open at a time, closed by Escape and by a click elsewhere ---------------------------------------- */

  const closeMenus = (except) => {
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(except)) menu.open = false;
    }
  };

  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("focusin", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = event.target.closest("details[data-menu][open]");
    closeMenus(null);
    menu?.querySelector("summary").focus();
  });

  /* --- The reply box: Ctrl or Cmd with Enter sends ------------------------------------------------------------------ */

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("[data-send]")) {
      event.target.form.requestSubmit();
    }
  });

  /* --- Waiting clocks: Django's `timesince`, kept running. After a day the hour no longer matters. ------------------ */

  const words = (minutes) => {
    const say = (number, unit) => `${number}\u00a0${unit}${number === 1 ? "" : "s"}`;
    const hours = Math.floor(minutes / 60);
    if (hours === 0) return say(minutes, "minute");
    return minutes % 60 ? `${say(hours, "hour")}, ${say(minutes % 60, "minute")}` : say(hours, "hour");
  };

  const tick = () => {
    for (const clock of document.querySelectorAll("[data-clock]")) {
      const minutes = Math.max(0, Math.floor((Date.now() / 1000 - Number(clock.dataset.clock)) / 60));
      if (minutes < 24 * 60 && clock.textContent !== words(minutes)) clock.textContent = words(minutes);
    }
  };

  setInterval(tick, 10_000);

  /* --- A thread opens at its end, and stays there when something new arrives ---------------------------------------- */

  const thread = () => document.querySelector("[data-open-at-end]");

  // How far down one has to scroll to see the newest message just above the reply box, which sticks to the bottom.
  const endOfThread = () => {
    const foot = document.querySelector(".thread-foot");
    const covered = foot ? foot.offsetHeight + parseFloat(getComputedStyle(foot).bottom) : 0;
    return thread().getBoundingClientRect().bottom + scrollY + covered - innerHeight;
  };
  const toEnd = () => scrollTo(0, endOfThread());
  let followThread = false;

  if (thread() && !location.hash) toEnd();

  /* --- htmx ----------------------------------------------------------------------------------------------------------- */

  let focused = null;

  document.addEventListener("htmx:configRequest", (event) => {
    // Addresses one can read: no ?q=&status=
    if (event.detail.verb !== "get") return;
    for (const [name, value] of [...event.detail.formData]) {
      if (value === "") event.detail.formData.delete(name);
    }
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    // A page nobody looks at does not ask; it asks again when it is looked at.
    const asksByItself = event.detail.elt.getAttribute("hx-trigger")?.includes("every ");
    if (document.hidden && asksByItself) event.preventDefault();
  });

  document.addEventListener("htmx:beforeSwap", () => {
    focused = document.activeElement;
    followThread = thread() !== null && scrollY > endOfThread() - 200;
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    tick();
    if (followThread && thread()) toEnd();
    // htmx keeps the focus on an element that comes back with its id; when it is gone, stay where it was.
    if (focused && !focused.isConnected && document.activeElement === document.body) {
      const place = event.detail.target.isConnected ? event.detail.target : document.getElementById("main");
      if (!place.hasAttribute("tabindex")) place.tabIndex = -1;
      place.focus({ preventScroll: true });
    }
  });

  // Tabs that do not fit scroll in their own strip: begin where one stands.
  for (const tab of document.querySelectorAll(".tabs [aria-current]")) {
    const strip = tab.parentElement;
    strip.scrollLeft = tab.offsetLeft - strip.offsetLeft - (strip.clientWidth - tab.offsetWidth) / 2;
  }

  const reasons = {
    401: "You have been signed out. Reload the page to sign in again.",
    403: "That is not yours to change, or your sign-in has run out. Reload the page and try again.",
    404: "That is no longer here. Reload the page to see what is.",
    429: "That was too many in a short time. Wait a minute and try again.",
  };

  document.addEventListener("htmx:responseError", (event) => {
    tell(reasons[event.detail.xhr.status] ?? "Something went wrong on our side. Reload the page to see what was saved.");
  });

  for (const problem of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(problem, (event) => {
      if (event.detail.elt.getAttribute("hx-trigger")?.includes("every ")) return; // it asks again by itself
      tell("We could not reach Frontdesk. Check the connection, then reload the page to see what was saved.");
    });
  }
}
