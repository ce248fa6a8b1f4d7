'use strict';

// Experience trees and rollouts, one at a time, chosen from a list.

// A list of buttons beside what the chosen one shows. `show` returns elements.
function chooser(label, items, entry, show, start = 0) {
  const detail = h('div', { class: 'detail' });
  const buttons = items.map((item, index) => h('button', { type: 'button',
    onclick: () => choose(index) }, entry(item)));
  function choose(index) {
    buttons.forEach((button, i) => button.setAttribute('aria-pressed',
      String(i === index)));
    detail.replaceChildren(...[show(items[index])].flat(Infinity));
  }
  choose(start);
  return h('div', { class: 'chooser' }, h('div', { class: 'list',
    role: 'group', 'aria-label': label }, buttons), detail);
}

function treesSection() {
  const id = 'trees', title = 'Experience trees';
  const trees = DATA.trees;
  if (!trees) {
    return section(id, title, null,
      absent('No trajectories have been collected (stage collect).'));
  }
  const missing = trees.stage === 'collect' ? 'Branches and rationales are '
    + 'absent: explore and reflect have not run.'
    : trees.stage !== 'reflect' && 'Rationales are absent: reflect has not run.';
  const part = trees.sample.length < trees.total
    ? `${whole(trees.sample.length)} of ${plural(trees.total, 'trajectory')
      .replace('trajectorys', 'trajectories')}, drawn with seed ${DATA.seed}.`
    : `All ${whole(trees.total)} trajectories.`;
  const branches = (t) => t.steps.reduce(
    (sum, step) => sum + step.alternatives.length, 0);
  return section(id, title, [`${part} The trunk is what the expert did, or `
    + 'a policy for which it was asked; the branches are what other actions led '
    + 'to in the same state.',
  missing && h('span', { class: 'absent' }, ` ${missing}`)],
  chooser('Trajectories', trees.sample, (t) => [
    h('span', { class: 'instruction' }, t.instruction),
    h('span', { class: 'soft' }, `${words(t.task_type)} · `
      + `${plural(t.steps.length, 'step')} · `
      + `${whole(branches(t))} branches`)], tree));
}

function tree(t) {
  const trunk = h('ol', { class: 'trunk' }, t.steps.map(state),
    h('li', { class: 'state last' }, h('p', { class: 'observation' },
      t.final_observation),
    h('p', {}, mark(t.success), ` score ${number(t.score)}`)));
  const all = h('button', { type: 'button', class: 'plain', onclick: () => {
    const folds = [...trunk.querySelectorAll('details')];
    const open = folds.some((fold) => !fold.open);
    folds.forEach((fold) => { fold.open = open; });
    all.textContent = open ? 'close all branches' : 'open all branches';
  } }, 'open all branches');
  const any = t.steps.some((step) => step.alternatives.length);
  return [h('h3', {}, t.instruction),
    h('p', { class: 'soft meta' }, `${t.task_id} · ${t.split} · expert: ${t.expert}`,
      any && [' · ', all]), trunk];
}

function state(step) {
  return h('li', { class: 'state' },
    h('p', { class: 'observation' }, step.observation),
    step.thought && h('p', { class: 'thought' }, step.thought),
    step.rationales.map((rationale) => h('blockquote', {},
      h('p', {}, rationale.text),
      h('footer', {}, `rationale by ${rationale.writer}, weighing `,
        rationale.compared.map((action, i) => [i ? ', ' : '',
          h('code', {}, action)])))),
    h('p', { class: 'act' }, h('span', { class: 'tag' },
      unknown(step.advice) ? 'expert' : 'policy'), h('code', {}, step.action),
      !unknown(step.advice) && [' ', h('span', { class: 'tag' }, 'expert'),
        h('code', {}, step.advice)],
      !unknown(step.admissible) && h('span', { class: 'soft' },
        ` one of ${step.admissible} admissible`)),
    inShort(step.summary),
    step.alternatives.length > 0 && branchFold(step.alternatives));
}

function branchFold(alternatives) {
  const invalid = alternatives.filter((a) => !a.valid).length;
  return h('details', { class: 'branches' },
    h('summary', {}, plural(alternatives.length, 'alternative'),
      invalid > 0 && h('span', { class: 'bad' }, ` · ${invalid} invalid`)),
    h('ul', {}, alternatives.map((a) => h('li', { class: 'branch' },
      h('div', {}, h('code', {}, a.action),
        !a.valid && h('span', { class: 'tag bad' }, 'invalid'),
        a.done && h('span', { class: 'tag' }, 'ends the episode'),
        h('span', { class: 'soft' }, ` proposed by ${a.proposer}`)),
      h('p', { class: 'outcome' }, a.observation), inShort(a.summary)))));
}

// What `summarise` made of an outcome.
const inShort = (summary) => summary && h('p', { class: 'soft' },
  `in short: ${summary}`);

const mark = (success) => h('span', { class: success ? 'good' : 'bad' },
  success ? '✓ solved' : '✗ failed');

