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

  function offered(key) {
    const main = document.getElementById("main");
    // With alerts chosen, a key means all of them
    const together = document.querySelector(".pick:checked") && main.querySelector(`[data-key="together-${key}"]`);
    const here = (place >= 0 ? rows()[place] : main).querySelector(`[data-key="${key}"]`);
    return together || here || (key === "undo" ? main.querySelector('[data-key="undo"]') : null);
  }

  function use(key) {
    const found = offered(key);
    if (!found && place >= 0 && key !== "undo") { location.assign(`${rows()[place].querySelector("a.problem-link").href}#do-${key}`); return; }
    if (!found) { status("This is not offered here."); return; }
    if (found.tagName === "INPUT") { found.click(); return; }
    if (found.tagName === "SUMMARY") {
      found.parentElement.open = true;
      const field = found.parentElement.querySelector("select, textarea");
      if (field) field.focus();
    } else { found.form.requestSubmit(found); }
  }

  const actions = { a: "acknowledge", c: "claim", r: "resolve", o: "override", d: "data-problem", s: "snooze", m: "comment", t: "assign", x: "select", u: "undo" };
  const places = { w: "/work", r: "/rules", b: "/batch", q: "/queue" };
  function go(key) {
    if (places[key]) { location.assign(places[key]); return; }
    const patient = (place >= 0 ? rows()[place] : document).querySelector(".c-patient a, .banner-id a");
    if (key === "p" && patient) patient.click();
  }
  function onKey(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || target.isContentEditable) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && target.type !== "checkbox") return;
    const help = document.getElementById("keys");
    if (help && help.open) return;
    if (event.key === "?") { event.preventDefault(); if (help) help.showModal(); return; }
    if (mine.get()) return;
    if (waitingForGo) { waitingForGo = false; go(event.key); return; }
    // A jump to #a7 takes the focus away from the row; its mark stays, and so does what Enter means
    if (event.key === "Enter" && place >= 0 && target === document.body) { rows()[place].querySelector("a.problem-link").click(); return; }
    if (event.key === "g") { waitingForGo = true; return; }
    if (event.key === "j" || event.key === "k") { event.preventDefault(); moveTo(place + (event.key === "j" ? 1 : -1)); return; }
    if (event.key === "/") { const field = document.getElementById("rule"); if (field) { event.preventDefault(); field.focus(); } return; }
    if (actions[event.key]) { event.preventDefault(); use(actions[event.key]); }
  }

  // What htmx put in place of the content: the row that was worked on is the place again, and what was done is said
  function settle() {
    const said = document.querySelector(".did [role=status]");
    if (said) status(said.textContent);
    const worked = new URLSearchParams(location.search).get("alert");
    const row = worked && /^[0-9]+$/.test(worked) ? document.getElementById(`a${worked}`) : null;
    if (row) { moveTo(rows().indexOf(row)); return; }
    if (place >= rows().length) place = rows().length - 1;
    if (document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
  }

  function prepare() {
    const focused = location.hash.startsWith("#a") ? document.getElementById(location.hash.slice(1)) : null;
    if (focused) moveTo(rows().indexOf(focused));
    if (location.hash.startsWith("#do-") && /^[a-z-]+$/.test(location.hash.slice(4))) {
      const wanted = location.hash.slice(4);
      history.replaceState(null, "", location.pathname);
      const found = document.querySelector(`#main summary[data-key="${wanted}"]`);
      if (found) use(wanted);
    }
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
    document.addEventListener("htmx:after:swap", (event) => { if (event.detail.ctx && event.detail.ctx.select === "#main") settle(); });
    // A stream that is refused means that the session is over: nothing of the page stays on the screen
    document.addEventListener("htmx:sse:error", (event) => { if (event.detail.status === 401) location.assign("/login"); });
    // Pages without a stream ask by themselves
    if (document.querySelector('form[action="/logout"]')) {
      setInterval(() => {
        fetch("/awake", { redirect: "manual", cache: "no-store" })
          .then((answer) => { if (answer.type === "opaqueredirect" || answer.status === 401) location.assign("/login"); })
          .catch(() => { /* no connection: nobody knows, and nothing is taken away */ });
      }, 30_000);
    }
  }
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", prepare); else prepare();
})();
