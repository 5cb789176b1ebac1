// Δm by Eq. (6), with a weight for each task: the weighted mean over tasks of the relative gain, in percent; up is better.
// With equal weights this is `delta_m` in results/statistics/delta.py. A run is paired with the baseline's run of the same
// seed; where no seed is shared, it is against the baseline's mean scores. `table` is what the page embeds of a table.
const Delta = {
  // One entry for each row: its runs (seed, Δm, gain on each task), and their means; null where Δm is undefined.
  compute(table, baseline, weights) {
    const choices = table.choices[baseline];
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return table.rows.map((row, i) => {
      if (!choices || !choices[i] || !(total > 0)) return null;
      if (i === baseline) return { runs: [], mean: 0, gains: weights.map(() => 0), paired: true };
      const base = table.rows[baseline];
      const theirs = new Map(base.runs);
      const shared = row.runs.filter(([seed]) => theirs.has(seed));
      const paired = shared.length > 0;
      const runs = (paired ? shared : row.runs).map(([seed, scores]) => {
        const against = paired ? theirs.get(seed) : base.means;
        const gains = scores.map((score, t) => (100 * (table.tasks[t].higher ? 1 : -1) * (score - against[t])) / against[t]);
        return { seed, gains, delta: gains.reduce((sum, gain, t) => sum + weights[t] * gain, 0) / total };
      });
      const mean = (of) => runs.reduce((sum, run) => sum + of(run), 0) / runs.length;
      return { runs, mean: mean((run) => run.delta), gains: weights.map((_, t) => mean((run) => run.gains[t])), paired };
    });
  },

  // The interval and the verdict of a row. They are of equal weights, so there is none with other weights.
  judged(table, baseline, weights, row) {
    const equal = weights.every((weight) => weight === weights[0]);
    const found = equal && row !== baseline ? table.choices[baseline][row] : null;
    return found ? { interval: found.interval, verdict: found.verdict } : { interval: null, verdict: "" };
  },

  // The rows that no other row beats: none costs as little or less and gains more. points: [cost, gain, row].
  frontier(points) {
    const found = [];
    for (const point of [...points].sort((a, b) => a[0] - b[0] || b[1] - a[1])) {
      if (!found.length || point[1] > found[found.length - 1][1]) found.push(point);
    }
    return found;
  },
};
