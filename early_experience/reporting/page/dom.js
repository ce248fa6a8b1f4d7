'use strict';

// Elements and numbers as text. Data reaches the page through text nodes and
// attributes alone, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('--')) element.style.setProperty(key, value);
    else if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child);
    }
  }
  return element;
}

const h = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

const s = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const unknown = (value) => value === null || value === undefined;

function number(value, digits = 2) {
  if (unknown(value)) return '–';
  return value.toLocaleString('en', {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
}

const whole = (value) => number(value, 0);

const percent = (value, digits = 1) =>
  unknown(value) ? '–' : `${number(100 * value, digits)}%`;

function range(low, high, scale = 1, digits = 1) {
  if (unknown(low) || unknown(high)) return '';
  const text = (value) =>
    number(scale * value, digits).replace('-', '−');
  return `${text(low)} to ${text(high)}`;
}

function signed(value, digits = 1) {
  const text = number(Math.abs(value), digits);
  return Number(text) === 0 ? text : (value < 0 ? '−' : '+') + text;
}

const pvalue = (p) => (p < 0.001 ? '< 0.001' : number(p, 3));

// A short form for axes and unknown summaries: 1,200 / 0.03 / 3e-5. Whole
// numbers stay as they are: they are counts.
function compact(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return whole(value);
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-3) {
    return value.toExponential(1).replace('.0e', 'e').replace('e+', 'e');
  }
  return value.toLocaleString('en', { maximumSignificantDigits: 4 });
}

const words = (key) => String(key).replaceAll('_', ' ');

const plural = (n, unit) => `${whole(n)} ${unit}${n === 1 ? '' : 's'}`;

function section(id, title, lead, ...children) {
  return h('section', { id, 'aria-labelledby': `${id}-title` },
    h('h2', { id: `${id}-title` }, title),
    lead && h('p', { class: 'lead' }, lead), ...children);
}

const absent = (text) => h('p', { class: 'absent' }, text);

// A table whose overflow scrolls by itself, by keyboard too.
function table(label, head, ...bodies) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region',
    'aria-label': label },
  h('table', {}, h('thead', {}, h('tr', {}, head)), bodies));
}

const th = (text, attributes) => h('th', { scope: 'col', ...attributes }, text);

const name = (policy) => h('th', { scope: 'row', class: 'policy' },
  h('span', { class: 'swatch', '--c': colour(policy), 'aria-hidden': 'true' }),
  policy);

let DATA = null;

// A policy that was never trained.
const baseline = (policy) => Boolean(DATA.results[policy])
  && !['trained', 'rl'].includes(DATA.results[policy].policy);

// Baselines are grey; trained policies take the palette in order.
function colour(policy) {
  const group = DATA.policies.filter((p) => baseline(p) === baseline(policy));
  const index = group.indexOf(policy);
  return baseline(policy) ? `var(--grey${index % 2})` : `var(--hue${index % 7})`;
}
