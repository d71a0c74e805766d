// Calls by kind over time: stacked, with marks where calls were denied. uPlot draws it; the table
// beneath says the same to those who don't see it.

const classColours = {
  files: ['#0072b2', '#56a5e0'], data: ['#009e73', '#35c79b'], memory: ['#b8860b', '#e6b84d'],
  process: ['#cc79a7', '#e09ac2'], network: ['#d55e00', '#ff8a3d'], waiting: ['#8a8a8a', '#8f98a3'],
  other: ['#6f4bb8', '#a98bea'],
};

class TimeLine {
  constructor(section, line, onRange) {
    Object.assign(this, { line, onRange });
    this.hidden = new Set();
    this.dark = matchMedia('(prefers-color-scheme: dark)');
    this.dark.addEventListener('change', () => this.draw());
    // Paper is white.
    addEventListener('beforeprint', () => this.draw(true));
    addEventListener('afterprint', () => this.draw());
    this.place = element('div', {
      className: 'chart', tabIndex: 0, role: 'img',
      'aria-label': 'Calls over time by kind. Arrow keys move along it, plus and minus zoom.',
      onkeydown: (event) => this.key(event),
    });
    this.reading = element('p', { className: 'reading', role: 'status' });
    section.append(this.buttons(), this.place, this.reading, this.asTable());
    new ResizeObserver(() => this.resize()).observe(this.place);
    this.draw();
  }

  buttons() {
    const button = (text, act) => element('button', { type: 'button', onclick: act }, text);
    this.kinds = this.line.classes.map((name, k) => {
      const total = this.line.calls[k].reduce((a, b) => a + b, 0);
      const box = element('input', {
        type: 'checkbox', checked: true, disabled: total === 0,
        onchange: () => {
          if (box.checked) this.hidden.delete(k);
          else this.hidden.add(k);
          this.draw();
        },
      });
      return element('label', { className: 'kind' }, box,
        element('span', { className: 'swatch swatch-' + name }), `${name} (${number(total)})`);
    });
    return element('div', { className: 'controls' }, ...this.kinds,
      element('span', { className: 'zoom' }, button('Zoom in', () => this.zoom(0.5)),
        button('Zoom out', () => this.zoom(2)), button('Whole time', () => this.showAll())));
  }

  asTable() {
    const { classes, calls, errors, denied, width_ns } = this.line;
    const columns = ['from', ...classes, 'errors', 'denied'].map((title, index) => (
      { title, index, format: index === 0 ? 'offset' : 'count' }));
    const rows = errors.map((_, i) => [
      i * width_ns, ...calls.map((of) => of[i]), errors[i], denied[i]]);
    const details = element('details', {}, element('summary', {}, 'The same as a table'));
    new SearchTable(details, { name: 'Calls over time', columns, rows, all: rows.length });
    return details;
  }

  // Stacked from the first kind up; the data of hidden kinds is left out.
  stacked() {
    const bins = this.line.errors.length;
    const x = Array.from({ length: bins + 1 }, (_, i) => i * this.line.width_ns / 1e9);
    const sum = new Array(bins + 1).fill(0);
    const layers = [];
    this.line.calls.forEach((of, k) => {
      if (this.hidden.has(k)) return;
      for (let i = 0; i < bins; ++i) sum[i] += of[i];
      sum[bins] = sum[bins - 1] || 0;  // the right edge of the last step
      layers.push({ k, values: sum.slice() });
    });
    return { x, layers: layers.reverse() };
  }

  draw(paper) {
    const dark = this.dark.matches && !paper;
    const ink = dark ? '#d6dae0' : '#333', grid = dark ? '#3a404a' : '#ddd';
    const range = this.range;
    if (this.plot) this.plot.destroy();
    const { x, layers } = this.stacked();
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid } };
    this.plot = new uPlot({
      width: Math.max(280, this.place.clientWidth), height: 240,
      legend: { show: false }, cursor: { y: false, drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { range: (u, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [
        { ...axis, values: (u, splits) => splits.map((s) => span(Math.round(s * 1e9))), space: 90 },
        { ...axis, size: 62, values: (u, splits) => splits.map(number) },
      ],
      series: [{}, ...layers.map(({ k }) => {
        const colour = classColours[this.line.classes[k]][dark ? 1 : 0];
        return {
          stroke: colour, fill: colour, width: 1, points: { show: false },
          paths: uPlot.paths.stepped({ align: 1 }),
        };
      })],
      hooks: {
        draw: [(u) => this.mark(u, dark)],
        setCursor: [(u) => this.read(u.cursor.idx)],
        setScale: [(u, key) => { if (key === 'x') this.moved(u); }],
      },
    }, [x, ...layers.map((layer) => layer.values)], this.place);
    if (range) this.plot.setScale('x', range);
  }

  // A mark at the top of each bin with denied calls.
  mark(u, dark) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.fillStyle = dark ? '#ff7b72' : '#b3001b';
    this.line.denied.forEach((count, i) => {
      if (count === 0) return;
      const x = u.valToPos((i + 0.5) * this.line.width_ns / 1e9, 'x', true);
      if (x < bbox.left || x > bbox.left + bbox.width) return;
      const half = 4 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x - half, bbox.top);
      ctx.lineTo(x + half, bbox.top);
      ctx.lineTo(x, bbox.top + 2 * half);
      ctx.fill();
    });
    ctx.restore();
  }

  read(i) {
    if (i === null || i === undefined || i >= this.line.errors.length) return;
    this.at = i;
    const kinds = this.line.classes
      .map((name, k) => [name, this.line.calls[k][i]]).filter(([, n]) => n > 0)
      .map(([name, n]) => `${name} ${number(n)}`);
    const from = offset(i * this.line.width_ns), to = offset((i + 1) * this.line.width_ns);
    this.reading.textContent = `${from} to ${to}: ${kinds.join(', ') || 'no calls'}` +
      `; ${number(this.line.errors[i])} errors, ${number(this.line.denied[i])} denied`;
  }

  key(event) {
    const last = this.line.errors.length - 1;
    const at = this.at ?? 0;
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
    if (event.key in steps) {
      const to = Math.min(last, Math.max(0, steps[event.key]));
      const left = this.plot.valToPos((to + 0.5) * this.line.width_ns / 1e9, 'x');
      this.plot.setCursor({ left, top: 10 });
      this.read(to);
    } else if (event.key === '+' || event.key === '=') this.zoom(0.5);
    else if (event.key === '-') this.zoom(2);
    else if (event.key === 'Escape') this.showAll();
    else return;
    event.preventDefault();
  }

  get end() {
    return this.line.errors.length * this.line.width_ns / 1e9;
  }

  zoom(factor) {
    const { min, max } = this.plot.scales.x;
    const centre = factor < 1 && this.at !== undefined
      ? (this.at + 0.5) * this.line.width_ns / 1e9 : (min + max) / 2;
    const half = Math.max((max - min) * factor / 2, this.line.width_ns / 1e9);
    const from = Math.max(0, centre - half);
    this.plot.setScale('x', { min: from, max: Math.min(this.end, from + 2 * half) });
  }

  showAll() {
    this.plot.setScale('x', { min: 0, max: this.end });
  }

  moved(u) {
    const { min, max } = u.scales.x;
    const whole = min <= 0 && max >= this.end;
    this.range = whole ? null : { min, max };
    this.onRange(whole ? null : [min * 1e9, max * 1e9]);
  }

  resize() {
    const width = Math.max(280, this.place.clientWidth);
    if (this.plot && this.plot.width !== width) this.plot.setSize({ width, height: 240 });
  }
}
