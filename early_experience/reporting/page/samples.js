'use strict';

// Test-time compute: success by how many samples decide.

function samplesSection() {
  const id = 'samples', title = 'Success over samples';
  if (!DATA.samples.length) return null;
  const groups = [...new Set(DATA.samples.map((line) => line.tasks))];
  const label = (line) => line.points.at(-1).evaluation;
  const spec = (tasks) => ({ title: tasks, unit: 'share of tasks',
    by: 'samples of a decision', series: DATA.samples
      .filter((line) => line.tasks === tasks).map((line) => ({
        policy: label(line),
        points: line.points.map((p) => ({ x: p.samples, y: p.rate })) })) });
  return section(id, title, 'Each decision is sampled several times, and the '
    + 'action that most samples chose is taken. Where a policy looks ahead, '
    + 'samples of which it foretells that nothing happens do not vote.',
  h('div', { class: 'charts' }, groups.map((tasks) => chart(spec(tasks))
    .element)),
  table('Success over samples', [th('Evaluation'),
    ...['Samples', 'Temperature'].map((text) => th(text, { class: 'n' })),
    axisHead('Success rate', ['0', '50', '100%']),
    ...['95% interval', 'Solved'].map((text) => th(text, { class: 'n' }))],
  groups.map((tasks) => h('tbody', {}, groupRow(tasks, 6),
    DATA.samples.filter((line) => line.tasks === tasks).flatMap((line) =>
      line.points.map((p) => h('tr', {}, name(p.evaluation),
        h('td', { class: 'n' }, whole(p.samples)),
        h('td', { class: 'n' }, [p.temperature].flat().map(compact)
          .join(', ')),
        rateBar(p, p.evaluation), rateText(p),
        h('td', { class: 'n' }, `${whole(p.count)} of ${whole(p.n)}`))))))));
}
