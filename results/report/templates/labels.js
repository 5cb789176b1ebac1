// Where the labels of points stand in a chart: on no marker, line or other label, and inside of the frame, where it can be.
// Boxes are [left, top, right, bottom] in pixels, from the upper left corner of the frame.
const Labels = {
  // In the order in which a reader expects them, as plotly names them.
  PLACES: ["top right", "top left", "bottom right", "bottom left", "middle right", "middle left", "top center", "bottom center"],

  // The box of a label, where plotly draws it. point: x, y, the width of its text, the size of its marker.
  box({ x, y, width, size }, place, font) {
    const away = size / 1.6 + 1;
    const [across, along] = [place.split(" ")[1], place.split(" ")[0]];
    const left = across === "right" ? x + away : across === "left" ? x - away - width : x - width / 2;
    const top = along === "top" ? y - away - font : along === "bottom" ? y + away : y - font / 2;
    return [left, top, left + width, top + font];
  },

  shared([a, b, c, d], [e, f, g, h]) {
    return Math.max(0, Math.min(c, g) - Math.max(a, e)) * Math.max(0, Math.min(d, h) - Math.max(b, f));
  },

  marker: ({ x, y, size }) => [x - size / 2, y - size / 2, x + size / 2, y + size / 2],

  // Which labels can be read where they stand: inside of the frame, on no marker, along no line, and on no label before it.
  readable(points, places, lines, [width, height], font) {
    const kept = [];
    return points.map((point, i) => {
      const box = Labels.box(point, places[i], font);
      const others = [...points.filter((_, j) => j !== i).map(Labels.marker), ...lines, ...kept];
      const covered = others.reduce((sum, each) => sum + Labels.shared(box, each), 0);
      const lost = covered + point.width * font - Labels.shared(box, [0, 0, width, height]);
      const fine = lost <= 0.1 * point.width * font;
      if (fine) kept.push(box);
      return fine;
    });
  },

  // A place for each point. lines: boxes of what is drawn besides markers.
  place(points, lines, [width, height], font) {
    const taken = [...points.map(Labels.marker), ...lines];
    const places = points.map(() => null);
    const cost = (point, i, place) => {
      const box = Labels.box(point, place, font);
      const inside = Labels.shared(box, [0, 0, width, height]);
      const others = points.flatMap((other, j) => (j === i || !places[j] ? [] : [Labels.box(other, places[j], font)]));
      const covered = [...taken, ...others].reduce((sum, each) => sum + Labels.shared(box, each), 0);
      return covered + (point.width * font - inside);
    };
    for (let turn = 0; turn < 3; turn++) {
      points.forEach((point, i) => {
        const costs = Labels.PLACES.map((place) => cost(point, i, place));
        places[i] = Labels.PLACES[costs.indexOf(Math.min(...costs))];
      });
    }
    return places;
  },
};
