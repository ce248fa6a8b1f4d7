"""A browser for pages that were made here."""

import shutil

import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
DRIVER = shutil.which('chromedriver')


def browser(profile):
  """A Chromium without a window; skips the test where there is none."""
  if not CHROMIUM or not DRIVER:
    pytest.skip('no chromium: apt-get install chromium chromium-driver')
  webdriver = pytest.importorskip('selenium.webdriver')
  options = webdriver.ChromeOptions()
  options.binary_location = CHROMIUM
  for flag in (
    'headless=new',
    'no-sandbox',
    'disable-gpu',
    'disable-dev-shm-usage',
    'disable-background-networking',
    'disable-component-update',
    'disable-sync',
    'no-first-run',
    'window-size=1200,900',
    f'user-data-dir={profile}',
  ):
    options.add_argument(f'--{flag}')
  options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
  return webdriver.Chrome(
    options=options, service=webdriver.ChromeService(DRIVER)
  )


def find(chrome, css):
  """The elements of a page that a selector names."""
  return chrome.find_elements('css selector', css)
