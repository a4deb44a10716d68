// Asks for the page's inside once a second and changes what differs; sends what a button asks for.
"use strict";

const live = document.getElementById("live");
const token = takeToken();
let chosen = "";

// The token comes in the printed address, behind the #: it never reaches a server or a log.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("emu-token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("emu-token") || "";
}

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/live", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = document.createElement("div");
    fresh.innerHTML = await answer.text();
    morph(live, fresh);
    choose();
    document.title = live.querySelector("[data-title]").dataset.title;
    document.body.classList.remove("gone");
  } catch (error) {
    document.body.classList.add("gone");
  }
}

// Make `old` equal to `fresh`, touching only what differs: no flicker, no lost scroll or focus.
function morph(old, fresh) {
  const wanted = [...fresh.childNodes];
  wanted.forEach((there, place) => {
    const here = old.childNodes[place];
    if (!here) {
      old.append(there);
    } else if (here.nodeName !== there.nodeName) {
      here.replaceWith(there);
    } else if (here.nodeType === Node.TEXT_NODE) {
      if (here.data !== there.data) here.data = there.data;
    } else {
      copyAttributes(here, there);
      morph(here, there);
    }
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

function copyAttributes(here, there) {
  for (const { name } of [...here.attributes]) {
    if (!there.hasAttribute(name)) here.removeAttribute(name);
  }
  for (const { name, value } of there.attributes) {
    if (here.getAttribute(name) !== value) here.setAttribute(name, value);
  }
}

// A chosen tier: only its nodes are listed.
function choose() {
  for (const tier of live.querySelectorAll(".tier")) {
    tier.classList.toggle("chosen", tier.dataset.tier === chosen);
  }
  for (const row of live.querySelectorAll("tr[data-tier]")) {
    row.hidden = chosen !== "" && !chosen.split(" ").includes(row.dataset.tier);
  }
}

async function act(order, once) {
  const lasts = document.getElementById("lasts").value;
  if (lasts && !once && order.verb && order.verb !== "heal" && order.verb !== "start") {
    order.for_s = Number(lasts);
  }
  const answer = await fetch("/do", {
    method: "POST",
    headers: { "content-type": "application/json", "x-emu-token": token },
    body: JSON.stringify(order),
  });
  const told = document.getElementById("told");
  told.textContent = answer.ok ? "" : (await answer.json()).error.message;
  refresh();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  const tier = event.target.closest(".tier");
  if (button) {
    act(JSON.parse(button.dataset.do), "once" in button.dataset);
  } else if (tier) {
    chosen = chosen === tier.dataset.tier ? "" : tier.dataset.tier;
    choose();
  }
});
document.addEventListener("visibilitychange", refresh);
document.body.classList.toggle("may-act", token !== "");
setInterval(refresh, 1000);
refresh();
