"""WebShop: pages, clicks, purchases, their reward, and a user's files."""

import dataclasses
import json
import math
import random

import pytest

from early_experience.collect import run_expert
from early_experience.envs.webshop import (
  catalogue,
  environment,
  fixture,
  index,
  reward,
)
from early_experience.envs.webshop.environment import WebShop, queries
from early_experience.errors import UserError

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


def shop():
  found = fixture.catalogue()
  goal = found.goals[0]
  return found.products, goal, found.products[goal.asin]


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


def test_a_synthetic_option_is_compared_with_its_name():
  _, goal, _ = shop()
  goal = dataclasses.replace(goal, options=('red', '2 feet'))
  named = dataclasses.replace(goal, option_names=('color', 'size'))
  for chosen, count, with_names in (
    (('red', '2 feet'), 2, 2),
    (('size', 'color'), 0, 1),  # red stands alone
  ):
    assert reward.options_found(chosen, goal) == count
    assert reward.options_found(chosen, named) == with_names


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


# Titles of the official tests, with the scores expected there of spaCy's nouns.
@pytest.mark.parametrize(
  'wanted, bought, expected',
  [
    (
      'Mens D.O.N. Issue 2 Gca Basketball Sneakers Shoes Casual - Off White',
      'PEAK High Top Mens Basketball Shoes Lou Williams Streetball Master'
      ' Breathable Non Slip Outdoor Sneakers',
      0.333,
    ),
    (
      'Saireed UL Listed 2 Prong Power Cord for JBL Bar 3.1 Bar 2.1 Channel 4K'
      ' Ultra HD Soundbar',
      'BRST AC Power Cord Outlet Socket Cable Plug Lead for Panasonic SC-HT830V'
      ' DVD/VCR Combo Home Theater System',
      0.15,
    ),
    (
      'Rusticware 921ORB Kitchen and Bath Cabinet Knob',
      'Minkissy 2pcs Stainless Steel Eyebrow Tweezers Blackhead Acne Remover'
      ' Portable Makeup Tweezers (Silver)',
      0.0,
    ),
  ],
)
def test_words_of_titles_score_as_their_nouns_do(wanted, bought, expected):
  words = reward.title_words(wanted)
  score = len(words & reward.title_words(bought)) / len(words)
  assert score == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
  'title, query, category, expected',
  [
    ('Lamp', 'lamps', 'a › b', 1.0),  # the same
    ('Lamp of brass', 'other', 'c', 1.0),  # by its title
    ('Chair', 'lamps', 'a › b', 0.0),  # no word in common
  ],
)
def test_the_kind_of_product_is_told_by_title_query_and_category(
  title, query, category, expected
):
  wanted = dataclasses.replace(
    shop()[2], title='Lamp', query='lamps', product_category='a › b'
  )
  bought = dataclasses.replace(
    wanted, title=title, query=query, product_category=category
  )
  assert reward.type_reward(bought, wanted) == expected


def test_a_kind_that_shares_little_is_half_or_a_tenth():
  words = 'one two three four five six seven eight nine ten eleven'
  wanted = dataclasses.replace(shop()[2], title=words, query='q')
  other = dataclasses.replace(
    wanted, title='one two', query='r', product_category='x'
  )
  assert reward.type_reward(other, wanted) == 0.5
  few = dataclasses.replace(other, title='one', query='q')
  assert reward.type_reward(few, wanted) == 0.1


def test_attributes_count_where_they_are_close_or_can_be_read():
  _, goal, product = shop()
  goal = dataclasses.replace(
    goal, attributes=('tea tree', 'essential oils', 'natural', 'vegan')
  )
  product = dataclasses.replace(
    product,
    attributes=('tree tea', 'essential oil'),
    title='Soap',
    bullets=('All Natural',),
    description='',
  )
  assert reward.attributes_found(product, goal) == 3


def test_options_are_compared_by_their_colors_and_words():
  found = {
    ('cool powder snow', 'powder snow'): 1,
    ('dark navy', 'dark red'): 1,  # both are dark
    ('offwhite', 'pearlwhite'): 1,
    ('navy', 'red'): 0,
    ('medium', 'premium'): 0,
  }
  for (wanted, chosen), count in found.items():
    goal = dataclasses.replace(shop()[1], options=('xl', wanted))
    assert reward.options_found((chosen, 'xl'), goal) == 1 + count


def test_a_price_above_the_bound_costs_a_point():
  _, goal, product = shop()
  chosen = [v for own in product.options.values() for v in own]
  low = dataclasses.replace(goal, price_upper=product.price - 1)
  assert reward.reward(product, chosen, product, goal) == 1
  assert reward.reward(product, chosen, product, low) == pytest.approx(3 / 4)


def official(tmp_path, count=3):
  """Official files with a few products, each with one instruction."""
  kinds = ('Lamp', 'Chair', 'Kettle', 'Carpet', 'Basket')[:count]
  items = [
    {
      'asin': f'B00000000{n}',
      'name': f'{kind} of oak',
      'query': kind.lower(),
      'category': 'garden',
      'product_category': 'Home › Oak',
      'full_description': f'This is a {kind.lower()}.',
      'small_description': 'nice',
      'pricing': '$1,010.00',
      'customization_options': {'Color': [{'value': ' Red/Green '}]},
    }
    for n, kind in enumerate(kinds)
  ]
  human = {
    item['asin']: [
      {
        'instruction': f'Find me a "{item["query"]}" of oak.',
        'instruction_attributes': ['nice'],
        'instruction_options': ['red | green'],
      }
    ]
    for item in items
  }
  files = {
    'items_shuffle_1000.json': items,
    'items_ins_v2_1000.json': {},
    'items_human_ins.json': human,
  }
  for name, value in files.items():
    (tmp_path / name).write_text(json.dumps(value, indent=1))
  return items


