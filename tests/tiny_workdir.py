"""A small, plausible workdir, written by the library's own writers."""

import dataclasses
import json
import math
import pathlib
import random

from early_experience.envs.interface import Task
from early_experience.evaluation import panel, statistics
from early_experience.experience import records
from early_experience.runtime import files, stage

SOURCE = 'ALFWorld rules, generated placements'
SPLITS = ('seen', 'unseen')
# What a policy of the name solves, and how often its action is rejected.
POLICIES = {
  'random': (0.02, 0.0),
  'untrained': (0.0, 0.9),
  'imitation': (0.45, 0.06),
  'joint': (0.7, 0.03),
}
TRAINED = ('imitation', 'joint')
ASIDE = 2  # tasks of each split on which the environment of `random` fails
# Text that breaks a page that trusts its data.
NASTY = 'a mug </script><script>window.broken = 1</script> <!-- "é 杯" &amp;'
TYPES = ('pick_and_place_simple', 'pick_clean_then_place_in_recep')
PLACES = ('countertop 1', 'cabinet 1', 'sinkbasin 1', 'toilet 1', 'shelf 2')
THINGS = ('soapbar 1', 'cloth 2', 'candle 1', 'spraybottle 1')


def build(workdir, trajectories: int = 8, tasks: int = 24, steps: int = 200):
  """Writes every stage that a report reads.

  Args:
    workdir: folder to create.
    trajectories: expert episodes, each with branches and rationales.
    tasks: held-out tasks of each split.
    steps: training updates of each trained policy.

  Returns:
    The workdir's path.
  """
  workdir = pathlib.Path(workdir)
  rng = random.Random(0)
  episodes = [_trajectory(rng, index) for index in range(trajectories)]
  _experience(workdir, episodes)
  _prepare(workdir, trajectories)
  for name in TRAINED:
    _train(workdir, rng, name, steps)
  for name in POLICIES:
    _evaluate(workdir, rng, name, tasks)
  return workdir


def _trajectory(rng, index):
  thing = rng.choice(THINGS)
  kind = thing.split()[0]
  searched = rng.sample(PLACES[:4], rng.randint(2, 4))
  room = 'You are in the middle of a room. Looking quickly around you, you see '
  seen = f'{room}a {", a ".join(PLACES)}.'
  actions, outcomes = [], []
  for place in searched:
    last = place == searched[-1]
    holds = thing if last else NASTY if index == 0 else 'nothing'
    actions.append(f'go to {place}')
    outcomes.append(f'You arrive at {place}. On the {place}, you see {holds}.')
  actions += [f'take {thing} from {searched[-1]}', 'go to shelf 2']
  outcomes += [
    f'You pick up the {thing} from the {searched[-1]}.',
    'You arrive at shelf 2. On the shelf 2, you see nothing.',
  ]
  actions.append(f'move {thing} to shelf 2')
  outcomes.append(f'You move the {thing} to the shelf 2.')
  steps = []
  for number, action in enumerate(actions):
    observation = outcomes[number - 1] if number else seen
    alternatives = _alternatives(rng, action, thing)
    steps.append(
      records.Step(
        observation=observation,
        action=action,
        thought=f'The {kind} must be somewhere.' if not number else None,
        admissible=(action, *(a.action for a in alternatives if a.valid)),
        alternatives=alternatives,
        rationales=()
        if number % 3 == 2
        else (_rationale(action, kind, alternatives),),
        summary=f'{thing} or nothing' if not number else None,
      )
    )
  return records.Trajectory(
    environment='alfworld',
    source=SOURCE,
    task_id=f'train-bathroom-{index:04d}',
    split='train',
    task_type=TYPES[index % 2],
    instruction=f'Your task is to: put some {kind} on shelf.',
    steps=tuple(steps),
    final_observation=outcomes[-1],
    success=True,
    score=1.0,
    expert='searching expert',
  )


