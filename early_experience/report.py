"""Writes WORKDIR/report/index.html: one page that needs no network.

The page is written anew each time, from whatever stages have run by then.
"""

import base64
import hashlib
import html
import json
import math
import pathlib
import string

from ml_collections import ConfigDict

from early_experience.config import checked
from early_experience.reporting import report_data
from early_experience.runtime import cli, files

PAGE = pathlib.Path(report_data.__file__).parent / 'page'
SCRIPTS = (
  'dom.js',
  'tables.js',
  'curves.js',
  'reinforcement.js',
  'samples.js',
  'rounds.js',
  'chain.js',
  'explorer.js',
  'page.js',
)


@checked
def report(config: ConfigDict, workdir: str) -> dict:
  """Gathers the workdir and writes its page.

  Returns:
    `path` of the page and its size in `bytes`.

  Raises:
    UserError: the workdir does not exist or holds a damaged file.
  """
  data = report_data.gather(workdir, config.seed)
  page = render(data)
  path = pathlib.Path(workdir) / 'report' / 'index.html'
  files.write_atomic(path, page)
  size = len(page.encode())
  print(
    f'report: {len(data["results"])} policies evaluated;'
    f' {path} ({size / 1e6:.1f} MB)'
  )
  return {'path': str(path), 'bytes': size}


def render(data: dict) -> str:
  """The whole page as text.

  Nothing in `data` is ever parsed as HTML: it stands in a JSON block in which
  no `<` is left, and the scripts put it on the page as text alone. The page's
  policy admits its own script and style by their hashes and nothing else.

  Args:
    data: as `report_data.gather` returns it.
  """
  style = (PAGE / 'page.css').read_text(encoding='utf-8')
  script = '\n'.join(
    (PAGE / name).read_text(encoding='utf-8') for name in SCRIPTS
  )
  title = f'{data["workdir"]} · early experience'
  return string.Template(
    (PAGE / 'page.html').read_text(encoding='utf-8')
  ).substitute(
    title=html.escape(title),
    style=style,
    style_hash=_hash(style),
    script=script,
    script_hash=_hash(script),
    data=_json(data),
  )


def _json(value):
  text = json.dumps(_finite(value), ensure_ascii=False, separators=(',', ':'))
  return text.replace('<', '\\u003c')


def _finite(value):
  """JSON has no NaN and no infinity; the page shows them as unknown."""
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  if isinstance(value, dict):
    return {str(key): _finite(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [_finite(item) for item in value]
  return value


def _hash(text):
  digest = hashlib.sha256(text.encode()).digest()
  return f'sha256-{base64.b64encode(digest).decode()}'


if __name__ == '__main__':
  cli.run(report)
