"""WebShop over the files of a user, whole and broken."""

import dataclasses
import json
import random

import pytest

from early_experience.collect import run_expert
from early_experience.envs.webshop import catalogue, environment, index
from early_experience.envs.webshop.environment import WebShop
from early_experience.runtime.errors import UserError

pytest.importorskip('bm25s')
pytest.importorskip('Stemmer')
pytest.importorskip('thefuzz')


def start(env, split='train', place=0):
  return env.reset(env.tasks(split)[place])


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


def test_a_saved_index_finds_what_one_in_memory_finds(tmp_path, capsys):
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
  with pytest.raises(SystemExit):
    index.main(flags)
  assert 'is there already' in capsys.readouterr().err


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
