/* The board: cards move by mouse and by their menu, without the page being loaded anew. And the ticks of the list. */
"use strict";
{
  const board = document.getElementById("board");

  /* --- Telling: #flash is read aloud ------------------------------------------------------------------------------ */

  const tell = (sentence, kind) => {
    const words = document.getElementById(kind).content.cloneNode(true);
    words.querySelector("[data-words]").textContent = sentence;
    document.getElementById("flash").replaceChildren(words);
  };

  /* --- Asking first: resolves to the form's data, or to null when it was left ---------------------------------------- */

  const ask = (to, who) =>
    new Promise((resolve) => {
      const dialog = document.getElementById(`ask-${to}`);
      const form = dialog.querySelector("form");
      form.reset();
      dialog.returnValue = "";
      dialog.querySelector("[data-who]").textContent = who;
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? new FormData(form) : null), {
        once: true,
      });
      dialog.showModal();
    });

  document.addEventListener("click", (event) => event.target.closest("[data-leave]")?.closest("dialog").close());

  /* --- Moving --------------------------------------------------------------------------------------------------------- */

  const columnOf = (stage) => board.querySelector(`[data-column="${stage}"]`);
  const listOf = (stage) => columnOf(stage).querySelector(".board__cards");

  const post = (url, values) => {
    const { "X-CSRFToken": token } = JSON.parse(document.body.getAttribute("hx-headers"));
    const headers = { "X-CSRFToken": token, Accept: "application/json" };
    return fetch(url, { method: "POST", headers, body: values, redirect: "manual" });
  };

  // The card as the server has it now, where the server has it now.
  const settle = (card, answer, { focus }) => {
    const made = document.createElement("template");
    made.innerHTML = answer.card;
    const fresh = made.content.querySelector(".lead");
    const stays = card.dataset.stage === answer.stage && card.parentElement === listOf(answer.stage);
    if (stays) {
      card.replaceWith(fresh);
    } else {
      card.remove();
      listOf(answer.stage).prepend(fresh);
    }
    for (const [stage, count] of Object.entries(answer.counts)) {
      columnOf(stage).querySelector("[data-count]").textContent = count;
    }
    fresh.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (focus) fresh.querySelector(".lead__who").focus({ preventScroll: true });
  };

  const move = async (card, to, { focus = false } = {}) => {
    const asks = document.getElementById(`ask-${to}`);
    const values = asks ? await ask(to, card.dataset.who) : new FormData();
    if (values === null) return;
    values.set("to", to);
    values.set("seen", card.dataset.stage);
    values.set("filters", location.search.slice(1));
    const home = { list: card.parentElement, next: card.nextElementSibling };
    if (card.dataset.stage !== to) listOf(to).prepend(card); // at once; it comes back when it was refused
    card.ariaBusy = "true";
    const goHome = () => {
      card.ariaBusy = null;
      home.list.insertBefore(card, home.next);
    };
    try {
      const answer = await post(to === "transferred" ? card.dataset.transfer : card.dataset.move, values);
      if (answer.status !== 200 && answer.status !== 409) {
        goHome();
        tell(
          answer.status === 404
            ? "This lead is no longer here. Reload the page to see what is."
            : "That did not work. Reload the page to see how it stands, and try again.",
          "toast",
        );
        return;
      }
      const told = await answer.json();
      if (answer.status === 409 && told.stage === card.dataset.stage) goHome();
      settle(card, told, { focus });
      tell(told.sentence, answer.status === 200 ? "moved" : "toast");
    } catch {
      goHome();
      tell("We could not reach Frontdesk. Check the connection, then reload the page to see what was saved.", "toast");
    }
  };

  if (board) {
    let dragged = null;

    const unmark = () => {
      for (const column of board.querySelectorAll(".is-target")) column.classList.remove("is-target");
    };

    board.addEventListener("dragstart", (event) => {
      dragged = event.target.closest(".lead[draggable]");
      if (!dragged) return;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", dragged.dataset.who);
      dragged.classList.add("is-dragged");
    });

    board.addEventListener("dragover", (event) => {
      const column = event.target.closest("[data-column]");
      if (!dragged || !column) return;
      event.preventDefault();
      if (column.classList.contains("is-target")) return;
      unmark();
      column.classList.add("is-target");
    });

    board.addEventListener("drop", (event) => {
      const column = event.target.closest("[data-column]");
      if (!dragged || !column) return;
      event.preventDefault();
      if (column.dataset.column !== dragged.dataset.stage) move(dragged, column.dataset.column);
    });

    board.addEventListener("dragend", () => {
      dragged?.classList.remove("is-dragged");
      dragged = null;
      unmark();
    });

    board.addEventListener("click", (event) => {
      const way = event.target.closest("[data-to]");
      if (!way || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const menu = way.closest("details");
      menu.open = false;
      menu.querySelector("summary").focus(); // where a dialog gives the focus back
      move(way.closest(".lead"), way.dataset.to, { focus: true });
    });
  }

  /* --- Filters that act when they are chosen --------------------------------------------------------------------------- */

  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-at-once]");
    if (!form) return;
    const chosen = [...new FormData(form)].filter(([, value]) => value !== "");
    location.assign(`${location.pathname}${chosen.length ? `?${new URLSearchParams(chosen)}` : ""}`);
  });

  /* --- An address that ends in a part of a lead opens that part --------------------------------------------------------- */

  const part = document.getElementById(location.hash.slice(1));
  const folded = part?.matches("details") ? part : part?.querySelector("details[data-open-at]");
  if (folded) folded.open = true;

  /* --- Ticks: all that are shown, and how many --------------------------------------------------------------------------- */

  const ticks = () => [...document.querySelectorAll("[data-tick]")];

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-tick-all]")) for (const box of ticks()) box.checked = event.target.checked;
    if (!event.target.matches("[data-tick], [data-tick-all]")) return;
    const number = ticks().filter((box) => box.checked).length;
    document.querySelector("[data-ticked]").textContent = number === 0 ? "" : `${number} ticked`;
  });
}
