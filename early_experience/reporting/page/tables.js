'use strict';

// Results with intervals, comparisons, world model, tokens, counts.

// An interval on the axis from `from` to `to`; percentages place it, so it
// stretches with its cell. `ticks` are drawn as faint lines.
function bar(low, value, high, from, to, ticks, tone) {
  const x = (v) => `${(100 * (v - from)) / (to - from)}%`;
  return s('svg', { class: 'bar', height: 18, width: '100%', '--c': tone,
    'aria-hidden': 'true' },
  ticks.map((tick) => s('line', { x1: x(tick), x2: x(tick), y1: 0, y2: 18,
    class: 'tick' })),
  s('line', { x1: x(low), x2: x(high), y1: 9, y2: 9, class: 'reach' }),
  s('circle', { cx: x(value), cy: 9, r: 4, class: 'dot' }));
}

const QUARTERS = [0, 0.25, 0.5, 0.75, 1];

const scale = (labels) => s('svg', { class: 'scale', height: 15,
  width: '100%', 'aria-hidden': 'true' }, labels.map((label, i) => s('text', {
  x: `${(100 * i) / (labels.length - 1)}%`, y: 13, 'text-anchor': 'middle' },
label)));

const axisHead = (title, labels) => th([title, scale(labels)],
  { class: 'drawn' });

const rateBar = (rate, policy) => h('td', { class: 'drawn' },
  bar(rate.low, rate.rate, rate.high, 0, 1, QUARTERS, colour(policy)));

const rateText = (rate) => h('td', { class: 'n' },
  h('strong', {}, percent(rate.rate)),
  h('span', { class: 'soft range' }, range(rate.low, rate.high, 100)));

const groupRow = (text, span, note) => h('tr', { class: 'group' },
  h('th', { colspan: span, scope: 'rowgroup' }, text,
    note && h('span', { class: 'soft' }, note)));

// Who is ahead, in words: before any table.
function conclusionSection() {
  const id = 'conclusion', title = 'Conclusion';
  return section(id, title, null, DATA.conclusions.length
    ? DATA.conclusions.map((text) => h('p', { class: 'conclusion' }, text))
    : absent('No trained policy has been evaluated (stage evaluate).'));
}

// A split, and which half of it where its tasks are not from all of it.
const groupOf = (policy, split) => {
  const which = DATA.results[policy].panel;
  return words(split) + (unknown(which) || which === 'all' ? ' tasks'
    : ` tasks, ${which} panel`);
};

// Evaluations whose rates stand together, in the order of splits.
function groups(names) {
  const splits = [...new Set(names.flatMap(
    (policy) => Object.keys(DATA.results[policy].splits)))];
  return splits.flatMap((split) => {
    const there = names.filter((policy) => DATA.results[policy].splits[split]);
    return [...new Set(there.map((policy) => groupOf(policy, split)))].map(
      (text) => ({ split, text, names: there.filter(
        (policy) => groupOf(policy, split) === text) }));
  });
}

function resultsSection() {
  const names = Object.keys(DATA.results);
  const id = 'results', title = 'Results';
  if (!names.length) {
    return section(id, title, null,
      absent('No policy has been evaluated (stage evaluate).'));
  }
  const head = [th('Policy'), axisHead('Success rate', ['0', '50', '100%']),
    ...['95% interval', 'Solved', 'Set aside', 'Outcomes foreseen',
      'Mean steps', 'Invalid actions'].map((text) => th(text, { class: 'n' }))];
  const row = (policy, of) => h('tr', { 'data-policy': policy },
    name(policy), rateBar(of.success, policy), rateText(of.success),
    h('td', { class: 'n' }, `${whole(of.success.count)} of `
      + whole(of.success.n)),
    h('td', { class: of.success.set_aside ? 'n bad' : 'n' },
      whole(of.success.set_aside)),
    foreseen(DATA.results[policy].world_model),
    h('td', { class: 'n' }, number(of.steps.mean, 1),
      h('span', { class: 'soft range' }, range(of.steps.low, of.steps.high))),
    h('td', { class: 'n' }, percent(of.invalid_rate)));
  const all = groups(names);
  const bodies = all.map((group) => h('tbody', { 'data-split': group.split },
    groupRow(group.text, 8), group.names.map((policy) => row(policy,
      DATA.results[policy].splits[group.split]))));
  return section(id, title,
    'Share of the held-out tasks that were asked which were solved. The bar is '
    + 'the 95% interval (Wilson), the dot the rate itself. What was set aside '
    + 'failed for the environment’s fault, and counts as not solved.',
    table('Success by policy and split', head, bodies),
    notes(names),
    h('details', { class: 'fold' }, h('summary', {}, 'By type of task'),
      all.map(byType)));
}

