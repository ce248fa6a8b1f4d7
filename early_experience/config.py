"""Every setting once, with its unit and its reason.

Config files start from `default()` and change what they need. The values here
are the paper's where it gives them (arXiv 2510.08558, appendix B), and suit a
pretrained model; `configs/quickstart.py` has those of a laptop.
"""

from ml_collections import ConfigDict

from early_experience.errors import UserError


def default() -> ConfigDict:
  """The default configuration, unlocked so that a config file may fill it."""
  config = ConfigDict()
  config.name = 'unnamed'  # of the policy: folder of its training, evaluation
  config.seed = 0

  config.env = ConfigDict()
  config.env.name = 'alfworld'
  # Arguments of the environment's constructor. The engine's own defaults hold
  # for what is absent.
  config.env.kwargs = ConfigDict()

  config.collect = ConfigDict()
  config.collect.split = 'train'
  config.collect.trajectories = 3553  # successful ones; paper, table 1
  config.collect.max_steps = 50  # an expert that needs more has failed

  config.explore = ConfigDict()
  config.explore.k = 8  # alternatives a state; paper, appendix B.1
  # Who proposes, with the share of k each may fill. `exhaustive` ignores k.
  config.explore.proposers = ConfigDict(
    {'uniform': 1.0, 'policy': 0.0, 'exhaustive': 0.0}
  )
  config.explore.policy = ''  # train/NAME here, or another run's train folder
  config.explore.temperature = 1.0

  config.reflect = ConfigDict()
  config.reflect.writer = 'grounded'  # grounded | openai
  config.reflect.k = 3  # alternatives a rationale weighs; paper, B.1
  config.reflect.per_alternative = False  # one rationale for each instead
  config.reflect.openai = ConfigDict()
  config.reflect.openai.base_url = ''  # '' = the library's default
  config.reflect.openai.model = ''
  config.reflect.openai.temperature = 0.9  # paper, B.7
  config.reflect.openai.max_tokens = 512
  config.reflect.openai.concurrency = 16
  config.reflect.openai.retries = 5  # with exponential backoff

  config.prepare = ConfigDict()
  config.prepare.vocab_size = 512  # of the sentencepiece model to train
  config.prepare.tokenizer = ''  # a given .model instead of training one
  config.prepare.row_tokens = 512
  config.prepare.layout = 'tree'  # tree | flat
  config.prepare.overlong = 'error'  # error | drop: paths longer than a row
  # inline: the environment's turn after the action, as the policy sees it;
  # instructed: behind an instruction of its own (paper dossier, section 8)
  config.prepare.world_model = 'inline'
  config.prepare.held_out = 0.02  # share of trajectories kept from training
  # Rows by name: the datasets each holds, and how many alternatives of a
  # state the world model sees (k = 0: the expert's own transitions alone).
  config.prepare.rows = ConfigDict()

  config.model = ConfigDict()
  config.model.layers = 4
  config.model.embed = 128
  config.model.heads = 4
  config.model.kv_heads = 4
  config.model.head_dim = 32
  config.model.mlp = 384
  config.model.max_tokens = 1024  # longest position a policy may reach
  config.model.rope_theta = 10_000.0
  config.model.norm_eps = 1e-6
  config.model.tied = True  # the embedding is the output head too
  config.model.qkv_bias = False  # Qwen2.5
  config.model.qk_norm = False  # Qwen3
  config.model.dtype = 'float32'  # of activations: float32 | bfloat16
  config.model.param_dtype = 'float32'  # of parameters and optimizer state
  config.model.remat = 'none'  # none | full | dots
  config.model.attention_block = 128  # tokens; 0 = all scores at once
  config.model.loss_chunk = 256  # tokens at a time over the vocabulary

  # Sizes of the mesh axes; -1 for one of them: what is left.
  config.mesh = ConfigDict({'data': 1, 'fsdp': -1, 'tensor': 1})

  # What recipes make stages from; see recipes.py.
  config.budget = budget()

  config.train = ConfigDict()
  config.train.batch_rows = 16  # over all devices
  config.train.microbatches = 1  # gradient accumulation
  # In order. See `stage()` for what each holds.
  config.train.stages = [stage()]
  config.train.checkpoint_every_steps = 500
  config.train.keep_checkpoints = 2
  config.train.log_every_steps = 10

  config.evaluate = ConfigDict()
  config.evaluate.policy = 'trained'  # trained | untrained | random
  config.evaluate.splits = ('seen', 'unseen')
  config.evaluate.tasks = 128  # of each split; 0 = all
  config.evaluate.max_steps = 50
  config.evaluate.constrained = False  # decode admissible actions alone
  config.evaluate.temperature = 0.0  # 0 = greedy
  config.evaluate.think = False  # write a thought before each action
  config.evaluate.max_action_tokens = 32
  config.evaluate.max_thought_tokens = 128
  config.evaluate.batch_tasks = 64  # episodes side by side
  config.evaluate.world_model_states = 256  # held-out states; 0 = none

  # `python -m early_experience.benchmark tree`
  config.benchmark = ConfigDict()
  config.benchmark.trajectories = 32
  config.benchmark.k = 8
  config.benchmark.flat_row_tokens = 512  # flat rows are cheapest when short
  config.benchmark.long_trajectories = 3
  config.benchmark.long_steps = 30  # what the long episodes have at least
  config.benchmark.long_kwargs = ConfigDict()  # config.env.kwargs of those
  config.benchmark.long_row_tokens = 4096
  config.benchmark.long_flat_row_tokens = 1536

  config.quickstart = ConfigDict()
  config.quickstart.recipes = ('untrained', 'imitation', 'joint')
  return config