def test_a_users_files_are_played(tmp_path):
  official(tmp_path)
  env = WebShop(data=str(tmp_path))
  assert '3 products' in env.source
  trajectory, failure = run_expert(env, env.tasks('train')[0], 9)
  assert failure is None
  assert trajectory.steps[-2].action == 'click[red | green]'
  assert '$1010.0' in trajectory.steps[2].observation
  assert len(WebShop(data=str(tmp_path), products=2).tasks('train')) == 2


def test_goals_have_the_official_order_and_splits(tmp_path):
  items = official(tmp_path, count=5)
  again, nameless, long = items[0], items[0] | {'asin': 'nan'}, items[1]
  items = [*items, again, nameless, long | {'asin': 'B0000000001'}]
  (tmp_path / 'items_shuffle_1000.json').write_text(json.dumps(items))
  shop = catalogue.read(str(tmp_path))
  order = [0, 1, 2, 3, 4]
  random.Random(233).shuffle(order)
  assert [int(goal.asin[1:]) for goal in shop.goals] == order
  assert [goal.number for goal in shop.goals] == [0, 1, 2, 3, 4]
  many = [dataclasses.replace(shop.goals[n % 5], number=n) for n in range(1600)]
  splits = environment.split(dataclasses.replace(shop, goals=tuple(many)), '')
  sizes = {name: len(goals) for name, goals in splits.items()}
  assert sizes == {'test': 500, 'dev': 1000, 'train': 100, 'unseen': 0}


def test_a_saved_index_finds_what_one_in_memory_finds(tmp_path):
  official(tmp_path)
  flags = [f'--data={tmp_path}', f'--index={tmp_path / "index"}']
  index.main(flags)
  saved = WebShop(data=str(tmp_path), index=str(tmp_path / 'index'))
  made = WebShop(data=str(tmp_path))
  for env in (saved, made):
    start(env)
  assert saved.step('search[oak lamp]') == made.step('search[oak lamp]')
  with pytest.raises(UserError, match='has 3 products, and the shop 2'):
    WebShop(data=str(tmp_path), index=str(tmp_path / 'index'), products=2)
  with pytest.raises(SystemExit, match='there already'):
    index.main(flags)


def test_demonstrations_are_replayed_as_far_as_the_shop_goes(tmp_path):
  official(tmp_path)
  head = 'Amazon Shopping Game\nInstruction:\nfind me a {} of oak'
  good = ['search[lamp]', 'click[item - Lamp of oak]', 'click[red | green]']
  lines = [
    {'states': [head.format('lamp')], 'actions': [*good, 'click[Buy Now]']},
    {'states': [head.format('chair')], 'actions': ['search[a]', 'click[b01]']},
  ]
  path = tmp_path / 'il_trajs.jsonl'
  path.write_text('\n'.join(map(json.dumps, lines)))
  env = WebShop(data=str(tmp_path), trajectories=str(path))
  found = {}
  for task in (*env.tasks('train'), *env.tasks('dev')):
    trajectory, failure = run_expert(env, task, 9)
    found[trajectory.instruction] = (failure, len(trajectory.steps))
  assert found == {
    'Find me a "lamp" of oak': (None, 4),
    'Find me a "chair" of oak': ('gave up', 1),  # no such button
    'Find me a "kettle" of oak': ('gave up', 0),  # nobody did it
  }


def broken(tmp_path, file, change):
  official(tmp_path)
  value = json.loads((tmp_path / file).read_text())
  (tmp_path / file).write_text(json.dumps(change(value)))


@pytest.mark.parametrize(
  'file, change, message',
  [
    (
      'items_shuffle_1000.json',
      lambda v: [*v[:1], {'asin': 'X'}],
      r"json product 1 \(X\): has no 'small_description'",
    ),
    ('items_shuffle_1000.json', lambda v: ['a'], 'product 0: malformed'),
    (
      'items_shuffle_1000.json',
      lambda v: [v[0] | {'pricing': 'free'}],
      "malformed: no price in 'free'",
    ),
    ('items_shuffle_1000.json', lambda v: {}, 'not a JSON list'),
    (
      'items_human_ins.json',
      lambda v: {'B000000000': [{}]},
      "items_human_ins.json of B000000000: has no 'instruction_attributes'",
    ),
  ],
)
def test_a_malformed_entry_is_named(tmp_path, file, change, message):
  broken(tmp_path, file, change)
  with pytest.raises(UserError, match=message) as error:
    WebShop(data=str(tmp_path))
  assert '\n' not in str(error.value)


def test_missing_files_and_wrong_arguments_are_named(tmp_path):
  with pytest.raises(UserError, match='env.kwargs.data .*items_shuffle.json'):
    WebShop()
  official(tmp_path)
  (tmp_path / 'items_ins_v2_1000.json').write_text('{\n"a": 1,\n}')
  with pytest.raises(UserError, match='items_ins_v2_1000.json line 3'):
    WebShop(data=str(tmp_path))
  with pytest.raises(UserError, match="held_out is 'cars', not one of: beauty"):
    WebShop(data='fixture', held_out='cars')
  with pytest.raises(UserError, match="env.kwargs.goals is 'all', not one of"):
    WebShop(data='fixture', goals='all')
  with pytest.raises(UserError, match='products'):
    WebShop(data='fixture', products=-1)
  (tmp_path / 'demos').write_text('{"actions": []}\n')
  with pytest.raises(UserError, match="demos line 1: has no 'states'"):
    WebShop(data='fixture', trajectories=str(tmp_path / 'demos'))
  with pytest.raises(UserError, match="no split 'eval'; there are: train"):
    WebShop(data='fixture').tasks('eval')
