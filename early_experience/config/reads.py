"""Which settings each stage reads, beside what the stages before it wrote.

A stage's folder is held to them (`runtime.stage.begin`), and runs of a sweep
share a stage where they agree on them. Who does the work is none of them: no
output depends on it.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from early_experience.config.default import default
from early_experience.config.parts import stage

# Of training, what may differ between the runs that make up one. A mesh and
# microbatches change no more than the order of sums.
FREE_TRAIN = (
  'microbatches',
  'checkpoint_every_steps',
  'keep_checkpoints',
  'keep_best_checkpoints',
  'log_every_steps',
  'max_loss_ratio',
  'profile_steps',
)
FREE_MODEL = ('remat', 'attention', 'attention_block', 'loss_chunk')
FREE_RL = ('checkpoint_every', 'keep_checkpoints', 'served')
# Of evaluation, how a model of ours is decoded and measured.
DECODING = (
  'constrained', 'temperature', 'think', 'max_action_tokens',
  'max_thought_tokens', 'world_model_states', 'world_model_k', 'look_ahead',
  'max_outcome_tokens',
)  # fmt: skip
# Of it, how a policy of ours acts where it is learnt from.
ACTS = (
  'max_steps', 'constrained', 'temperature', 'think', 'max_action_tokens',
  'max_thought_tokens',
)  # fmt: skip
# Of an endpoint, where and how hard we knock, and what it costs.
FREE_ENDPOINT = (
  'base_url', 'token_limit', 'cache', 'concurrency', 'retries',
  'timeout_seconds',
  'input_price', 'output_price', 'max_cost', 'max_total_tokens',
)  # fmt: skip


def reads(name: str, config: ConfigDict) -> dict:
  """The settings that a stage's outputs depend on, as its folder holds them."""
  return _READS[name](config)


def absent(name: str, config: ConfigDict) -> dict:
  """What those settings mean that an older version did not write.

  They are the defaults. A setting that was read and not noted is taken to have
  been what it is.
  """
  other = default()
  other.train.stages = [
    stage(rows={}, weights=dict.fromkeys(one.weights, 0.0))
    for one in config.train.stages
  ]
  found, now = reads(name, other), reads(name, config)
  if name in ('explore', 'reflect'):  # of those that ask a language model
    found.get(name, found)['openai'] = answers(other[name].openai)
  unnoted = {key: now[key] for key in ('beside', 'summarised') if key in now}
  return found | unnoted


def answers(endpoint: ConfigDict) -> dict:
  """What the answers of a language model depend on."""
  return _without(FREE_ENDPOINT, endpoint)


def _collect(config):
  found = {'env': config.env.to_dict(), 'collect': config.collect.to_dict()}
  return found | ({'seed': config.seed} if config.collect.shuffle else {})


def _explore(config):
  explore = _without(('openai',), config.explore)
  found = {'seed': config.seed, 'explore': explore}
  if config.explore.proposers.get('openai'):
    explore['openai'] = answers(config.explore.openai)
    explore['answer_format'] = config.prepare.answer_format
  if config.explore.proposers.get('policy'):
    found['beside'] = {
      'pretrained': bool(config.init.hf or config.init.checkpoint),
      'model': _without(FREE_MODEL, config.model),
      'max_action_tokens': config.evaluate.max_action_tokens,
    }
  return found


def _summarise(config):
  return {'openai': answers(config.summarise.openai)}


def _reflect(config):
  found = _without(('openai',), config.reflect)
  if config.reflect.writer != 'grounded':
    found['openai'] = answers(config.reflect.openai)
    del found['wordings']
  if config.reflect.writer == 'star':
    found['answer_format'] = config.prepare.answer_format
  return {'seed': config.seed, 'summarised': config.summarise.enabled, **found}


def _prepare(config):
  # As `preparation.vocabulary` takes it: a checkpoint's own goes first.
  init = config.init.checkpoint or config.init.hf
  return {
    **config.prepare.to_dict(),
    'tokenizer': config.prepare.tokenizer or init,
    'seed': config.seed,
    'summarised': config.summarise.enabled,
  }


def _train(config):
  return {
    'seed': config.seed,
    'init': config.init.to_dict(),
    'model': _without(FREE_MODEL, config.model),
    'train': _without((*FREE_TRAIN, 'stages'), config.train),
    'stages': {str(i): s.to_dict() for i, s in enumerate(config.train.stages)},
  }


def _visit(config):
  return {
    'seed': config.seed,
    'model': _without(FREE_MODEL, config.model),
    'acts': {key: config.evaluate[key] for key in ACTS},
    'visit': config.visit.to_dict(),
    'split': config.collect.split,
    'shuffle': config.collect.shuffle,
  }


def _rl(config):
  found = {
    'seed': config.seed,
    'env': config.env.to_dict(),
    'init': config.init.to_dict(),
    'model': _without(FREE_MODEL, config.model),
    'acts': {key: config.evaluate[key] for key in ACTS},
    'layout': config.prepare.layout,
    'optimizer_dtype': config.train.optimizer_dtype,
    'rl': _without(FREE_RL, config.rl),
  }
  if config.rl.source == 'outcomes':
    found['beside'] = {
      'world_model': config.prepare.world_model,
      'summarised': config.summarise.enabled,
      'max_outcome_tokens': config.evaluate.max_outcome_tokens,
    }
  return found


def _evaluate(config):
  how, beside = config.evaluate, {}
  served = how.policy == 'served'
  unread = DECODING if served else ()
  evaluate = _without(('openai', 'batch_tasks', *unread), how)
  found = {
    'seed': config.seed,
    'env': config.env.to_dict(),
    'evaluate': evaluate,
    'beside': beside,
  }
  if served:
    evaluate['openai'] = answers(how.openai)
    beside['answer_format'] = config.prepare.answer_format
    return found
  if how.policy == 'random':
    return found
  if how.policy == 'untrained':
    beside['init'] = config.init.to_dict()
  if how.world_model_states or how.look_ahead:
    beside['world_model'] = config.prepare.world_model
    beside['summarised'] = config.summarise.enabled
  return found | {'model': _without(FREE_MODEL, config.model)}


def _without(keys, settings):
  return {
    key: value for key, value in settings.to_dict().items() if key not in keys
  }


_READS: dict[str, Callable[[ConfigDict], dict]] = {
  'collect': _collect,
  'visit': _visit,
  'explore': _explore,
  'summarise': _summarise,
  'reflect': _reflect,
  'prepare': _prepare,
  'train': _train,
  'rl': _rl,
  'evaluate': _evaluate,
}
