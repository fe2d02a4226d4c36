/* The shop's pages: a tap on a number ticks its class and age, and the clock of the cart runs. They work without it. */
"use strict";
{
  /* --- The table of classes and ages: a tap picks one kind, a second tap lets go ------------------------------------ */

  document.addEventListener("click", (event) => {
    const kind = event.target.closest("[data-pick]");
    if (!kind || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const wanted = kind.ariaCurrent === "true" ? [] : kind.dataset.pick.split(" ");
    const filters = document.getElementById("filters");
    for (const box of filters.querySelectorAll("[name=class], [name=age]")) box.checked = wanted.includes(box.value);
    filters.dispatchEvent(new Event("change", { bubbles: true }));
  });

  /* --- The cart's clock. The server says how long is left; this browser's own clock is only used to count on. --------- */

  const left = document.querySelector("[data-seconds-left]");

  const run = () => {
    const end = Date.now() + Number(left.dataset.secondsLeft) * 1000;
    const said = document.querySelector("[data-clock-said]");
    const warnings = [
      [60, "One minute left at these prices."],
      [300, "Five minutes left at these prices."],
    ].filter(([seconds]) => seconds < Number(left.dataset.secondsLeft));

    const tick = () => {
      const seconds = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      left.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
      while (warnings.length && seconds <= warnings.at(-1)[0]) said.textContent = warnings.pop()[1];
      if (seconds > 0) return;
      clearInterval(running);
      for (const part of document.querySelectorAll("[data-while-it-holds]")) part.hidden = true;
      for (const part of document.querySelectorAll("[data-when-over]")) part.hidden = false;
      said.textContent = "Prices may have changed. Get new prices before you buy.";
    };

    const running = setInterval(tick, 1000);
    tick();
  };

  if (left && !left.closest("[hidden]")) run();
}
