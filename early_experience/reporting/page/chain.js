'use strict';

// All stages of training in a row: what each went on from, and came to.

function chainSection() {
  const id = 'chain', title = 'Stages in a row';
  if (!DATA.chain.some((one) => one.after)) return null;
  const splits = [...new Set(DATA.chain.flatMap(
    (one) => Object.keys(one.splits)))];
  const n = (...content) => h('td', { class: 'n' }, content);
  const updates = (one) => one.summary && one.summary.steps;
  const played = (one) => (DATA.reinforcement[one.policy] || []).at(-1);
  return section(id, title, 'Each training stands behind the one that it went '
    + 'on from; success is that of the evaluation after it.',
  table('Stages in a row', [th('Policy'), th('Went on from'),
    ...['Updates', 'Environment steps', ...splits.map(
      (split) => `${words(split)}, solved`)].map((text) => th(text,
      { class: 'n' }))],
  h('tbody', {}, DATA.chain.map((one) => h('tr', {}, name(one.policy),
    h('td', {}, one.after ? `${'→ '.repeat(one.after)}${one.start}`
      : one.start), n(whole(updates(one))),
    n(one.kind === 'rl' && played(one)
      ? whole(played(one).environment_steps) : '–'),
    splits.map((split) => (one.splits[split]
      ? rateText(one.splits[split].success) : n('–'))))))),
  DATA.chain.filter((one) => !DATA.chain.some(
    (other) => other.start === one.policy) && one.after).map(chainOf));
}

// The curves of the trainings that led to one, side by side.
function chainOf(last) {
  const row = [last];
  while (row[0].after) {
    row.unshift(DATA.chain.find((one) => one.policy === row[0].start));
  }
  const curve = (one) => (one.kind === 'rl'
    ? [DATA.reinforcement[one.policy], 'success/rate', 'share of episodes']
    : [DATA.curves[one.policy], 'loss', 'loss']);
  return h('div', { class: 'charts', 'data-chain': last.policy }, row.map(
    (one) => {
      const [lines, key, unit] = curve(one);
      const points = (lines || []).map((line) => ({ x: line.step,
        y: line[key] }));
      return points.some((point) => !unknown(point.y)) && chart({
        title: one.policy, unit, series: [{ policy: one.policy, points }],
      }).element;
    }));
}
