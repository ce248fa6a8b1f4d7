"""Starts Chromium and its driver, and sees to it that both end."""

import importlib.resources
import os
import pathlib
import shutil
import subprocess
import typing
import weakref

from early_experience.errors import UserError

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
  service = Service(driver, env={**os.environ, 'TZ': 'UTC'})
  chrome = webdriver.Chrome(service=service, options=options)
  end = weakref.finalize(owner, _quit, chrome, _undertaker(chrome))
  chrome.set_page_load_timeout(60)
  chrome.set_script_timeout(30)
  clock = importlib.resources.files(__package__).joinpath('clock.js')
  chrome.execute_cdp_cmd(
    'Page.addScriptToEvaluateOnNewDocument', {'source': clock.read_text()}
  )
  return chrome, end


def _undertaker(driver) -> subprocess.Popen:
  """Ends driver and browser as soon as its input is closed: by us, or because
  this process was killed. A driver that is killed leaves its browser behind.
  """
  process = driver.service.process.pid
  threads = pathlib.Path(f'/proc/{process}/task').glob('*/children')
  children = [pid for path in threads for pid in path.read_text().split()]
  profile = driver.capabilities['chrome']['userDataDir']
  script = 'read _; profile=$1; shift; kill -9 "$@"; rm -rf "$profile"'
  return subprocess.Popen(
    ['sh', '-c', script, 'sh', profile, str(process), *children],
    stdin=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
  )


def _quit(driver, undertaker):
  driver.quit()
  undertaker.stdin.close()
  undertaker.wait()
