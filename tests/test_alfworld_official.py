"""Our ALFWorld engine and the official one agree at every step."""

import pytest

from early_experience.envs.alfworld import lockstep, tables

_EXTRA = 'needs the official engine: pip install "early_experience[alfworld]"'
for module in 'textworld', 'fast_downward', 'tatsu', 'termcolor', 'tqdm':
  pytest.importorskip(module, reason=_EXTRA)


def test_random_walks_give_the_same_text_actions_and_success():
  result = lockstep.compare(games=20, steps=6)
  assert result.mismatches == []
  assert result.games == 20
  assert {task_type for task_type, _ in result.kinds} == set(tables.TASK_TYPES)
  assert {kind for _, kind in result.kinds} == set(tables.ROOM_KINDS)
  assert result.steps > 200 and result.wins >= 18
  assert {'slice', 'use', 'heat', 'cool', 'clean', 'close'} <= set(result.verbs)
