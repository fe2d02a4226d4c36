/* How long a deal is still held out, running. The server says how long is left; this browser's own clock is only used to
   count on. Without a script the time of day stands beside it. */
"use strict";
{
  const minute = 60;
  const say = (seconds) => {
    if (seconds <= 0) return "no time";
    const [count, unit] = seconds < minute ? [seconds, "second"] : [Math.floor(seconds / minute), "minute"];
    return `${count}\u00a0${unit}${count === 1 ? "" : "s"}`;
  };

  const clocks = [...document.querySelectorAll("[data-seconds-left]")].map((words) => ({
    words,
    end: Date.now() + Number(words.dataset.secondsLeft) * 1000,
  }));

  const tick = () => {
    for (const { words, end } of clocks) {
      const left = say(Math.ceil((end - Date.now()) / 1000));
      if (words.textContent !== left) words.textContent = left;
    }
  };

  if (clocks.length) setInterval(tick, 1000);
}
