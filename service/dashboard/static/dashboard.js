// Conveniences only: without this file every page reads and every form works.
"use strict";
(() => {
  const KEYS_OFF = "dekacard-keys-off";
  const rows = () => [...document.querySelectorAll("tr[data-alert]")];
  const status = (words) => { document.getElementById("status").textContent = words; };
  const mine = { get: () => { try { return localStorage.getItem(KEYS_OFF) === "1"; } catch { return false; } },
    set: (off) => { try { localStorage.setItem(KEYS_OFF, off ? "1" : "0"); } catch { /* private window */ } } };
  let place = -1;
  let waitingForGo = false;

  function moveTo(next) {
    const all = rows();
    if (!all.length) return;
    place = Math.max(0, Math.min(next, all.length - 1));
    all.forEach((row, number) => row.classList.toggle("current", number === place));
    all[place].querySelector("a.problem-link").focus({ preventScroll: true });
    all[place].scrollIntoView({ block: "nearest" });
  }

  function use(key) {
    const scope = place >= 0 ? rows()[place] : document.getElementById("main");
    const found = scope && scope.querySelector(`[data-key="${key}"]`);
    if (!found) { status("This is not offered here."); return; }
    if (found.tagName === "SUMMARY") {
      found.parentElement.open = true;
      const field = found.parentElement.querySelector("select, textarea");
      if (field) field.focus();
    } else { found.form.requestSubmit(found); }
  }

  const actions = { a: "acknowledge", c: "claim", r: "resolve", o: "override", d: "data-problem", s: "snooze", m: "comment" };
  function onKey(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || target.isContentEditable) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return;
    const help = document.getElementById("keys");
    if (help && help.open) return;
    if (event.key === "?") { event.preventDefault(); if (help) help.showModal(); return; }
    if (mine.get()) return;
    if (waitingForGo) { waitingForGo = false; if (event.key === "w") location.assign("/work"); return; }
    // A jump to #a7 takes the focus away from the row; its mark stays, and so does what Enter means
    if (event.key === "Enter" && place >= 0 && target === document.body) { rows()[place].querySelector("a.problem-link").click(); return; }
    if (event.key === "g") { waitingForGo = true; return; }
    if (event.key === "j" || event.key === "k") { event.preventDefault(); moveTo(place + (event.key === "j" ? 1 : -1)); return; }
    if (event.key === "/") { const field = document.getElementById("rule"); if (field) { event.preventDefault(); field.focus(); } return; }
    if (actions[event.key]) { event.preventDefault(); use(actions[event.key]); }
  }

  function listen() {
    const bar = document.getElementById("fresh");
    if (!bar || typeof EventSource === "undefined") return;
    const source = new EventSource(`/live?since=${bar.dataset.since}`);
    source.addEventListener("fresh", (event) => {
      const count = Number(event.data);
      if (!Number.isInteger(count) || count < 1) return;
      const words = count === 1 ? "1 new alert, show" : `${count} new alerts, show`;
      bar.querySelector("a").textContent = words;
      bar.hidden = false;
      status(words);
    });
    addEventListener("pagehide", () => source.close());
  }

  function prepare() {
    const focused = location.hash.startsWith("#a") ? document.getElementById(location.hash.slice(1)) : null;
    if (focused) moveTo(rows().indexOf(focused));
    const help = document.getElementById("keys");
    const off = document.getElementById("keys-off");
    if (help && off) {
      off.checked = mine.get();
      off.addEventListener("change", () => mine.set(off.checked));
      const opener = document.getElementById("keys-open");
      opener.hidden = false;
      opener.addEventListener("click", () => help.showModal());
    }
    document.addEventListener("keydown", onKey);
    listen();
  }
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", prepare); else prepare();
})();
