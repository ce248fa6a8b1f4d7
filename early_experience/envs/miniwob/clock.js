// Runs before a page's own scripts: its time is ours, and stands still between
// actions. So animations and timers are the same in every run.
(() => {
  const RealDate = Date;
  let now = RealDate.UTC(2020, 5, 15, 12), next = 1;
  const timers = new Map();
  const add = (fn, delay, every, args) => {
    if (typeof fn !== 'function') return 0;
    delay = Math.max(1, +delay || 0);
    timers.set(next, {due: now + delay, every: every ? delay : 0, fn, args});
    return next++;
  };
  window.setTimeout = (fn, ms, ...args) => add(fn, ms, false, args);
  window.setInterval = (fn, ms, ...args) => add(fn, ms, true, args);
  window.requestAnimationFrame = fn => add(() => fn(performance.now()), 16);
  window.clearTimeout = window.clearInterval = window.cancelAnimationFrame =
      id => { timers.delete(id); };
  const start = now;
  performance.now = () => now - start;
  window.Date = new Proxy(RealDate, {
    construct: (kind, args, target) =>
        Reflect.construct(kind, args.length ? args : [now], target),
    apply: () => new RealDate(now).toString(),
    get: (kind, key) => key === 'now' ? () => now : kind[key],
  });
  window.advanceClock = ms => {
    const end = now + ms;
    for (;;) {
      let first = null;
      for (const [id, timer] of timers)
        if (timer.due <= end && (!first || timer.due < first[1].due))
          first = [id, timer];
      if (!first) break;
      const [id, timer] = first;
      now = timer.due;
      if (timer.every) timer.due += timer.every; else timers.delete(id);
      try { timer.fn(...(timer.args || [])); } catch (e) { console.error(e); }
    }
    now = end;
  };
})();
