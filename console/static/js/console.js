// Countdowns, quiet refresh of the desk, charts. Every page works without this file.
(function () {
  "use strict";
  var root = document.documentElement;
  var words = JSON.parse(root.dataset.words || "{}");
  // rate: the demo's clock runs faster than the wall's; learnt from two answers of the server
  var base = { server: Date.parse(root.dataset.now), local: performance.now(), rate: 1 };
  var acted = performance.now();
  ["pointerdown", "pointermove", "keydown", "scroll"].forEach(function (name) {
    window.addEventListener(name, function () { acted = performance.now(); }, { passive: true });
  });

  function now() {
    return base.server + (performance.now() - base.local) * base.rate;
  }
  function sync(text) {
    var server = Date.parse(text), local = performance.now();
    var rate = (server - base.server) / Math.max(local - base.local, 1);
    base = { server: server, local: local, rate: rate > 2 ? rate : 1 };
  }
  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, function (_, key) { return values[key]; });
  }
  function span(ms) {
    var s = Math.floor(Math.abs(ms) / 1000);
    var d = Math.floor(s / 86400), h = Math.floor((s % 86400) / 3600), m = Math.floor((s % 3600) / 60);
    if (d) return fill(words.d, { n: d }) + (h ? " " + fill(words.h, { n: h }) : "");
    if (h) return fill(words.h, { n: h }) + (m ? " " + fill(words.m, { n: m }) : "");
    var sec = s % 60;
    return m + ":" + (sec < 10 ? "0" : "") + sec;
  }
  function tick() {
    var at = now();
    document.querySelectorAll("time.countdown[data-due]").forEach(function (node) {
      var rest = Date.parse(node.dataset.due) - at;
      var text = fill(rest >= 0 ? words.left : words.over, { span: span(rest) });
      if (node.textContent !== text) node.textContent = text;
      var cls = rest < 0 ? "over" : rest < 4 * 3600e3 ? "soon" : rest < 24 * 3600e3 ? "near" : "calm";
      if (!node.classList.contains(cls)) {
        node.classList.remove("over", "soon", "near", "calm");
        node.classList.add(cls);
      }
    });
  }
  setInterval(tick, 1000);
  tick();

  // --- duty desk: fetch the changing part, unless somebody is in the middle of a form
  var live = document.getElementById("live");
  function busy() {
    if (!live) return true;
    if (live.querySelector("details[open]")) return true;
    var at = document.activeElement;
    return !!at && live.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
  }
  function badge() {
    var n = live ? Number(live.dataset.waiting || 0) : 0;
    var plain = document.title.replace(/^\(\d+\) /, "");
    document.title = (n ? "(" + n + ") " : "") + plain;
  }
  if (live && window.htmx) {
    var focused = "";
    var seen = ids();
    badge();
    setInterval(function () {
      if (!busy() && !document.hidden) window.htmx.trigger(live, "refresh");
    }, 10000);
    document.addEventListener("visibilitychange", function () {
      if (!document.hidden && !busy()) window.htmx.trigger(live, "refresh");
    });
    document.body.addEventListener("htmx:configRequest", function (event) {
      // a refresh counts as presence only when somebody moved or typed lately: an empty chair is logged out
      event.detail.headers["X-Quansheng-Poll"] = performance.now() - acted < 120000 ? "present" : "1";
      event.detail.headers["X-Quansheng-Seen"] = live.dataset.mark;
    });
    document.body.addEventListener("htmx:afterRequest", function (event) {
      var at = event.detail.xhr && event.detail.xhr.status === 204 && event.detail.xhr.getResponseHeader("X-Quansheng-Now");
      if (at) { sync(at); offline(false); tick(); }
    });
    document.body.addEventListener("htmx:beforeSwap", function (event) {
      if (busy()) { event.detail.shouldSwap = false; return; }
      var at = document.activeElement;
      focused = at && live.contains(at) ? at.id : "";
    });
    document.body.addEventListener("htmx:afterSwap", function () {
      live = document.getElementById("live");
      sync(live.dataset.now);
      offline(false);
      tick();
      badge();
      var present = ids();
      Object.keys(present).forEach(function (id) {
        if (!seen[id]) document.getElementById(id).classList.add("fresh");
      });
      seen = present;
      if (focused) {
        var again = document.getElementById(focused);
        if (again) again.focus({ preventScroll: true });
      }
    });
    ["htmx:sendError", "htmx:responseError", "htmx:timeout"].forEach(function (name) {
      document.body.addEventListener(name, function () { offline(true); });
    });
  }
  function ids() {
    var found = {};
    if (live) live.querySelectorAll(".row[id]").forEach(function (row) { found[row.id] = true; });
    return found;
  }
  function offline(yes) {
    var bar = document.getElementById("offline");
    if (bar) bar.classList.toggle("hidden", !yes);
  }

  // --- a form is sent once, however often the button is pressed
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post") form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("form[data-sent]").forEach(function (form) { delete form.dataset.sent; });
  });

  // --- paper has nothing to click: everything folded is printed
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details.more:not([open])").forEach(function (node) { node.open = true; node.dataset.printed = "1"; });
  });
  window.addEventListener("afterprint", function () {
    document.querySelectorAll("details[data-printed]").forEach(function (node) { node.open = false; delete node.dataset.printed; });
  });

  // --- charts
  function css(name) {
    return getComputedStyle(root).getPropertyValue(name).trim();
  }
  function draw(node) {
    var model = JSON.parse(node.dataset.chart);
    var chart = window.echarts.getInstanceByDom(node) || window.echarts.init(node, null, { renderer: "canvas" });
    var colours = [css("--accent"), css("--red"), css("--orange")];
    chart.setOption({
      animation: false,
      aria: { enabled: false },
      textStyle: { fontFamily: css("--sans") },
      grid: { left: 8, right: 12, top: model.series.length > 1 ? 34 : 12, bottom: 4, containLabel: true },
      legend: { show: model.series.length > 1, top: 0, left: 0, itemWidth: 12, itemHeight: 12, textStyle: { color: css("--muted") }, selectedMode: false },
      // rich text tooltips are drawn on the canvas: HTML ones would need inline styles
      tooltip: { trigger: "axis", renderMode: "richText", confine: true, axisPointer: { type: "shadow" } },
      xAxis: { type: "category", data: model.labels, axisLabel: { color: css("--muted"), hideOverlap: true }, axisTick: { show: false }, axisLine: { lineStyle: { color: css("--line-strong") } } },
      yAxis: { type: "value", minInterval: 1, axisLabel: { color: css("--muted") }, splitLine: { lineStyle: { color: css("--line") } } },
      series: model.series.map(function (series, i) {
        return { name: series.name, type: "bar", data: series.values, barMaxWidth: 26, barGap: "-100%", z: i + 2, itemStyle: { color: colours[i], decal: i ? { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 3], rotation: 0.78, color: "rgba(255,255,255,.55)" } : undefined } };
      })
    }, true);
  }
  function drawAll() {
    if (window.echarts) document.querySelectorAll("[data-chart]").forEach(draw);
  }
  drawAll();
  window.addEventListener("resize", function () {
    if (window.echarts) document.querySelectorAll("[data-chart]").forEach(function (node) { window.echarts.getInstanceByDom(node).resize(); });
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