def _alternatives(rng, expert, thing):
  pool = [f'go to {place}' for place in PLACES] + ['inventory', 'look']
  chosen = rng.sample([a for a in pool if a != expert], 3)
  found = [
    records.Alternative(
      action=action,
      observation='You are not carrying anything.'
      if action == 'inventory'
      else f'You arrive at {action[6:]}. On it, you see a towel 1.'
      if action.startswith('go')
      else 'You are facing the countertop 1. Next to it, you see nothing.',
      done=False,
      valid=True,
      proposer='uniform',
    )
    for action in chosen
  ]
  found.append(
    records.Alternative(
      action=f'take {thing} from toilet 1',
      observation='Nothing happens.',
      done=False,
      valid=False,
      proposer='policy',
      summary='no such thing',
    )
  )
  return tuple(found)


def _rationale(action, kind, alternatives):
  others = tuple(a.action for a in alternatives[:3])
  return records.Rationale(
    text=f'I still need the {kind}. If I chose to {others[0]}, I would most'
    ' likely learn nothing new, and to check what I carry now would only cost'
    f' a turn. What remains unsearched lies ahead, so I {action}.',
    compared=others,
    writer='grounded',
  )


def _without(episodes, **fields):
  return [
    dataclasses.replace(
      episode,
      steps=tuple(dataclasses.replace(s, **fields) for s in episode.steps),
    )
    for episode in episodes
  ]


def _experience(workdir, episodes):
  branched = _without(episodes, rationales=())
  bare = _without(branched, alternatives=(), summary=None)
  states = sum(len(episode.steps) for episode in episodes)
  written = sum(len(s.rationales) for e in episodes for s in e.steps)
  types = [episode.task_type for episode in episodes]
  summaries = {
    'collect': {
      'trajectories': len(episodes),
      'by_type': {kind: types.count(kind) for kind in TYPES},
      'failed_by_reason': {'more than 20 steps': 1},
    },
    'explore': {
      'states': states,
      'branches': 4 * states,
      'invalid': states,
      'answers': None,
    },
    'reflect': {
      'rationales': written,
      'dropped': {'names the expert': 3, 'outcome': 1},
    },
  }
  dropped = [
    {'step': 1, 'reason': reason, 'text': 'The expert would look here.'}
    for reason in ('names the expert',) * 3 + ('outcome',)
  ]
  first = {'task_id': episodes[0].task_id}
  aside = {
    'collect': ('failures', first | {'reason': 'more than 20 steps'}),
    'explore': ('set_aside', first | {'reason': 'hang', 'error': 'over 1 s'}),
    'reflect': ('dropped', first | {'dropped': dropped}),
  }
  for name, some in zip(summaries, (bare, branched, episodes), strict=True):
    folder = stage.begin(workdir, name, {'seed': 0})
    with files.JsonlWriter(folder, records.STEM) as writer:
      for episode in some:
        writer.write(records.to_json(episode))
    stem, line = aside[name]
    with files.JsonlWriter(folder, stem) as writer:
      writer.write(line)
    stage.finish(folder, summaries[name])


def _prepare(workdir, trajectories):
  flat, tree = 11_873 * trajectories, 1_310 * trajectories
  shared = {'row_tokens': 256, 'dropped': 0, 'layout': 'tree'}
  imitation = 40 * trajectories
  rows = {
    'expert': {
      **shared,
      'rows': trajectories,
      'windows': trajectories,
      'flat_tokens': 211 * trajectories,
      'tree_tokens': 211 * trajectories,
      'ratio': 1.0,
      'scored': {'imitation': imitation},
    },
    'joint': {
      **shared,
      'rows': 6 * trajectories,
      'windows': 7 * trajectories,
      'flat_tokens': flat,
      'tree_tokens': tree,
      'ratio': flat / tree,
      'scored': {
        'imitation': imitation,
        'world_model': 620 * trajectories,
        'reflection': 230 * trajectories,
      },
    },
  }
  folder = stage.begin(workdir, 'prepare', {'seed': 0, 'row_tokens': 256})
  tokenizer = {'vocab_size': 512, 'hash': '9f31c20e77aa51d4'}
  stage.finish(folder, {'tokenizer': tokenizer, 'rows': rows})