// The world model beside success: outcomes written word for word.
const foreseen = (world) => h('td', { class: 'n' },
  percent(world && world.exact_match.rate),
  world && h('span', { class: 'soft range' }, range(world.exact_match.low,
    world.exact_match.high, 100)));

// Why tasks are not solved, where it is not what the policy did.
function notes(names) {
  const told = (text, key) => {
    const some = names.flatMap((policy) => Object.entries(
      DATA.results[policy].splits).flatMap(([split, of]) => (of[key]
      ? [`${policy}: ${of[key]} of ${of.tasks} ${words(split)}`] : [])));
    return some.length > 0 && h('p', { class: 'soft note' },
      `${text}, counted as not solved: ${some.join('; ')}.`);
  };
  const aside = names.flatMap((policy) => Object.entries(
    DATA.results[policy].set_aside || {}).map(
    ([reason, count]) => `${policy}: ${count} ${reason}`));
  return [told('Episodes that outgrew the context', 'out_of_context'),
    told('Episodes that ended without an action', 'no_action'),
    aside.length > 0 && h('p', { class: 'soft note' },
      `Tasks set aside, counted as not solved: ${aside.join('; ')}.`)];
}

function byType({ split, text, names: there }) {
  const types = [...new Set(there.flatMap((policy) => Object.keys(
    DATA.results[policy].splits[split].by_type)))].sort();
  const cell = (policy, rate) => [
    rate ? rateBar(rate, policy) : h('td'),
    rate ? rateText(rate) : h('td', { class: 'n' }, '–'),
    h('td', { class: 'n' }, rate ? `${rate.count} of ${rate.n}` : ''),
    h('td', { class: 'n' }, rate ? whole(rate.set_aside) : '')];
  return table(`Success by type of task, ${text}`,
    [th(text), axisHead('Success rate',
      ['0', '50', '100%']), th('95% interval', { class: 'n' }),
    th('Solved', { class: 'n' }), th('Set aside', { class: 'n' })],
    types.map((type) => h('tbody', {}, groupRow(words(type), 5),
      there.map((policy) => h('tr', {}, name(policy), cell(policy,
        DATA.results[policy].splits[split].by_type[type]))))));
}

function pairedSection() {
  const id = 'paired', title = 'Paired comparisons';
  if (!DATA.paired.length) {
    return section(id, title, null, absent('There are no two policies that '
      + 'were evaluated on one split.'));
  }
  const names = Object.keys(DATA.results);
  const body = h('div');
  const choose = h('select', { id: 'reference', onchange: draw },
    names.map((policy) => h('option', {}, policy)));
  choose.value = names.includes('imitation') ? 'imitation' : names[0];
  function draw() {
    body.replaceChildren(pairedTable(choose.value));
  }
  draw();
  return section(id, title,
    'Difference in success on the very same tasks, in points, with its 95% '
    + 'interval (Newcombe) and the exact McNemar p of the tasks that only '
    + 'one of the two solved. What was set aside counts as not solved.',
    h('p', { class: 'controls' }, h('label', { for: 'reference' },
      'Compared with'), choose), body);
}

function pairedTable(reference) {
  const rows = DATA.paired.flatMap((pair) => {
    if (pair.b === reference) return [{ ...pair, other: pair.a }];
    if (pair.a !== reference) return [];
    return [{ ...pair, other: pair.b, difference: -pair.difference,
      low: -pair.high, high: -pair.low, only_a: pair.only_b,
      only_b: pair.only_a }];
  });
  const same = rows.filter((row) => row.same);
  const splits = [...new Set(same.map((row) => row.split))];
  const others = rows.filter((row) => !row.same).map((row) => h('p',
    { class: 'soft note' }, `${row.other} and ${reference} were not asked the `
    + `same ${words(row.split)} tasks: they are not comparable.`));
  if (!same.length) return h('div', {}, others);
  const ticks = [-1, -0.5, 0, 0.5, 1];
  return h('div', {}, table(`Paired comparison with ${reference}`,
    [th('Policy'), axisHead(`Minus ${reference}`, ['−100', '0', '+100']),
      th('Difference, 95%', { class: 'n' }),
      th('Only it solved', { class: 'n' }),
      th(`Only ${reference}`, { class: 'n' }),
      th('Tasks', { class: 'n' }), th('p', { class: 'n' })],
    splits.map((split) => h('tbody', {}, groupRow(`${words(split)} tasks`, 7),
      same.filter((row) => row.split === split).map((row) => h('tr', {},
        name(row.other),
        h('td', { class: 'drawn zero' }, bar(row.low, row.difference, row.high,
          -1, 1, ticks, colour(row.other))),
        h('td', { class: 'n' },
          h('strong', {}, signed(100 * row.difference)),
          h('span', { class: 'soft range' }, range(row.low, row.high, 100))),
        h('td', { class: 'n' }, whole(row.only_a)),
        h('td', { class: 'n' }, whole(row.only_b)),
        h('td', { class: 'n' }, whole(row.n)),
        h('td', { class: 'n' }, pvalue(row.p))))))), others);
}

