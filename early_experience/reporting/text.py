"""Results as plain text."""

from early_experience.evaluation import panel


def table(results: dict[str, dict]) -> str:
  """Success rates with 95% intervals as aligned text, a policy a line.

  What was set aside stands beside the rates; below them, whether any was, and
  where policies were asked other tasks.
  """
  splits = list(next(iter(results.values()))['splits'])
  lines, asked, aside = [['policy', *splits]], {s: set() for s in splits}, 0
  for name, summary in results.items():
    of = summary['splits']
    lines.append([name, *(panel.told(of[s]['success']) for s in splits)])
    for split in splits:
      asked[split].add(of[split]['panel'])
      aside += of[split]['success']['set_aside']
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  told = [
    '  '.join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
    for line in lines
  ]
  told.append(f'set aside, and counted as not solved: {aside or "none"}')
  told += [
    f'{split}: not all were asked the same tasks, so their rates do not compare'
    for split in splits
    if len(asked[split]) > 1
  ]
  return '\n'.join(told)
