/* Cost and calls of each day, drawn from the table beside it. */
"use strict";
(() => {
  let plot = null;

  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };

  const money = (value) => value === 0 ? "$0" : value >= 1 ? `$${value.toFixed(2)}` : `$${value.toPrecision(2)}`;

  const draw = () => {
    const place = document.getElementById("chart");
    const table = document.getElementById("days");
    if (plot) { plot.destroy(); plot = null; }
    if (!place || !table || typeof uPlot === "undefined") return;
    const rows = [...table.querySelectorAll("tr[data-at]")].reverse();
    const of = (name, by = 1) => rows.map((row) => Number(row.dataset[name]) / by);
    const days = of("at");
    const [text, line, cost, calls] = ["--quiet", "--line", "--accent", "--warn"].map(colour);
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    plot = new uPlot({
      width: place.clientWidth, height: 240,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] },
                calls: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [axis, { ...axis, size: 64, values: (_, all) => all.map(money) },
             { ...axis, scale: "calls", side: 1, grid: { show: false } }],
      series: [
        { value: "{YYYY}-{MM}-{DD}", label: "Day" },
        { label: "Cost", stroke: cost, fill: cost, paths: uPlot.paths.bars({ size: [0.7, 48] }), points: { show: false },
          value: (_, value) => value == null ? "" : money(value) },
        { label: "Calls", scale: "calls", stroke: calls, width: 2, points: { show: days.length < 3 } },
      ],
    }, [days, of("cost", 1e6), of("calls")], place);
  };

  document.addEventListener("stead:theme", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = 0;
  const place = document.getElementById("chart");
  if (place) new ResizeObserver(() => { if (place.clientWidth !== width) { width = place.clientWidth; draw(); } }).observe(place);
})();
