'use strict';

// Puts the page together.

// Nested settings and counts, whatever their keys.
function facts(value) {
  if (unknown(value)) return '–';
  if (value === null || typeof value !== 'object') {
    return typeof value === 'number' ? compact(value) : String(value);
  }
  const entries = Object.entries(value);
  if (!entries.length) return '–';
  if (Array.isArray(value) && value.every((v) => typeof v !== 'object')) {
    return value.map(facts).join(', ');
  }
  return h('dl', {}, entries.map(([key, item]) => {
    const inner = facts(item);
    return h('div', { class: inner instanceof Node ? 'nest' : null },
      h('dt', {}, words(key)), h('dd', {}, inner));
  }));
}

const STATES = { done: null, unfinished: 'begun, not finished',
  absent: 'has not been run' };

// A stage that makes experience, in which workdir ever; and one that trains.
const MAKES = /^((?:[^/]+\/)*)(collect|explore|summarise|reflect)$/;
const TRAINS = /^((?:[^/]+\/)*)train\//;

function countsSection() {
  return section('counts', 'Experience counts', null,
    h('div', { class: 'cards' }, Object.keys(DATA.stages)
      .filter((stage) => MAKES.test(stage)).map((stage) => {
        const { state: how, summary } = DATA.stages[stage];
        return h('div', { class: 'card', 'data-stage': stage },
          h('h3', {}, stage),
          how === 'done' ? facts(summary) : absent(STATES[how]));
      })));
}

// Nested settings as rows `a.b.c value`. A stage records those of the stages
// before it too; these are not told twice.
function flatten(value, prefix = '') {
  return Object.entries(value).flatMap(([key, item]) => {
    const nested = item !== null && typeof item === 'object'
      && Object.values(item).some((each) => !Array.isArray(item)
        || (each !== null && typeof each === 'object'));
    if (!nested) return [[prefix + key, item]];
    const text = JSON.stringify(item);
    const told = Object.entries(DATA.stages).find(
      ([, it]) => JSON.stringify(it.settings) === text);
    return told ? [[prefix + key, `those of ${told[0]}`]]
      : flatten(item, `${prefix}${key}.`);
  });
}

function plainly(value) {
  if (unknown(value)) return '–';
  if (Array.isArray(value) && value.length) return value.map(plainly).join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

const settingsList = (value) => h('dl', { class: 'settings' },
  flatten(value).map(([key, item]) => h('div', {}, h('dt', {}, key),
    h('dd', {}, plainly(item)))));

function settingsSection() {
  return section('settings', 'Settings', 'What each stage was begun with.',
    Object.entries(DATA.stages).filter(([stage]) => !baseline(
      stage.replace(TRAINS, '$1'))).map(([stage, it]) => (it.state === 'absent'
      ? h('p', { class: 'fold none' }, `${stage} `,
        h('span', { class: 'absent' }, STATES.absent))
      : h('details', { class: 'fold' }, h('summary', {}, stage,
        it.state !== 'done' && h('span', { class: 'absent' },
          ` ${STATES[it.state]}`)),
      it.settings ? settingsList(it.settings) : absent('none recorded'),
      TRAINS.test(stage) && it.summary && [
        h('p', { class: 'soft' }, 'When it was done:'),
        settingsList(it.summary)]))));
}

function header() {
  const trees = DATA.trees;
  const evaluated = Object.values(DATA.results);
  const tasks = evaluated.length ? Object.entries(evaluated.at(-1).splits).map(
    ([split, of]) => `${whole(of.tasks)} ${words(split)}`).join(', ') : null;
  const items = [['Environment', DATA.environment],
    ['Trajectories', trees && whole(trees.total)],
    ['Held-out tasks', tasks],
    ['Policies', DATA.policies.join(', ')], ['Seed', String(DATA.seed)]];
  return [h('p', { class: 'over' }, 'Agent learning via early experience'),
    h('h1', {}, DATA.workdir),
    h('p', { class: 'source' }, DATA.sources.length
      ? DATA.sources.join('; ')
      : 'No stage has recorded its environment yet.'),
    h('dl', { class: 'strip' }, items.filter(([, value]) => value).map(
      ([key, value]) => h('div', {}, h('dt', {}, key), h('dd', {}, value))))];
}

function say(problem) {
  const box = document.getElementById('problem');
  box.hidden = false;
  box.textContent = `This page could not be drawn: ${problem}`;
}

function page() {
  const block = document.getElementById('data');
  if (!block) throw new Error('its data block (#data) is missing');
  DATA = JSON.parse(block.textContent);
  for (const key of ['conclusions', 'results', 'paired', 'curves', 'ends',
    'reinforcement', 'samples', 'rounds', 'chain',
    'tokens', 'trees', 'rollouts',
    'stages', 'policies', 'objectives']) {
    if (!(key in DATA)) throw new Error(`its data has no "${key}"`);
  }
  document.getElementById('top').append(...header());
  const sections = [conclusionSection(), resultsSection(), pairedSection(),
    chainSection(), roundsSection(), samplesSection(), worldSection(), curvesSection(),
    reinforcementSection(), tokensSection(), countsSection(), treesSection(),
    rolloutsSection(), settingsSection()]
    .filter(Boolean);
  document.getElementById('nav').append(...sections.map((each) => h('a', {
    href: `#${each.id}` }, each.querySelector('h2').textContent)));
  document.getElementById('main').append(...sections);
}

window.addEventListener('error', (event) => say(event.message));
try {
  page();
} catch (error) {
  say(error.message);
  throw error;
}
