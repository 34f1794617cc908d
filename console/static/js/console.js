// Countdowns, keys, charts. Every page works without this file.
(function () {
  "use strict";
  var root = document.documentElement;
  var words = JSON.parse(root.dataset.words || "{}");
  // rate: the demo's clock runs faster than the wall's; learnt from two answers of the server
  var base = { server: Date.parse(root.dataset.now), local: performance.now(), rate: 1 };

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

  // --- single keys: never while somebody types, and only while they are switched on
  var help = document.getElementById("keys");
  function stored(name, value) {
    try {
      if (value === undefined) return window.localStorage.getItem(name);
      window.localStorage.setItem(name, value);
    } catch (error) { /* a browser that keeps nothing: the choice lasts as long as the page */ }
    return null;
  }
  var keysOn = stored("keys") !== "off";
  function items() {
    return Array.prototype.slice.call(document.querySelectorAll(".row[id], .post[id]"));
  }
  function chosen() {
    return document.querySelector(".chosen[id]");
  }
  function choose(node) {
    var was = chosen();
    if (was) was.classList.remove("chosen");
    if (!node) return;
    node.classList.add("chosen");
    var link = node.querySelector("h3 a") || node.querySelector("a, button, summary");
    if (link) link.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  }
  function step(by) {
    var all = items();
    if (!all.length) return;
    var at = all.indexOf(chosen());
    choose(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1)]);
  }
  // the place of an act: in the chosen row of the desk, or on the incident's page
  function reach(node) {
    if (!node) return false;
    var folded = node.closest("details");
    if (folded && !folded.open) folded.open = true;
    var field = node.tagName === "BUTTON" ? node : node.parentNode.querySelector("select, textarea, input:not([type=hidden]), button") || node;
    field.focus();
    node.scrollIntoView({ block: "nearest" });
    return true;
  }
  function act(name) {
    var row = document.querySelector(".row[id]") ? chosen() : null;
    var id = row ? row.id.slice(2) : "";
    if (document.querySelector(".row[id]") && !row) { step(1); return; }
    if (row) {
      if (name === "ack") { var press = document.getElementById("ack-" + id); if (press) press.click(); return; }
      if (name === "merge") {
        var asked = Array.prototype.filter.call(document.querySelectorAll("details.asked"), function (node) { return node.dataset.about.split(" ").indexOf(id) >= 0; })[0];
        if (asked) { asked.open = true; asked.scrollIntoView({ block: "start" }); asked.querySelector("summary").focus(); return; }
      }
      if (reach(document.getElementById(name + "-" + id))) return;
      if (name !== "back") window.location.href = row.querySelector("h3 a").href + "#act-" + name;
      return;
    }
    if (name === "ack") { var button = document.querySelector("form[action$='/ack'] button"); if (button) button.click(); return; }
    if (name === "merge" && reach(document.querySelector("#proposals summary, #proposals button"))) return;
    reach(document.querySelector("#act-" + name + " > summary"));
  }
  var KEYS = { a: "ack", c: "confirm", d: "assign", f: "false_alarm", m: "merge", s: "split" };
  document.addEventListener("keydown", function (event) {
    if (!help || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    var at = event.target;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName) && !/^(checkbox|radio)$/.test(at.type)) {
      if (event.key === "Escape") at.blur();
      return;
    }
    if (event.key === "?") { toggleHelp(); event.preventDefault(); return; }
    if (!keysOn || help.open) return;
    if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (KEYS[event.key]) act(KEYS[event.key]);
    else if (event.key === "u") window.location.href = "/";
    else if (event.key === "/") window.location.href = "/search";
    else return;
    event.preventDefault();
  });
  function toggleHelp() {
    if (!help.showModal) return;
    if (help.open) help.close(); else help.showModal();
  }
  if (help) {
    document.querySelectorAll("[data-keys-help]").forEach(function (node) { node.addEventListener("click", toggleHelp); });
    var box = document.getElementById("keys-on");
    box.checked = keysOn;
    box.addEventListener("change", function () { keysOn = box.checked; stored("keys", keysOn ? "on" : "off"); });
    var aimed = window.location.hash && document.getElementById(window.location.hash.slice(1));
    if (aimed && aimed.matches(".row[id]")) choose(aimed);
    if (aimed && aimed.matches("details.act")) reach(aimed.querySelector("summary"));
  }
  window.quansheng = { sync: sync, tick: tick, stored: stored, choose: choose };

  // --- what the menu or 显示 opened closes by Escape and by a touch elsewhere
  function openMenus() {
    return Array.prototype.slice.call(document.querySelectorAll(".top details[open]"));
  }
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") return;
    openMenus().forEach(function (node) {
      var inside = node.contains(document.activeElement);
      node.open = false;
      if (inside) node.querySelector("summary").focus();
    });
  });
  document.addEventListener("click", function (event) {
    openMenus().forEach(function (node) { if (!node.contains(event.target)) node.open = false; });
  });

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
    document.querySelectorAll("details.more:not([open]):not(.fix):not(.nopaper)").forEach(function (node) { node.open = true; node.dataset.printed = "1"; });
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
