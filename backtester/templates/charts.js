// Puts a chart that answers the pointer in the place of each picture that has its data beside it.
addEventListener("DOMContentLoaded", () => {
  const root = document.documentElement;
  const resolved = text => text.startsWith("var(")
    ? getComputedStyle(root).getPropertyValue(text.slice(4, -1)).trim() : text;
  const shown = value => value == null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 5 }).replace("-", "−");
  const minute = second => new Date(second * 1000).toISOString().slice(0, 16).replace("T", " ");
  const DAY = 86400;
  const moment = (_, ticks, __, ___, step) => ticks.map(second => {
    const text = minute(second);
    return step >= 28 * DAY ? text.slice(0, 7) : step >= DAY || text.endsWith("00:00") ? text.slice(5, 10) : text.slice(11);
  });
  const line = name => getComputedStyle(root).getPropertyValue(name).trim();

  const drawn = (panel, width, key) => {
    const ink = getComputedStyle(document.body).color, grid = line("--line") || "#e6e8eb";
    const axis = { stroke: ink, font: "12px system-ui, sans-serif", grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    return new uPlot({
      width, height: panel.height, tzDate: second => uPlot.tzDate(new Date(second * 1000), "Etc/UTC"),
      scales: { x: { time: panel.time }, y: { distr: panel.log ? 3 : 1 } },
      axes: [{ ...axis, values: panel.time ? moment : undefined }, { ...axis, size: 52, values: panel.log ? undefined : (_, ticks) => ticks.map(shown) }],
      cursor: { sync: { key, scales: ["x", null] }, drag: { x: true, y: false, setScale: true } },
      series: [
        { label: panel.time ? "UTC" : panel.along, value: (_, x) => x == null ? "–" : panel.time ? minute(x) : shown(x) },
        ...panel.lines.map(each => ({
          label: each.label, class: each.label ? null : "quiet", stroke: resolved(each.colour), width: each.width,
          dash: each.dash, spanGaps: true, points: { show: false }, value: (_, y) => shown(y),
        })),
      ],
    }, [panel.x, ...panel.lines.map(each => each.y)], document.createElement("div"));
  };

  document.querySelectorAll(".chart").forEach((chart, number) => {
    const { panels } = JSON.parse(chart.querySelector("script").textContent);
    const live = document.createElement("div");
    live.className = "live";
    const hint = document.createElement("p");
    hint.className = "hint";
    hint.textContent = "Point at the chart for values; drag across to zoom in, double-click for the whole.";
    const plots = [];
    panels.forEach(panel => {
      const name = document.createElement("p");
      name.className = "axis";
      name.textContent = panel.name;
      live.append(name);
      panel.home = document.createElement("div");
      live.append(panel.home);
    });
    live.append(hint);
    new ResizeObserver(() => {
      const width = Math.floor(live.clientWidth);
      if (!width) return;
      panels.forEach((panel, place) => { panel.height = Math.min(place ? 150 : 260, Math.max(place ? 110 : 170, width * 0.4)); });
      if (plots.length) return plots.forEach((plot, place) => plot.setSize({ width, height: panels[place].height }));
      panels.forEach(panel => {
        const plot = drawn(panel, width, "chart" + number);
        panel.home.append(plot.root);
        plots.push(plot);
      });
      chart.plots = plots;
    }).observe(live);
    chart.append(live);
    chart.classList.add("on");
  });
});
