// The charts of a table, which their reader may change. Each block .live belongs to one table: the JSON beside it holds
// the scores. The library is unpacked once; without it, the figures of the report stay where they are.
const COSTS = {{ costs | tojson }};
const [FONT, MARKER, MANY] = [11.5, 12, 10]; // of the chart of costs: letters and markers in pixels, and labels at most
const signed = (x) => (x === null || Number.isNaN(x) ? "\u2014" : (x > 0 ? "+" : x < 0 ? "\u2212" : "") + Math.abs(x).toFixed(2));
const between = (pair) => (pair ? `[${signed(pair[0])}, ${signed(pair[1])}]` : "\u2014");
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;"); // plotly reads tags in labels

async function library() {
  const packed = document.getElementById("plotly").textContent.trim();
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

class Live {
  constructor(block) {
    this.block = block;
    this.table = JSON.parse(block.querySelector("script").textContent);
    this.parts = Object.fromEntries([...block.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
    this.weightInputs = [...block.querySelectorAll("input[data-task]")];
    this.hidden = new Set();
    this.cost = 0;
    this.read();
    this.parts.baseline.addEventListener("change", () => this.choose(+this.parts.baseline.value, this.weights));
    this.weightInputs.forEach((input) =>
      input.addEventListener("input", () => this.choose(this.baseline, this.weightInputs.map((each) => Math.max(0, +each.value || 0)))),
    );
    this.parts.reset.addEventListener("click", () => this.choose(this.table.baseline, this.table.tasks.map(() => 1)));
    this.parts.cost?.addEventListener("change", () => { this.cost = +this.parts.cost.value; this.draw(); });
    this.parts.legend.addEventListener("click", (event) => this.toggle(event.target.closest("button")));
    this.show();
  }

  // The choice that the address asks for, as in #table=rooms-semseg-depth&baseline=PAD-Net&weights=2,1.
  read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const here = asked.get("table") === this.table.slug;
    const row = this.table.rows.findIndex((each, i) => this.table.choices[i] && each.label === asked.get("baseline"));
    const weights = (asked.get("weights") || "").split(",").map(Number);
    const valid = weights.length === this.table.tasks.length && weights.every((weight) => weight >= 0);
    this.baseline = here && row >= 0 ? row : this.table.baseline;
    this.weights = here && valid && asked.has("weights") ? weights : this.table.tasks.map(() => 1);
    this.weightInputs.forEach((input, t) => (input.value = this.weights[t]));
    this.parts.baseline.value = this.baseline;
    this.asked = here;
  }

  choose(baseline, weights) {
    [this.baseline, this.weights] = [baseline, weights];
    this.parts.baseline.value = baseline;
    this.weightInputs.forEach((input, t) => { if (+input.value !== weights[t]) input.value = weights[t]; });
    const asked = new URLSearchParams({ table: this.table.slug, baseline: this.table.rows[baseline]?.label ?? "", weights });
    try { history.replaceState(null, "", "#" + asked); } catch { /* a page inside another page has no address */ }
    this.show();
    this.draw();
  }

  toggle(button) {
    if (!button) return;
    const row = +button.dataset.row;
    if (!this.hidden.delete(row)) this.hidden.add(row);
    button.setAttribute("aria-pressed", String(!this.hidden.has(row)));
    this.draw();
  }

  get own() { return this.baseline === this.table.baseline; }
  get equal() { return this.weights.every((weight) => weight === this.weights[0]); }
  get quantity() { return this.equal ? "Δm" : "weighted Δm"; }
  get weighting() { return this.table.tasks.map((task, t) => `${task.name} ${this.weights[t]}`).join(", "); }
  get against() { return this.table.rows[this.baseline]?.label ?? "no row"; }

  // What the choice means, in words, and its numbers.
  show() {
    const { table, weights } = this;
    this.rows = Delta.compute(table, this.baseline, weights);
    this.parts.said.textContent = this.words();
    this.parts.numbers.hidden = this.own && this.equal;
    const body = this.parts.numbers.querySelector("tbody");
    body.replaceChildren(...table.rows.map((row, i) => {
      const { interval, verdict } = Delta.judged(table, this.baseline, weights, i);
      const found = this.rows[i];
      const cells = [row.label, found ? signed(found.mean) : "\u2014"];
      if (table.judged) cells.push(between(found && interval), found ? verdict : "");
      cells.push(...table.tasks.map((_, t) => (found ? signed(found.gains[t]) : "\u2014")));
      const line = document.createElement("tr");
      line.append(...cells.map((text) => {
        const cell = Object.assign(document.createElement("td"), { textContent: text });
        if (text === "better" || text === "worse") cell.className = text;
        return cell;
      }));
      return line;
    }));
  }

  words() {
    if (!this.table.choices[this.baseline]) return "Choose a baseline: without one there is no gain.";
    if (!(this.weights.reduce((sum, weight) => sum + weight, 0) > 0)) return "At least one weight must be above 0.";
    if (!(this.own && this.equal) && !this.table.judged) {
      return `Your choice: against ${this.against}, ${this.equal ? "with equal weights" : "weights " + this.weighting}. Gains are computed here from the scores of the runs. One seed a row has no interval and no verdict, whatever is chosen.`;
    }
    const rest = "The sentences, tables and verdicts outside of this box stay those of the matrix: its own baseline, equal weights.";
    if (this.own && this.equal) return `As in the table above: against ${this.against}, with equal weights of the tasks.`;
    const told = this.equal
      ? "Means are computed here from the scores of the runs; intervals and verdicts were computed with the report for this baseline, by the same rule as the table's."
      : "Means are computed here from the scores of the runs. There is no interval and no verdict for unequal weights.";
    return `Your choice: against ${this.against}, ${this.equal ? "with equal weights" : "weights " + this.weighting}. ${told} ${rest} No interval knows that a choice was made after the results were seen.`;
  }

  draw() {
    if (!window.Plotly) return;
    this.look();
    this.drawGains();
    if (this.parts.cost) this.drawCosts();
    this.table.curves.forEach((panel, i) => this.drawCurves(panel, this.parts["curve" + i]));
  }

  look() {
    const style = getComputedStyle(document.body);
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
    this.dark = matchMedia("(prefers-color-scheme: dark)").matches;
    Object.assign(this, { ink, soft, line, paper: style.backgroundColor });
  }

  color(row) { return this.dark ? row.dark : row.color; }

  plot(part, traces, layout) {
    const axis = { gridcolor: this.line, linecolor: this.soft, zeroline: false, automargin: true, ticks: "outside", tickcolor: this.line, ticklen: 4 };
    const whole = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: this.soft, activecolor: this.ink },
      font: { family: "system-ui, sans-serif", size: 12, color: this.ink }, margin: { l: 56, r: 12, t: 30, b: 44 },
      hoverlabel: { bgcolor: this.paper, bordercolor: this.soft, font: { color: this.ink } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", ...layout,
      xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
    };
    const config = { displaylogo: false, responsive: true, displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false, modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]], toImageButtonOptions: { format: "svg" } };
    return Plotly.react(part, traces, whole, config);
  }

  whiskers(mean, pair, color) {
    if (!pair) return undefined;
    return { type: "data", symmetric: false, array: [pair[1] - mean], arrayminus: [mean - pair[0]], color, thickness: 1.4, width: 4 };
  }

  // Δm and, right of it, each task's term: a marker for the mean, small ones for the seeds, whiskers for the interval.
  drawGains() {
    const { table } = this;
    const shown = table.rows.map((_, i) => i).filter((i) => i !== this.baseline && !this.hidden.has(i) && this.rows[i]);
    const groups = [this.quantity, ...table.tasks.map((task) => task.name)];
    const traces = [];
    shown.forEach((i, place) => {
      const [row, found, color] = [table.rows[i], this.rows[i], this.color(table.rows[i])];
      groups.forEach((group, g) => {
        const middle = g + ((place + 0.5) / shown.length - 0.5) * 0.8;
        const value = (run) => (g ? run.gains[g - 1] : run.delta);
        const mean = g ? found.gains[g - 1] : found.mean;
        const pair = g ? table.choices[this.baseline][i].tasks[g - 1] : Delta.judged(table, this.baseline, this.weights, i).interval;
        const spread = (j) => middle + ((j + 0.5) / found.runs.length - 0.5) * 0.5 * (0.8 / shown.length);
        if (found.runs.length > 1) traces.push({
          x: found.runs.map((_, j) => spread(j)), y: found.runs.map(value), mode: "markers",
          marker: { color, size: 4.5, opacity: 0.55 },
          text: found.runs.map((run) => `${plain(row.label)}, seed ${run.seed}: ${group} ${signed(value(run))}`), hovertemplate: "%{text}<extra></extra>",
        });
        traces.push({
          x: [middle], y: [mean], mode: "markers", marker: { color, size: 11 * row.size, symbol: row.symbol, line: { color: this.paper, width: 1.5 } },
          error_y: this.whiskers(mean, pair, color),
          hovertemplate: `<b>${plain(row.label)}</b><br>${group} ${signed(mean)}${pair ? "<br>95 % " + between(pair) : ""}<extra></extra>`,
        });
      });
    });
    const rule = (x) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: this.line, width: x === 0.5 ? 2 : 1 } });
    this.plot(this.parts.gains, traces, {
      title: { text: `Gain over ${plain(this.against)}${this.equal ? "" : `, weights ${plain(this.weighting)}`}`, font: { size: 14 } },
      xaxis: { tickvals: groups.map((_, g) => g), ticktext: groups.map((group, g) => (g ? `${group}<br>${table.tasks[g - 1].title}` : `<b>${group}</b>`)), range: [-0.5, groups.length - 0.5], showgrid: false },
      yaxis: { title: { text: "gain [%] (up is better)" }, zeroline: true, zerolinecolor: this.ink, zerolinewidth: 1 },
      shapes: groups.slice(1).map((_, g) => rule(g + 0.5)),
    });
  }

  // Δm over a cost, with the best Δm up to a cost as stairs.
  drawCosts() {
    const { table } = this;
    const [title, unit] = COSTS[this.cost];
    const shown = table.rows.map((_, i) => i).filter((i) => !this.hidden.has(i) && this.rows[i] && table.rows[i].cost[this.cost] > 0);
    const points = shown.map((i) => [table.rows[i].cost[this.cost] / unit, this.rows[i].mean, i]);
    const best = Delta.frontier(points);
    const traces = [{ x: best.map((p) => p[0]), y: best.map((p) => p[1]), mode: "lines", line: { shape: "hv", dash: "dash", color: this.soft, width: 1.2 }, hoverinfo: "skip" }];
    points.forEach(([cost, mean, i]) => {
      const [row, color] = [table.rows[i], this.color(table.rows[i])];
      const pair = Delta.judged(table, this.baseline, this.weights, i).interval;
      traces.push({
        x: [cost], y: [mean], mode: points.length > MANY ? "markers" : "markers+text", text: [plain(row.label)], textposition: Labels.PLACES[0], textfont: { size: FONT },
        cliponaxis: false, marker: { color, size: MARKER * row.size, symbol: row.symbol, line: { color: this.paper, width: 1.5 } },
        error_y: this.whiskers(mean, pair, color),
        hovertemplate: `<b>${plain(row.label)}</b><br>${plain(title)} ${Number(cost.toPrecision(3))}<br>${this.quantity} ${signed(mean)}${pair ? " " + between(pair) : ""}<extra></extra>`,
      });
    });
    const drawn = this.plot(this.parts.costs, traces, {
      title: { text: "Gain against cost", font: { size: 14 } },
      xaxis: { type: "log", title: { text: title }, ...this.ticks(points.map((point) => point[0])) },
      yaxis: { title: { text: `${this.quantity} [%] (up is better)` }, zeroline: true, zerolinecolor: this.ink, zerolinewidth: 1 },
    });
    if (points.length > MANY) return;
    const place = () => this.placeLabels(this.parts.costs, points, best);
    drawn.then(() => {
      place();
      this.parts.costs.removeAllListeners("plotly_relayout");
      this.parts.costs.on("plotly_relayout", place); // the reader zooms, or the window has another size
    });
  }

  // Move each label of the chart of costs to where it covers nothing, once the chart has its axes. A label that finds no
  // such place, as in a narrow window, is left out: the legend says which row its marker is.
  placeLabels(part, points, best) {
    const { xaxis, yaxis } = part._fullLayout;
    const at = (cost, gain) => [xaxis.d2p(cost), yaxis.d2p(gain)];
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `${FONT}px system-ui, sans-serif`;
    const shown = points.map(([cost, mean, i]) => {
      const [x, y] = at(cost, mean);
      return { x, y, width: pen.measureText(this.table.rows[i].label).width + 2, size: MARKER * this.table.rows[i].size };
    });
    const thin = ([x, y], [x2, y2], wide = 1.5) => [Math.min(x, x2) - wide, Math.min(y, y2) - wide, Math.max(x, x2) + wide, Math.max(y, y2) + wide];
    const lines = [thin([0, yaxis.d2p(0)], [xaxis._length, yaxis.d2p(0)])];
    points.forEach(([cost, , i]) => {
      const pair = Delta.judged(this.table, this.baseline, this.weights, i).interval;
      if (pair) lines.push(thin(at(cost, pair[0]), at(cost, pair[1]), 5)); // with its caps
    });
    best.slice(1).forEach(([cost, mean], i) => {
      const corner = at(cost, best[i][1]);
      lines.push(thin(at(...best[i]), corner), thin(corner, at(cost, mean)));
    });
    const frame = [xaxis._length, yaxis._length];
    const places = Labels.place(shown, lines, frame, FONT);
    const modes = Labels.readable(shown, places, lines, frame, FONT).map((fine) => (fine ? "markers+text" : "markers"));
    const now = places.map((_, i) => part.data[i + 1]);
    if (places.some((place, i) => place !== now[i].textposition || modes[i] !== now[i].mode)) {
      Plotly.restyle(part, { textposition: places, mode: modes }, places.map((_, i) => i + 1)); // the first trace is the dashed line
    }
  }

  // 1, 2, 5, 10, ... on a log axis, and room on both sides.
  ticks(values) {
    if (!values.length) return {};
    const [low, high] = [Math.min(...values) / 1.3, Math.max(...values) * 1.3];
    const tickvals = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      tickvals.push(...[1, 2, 5].map((digit) => Number((digit * 10 ** power).toPrecision(1))).filter((tick) => tick >= low && tick <= high));
    }
    return { tickvals, ticktext: tickvals.map(String), range: [Math.log10(low), Math.log10(high)] };
  }

  // Means over seeds by epoch, with a band of one standard deviation.
  drawCurves(panel, part) {
    const traces = [];
    panel.lines.filter((line) => !this.hidden.has(line.row)).forEach((line) => {
      const [row, color] = [this.table.rows[line.row], this.color(this.table.rows[line.row])];
      const edge = (sign) => line.means.map((mean, i) => mean + sign * line.sds[i]);
      if (line.sds.some((sd) => sd > 0)) {
        traces.push({ x: [...line.epochs, ...[...line.epochs].reverse()], y: [...edge(1), ...edge(-1).reverse()], fill: "toself", fillcolor: color + "22", line: { width: 0 }, mode: "lines", hoverinfo: "skip" });
      }
      traces.push({ x: line.epochs, y: line.means, mode: line.epochs.length > 1 ? "lines" : "markers", line: { color, width: 1.8, dash: row.dash }, marker: { color }, name: plain(row.label), hovertemplate: "%{y:.4g}" });
    });
    this.plot(part, traces, {
      title: { text: plain(panel.title), font: { size: 14 } }, hovermode: "x unified",
      xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: plain(panel.unit) } },
    });
  }
}

const lives = [...document.querySelectorAll(".live")].map((block) => new Live(block));
library().then(() => {
  if (!window.Plotly) return;
  lives.forEach((live) => {
    live.block.hidden = false;
    live.draw();
    if (live.asked) live.block.scrollIntoView();
    document.querySelectorAll(`figure[data-of="${CSS.escape(live.table.slug)}"]`).forEach((figure) => (figure.hidden = true));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => lives.forEach((live) => live.draw()));
  addEventListener("hashchange", () => lives.forEach((live) => { live.read(); live.show(); live.draw(); }));
}).catch(() => {}); // an old browser has no DecompressionStream: it shows the figures