function rolloutsSection() {
  const id = 'rollouts', title = 'Rollouts';
  const names = Object.keys(DATA.rollouts).filter(
    (policy) => Object.keys(DATA.rollouts[policy]).length);
  if (!names.length) {
    return section(id, title, null,
      absent('No policy has been evaluated (stage evaluate).'));
  }
  const splits = [...new Set(names.flatMap(
    (policy) => Object.keys(DATA.rollouts[policy])))];
  const chosen = { policy: names.at(-1), split: splits[0], task: null };
  const body = h('div');
  const of = (policy) => DATA.rollouts[policy][chosen.split];
  const draw = () => {
    const some = of(chosen.policy);
    body.replaceChildren(...(some ? [h('p', { class: 'soft' },
      some.sample.length < some.total
        ? `${some.sample.length} of ${plural(some.total, 'rollout')}, drawn `
          + `with seed ${DATA.seed}; the same tasks for every policy.`
        : `All ${plural(some.total, 'rollout')}.`),
    chooser('Tasks', some.sample, (r) => [
      h('span', { class: 'instruction' }, r.instruction),
      h('span', { class: 'soft' }, mark(r.success),
        ` · ${plural(r.steps.length, 'step')} · ${words(r.task_type)}`)],
    (r) => {
      chosen.task = r.task_id;
      return [rolloutHead(r), onThisTask(r), walk(r)];
    }, Math.max(0, some.sample.findIndex(
      (r) => r.task_id === chosen.task)))]
      : [absent(`${chosen.policy} was not evaluated on ${chosen.split}.`)]));
  };
  const onThisTask = (r) => h('p', { class: 'controls legend' },
    names.flatMap((policy) => {
      const same = of(policy) && of(policy).sample.find(
        (other) => other.task_id === r.task_id);
      return same ? [h('button', { type: 'button', class: 'tab',
        'aria-pressed': String(policy === chosen.policy), onclick: () => {
          chosen.policy = policy;
          select.policy.value = policy;
          draw();
        } }, h('span', { class: 'swatch', '--c': colour(policy) }),
      `${policy} `, mark(same.success))] : [];
    }));
  const select = {};
  const selector = (key, values) => h('label', {}, key,
    select[key] = h('select', { 'data-choose': key, onchange: (event) => {
      chosen[key] = event.target.value;
      draw();
    } }, values.map((value) => h('option', { selected:
      value === chosen[key] }, value))));
  draw();
  return section(id, title, 'What a policy did, step by step. Click a step, '
    + 'or walk with the arrow keys.',
  h('p', { class: 'controls' }, selector('policy', names),
    selector('split', splits)), body);
}

const rolloutHead = (r) => [h('h3', {}, r.instruction),
  h('p', { class: 'soft meta' }, `${r.task_id} · ${words(r.task_type)}`)];

// The steps as a list of actions; the current one shows what stood before it
// and what came of it.
function walk(r) {
  const outcome = (i) => (i + 1 < r.steps.length ? r.steps[i + 1].observation
    : r.final_observation);
  let current = 0;
  const rows = r.steps.map((step, i) => {
    const more = h('div', { class: 'more', id: `step-${i}`, hidden: true },
      h('dl', {}, [['saw', 'observation', step.observation],
        ['thought', 'thought', step.thought],
        ['then', 'observation', outcome(i)]].filter(([, , text]) => text)
        .map(([what, kind, text]) => [h('dt', {}, what),
          h('dd', { class: kind }, text)])));
    const button = h('button', { type: 'button', 'aria-controls': `step-${i}`,
      onclick: () => go(i) }, h('span', { class: 'at' }, i + 1),
    h('code', {}, step.action),
    !step.valid && h('span', { class: 'tag bad' }, 'invalid'),
    h('span', { class: 'soft preview' }, outcome(i)));
    return { button, more };
  });
  const place = h('span', { class: 'soft' });
  function go(i, focus) {
    current = Math.max(0, Math.min(rows.length - 1, i));
    rows.forEach((row, j) => {
      row.more.hidden = j !== current;
      row.button.setAttribute('aria-expanded', String(j === current));
    });
    place.textContent = `step ${current + 1} of ${rows.length}`;
    if (focus) rows[current].button.focus();
  }
  if (rows.length) go(0);
  const keys = (event) => {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
    if (!by[event.key]) return;
    event.preventDefault();
    go(current + by[event.key], true);
  };
  return h('div', { class: 'walk' }, h('p', { class: 'controls' },
    h('button', { type: 'button', onclick: () => go(current - 1) },
      'previous'),
    h('button', { type: 'button', onclick: () => go(current + 1) }, 'next'),
    place), h('ol', { onkeydown: keys }, rows.map((row) => h('li', {},
    row.button, row.more))), h('p', { class: 'end' }, mark(r.success),
    !r.success && r.end && h('span', { class: 'soft' }, ` ${words(r.end)}`)));
}