function worldSection() {
  const rows = Object.entries(DATA.results)
    .filter(([, summary]) => summary.world_model);
  const id = 'world', title = 'World model';
  if (!rows.length) {
    return section(id, title, null, absent('No policy was asked to predict '
      + 'observations (config.evaluate.world_model_states).'));
  }
  return section(id, title, 'How well each policy foresees what held-out '
    + 'actions lead to: the observation written word for word, and its '
    + 'negative log likelihood. Who always foretells the commonest outcome is '
    + 'right as often as that occurs.',
  table('World model', [th('Policy'),
    axisHead('Exact match', ['0', '50', '100%']),
    th('95% interval', { class: 'n' }), th('Matches', { class: 'n' }),
    th('Commonest outcome', { class: 'n' }),
    th('Too long to read', { class: 'n' }), th('Nats per token', { class: 'n' }), th('Tokens', { class: 'n' })],
  h('tbody', {}, rows.map(([policy, { world_model: world }]) => h('tr', {},
    name(policy), rateBar(world.exact_match, policy),
    rateText(world.exact_match),
    h('td', { class: 'n' }, `${whole(world.exact_match.count)} of `
      + whole(world.exact_match.n)),
    h('td', { class: 'n' }, whole(world.exact_match.commonest)),
    h('td', { class: 'n' }, whole(world.exact_match.too_long)),
    h('td', { class: 'n' }, number(world.nll, 3)),
    h('td', { class: 'n' }, whole(world.tokens)))))));
}

function tokensSection() {
  const id = 'tokens', title = 'Tokens';
  if (!DATA.tokens) {
    return section(id, title, null,
      absent('No rows have been prepared (stage prepare).'));
  }
  const { rows, tokenizer } = DATA.tokens;
  const sets = Object.entries(rows);
  const most = Math.max(1, ...sets.map(([, row]) => row.flat_tokens));
  const length = (tokens, kind) => h('div', { class: `length ${kind}`,
    '--w': `${(100 * tokens) / most}%` });
  const set = (key, row) => h('th', { scope: 'row' }, key,
    h('span', { class: 'soft range' }, row.layout));
  const n = (...content) => h('td', { class: 'n' }, content);
  const head = (text) => th(text, { class: 'n' });
  return section(id, title, 'The same supervision written as flat rows, one '
    + 'for each example, and as trees that hold a shared prefix once. '
    + `Tokenizer: ${plural(tokenizer.vocab_size, 'piece')}, ${tokenizer.hash}.`,
  table('Flat and tree tokens', [th('Rows'), th([
    h('span', { class: 'key flat-key' }, 'flat'),
    h('span', { class: 'key tree-key' }, 'tree')], { class: 'drawn' }),
  head('Flat tokens'), head('Tree tokens'), head('Flat / tree')],
  h('tbody', {}, sets.map(([key, row]) => h('tr', {}, set(key, row),
    h('td', { class: 'drawn' }, length(row.flat_tokens, 'flat'),
      length(row.tree_tokens, 'tree')), n(whole(row.flat_tokens)),
    n(whole(row.tree_tokens)),
    n(h('strong', {}, `${number(row.ratio, 2)}×`)))))),
  table('Rows and scored tokens', [th('Rows'), head('Rows × length'),
    head('Windows'), head('Dropped'),
    DATA.objectives.map((o) => head(`Scored: ${words(o)}`))],
  h('tbody', {}, sets.map(([key, row]) => h('tr', {}, set(key, row),
    n(`${whole(row.rows)} × ${whole(row.row_tokens)}`), n(whole(row.windows)),
    n(whole(row.dropped)), DATA.objectives.map((o) => n(
      row.scored && row.scored[o] ? whole(row.scored[o]) : '–')))))));
}
