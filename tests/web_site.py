"""A shop of three static pages: a fixture made for tests, not the benchmark.

BrowserGym plays it through the same adapter as WebArena, in the Chromium that
is installed here.
"""

import contextlib
import functools
import http.server
import json
import pathlib
import shutil
import threading
from collections.abc import Iterator

from early_experience.envs.webarena import WebArena, original

PAGES = {
  'index.html': """<title>Shop</title><h1>Fixture shop</h1>
    <a href="lamps.html">Lamps</a> <a href="boats.html">Boats</a>
    <form action="found.html"><input name="q" aria-label="Search">
      <select name="in" aria-label="Section">
        <option>All</option><option>Lamps</option></select>
      <button>Go</button></form>""",
  'lamps.html': """<title>Lamps</title><h1>Lamps</h1>
    <div id="more" onclick="price.hidden = false">Show the price</div>
    <p id="price" hidden>17 coins</p>
    <button onclick="window.open('boats.html')">New tab</button>""",
  'boats.html': '<title>Boats</title><h1>Boats</h1><button disabled>x</button>',
  'found.html': '<title>Found</title><h1>Nothing found</h1>',
}


class FixtureArena(WebArena):
  """The adapter with the fixture's tasks in place of the servers'."""

  def __init__(
    self, *, site: str = '', data: str = '', demonstrations: str = ''
  ):
    self._site = site
    super().__init__(data=data, demonstrations=demonstrations)
    self.source = 'fixture made for tests, not the benchmark'

  def prepare(self):
    pass

  def entry(self, row):
    from browsergym.core.task import AbstractBrowserTask

    site = self._site

    class FixtureTask(AbstractBrowserTask):
      def __init__(self, seed):
        super().__init__(seed)
        self.slow_mo, self.timeout = 0, 2000

      def setup(self, page):
        page.goto(f'{site}/index.html')
        return row['intent'], {}

      def validate(self, page, chat_messages):
        last = chat_messages[-1]
        if 'url' in row:
          here = page.url.endswith(row['url'])
          return float(here), here, '', {}
        if last['role'] != 'assistant' or len(chat_messages) < 3:
          return 0.0, False, '', {}
        return float(row['answer'] in last['message']), True, '', {}

    return FixtureTask


def write_tasks(folder: pathlib.Path) -> None:
  """Task files of the official shape: three tasks to train on, two to test."""
  rows = [
    _row(0, 10, intent='What does the lamp cost?', answer='17'),
    _row(1, 11, intent='Search for rope in Lamps.', url='q=rope&in=Lamps'),
    _row(2, 10, intent='How many coins is the lamp?', answer='17'),
    _row(3, 11, intent='Search for tea.', url='q=tea&in=All'),
    _row(4, 12, intent='Show me the boats.', url='boats.html'),
  ]
  lite = [
    {**row, 'task_id': number, 'old_task_id': original(row)}
    for number, row in enumerate(rows[3:])
  ]
  (folder / 'test.raw.json').write_text(json.dumps(rows))
  (folder / 'test_webarena_lite.raw.json').write_text(json.dumps(lite))


def _row(number, template, **task):
  return {
    'task_id': number,
    'sites': ['shopping'],
    'intent_template_id': template,
    **task,
  }


@contextlib.contextmanager
def serve(folder: pathlib.Path) -> Iterator[str]:
  """Serves the shop; yields its address."""
  for name, text in PAGES.items():
    (folder / name).write_text(f'<!doctype html><html lang="en">{text}')
  handler = functools.partial(_Quiet, directory=folder)
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *args):
    pass


def playwright_browsers(folder: pathlib.Path) -> None:
  """A folder for $PLAYWRIGHT_BROWSERS_PATH that has the Chromium found here.

  Playwright wants the one that it downloads, and looks for it by revision.
  """
  import playwright

  driver = pathlib.Path(playwright.__file__).parent / 'driver' / 'package'
  browsers = json.loads((driver / 'browsers.json').read_text())['browsers']
  chromium = next(b for b in browsers if b['name'] == 'chromium')
  bin_folder = folder / f'chromium-{chromium["revision"]}' / 'chrome-linux'
  bin_folder.mkdir(parents=True)
  (bin_folder / 'chrome').symlink_to(shutil.which('chromium'))