def _train(workdir, rng, name, steps):
  settings = {
    'seed': 0,
    'lr_peak': 3e-3,
    'train': {'batch_rows': 4},
    'rows': {'expert': {'row_tokens': 1024}},
  }
  folder = stage.begin(workdir, f'train/{name}', settings)
  floors = {'imitation': 0.2, 'world_model': 0.35, 'reflection': 0.5}
  scored = floors if name == 'joint' else ('imitation',)
  lines = []
  for step in range(10, steps + 1, 10):
    line = {'step': step, 'stage': 0 if step <= steps // 2 else 1}
    for objective, floor in floors.items():
      nll = floor + 6 * math.exp(-7 * step / steps) + rng.gauss(0, 0.02)
      on = objective in scored
      line[f'{objective}/nll'] = nll if on else None
      line[f'{objective}/tokens'] = rng.randint(400, 900) if on else 0
    line['loss'] = sum(line[f'{objective}/nll'] or 0 for objective in floors)
    line |= {'grad_norm': 1 + rng.random(), 'lr': 3e-3 * (1 - step / steps)}
    line |= {'tokens_per_s': 9000 + 500 * rng.random(), 'flops_per_s': 7e10}
    line |= {'utilisation': None, 'seconds': 0.4}
    lines.append(json.dumps(line))
  files.write_atomic(folder / 'metrics.jsonl', '\n'.join(lines) + '\n')
  ends = [{'steps': steps, 'nll': {'imitation': 0.3, 'world_model': None}}]
  stage.finish(
    folder,
    {
      'steps': steps,
      'parameters': 912_384,
      'seconds': 61.0,
      'stages': ends,
    },
  )


def _evaluate(workdir, rng, name, tasks):
  solves, rejected = POLICIES[name]
  kind = 'trained' if name in TRAINED else name
  folder = stage.begin(
    workdir, f'evaluate/{name}', {'policy': kind, 'think': None}
  )
  ids = [f'{number:04d}' for number in range(tasks)]
  asked = panel.keep(
    folder,
    {
      split: [Task(f'{split}-{i}', split, TYPES[int(i) % 2]) for i in ids]
      for split in SPLITS
    },
  )
  aside = ids[tasks - ASIDE :] if name == 'random' else []
  splits = {}
  with (
    files.JsonlWriter(folder, 'rollouts') as writer,
    files.JsonlWriter(folder, 'set_aside') as failures,
  ):
    for split in SPLITS:
      rollouts = [
        _rollout(rng, split, number, solves, rejected, name == 'joint')
        for number in range(tasks - len(aside))
      ]
      for rollout in rollouts:
        writer.write(rollout)
      for i in aside:
        line = {'task_id': f'{split}/{split}-{i}', 'reason': 'hang'}
        failures.write(line | {'error': 'over 1 s'})
      splits[split] = panel.summarise(rollouts, asked[split])
  world = None
  if name in TRAINED:
    count, nll = (97, 0.31) if name == 'joint' else (11, 1.92)
    world = {
      'states': 128,
      'exact_match': {
        'count': count,
        'n': 128,
        'commonest': 9,
        'too_long': 0,
        **dataclasses.asdict(statistics.wilson(count, 128)),
      },
      'nll': nll,
      'tokens': 2304,
    }
  stage.finish(
    folder,
    {
      'name': name,
      'policy': kind,
      'source': SOURCE,
      'panel': 'all',
      'splits': splits,
      'set_aside': {'hang': 2 * len(aside)} if aside else {},
      'settings': {'think': None, 'splits': list(SPLITS)},
      'world_model': world,
      'environment_answers': None,
    },
  )


def _rollout(rng, split, number, solves, rejected, thinks):
  success = rng.random() < solves
  steps, observation = [], 'You are in the middle of a room.'
  for _ in range(rng.randint(4, 7) if success else 12):
    place, valid = rng.choice(PLACES), rng.random() >= rejected
    steps.append(
      {
        'observation': observation,
        'thought': f'The {place} is still unsearched.' if thinks else None,
        'action': f'go to {place}' if valid else f'go go {place[:3]}',
        'valid': valid,
      }
    )
    observation = f'You arrive at {place}.' if valid else 'Nothing happens.'
  return {
    'task_id': f'{split}-{number:04d}',
    'split': split,
    'task_type': TYPES[number % 2],
    'instruction': 'Your task is to: put some cloth on shelf.',
    'success': success,
    'score': float(success),
    'end': 'done' if success else 'max_steps',
    'steps': steps,
    'final_observation': observation,
  }
