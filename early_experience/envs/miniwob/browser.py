"""A Chromium of our own, driven over its debugging protocol."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from early_experience.envs.guard import Misbehaves
from early_experience.envs.miniwob import chromium
from early_experience.envs.web import page
from early_experience.envs.web.actions import ActionError

_CORNER = (790, 590)  # where no page has anything


class Browser:
  """One window; it starts with the first page and is used for all.

  Where Chromium or its driver is gone, `Misbehaves` is raised, and the next
  page starts another.
  """

  def __init__(self):
    self._paths = chromium.binaries()
    self._driver = None
    self._nodes = {}

  def load(self, url: str) -> None:
    """Opens a page afresh, its clock standing still."""
    with self._watched():
      if self._driver is None:
        self._driver, self._end = chromium.start(self, *self._paths)
      self._mouse('mouseMoved', *_CORNER, held=False)
      self._driver.get(url)
      self._nodes = {}

  def script(self, code: str, *args):
    """Runs our own code in the page; returns its value."""
    with self._watched():
      return self._driver.execute_script(code, *args)

  def read(self) -> list[page.Node]:
    """The page now. Ids count elements as they were first seen."""
    with self._watched():
      tree = self._cdp('Accessibility.getFullAXTree')['nodes']
      clicks = self._clickable()
    return page.read(
      tree,
      lambda node: self._id(node['backendDOMNodeId']),
      lambda node: node.get('backendDOMNodeId') in clicks,
    )

  def click(self, element: str, count: int = 1) -> None:
    """Clicks on the middle of an element, as a mouse would."""
    x, y = self._hover(element)
    for times in range(1, count + 1):
      self._mouse('mousePressed', x, y, times)
      self._mouse('mouseReleased', x, y, times)

  def hover(self, element: str) -> None:
    """Moves the mouse onto an element."""
    self._hover(element)

  def drag(self, element: str, target: str) -> None:
    """Drags an element onto another."""
    x, y = self._hover(element)
    self._mouse('mousePressed', x, y)
    x, y = self._hover(target, held=True)
    self._mouse('mouseReleased', x, y)

  def type(self, element: str, text: str) -> None:
    """Replaces what a field holds, key by key."""
    self._focus(element)  # once: the field may then be disabled
    self._keys(['a'], held=[_key('Control')])
    self._keys([_key('Delete'), *text])

  def press(self, element: str, combination: str) -> None:
    """Presses keys together in an element: `Enter`, `Control+a`."""
    names = combination.split('+') if combination != '+' else ['+']
    *held, last = map(_key, names)
    self._focus(element)
    self._keys([last], held)

  def select(self, element: str, label: str) -> None:
    """Chooses an option by its label."""
    if not self._call(element, _SELECT, label):
      raise ActionError(f'element {element} has no option {label!r}')

  def close(self) -> None:
    """Ends the browser, if one runs."""
    if self._driver is not None:
      self._driver = None
      self._end()

  @contextmanager
  def _watched(self) -> Iterator[None]:
    """Tells an action that failed from a browser that did."""
    from selenium.common import exceptions
    from urllib3.exceptions import HTTPError

    try:
      yield
    except (exceptions.WebDriverException, HTTPError, OSError) as error:
      line = (getattr(error, 'msg', None) or str(error)).partition('\n')[0]
      if self._alive():
        raise ActionError(line) from None
      self.close()
      raise Misbehaves(
        'browser crashed', f'chromium ended: {type(error).__name__}: {line}'
      ) from None

  def _alive(self):
    try:
      return self._driver.execute_script('return 1') == 1
    except Exception:
      return False

  def _cdp(self, command, **arguments):
    return self._driver.execute_cdp_cmd(command, arguments)

  def _clickable(self):
    """Elements that listen to clicks."""
    shot = self._cdp('DOMSnapshot.captureSnapshot', computedStyles=[])
    nodes = shot['documents'][0]['nodes']
    names = shot['strings']
    return {
      nodes['backendNodeId'][i]
      for i in nodes['isClickable']['index']
      if names[nodes['nodeName'][i]] not in ('HTML', 'BODY', '#document')
    }

  def _id(self, node):
    return self._nodes.setdefault(node, str(len(self._nodes) + 1))

  def _node(self, element):
    return next(node for node, id in self._nodes.items() if id == element)

  def _hover(self, element, held=False):
    point = self._call(element, _POINT)
    if point is None:
      raise ActionError(f'element {element} is hidden or covered')
    self._mouse('mouseMoved', *point, held=held)
    return point

  def _call(self, element, function, *args):
    """Calls a JavaScript function with an element as its `this`."""
    node = self._node(element)
    with self._watched():
      found = self._cdp('DOM.resolveNode', backendNodeId=node)
      result = self._cdp(
        'Runtime.callFunctionOn',
        objectId=found['object']['objectId'],
        functionDeclaration=function,
        arguments=[{'value': value} for value in args],
        returnByValue=True,
      )
    return result['result'].get('value')

  def _mouse(self, kind, x, y, count=1, held=True):
    with self._watched():
      self._cdp(
        'Input.dispatchMouseEvent',
        type=kind,
        x=x,
        y=y,
        button='left' if held or kind != 'mouseMoved' else 'none',
        clickCount=count,
      )

  def _focus(self, element):
    try:
      with self._watched():
        self._cdp('DOM.focus', backendNodeId=self._node(element))
    except ActionError:
      raise ActionError(f'element {element} takes no keys') from None

  def _keys(self, keys, held=()):
    from selenium.webdriver.common.action_chains import ActionChains

    chain = ActionChains(self._driver, duration=0)
    for key in held:
      chain.key_down(key)
    for key in keys:
      chain.send_keys(key)
    for key in reversed(held):
      chain.key_up(key)
    with self._watched():
      chain.perform()


# A point of the element where it is what the mouse meets, the middle first.
_POINT = """function() {
  const at = [0.5, 0.25, 0.75, 0.1, 0.9];
  const own = [this, ...(this.labels || [])], host = this.getRootNode().host;
  this.scrollIntoViewIfNeeded();
  for (const {left, top, width, height} of this.getClientRects())
    for (const v of at) for (const u of at) {
      const x = left + u * width, y = top + v * height;
      const met = document.elementFromPoint(x, y);
      if (met && (met === host || own.some(e => e.contains(met))))
        return [x, y];
    }
  return null;
}"""
_SELECT = """function(label) {
  const found = [...(this.options || [])].find(o => o.label.trim() === label);
  if (!found) return false;
  found.selected = true;
  for (const kind of ['input', 'change'])
    this.dispatchEvent(new Event(kind, {bubbles: true}));
  return true;
}"""


def _key(name: str) -> str:
  """A key by its name; Selenium writes `ArrowUp` as ARROW_UP."""
  from selenium.webdriver.common.keys import Keys

  if len(name) == 1:
    return name
  known = re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name).upper()
  if not re.fullmatch('[A-Z0-9_]+', known) or not hasattr(Keys, known):
    raise ActionError(f'there is no key {name!r}')
  return getattr(Keys, known)
