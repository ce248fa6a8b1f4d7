'use strict';

// Learning curves: one chart a measure, all policies in it.

const HEIGHT = 210;
const EDGE = { left: 46, right: 12, top: 10, bottom: 30 };

function linearTicks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((m) => m * power >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9;
    i++) ticks.push(Number((i * step).toPrecision(10)));
  return ticks;
}

function logTicks(low, high) {
  const ticks = [];
  for (let e = Math.floor(Math.log10(low)); 10 ** e <= high; e++) {
    for (const m of [1, 2, 5]) {
      const tick = Number((m * 10 ** e).toPrecision(6));
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks.length < 2 ? linearTicks(low, high, 3) : ticks;
}

// Maximal runs without a gap. A point alone is still drawn, as a dot.
function runs(points) {
  const out = [[]];
  for (const point of points) {
    if (unknown(point.y)) {
      if (out.at(-1).length) out.push([]);
    } else out.at(-1).push(point);
  }
  return out.filter((run) => run.length);
}

function axes(series, log) {
  const all = series.flatMap(({ points }) => points)
    .filter((point) => !unknown(point.y) && (!log || point.y > 0));
  const ys = all.map((point) => point.y);
  const right = Math.max(1, ...all.map((point) => point.x));
  let low = Math.min(...ys), high = Math.max(...ys);
  if (log) {
    low *= 0.95;
    high *= 1.05;
  } else {
    low = Math.min(0, low);
    const ticks = linearTicks(low, high, 4);
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : high - low || 1;
    high = Math.max(high, step * Math.ceil(high / step - 0.2));
  }
  const place = log ? Math.log : (v) => v;
  const y = (v) => EDGE.top + (HEIGHT - EDGE.top - EDGE.bottom)
    * (1 - (place(v) - place(low)) / (place(high) - place(low) || 1));
  return { right, y, ticks: log ? logTicks(low, high)
    : linearTicks(low, high, 4) };
}

function drawChart(holder, { title, unit, series, by }, log) {
  const width = Math.max(240, holder.clientWidth);
  const { right, y, ticks } = axes(series, log);
  const x = (step) => EDGE.left + (width - EDGE.left - EDGE.right)
    * (step / right);
  const usable = (points) => points.map((point) => (
    log && !unknown(point.y) && point.y <= 0 ? { ...point, y: null } : point));
  const grid = ticks.map((tick) => [
    s('line', { x1: EDGE.left, x2: width - EDGE.right, y1: y(tick),
      y2: y(tick), class: 'tick' }),
    s('text', { x: EDGE.left - 7, y: y(tick) + 3.5, 'text-anchor': 'end' },
      compact(tick))]);
  const base = HEIGHT - EDGE.bottom;
  const count = width > 420 ? 5 : 3;
  const bottom = linearTicks(0, right, count).map((tick) => [
    s('line', { x1: x(tick), x2: x(tick), y1: base, y2: base + 4,
      class: 'tick' }),
    s('text', { x: x(tick), y: base + 16, 'text-anchor':
      x(tick) > width - 26 ? 'end' : 'middle' }, compact(tick))]);
  const lines = series.map(({ policy, points }) => runs(usable(points))
    .map((run) => (run.length === 1
      ? s('circle', { cx: x(run[0].x), cy: y(run[0].y), r: 2.5, class: 'dot',
        '--c': colour(policy) })
      : s('polyline', { class: 'curve', '--c': colour(policy), points: run.map(
        (point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`)
        .join(' ') }))));
  const svg = s('svg', { width, height: HEIGHT, role: 'img',
    'aria-label': `${title}, ${unit}, by ${words(by || 'training update')}` },
  grid, bottom, lines,
  s('text', { x: width - EDGE.right, y: HEIGHT - 1, 'text-anchor': 'end',
    class: 'axis' }, by && by !== 'step' ? words(by) : 'updates'));
  holder.replaceChildren(svg);
  follow(holder, svg, series, { x, y, log, right, width });
}

// A guide under the pointer with every policy's value at that update.
function follow(holder, svg, series, { x, y, log, right, width }) {
  const guide = s('g', { class: 'guide', hidden: true });
  svg.append(guide);
  const label = h('div', { class: 'values', hidden: true });
  holder.append(label);
  const hide = () => {
    guide.replaceChildren();
    label.hidden = true;
  };
  svg.addEventListener('pointerleave', hide);
  svg.addEventListener('pointermove', (event) => {
    const inside = event.clientX - svg.getBoundingClientRect().left;
    const step = ((inside - EDGE.left) / (width - EDGE.left - EDGE.right))
      * right;
    const near = series.flatMap(({ policy, points }) => {
      const known = points.filter((p) => !unknown(p.y) && (!log || p.y > 0));
      if (!known.length) return [];
      return [{ policy, point: known.reduce((best, p) => (
        Math.abs(p.x - step) < Math.abs(best.x - step) ? p : best)) }];
    });
    if (!near.length || step < 0) return hide();
    const at = near[0].point.x;
    guide.replaceChildren(s('line', { x1: x(at), x2: x(at), y1: EDGE.top,
      y2: HEIGHT - EDGE.bottom }), ...near.map(({ policy, point }) => s(
      'circle', { cx: x(point.x), cy: y(point.y), r: 3.5, class: 'dot',
        '--c': colour(policy) })));
    label.replaceChildren(h('b', {}, `at ${whole(at)}`),
      ...near.map(({ policy, point }) => h('span', { '--c': colour(policy) },
        `${policy} ${number(point.y, 3)}`)));
    label.hidden = false;
    label.classList.toggle('left', inside > width / 2);
    return undefined;
  });
}

function chart(spec) {
  const holder = h('div', { class: 'plot' });
  const draw = () => {
    if (holder.clientWidth) {
      drawChart(holder, spec, document.getElementById('log').checked
        && spec.log);
    }
  };
  new ResizeObserver(draw).observe(holder);
  return { draw, element: h('figure', {}, h('figcaption', {},
    h('strong', {}, spec.title), h('span', { class: 'soft' }, spec.unit)),
  holder) };
}

// Where a policy was trained; one of a round is called `round-2/joint`.
const trainedAt = (policy) => policy.replace(/[^/]*$/, 'train/$&');

function curvesSection() {
  const id = 'curves', title = 'Learning curves';
  const names = Object.keys(DATA.curves).filter((p) => DATA.curves[p].length);
  if (!names.length) {
    return section(id, title, null,
      absent('No policy has been trained (stage train).'));
  }
  const spec = (key, heading, unit, log) => ({ title: heading, unit, log,
    series: names.map((policy) => ({ policy, points: DATA.curves[policy].map(
      (line) => ({ x: line.step, y: line[key] })) }))
      .filter(({ points }) => points.some((point) => !unknown(point.y))) });
  const losses = DATA.objectives.map((o) => spec(`${o}/nll`, words(o),
    'nats per token', true));
  const other = [['grad_norm', 'gradient norm', '', true],
    ['lr', 'learning rate', '', false],
    ['tokens_per_s', 'speed', 'tokens per second', false],
    ['data_wait_share', 'waiting for batches', 'share of the time', false],
    ['checkpoint_share', 'waiting for saves', 'share of the time', false]]
    .map((each) => spec(...each));
  const make = (specs) => specs.filter((each) => each.series.length)
    .map(chart);
  const shown = make(losses), folded = make(other);
  const log = h('input', { type: 'checkbox', id: 'log', onchange: () =>
    [...shown, ...folded].forEach((each) => each.draw()) });
  const none = losses.filter((each) => !each.series.length)
    .map((each) => each.title);
  return section(id, title, 'Negative log likelihood of the training tokens '
    + 'that each objective scores; lower is better. Long logs are averaged '
    + 'over neighbouring lines.',
  h('p', { class: 'controls legend' }, names.map((policy) => h('span', {
    class: 'key' }, h('span', { class: 'swatch', '--c': colour(policy) }),
  policy, DATA.stages[trainedAt(policy)].state !== 'done'
    && h('span', { class: 'soft' }, ' (not finished)'))),
  h('label', { class: 'end' }, log, 'log scale')),
  h('div', { class: 'charts' }, shown.map((each) => each.element)),
  none.length > 0 && h('p', { class: 'soft' },
    `Scored by no policy here: ${none.join(', ')}.`),
  h('details', { class: 'fold' }, h('summary', {},
    'The end of training, gradient norm, learning rate, speed, waiting'),
  lastValues(names),
  h('div', { class: 'charts' }, folded.map((each) => each.element))));
}

function lastValues(names) {
  return table('The last tenth of the last stage, 50 updates at most', [th('Policy'), th('Updates',
    { class: 'n' }), DATA.objectives.map((o) => th(`${words(o)}, nats`,
    { class: 'n' })), th('Gradient norm', { class: 'n' }),
  th('Tokens per second', { class: 'n' })],
  h('tbody', {}, names.map((policy) => {
    const line = DATA.ends[policy];
    return h('tr', {}, name(policy), h('td', { class: 'n' },
      whole(line.step)), DATA.objectives.map((o) => h('td', { class: 'n' },
      number(line[`${o}/nll`], 3))), h('td', { class: 'n' },
      number(line.grad_norm)), h('td', { class: 'n' },
      whole(line.tokens_per_s)));
  })));
}
