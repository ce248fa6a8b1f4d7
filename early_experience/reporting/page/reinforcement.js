'use strict';

// Reinforcement learning: what it came to, by updates and by what it cost.

function reinforcementSection() {
  const id = 'reinforcement', title = 'Reinforcement learning';
  const names = Object.keys(DATA.reinforcement)
    .filter((policy) => DATA.reinforcement[policy].length);
  if (!names.length) return null;
  const spec = (key, heading, unit, by) => ({ title: heading, unit, by,
    series: names.map((policy) => ({ policy,
      points: DATA.reinforcement[policy].filter((line) => key in line)
        .map((line) => ({ x: line[`${by}_before`] ?? line[by], y: line[key] }))
      }))
      // Questions that are made from records cost no environment steps.
      .filter(({ points }) => points.some(({ x, y }) => !unknown(y)
        && (by === 'step' || x))) });
  const make = (specs) => specs.filter((each) => each.series.length)
    .map((each) => chart(each).element);
  const success = ['step', 'environment_steps'].flatMap((by) => [
    spec('success/rate', 'success on training tasks', 'share of episodes', by),
    spec('panel/rate', 'success on the fixed panel', 'share of tasks', by)]);
  const other = [['entropy', 'entropy', 'nats per token'],
    ['kl', 'KL to the start', 'nats per token'],
    ['clipped', 'clipped', 'share of advantages'],
    ['gap', 'sampler against trainer', 'nats per token'],
    ['groups_even', 'groups without variance', ''],
    ['tokens_ratio', 'tokens, flat / tree', '']]
    .map((each) => spec(...each, 'step'));
  return section(id, title, 'Success of the policy that sampled each '
    + 'iteration; an episode that failed is unsolved. Of questions made from '
    + 'records it is the share of right answers.',
  h('p', { class: 'controls legend' }, names.map((policy) => h('span', {
    class: 'key' }, h('span', { class: 'swatch', '--c': colour(policy) }),
  policy))),
  h('div', { class: 'charts' }, make(success)), lastPanels(names),
  h('details', { class: 'fold' }, h('summary', {}, 'What else was watched'),
    h('div', { class: 'charts' }, make(other))));
}

function lastPanels(names) {
  const cells = (line, key) => (line
    ? rateText({ rate: line[`${key}/rate`], low: line[`${key}/low`],
      high: line[`${key}/high`] }) : h('td', { class: 'n' }, '–'));
  const with_ = (policy, key) => DATA.reinforcement[policy]
    .filter((line) => `${key}/rate` in line);
  return table('Success at first and last', [th('Policy'),
    ...['Training tasks, first', 'last', 'Panel, first', 'last', 'Updates',
      'Environment steps'].map((text) => th(text, { class: 'n' }))],
  h('tbody', {}, names.map((policy) => h('tr', {}, name(policy),
    ['success', 'panel'].flatMap((key) => [0, -1].map((place) => cells(
      with_(policy, key).at(place), key))),
    ['step', 'environment_steps'].map((key) => h('td', { class: 'n' },
      whole(DATA.reinforcement[policy].at(-1)[key])))))));
}
