"""What the cards in configs/ share: the paper's settings, and a laptop's.

The paper's are those of ALFWorld (arXiv 2510.08558, appendix B.1), where an
environment has none of its own: batch 16, learning rate
1e-5, cosine without warmup, 2 epochs, prompts of 4,096 tokens and answers of
1,024, sampled at 0.4. Optimizer, weight decay and clipping are not stated there
and are this project's defaults.
"""

from ml_collections import ConfigDict

from early_experience import recipes
from early_experience.config import default

# 2 epochs of 21,031 decisions in batches of 16, one decision a row. Rows here
# hold whole trees, so that it is about 100 epochs of the expert's: `train` says
# first how many, and --config.budget.steps=... makes it fewer.
STEPS = 2 * 21_031 // 16
PATH_TOKENS = 4096 + 1024


def pretrained(**model) -> ConfigDict:
  """The settings for a pretrained model.

  Args:
    model: its architecture, and what else of `config.model` is its own.
  """
  config = default()
  config.prepare.row_tokens = PATH_TOKENS
  config.prepare.overlong = 'drop'
  config.prepare.answer_format = 'tags'
  config.prepare.rows = recipes.row_sets(recipes.PAPER, k=8)

  config.model.update(model)
  config.model.max_tokens = PATH_TOKENS
  config.model.dtype = 'bfloat16'
  config.model.remat = 'full'
  config.model.attention_block = 256
  config.model.loss_chunk = 1024

  config.budget.steps = STEPS
  config.budget.world_model_steps = config.budget.get_ref('steps') // 2
  config.budget.lr_peak = 1e-5
  config.train.batch_rows = 16

  config.evaluate.tasks = 0
  config.evaluate.temperature = 0.4
  config.evaluate.batch_tasks = 16
  config.evaluate.max_action_tokens = 64
  config.evaluate.max_thought_tokens = 1024
  return config


def llama3(**model) -> ConfigDict:
  """The settings for a Llama 3: what its sizes share, and `model`."""
  config = pretrained(
    vocab_size=128_256,
    kv_heads=8,
    head_dim=128,
    norm_eps=1e-5,
    rope_theta=500_000.0,
    rope_scaling='llama3',
    rope_original_tokens=8192,
    **model,
  )
  # Its template writes the day; that of its release is kept.
  config.prepare.template_kwargs.date_string = '26 Jul 2024'
  config.mesh.fsdp = 8
  return config


def of_environment(
  name: str,
  *,
  k: int,
  decisions: int,
  batch: int,
  epochs: int,
  tokens: int = PATH_TOKENS,
) -> ConfigDict:
  """The settings for a pretrained model in one of the paper's environments.

  Args:
    name: of the environment.
    k: alternatives a state, all of which the world model learns.
    decisions: of all experts; with the next two they make the updates.
    batch: rows, one decision each in the paper.
    epochs: of imitation.
    tokens: of the longest episodes.
  """
  config = pretrained()
  config.env.name = name
  config.explore.k = k
  config.prepare.row_tokens = tokens
  config.prepare.rows = recipes.row_sets(recipes.PAPER, k=k)
  config.model.max_tokens = tokens
  config.budget.steps = epochs * decisions // batch
  config.train.batch_rows = batch
  return config


def small_rooms(config: ConfigDict) -> None:
  """ALFWorld's bathrooms and bedrooms with few things: episodes are short."""
  config.env.kwargs.source = 'generated'
  config.env.kwargs.rooms = ('bathroom', 'bedroom')
  config.env.kwargs.max_receptacles = 10
  config.env.kwargs.distractors = 3
  config.collect.max_steps = 20
  config.evaluate.max_steps = 24
  # Where episodes are long.
  config.benchmark.long_kwargs.rooms = ('kitchen',)
  config.benchmark.long_kwargs.max_receptacles = 0
  config.benchmark.long_kwargs.distractors = 10


def laptop() -> ConfigDict:
  """The settings for a 1M-parameter model that two cores train in minutes."""
  config = default()
  config.explore.k = 2
  config.reflect.k = 2

  config.prepare.row_tokens = 1024
  config.prepare.overlong = 'drop'
  config.prepare.held_out = 0.05
  config.prepare.rows = recipes.row_sets(recipes.PAPER, k=2)

  config.model.layers = 4
  config.model.embed = 128
  config.model.heads = 4
  config.model.kv_heads = 2
  config.model.head_dim = 32
  config.model.mlp = 384
  config.model.max_tokens = 1024
  config.model.attention_block = 64

  config.budget.steps = 450
  config.budget.world_model_steps = config.budget.get_ref('steps') // 3
  config.budget.joint_share = 0.5
  config.budget.world_model_weight = 0.3
  config.budget.reflection_weight = 0.3
  config.budget.lr_peak = 3e-3
  config.budget.warmup_steps = 20
  config.train.batch_rows = 4

  config.evaluate.tasks = 100
  config.evaluate.batch_tasks = 50

  config.rl.iterations = 50
  config.rl.tasks = 8
  config.rl.batch_rows = 4
  config.rl.lr_peak = 1e-4  # at 3e-4 the policy drifts, and wins nothing
  return config
