// Keeps the page as the farm is: asks for it again, and changes what has changed, in place, so that
// neither focus nor what is selected or scrolled to is lost. Without it the page reloads by itself.
"use strict";
(() => {
  const body = document.body;
  const live = document.getElementById("live");
  const MOST_SECONDS = 30;
  let seconds = Number(body.dataset.poll);
  let tag = body.dataset.tag;
  let failures = 0;
  let timer = 0;
  let busy = false;

  function say(text) {
    if (live && live.textContent !== text) live.textContent = text;
  }

  function key(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id : "";
  }

  function alike(old, now) {
    return old.nodeType === now.nodeType && old.nodeName === now.nodeName && key(old) === key(now);
  }

  function patch(old, now) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!now.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of now.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    patchChildren(old, now);
  }

  // What stays is not moved if that can be helped: it would lose focus and where it is scrolled to.
  function patchChildren(old, now) {
    const kept = new Set([...now.children].map(key));
    for (const node of [...old.children]) if (key(node) && !kept.has(key(node))) node.remove();
    const named = new Map([...old.children].filter(key).map((node) => [key(node), node]));
    let place = old.firstChild;
    for (const wanted of now.childNodes) {
      let found = key(wanted) ? named.get(key(wanted)) : place;
      if (!found || !alike(found, wanted)) found = null;
      if (!found) {
        old.insertBefore(document.importNode(wanted, true), place);
        continue;
      }
      while (place && place !== found && !key(place)) place = dropped(place);
      if (found === place) place = place.nextSibling;
      else old.insertBefore(found, place);
      patch(found, wanted);
    }
    while (place) place = dropped(place);
  }

  function dropped(node) {
    const next = node.nextSibling;
    node.remove();
    return next;
  }

  function patchMain(now) {
    const focused = document.activeElement;
    patch(document.querySelector("main"), now);
    if (focused !== document.activeElement && focused.isConnected) {
      focused.focus({ preventScroll: true }); // it had to be moved
    }
  }

  function seen(answer) {
    const time = document.getElementById("seen");
    const at = answer.headers.get("X-Seen");
    if (!time || !at) return;
    time.dateTime = at;
    time.textContent = at.slice(11, 19) + " UTC";
  }

  async function look() {
    const headers = tag ? { "If-None-Match": tag } : {};
    const signal = AbortSignal.timeout(1000 * MOST_SECONDS); // a line that is gone says nothing
    const how = { headers, signal, cache: "no-store", redirect: "manual" };
    const answer = await fetch(location.href, how);
    const out = answer.type === "opaqueredirect" || [401, 403].includes(answer.status);
    if (out) return location.reload(); // signed out meanwhile: to where one signs in
    if (answer.status !== 200 && answer.status !== 304) throw new Error(String(answer.status));
    seconds = Number(answer.headers.get("X-Poll")) || 0;
    seen(answer);
    if (answer.status === 304) return;
    tag = answer.headers.get("ETag");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const says = page.getElementById("who-says");
    const said = document.getElementById("who-says");
    if (says && !said) return location.reload(); // nobody had answered before: it has no footer
    document.title = page.title;
    patchMain(page.querySelector("main"));
    if (says) patch(said, says);
  }

  async function again() {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    try {
      if (!document.hidden) await look();
      failures = 0;
      say(seconds ? "Kept up to date." : "This will not change any more.");
    } catch {
      failures += 1;
      say("Not up to date: the farm does not answer.");
    }
    busy = false;
    if (seconds) {
      timer = setTimeout(again, 1000 * Math.min(seconds * 2 ** failures, MOST_SECONDS));
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && seconds) again();
  });
  say("Kept up to date.");
  timer = setTimeout(again, 1000 * seconds);
})();
