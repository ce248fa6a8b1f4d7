"""MiniWoB++ behind the environment interface."""

import dataclasses
import functools
import pathlib
from collections.abc import Generator, Hashable, Sequence

from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.miniwob import experts
from early_experience.envs.miniwob.browser import Browser
from early_experience.envs.web import actions, page
from early_experience.runtime.errors import UserError

_DONE_IN_TIME = 2_000_000_000  # ms; the longest that a timer can wait
# What is not the task's: shown beside it, or given as the instruction.
_BEGIN = """
  const empty = event => {
    event.clipboardData.setData('text/plain', '');
    event.preventDefault();
  };
  document.addEventListener('copy', empty, {once: true});
  document.execCommand('copy');  // what an earlier episode copied
  core.EPISODE_MAX_TIME = arguments[0];
  Math.seedrandom(arguments[1]);
  core.setDataMode('train');
  core.startEpisodeReal();
  core.cover_div.onclick = null;  // the end is not the start of another
  for (const id of ['query', 'reward-display', 'click-canvas',
                    'sync-task-cover'])
    document.getElementById(id).setAttribute('aria-hidden', 'true');
"""
_AFTER = """
  advanceClock(arguments[0]);
  return {done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL,
          utterance: core.getUtterance()};
"""
_SETTLE = 1000  # ms of the page's time, after each action


class MiniWob(Environment):
  """Small tasks on web pages: buttons, forms, lists, tables, menus.

  A page is read as its accessibility tree and acted on with a real mouse and
  keyboard. Its clock moves by a second with each action, so nothing depends on
  how fast an agent is. `unseen` is out of domain: kinds of task that the
  training split never shows.
  """

  name = 'miniwob'
  splits = ('train', 'dev', 'unseen')
  licence = 'MIT'
  needs = ('miniwob', 'selenium')
  install = (
    'apt-get install chromium chromium-driver'
    " && pip install 'early_experience[miniwob]'"
  )
  branching = 'replay'

  def __init__(
    self,
    *,
    train_types: Sequence[str] = experts.TRAIN,
    unseen_types: Sequence[str] = experts.UNSEEN,
    train_seeds: int = 100,
    dev_seeds: int = 10,
    unseen_seeds: int = 10,
  ):
    """Chooses the tasks.

    Args:
      train_types: MiniWoB++ tasks of `train` and `dev`.
      unseen_types: of `unseen`. Any of the package's may be named; those of
        `experts.EXPERTS` can be collected from.
      train_seeds: episodes of each type.
      dev_seeds: likewise; other seeds.
      unseen_seeds: likewise.

    Raises:
      UserError: there is no such type, or one is both trained on and held
        out, or a number is none, or there is no browser.
    """
    import miniwob

    self._pages = pathlib.Path(miniwob.__file__).parent / 'html' / 'miniwob'
    self.source = f'miniwob {miniwob.__version__}'
    self._types = {
      'train': tuple(train_types),
      'dev': tuple(train_types),
      'unseen': tuple(unseen_types),
    }
    self._seeds = {
      'train': train_seeds,
      'dev': dev_seeds,
      'unseen': unseen_seeds,
    }
    known = {path.stem for path in self._pages.glob('*.html')}
    for split, count in self._seeds.items():
      if type(count) is not int or count < 0:
        raise UserError(f'env.kwargs.{split}_seeds is {count!r}, no count')
    for key in ('train', 'unseen'):
      for kind in self._types[key]:
        if kind not in known:
          raise UserError(
            f'env.kwargs.{key}_types: miniwob has no task {kind!r}'
          )
    if both := set(train_types) & set(unseen_types):
      raise UserError(
        f'env.kwargs.unseen_types: {min(both)} is among train_types too'
      )
    self._browser = Browser()

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    return [
      Task(f'{kind}-{split}-{seed}', split, kind)
      for seed in range(self._seeds[split])
      for kind in self._types[split]
    ]

  def reset(self, task: Task) -> Turn:
    self._task, self._done_so_far = task, ()
    self._browser.load((self._pages / f'{task.type}.html').as_uri())
    self._browser.script(_BEGIN, _DONE_IN_TIME, task.id)
    state = self._browser.script(_AFTER, _SETTLE)
    self.instruction = state['utterance']
    return self._turn(state)

  def step(self, action: str) -> Turn:
    try:
      action = actions.parse(action)
      do = self._understood(action)
    except actions.ActionError as error:
      return Turn(f'Not possible: {error}.\n{self._text}', valid=False)
    self._done_so_far += (str(action),)
    fault = None
    try:
      do()
    except actions.ActionError as error:
      fault = error
    turn = self._turn(self._browser.script(_AFTER, _SETTLE))
    if fault is None:
      return turn
    said = f'Not possible: {fault}.\n{turn.observation}'
    return dataclasses.replace(turn, observation=said, valid=False)

  def canonical(self, action: str) -> str:
    return actions.canonical(action)

  def admissible(self) -> tuple[str, ...]:
    """Clicks, choices, and typing what can be read.

    That is the fields of the instruction, as the package has them, and what
    tables hold. Other texts can be typed too: the result of a sum.
    """
    from miniwob import fields

    try:
      found = fields.get_field_extractor(self._task.type)(self.instruction)
    except (KeyError, ValueError):
      found = []
    texts = [str(value) for _, value in found]
    texts += [node.name for node in self._nodes if node.role == 'cell']
    return page.possible(self._nodes, texts)

  def fingerprint(self) -> Hashable:
    # The page's scripts have variables that nobody can see; but what was done
    # since the task began determines them, and rejected actions do nothing.
    return self._task.id, self._done_so_far

  def close(self) -> None:
    self._browser.close()

  def expert(self, turn: Turn) -> Generator[str, Turn, None] | None:
    act = experts.EXPERTS.get(self._task.type)
    return act and act(self.instruction, turn)

  def _understood(self, action):
    """How an action is done, if it may be possible; nothing is done yet."""
    browser, args = self._browser, action.args
    ways = {
      'click': browser.click,
      'dblclick': functools.partial(browser.click, count=2),
      'hover': browser.hover,
      'drag': browser.drag,
      'type': browser.type,
      'select': browser.select,
      'press': browser.press,
      'wait': lambda: None,
    }
    if action.name not in ways:
      raise actions.ActionError(f'{action.name} is not possible on this page')
    page.check(action, self._nodes)
    return functools.partial(ways[action.name], *args)

  def _turn(self, state):
    if state['done']:
      reward = state['reward']
      self._nodes, self._text = [], ''
      return Turn(
        f'The task is over. Reward: {reward:g}',
        done=True,
        success=reward > 0,
        score=max(0.0, min(1.0, reward)),
      )
    self._nodes = self._browser.read()
    self._text = page.text(self._nodes)
    return Turn(self._text)
