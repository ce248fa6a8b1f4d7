'use strict';

// Rounds: success of each policy that proposed for the next one.

function roundsSection() {
  const id = 'rounds', title = 'Success over rounds';
  if (!DATA.rounds.length) return null;
  const splits = [...new Set(DATA.rounds.map((line) => line.split))];
  const of = (split) => DATA.rounds.filter((line) => line.split === split);
  const spec = (split) => ({ title: `${words(split)} tasks`,
    unit: 'share of tasks', by: 'rounds', series: [{
      policy: of(split)[0].evaluation,
      points: of(split).map((p) => ({ x: p.round, y: p.rate })) }] });
  const count = (value) => h('td', { class: 'n' }, whole(value));
  return section(id, title, 'The policy of a round proposed what the next one '
    + 'tried, also in states that it reached itself, for which the expert was '
    + 'asked. What was explored stays; each policy is trained from the same '
    + 'start, on all of it. All played the same tasks, and are asked to foresee '
    + 'the same outcomes: those of the first round.',
  h('div', { class: 'charts' }, splits.map((split) => chart(spec(split))
    .element)),
  table('Success over rounds', [th('Evaluation'),
    axisHead('Success rate', ['0', '50', '100%']),
    ...['95% interval', 'Solved', 'Trajectories', 'Expert’s own states',
      'States it was asked for', 'Branches'].map((text) => th(text,
      { class: 'n' }))],
  splits.map((split) => h('tbody', {}, groupRow(`${words(split)} tasks`, 8),
    of(split).map((p) => h('tr', {}, name(p.evaluation),
      rateBar(p, p.evaluation), rateText(p),
      h('td', { class: 'n' }, `${whole(p.count)} of ${whole(p.n)}`),
      count(p.trajectories), count(p.states), count(p.asked),
      count(p.branches)))))));
}
