// The duty desk follows what happens: a stream says that something changed, the page fetches what. Without the
// stream it asks every ten seconds; without this file there is the link 刷新.
(function () {
  "use strict";
  var live = document.getElementById("live");
  var tools = document.getElementById("tools");
  if (!live || !window.htmx || !window.quansheng) return;
  var q = window.quansheng;
  var acted = performance.now();
  ["pointerdown", "pointermove", "keydown", "scroll"].forEach(function (name) {
    window.addEventListener(name, function () { acted = performance.now(); }, { passive: true });
  });
  tools.classList.remove("hidden");

  // --- what is shown, and whether somebody is in the middle of a form
  function busy() {
    if (live.querySelector("details[open]")) return true;
    var at = document.activeElement;
    return !!at && live.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
  }
  function ids() {
    var found = {};
    live.querySelectorAll(".row[id]").forEach(function (row) { found[row.id] = true; });
    return found;
  }
  function pages(root) {
    return Array.prototype.map.call(root.querySelectorAll("[data-page]"), function (row) { return row.dataset.page; });
  }
  function show(id, yes) {
    document.getElementById(id).classList.toggle("hidden", !yes);
  }
  var state = document.getElementById("live-state");
  function say(how) {
    if (state.dataset.how === how) return;
    state.dataset.how = how;
    state.textContent = state.dataset[how];
  }
  function badge(count) {
    var plain = document.title.replace(/^\(\d+\) /, "");
    var title = (count ? "(" + count + ") " : "") + plain;
    if (document.title !== title) document.title = title;
  }

  // --- sound: silent until somebody switches it on
  var button = document.getElementById("sound");
  var sound = null, on = q.stored("sound") === "on", owed = false, again = 0;
  function label(blocked) {
    button.setAttribute("aria-pressed", on ? "true" : "false");
    button.textContent = button.dataset[blocked ? "blocked" : on ? "on" : "off"];
  }
  function ring() {
    if (!on) return;
    sound = sound || new Audio(button.dataset.src);
    sound.currentTime = 0;
    var played = sound.play();
    if (played) played.then(function () { owed = false; label(false); }, function () { owed = true; label(true); });
  }
  button.addEventListener("click", function () {
    if (owed) { ring(); return; }
    on = !on;
    q.stored("sound", on ? "on" : "off");
    label(false);
    again = 0;
    ring();
  });
  // a browser plays nothing before the first touch of a page: what was owed sounds then
  ["pointerdown", "keydown"].forEach(function (name) {
    window.addEventListener(name, function (event) { if (owed && event.target !== button) ring(); });
  });
  label(false);
  var known = pages(live);
  function noticed(now) {
    badge(now.length);
    if (now.some(function (page) { return known.indexOf(page) < 0; })) { again = 10; ring(); }
    if (!now.length) again = 0;
    known = now;
  }
  // whoever fell asleep hears it once a minute, ten times at most
  setInterval(function () { if (again > 0) { again -= 1; ring(); } }, 60000);
  badge(known.length);

  // --- fetch the changing part
  var seen = ids(), focused = "", picked = "";
  function refresh() {
    window.htmx.trigger(live, "refresh");
  }
  document.body.addEventListener("htmx:configRequest", function (event) {
    // a refresh counts as presence only when somebody moved or typed lately: an empty chair is logged out
    event.detail.headers["X-Quansheng-Poll"] = performance.now() - acted < 120000 ? "present" : "1";
    event.detail.headers["X-Quansheng-Seen"] = live.dataset.mark;
  });
  document.body.addEventListener("htmx:afterRequest", function (event) {
    var xhr = event.detail.xhr;
    var at = xhr && xhr.status === 204 && xhr.getResponseHeader("X-Quansheng-Now");
    if (at) { q.sync(at); show("offline", false); q.tick(); }
  });
  document.body.addEventListener("htmx:beforeSwap", function (event) {
    if (event.detail.xhr.status !== 200) return;
    // the sound does not wait until a form is finished
    noticed(pages(new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html")));
    if (busy()) { event.detail.shouldSwap = false; say("wait"); return; }
    var at = document.activeElement;
    focused = at && live.contains(at) ? at.id : "";
    var row = live.querySelector(".chosen[id]");
    picked = row ? row.id : "";
  });
  document.body.addEventListener("htmx:afterSwap", function () {
    live = document.getElementById("live");
    q.sync(live.dataset.now);
    show("offline", false);
    q.tick();
    how();
    var present = ids();
    Object.keys(present).forEach(function (id) {
      if (!seen[id]) document.getElementById(id).classList.add("fresh");
    });
    seen = present;
    if (picked && document.getElementById(picked)) document.getElementById(picked).classList.add("chosen");
    var back = focused && document.getElementById(focused);
    if (back) back.focus({ preventScroll: true });
  });
  ["htmx:sendError", "htmx:responseError", "htmx:timeout"].forEach(function (name) {
    document.body.addEventListener(name, function () { show("offline", true); });
  });

  // --- the stream
  var source = null, heard = 0, mine = String(Math.random()), ended = false, given = false;
  function streaming() {
    return !!source && source.readyState === 1 && performance.now() - heard < 45000;
  }
  function how() {
    say(streaming() ? "live" : "poll");
  }
  function drop() {
    if (source) source.close();
    source = null;
    how();
  }
  function listen() {
    if (!window.EventSource || source || ended) return;
    source = new EventSource("/desk/events?after=" + encodeURIComponent(live.dataset.mark.split(".")[0]));
    source.addEventListener("open", function () { heard = performance.now(); how(); });
    source.addEventListener("beat", function (event) { heard = performance.now(); q.sync(event.data); how(); });
    source.addEventListener("change", function (event) {
      heard = performance.now();
      q.sync(event.data);
      // not all desks of the house in the same instant
      setTimeout(refresh, Math.random() * 400);
    });
    source.addEventListener("end", function () {
      ended = true;
      drop();
      show("ended", true);
      tools.classList.add("hidden");
      // a press now would only lead to the login form: the note with its link stands where the eye is
      live.querySelectorAll(".thumb").forEach(function (node) { node.classList.add("hidden"); });
    });
    source.addEventListener("error", function () { if (source && source.readyState === 2) drop(); else how(); });
    if (others) others.postMessage(mine);
  }
  // browsers allow six connections to one server: of several desks in one browser the last one opened or looked at
  // has the stream, the others ask every ten seconds
  var others = window.BroadcastChannel ? new BroadcastChannel("quansheng-desk") : null;
  if (others) others.onmessage = function (event) { if (event.data !== mine) { given = true; drop(); } };
  var rounds = 0;
  setInterval(function () {
    rounds += 1;
    if (ended) return;
    if (source && performance.now() - heard > 45000) drop();
    how();
    // with the stream once a minute, for what only grows or expires
    if (!streaming() || rounds % 6 === 0) refresh();
    if (!source && !given && rounds % 3 === 0) listen();
  }, 10000);
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) { given = false; refresh(); listen(); }
  });
  window.addEventListener("pageshow", function (event) { if (event.persisted) { heard = performance.now(); drop(); listen(); refresh(); } });
  window.addEventListener("pagehide", drop);
  heard = performance.now();
  how();
  listen();
})();
