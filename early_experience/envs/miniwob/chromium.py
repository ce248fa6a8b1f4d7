"""Starts Chromium and its driver, and sees to it that both end."""

import importlib.resources
import os
import shutil
import subprocess
import tempfile
import typing
import weakref

from early_experience.runtime.errors import UserError

if typing.TYPE_CHECKING:
  from selenium.webdriver import Chrome

_FLAGS = (
  'headless=new',
  'no-sandbox',  # Chromium refuses to run as root with it
  'disable-gpu',
  'disable-dev-shm-usage',
  'host-resolver-rules=MAP * ~NOTFOUND',  # nothing is asked of any network
  'disable-background-networking',
  'disable-component-update',
  'disable-sync',
  'no-first-run',
  'lang=en-US',
  'window-size=800,800',
)


def binaries() -> tuple[str, str]:
  """Paths of Chromium and its driver.

  $MINIWOB_CHROME_BINARY and $MINIWOB_CHROMEDRIVER name others than those on
  the path.

  Raises:
    UserError: one is missing.
  """
  found = []
  for variable, names in (
    ('MINIWOB_CHROME_BINARY', ('chromium', 'google-chrome')),
    ('MINIWOB_CHROMEDRIVER', ('chromedriver',)),
  ):
    given = os.environ.get(variable)
    paths = map(shutil.which, [given] if given else names)
    path = next(filter(None, paths), None)
    if path is None:
      raise UserError(
        f'environment miniwob: no {given or names[0]} to run; apt-get install'
        f' chromium chromium-driver, or set {variable}'
      )
    found.append(path)
  return tuple(found)


def start(
  owner: object, chromium: str, driver: str
) -> tuple['Chrome', weakref.finalize]:
  """Starts a browser without a window.

  Args:
    owner: the browser does not outlive it.
    chromium: path of the browser.
    driver: and of its driver.

  Returns:
    What drives it, and a function that ends it. It ends at the latest when
    this process does, however that happens.
  """
  from selenium import webdriver
  from selenium.webdriver.chrome.service import Service

  options = webdriver.ChromeOptions()
  options.binary_location = chromium
  for flag in _FLAGS:
    options.add_argument(f'--{flag}')
  options.unhandled_prompt_behavior = 'accept'
  folder = tempfile.mkdtemp(prefix='ee-')  # short, as names of sockets must be
  undertaker = _undertaker(folder)
  service = Service(driver, env={**os.environ, 'TZ': 'UTC', 'TMPDIR': folder})
  end = weakref.finalize(owner, _end, undertaker, service)
  try:
    chrome = webdriver.Chrome(service=service, options=options)
  except BaseException:
    end()
    raise
  chrome.set_page_load_timeout(60)
  chrome.set_script_timeout(30)
  clock = importlib.resources.files(__package__).joinpath('clock.js')
  chrome.execute_cdp_cmd(
    'Page.addScriptToEvaluateOnNewDocument',
    {'source': clock.read_text(encoding='utf-8')},
  )
  return chrome, end


# Whoever was given the folder, and what it holds. Children of Chromium end with
# it, and may write until then.
_BURY = """read _
for again in 1 2 3 4 5 6 7 8 9; do
  for file in $(grep -lzsx "TMPDIR=$1" /proc/[0-9]*/environ); do
    process=${file#/proc/}
    kill -9 "${process%/environ}"
  done
  rm -rf "$1"
  sleep 0.1
  [ -e "$1" ] || exit
done"""


def _undertaker(folder: str) -> subprocess.Popen:
  """Ends driver and browser, and removes what they wrote, as soon as its input
  is closed: by us, or because this process was killed.

  In a session of its own, for who ends this process may end its group.
  """
  return subprocess.Popen(
    ['sh', '-c', _BURY, 'sh', folder],
    stdin=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )


def _end(undertaker, service):
  undertaker.stdin.close()
  undertaker.wait()
  service.stop()
