"""WebShop: pages, clicks, purchases."""

import math

import pytest

from early_experience.collect import run_expert
from early_experience.envs.webshop.environment import WebShop, queries

pytest.importorskip('bm25s')
pytest.importorskip('Stemmer')
pytest.importorskip('thefuzz')


@pytest.fixture(scope='module')
def env():
  return WebShop(data='fixture', held_out='garden')


def start(env, split='train', place=0):
  return env.reset(env.tasks(split)[place])


def walk(env, *actions):
  for action in actions:
    turn = env.step(action)
    assert turn.valid, action
  return turn


def test_the_expert_buys_every_goal_of_the_fixture(env):
  for split in env.splits:
    tasks = env.tasks(split)
    assert len({task.id for task in tasks}) == len(tasks) >= 5
    for task in tasks:
      trajectory, failure = run_expert(env, task, max_steps=15)
      assert failure is None and trajectory.score == 1


def test_a_category_is_held_out_of_every_other_split(env):
  for split in ('train', 'dev', 'test'):
    assert 'garden' not in {task.type for task in env.tasks(split)}
  assert {task.type for task in env.tasks('unseen')} == {'garden'}
  assert not WebShop(data='fixture').tasks('unseen')


def test_synthetic_goals_are_all_combinations_of_options():
  env = WebShop(data='fixture', goals='synthetic')
  goals = env._shop.goals
  products = env._shop.products.values()
  assert len(goals) == sum(
    math.prod(map(len, product.options.values())) for product in products
  )
  tea = [g.instruction for g in goals if g.asin == 'FX00000072']
  assert sorted(tea)[0].startswith(
    'find me caffeine free green tea with size: 20 bags, and price lower than'
  )
  for task in env.tasks('test'):
    assert run_expert(env, task, 9)[1] is None


def test_pages_show_what_the_text_shop_shows(env):
  assert start(env).observation == "'Search'"
  results = walk(env, 'search[Alder Rain Jacket]').observation.split(' [SEP] ')
  assert results[:3] == [
    "'Back to Search'",
    "'Page 1 (Total results: 18)'",
    "'Next >'",
  ]
  assert results[3:6] == ["'FX00000042'", "'Alder Rain Jacket'", "'$29.5'"]
  assert len(results) == 3 + 10 * 3
  assert walk(env, 'click[FX00000042]').observation == (
    "'Back to Search' [SEP] '< Prev' [SEP] 'color' [SEP] 'green' [SEP] 'yellow'"
    " [SEP] 'Alder Rain Jacket' [SEP] 'Price: $29.5' [SEP] 'Rating: N.A.' [SEP]"
    " 'Description' [SEP] 'Features' [SEP] 'Reviews' [SEP] 'Buy Now'"
  )
  assert walk(env, 'click[Features]').observation.endswith(
    "'Rain Jacket to enjoy every day' [SEP] 'Sold by Alder'"
  )
  assert walk(env, 'click[< prev]', 'click[reviews]').observation == (
    "'Back to Search' [SEP] '< Prev'"
  )


def test_clicks_lead_where_they_lead_in_the_shop(env):
  start(env)
  first = walk(env, 'search[jacket shoes socks]')
  assert 'click[< prev]' not in env.admissible()
  second = walk(env, 'click[next >]')
  assert 'Page 2' in second.observation
  assert walk(env, 'click[< prev]') == first
  item = walk(env, 'click[fx00000042]')
  assert walk(env, 'click[description]', 'click[< prev]') == item
  before = env.fingerprint()
  assert walk(env, 'click[green]') == item  # text mode does not show a choice
  assert env.fingerprint() != before
  assert walk(env, 'click[< prev]') == first
  walk(env, 'click[fx00000042]')
  assert env.fingerprint() == before  # going back forgets it
  assert walk(env, 'click[back to search]').observation == "'Search'"


def test_every_listed_action_works(env):
  start(env)
  path = ['search[shoes]', 'click[fx00000036]', 'click[7]', 'click[features]']
  for action in path:
    for listed in env.admissible():
      assert listed == env.canonical(listed)
      assert env.clone().step(listed).valid
    env.step(action)
  assert env.admissible() == ('click[back to search]', 'click[< prev]')


def test_what_is_not_on_the_page_changes_nothing(env):
  shown, before = start(env), env.fingerprint()
  for action in ('click[buy now]', 'click[search]', 'search[ ]', 'buy', ''):
    turn = env.step(action)
    assert not turn.valid and turn.observation == shown.observation
  assert env.fingerprint() == before


def test_searches_are_suggested_from_the_instruction_alone():
  text = 'I need a red [big] lamp, with wood legs, and price lower than 90.00'
  assert queries(text) == (
    'red big lamp wood legs',
    'i need a red big lamp, with wood legs',
    'red big lamp',
    'wood legs',
  )


def test_a_wrong_option_costs_its_point(env):
  task = next(t for t in env.tasks('train') if t.type == 'fashion')
  trajectory, _ = run_expert(env, task, 15)
  env.reset(task)
  for step in trajectory.steps[:-2]:
    env.step(step.action)
  chosen = trajectory.steps[-2].action
  (values,) = env._shop.products[env._page.asin].options.values()
  other = next(v for v in values if f'click[{v}]' != chosen)
  turn = walk(env, f'click[{other}]', 'click[buy now]')
  assert turn.done and not turn.success
  assert turn.score == pytest.approx(3 / 4)  # 2 attributes, option, price
  assert turn.observation.endswith(f"'{turn.score}'")
