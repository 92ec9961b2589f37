// Fetches the page from the server again and replaces its middle. This script draws nothing itself.
"use strict";

const PAUSE = 2000;
const main = document.querySelector("main");
const stale = document.getElementById("stale");

async function refresh() {
  try {
    // The page is hidden, or the user has selected text.
    if (!document.hidden && getSelection().isCollapsed) {
      const answer = await fetch("/", { cache: "no-store" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      main.replaceChildren(...page.querySelector("main").childNodes);
      stale.hidden = true;
      document.documentElement.dataset.refreshed = Number(document.documentElement.dataset.refreshed ?? 0) + 1;
    }
  } catch {
    stale.hidden = false;
  }
  setTimeout(refresh, PAUSE);
}

setTimeout(refresh, PAUSE);