def budget() -> ConfigDict:
  """What recipes share, so that they are compared at equal cost."""
  config = ConfigDict()
  config.steps = 1000  # optimizer updates of every recipe
  config.world_model_steps = 500  # of them, or before them, on outcomes alone
  config.world_model_weight = 1.0  # lambda in mixtures
  config.reflection_weight = 1.0
  # Share of the joint mixture's rows with branches and rationales; the others
  # are expert episodes alone, which hold more actions a token.
  config.joint_share = 1.0
  config.lr_peak = 1e-5  # paper, appendix B
  config.warmup_steps = 0
  config.decay = 'cosine'
  config.b2 = 0.95
  config.weight_decay = 0.0
  return config


def stage(**changes) -> ConfigDict:
  """One stage of training.

  Keys:
    rows: {name in prepare.rows: share of the batch rows drawn from it}.
    weights: {objective: its lambda}; a number, or a pair (start, end) that is
      interpolated linearly over the stage.
    steps: optimizer updates.
    lr_peak, warmup_steps, decay, lr_end_share: the learning rate rises
      linearly over the warm-up, then falls to a share of its peak by `cosine`
      or `linear`, or stays `constant`.
    reset_optimizer: whether AdamW's moments start from zero.
    b1, b2, weight_decay, clip_norm: of AdamW, and of the global gradient norm.
  """
  config = ConfigDict()
  config.rows = ConfigDict({'expert': 1.0})
  config.weights = ConfigDict(
    {'imitation': 1.0, 'world_model': 0.0, 'reflection': 0.0}
  )
  config.steps = 1000
  config.lr_peak = 1e-5
  config.warmup_steps = 0
  config.decay = 'cosine'  # cosine | linear | constant
  config.lr_end_share = 0.0
  config.reset_optimizer = True
  config.b1, config.b2 = 0.9, 0.95
  config.weight_decay = 0.0
  config.clip_norm = 1.0
  for key, value in changes.items():
    config[key] = ConfigDict(value) if isinstance(value, dict) else value
  return config


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> str:
  """Returns the value.

  Raises:
    UserError: it is none of the choices; the message names the key and them.
  """
  if value not in choices:
    raise UserError(
      f'config.{key} is {value!r}, not one of: {", ".join(choices)}'
    )
  return value
