"""Every setting once, with its unit and its reason.

Config files start from `default()` and change what they need. The values here
are the paper's where it gives them (arXiv 2510.08558, appendix B), and suit a
pretrained model; `configs/quickstart.py` has those of a laptop.
"""

from ml_collections import ConfigDict, config_dict

from early_experience.errors import UserError
from early_experience.language.settings import endpoint


def default() -> ConfigDict:
  """The default configuration, to which a config file may add no keys."""
  config = ConfigDict()
  config.name = 'unnamed'  # of the policy: folder of its training, evaluation
  config.seed = 0

  config.env = ConfigDict()
  config.env.name = 'alfworld'
  # Arguments of the environment's constructor. The engine's own defaults hold
  # for what is absent.
  config.env.kwargs = ConfigDict()
  config.env.max_observation_chars = 100_000  # a longer one is a fault

  # Who does the work of collect and explore; see workers.py.
  config.cluster = ConfigDict()
  # Of a Ray cluster; '' = processes of this machine.
  config.cluster.address = ''
  config.cluster.workers = 0  # of this machine; 0 = one for each core
  # Of a task or trajectory, all its branches included, and of making the
  # environment before a process's first one: a hang is ended then.
  config.cluster.unit_timeout_seconds = 1800.0
  config.cluster.tries = 3  # of a unit; then it is set aside

  config.collect = ConfigDict()
  config.collect.split = 'train'
  config.collect.trajectories = 3553  # successful ones; paper, table 1
  config.collect.max_steps = 50  # an expert that needs more has failed

  config.explore = ConfigDict()
  config.explore.k = 8  # alternatives a state; paper, appendix B.1
  # Who proposes, with the share of k each may fill. `exhaustive` ignores k.
  config.explore.proposers = ConfigDict(
    {'uniform': 1.0, 'policy': 0.0, 'openai': 0.0, 'exhaustive': 0.0}
  )
  config.explore.policy = ''  # train/NAME here, or another run's train folder
  config.explore.temperature = 1.0  # of the policy
  # Reads the prompts that a policy reads, as config.prepare.answer_format says.
  config.explore.openai = endpoint(temperature=1.0, max_tokens=128)
  # Open each of its chats, '' = nothing does: a text, or a prompt of
  # language/prompts, such as proposer-1. A model that was not trained on these
  # tasks has to be told to answer with one action.
  config.explore.openai.system = ''
  config.explore.openai.prompt = ''

  # Outcomes that are long (pages, documents) in a few sentences, by a language
  # model: what the world model learns to predict, and what rationales weigh.
  config.summarise = ConfigDict()
  config.summarise.enabled = False  # reflect and prepare read what it writes
  config.summarise.openai = endpoint(temperature=0.0, max_tokens=160)

  config.reflect = ConfigDict()
  config.reflect.writer = 'grounded'  # grounded | openai
  config.reflect.k = 3  # alternatives a rationale weighs; paper, B.1
  config.reflect.max_steps = 0  # longer episodes are left out; 0 = none (B.2)
  config.reflect.per_alternative = False  # one rationale for each instead
  # Alternatives that cannot be done: replace (weighed only where there are too
  # few others; paper, B.1) | keep (B.2)
  config.reflect.invalid = 'replace'
  config.reflect.openai = endpoint(
    temperature=0.9,  # paper, B.7
    max_tokens=512,
  )

  config.prepare = ConfigDict()
  # trajectories | import: what `python -m early_experience.chats import` read.
  config.prepare.source = 'trajectories'
  config.prepare.vocab_size = 512  # of the sentencepiece model to train
  # A given tokenizer instead of training one: a sentencepiece .model with our
  # symbols, or a folder with a tokenizer.json and its chat template. Where this
  # is empty, that of config.init.hf.
  config.prepare.tokenizer = ''
  # What is written around a thought and its action for a chat model: plain (a
  # blank line between them) | tags (<think>, <action>) | labels (Thought:,
  # Action:)
  config.prepare.answer_format = 'plain'
  # What else its template takes: {'enable_thinking': False}, {'date_string':
  # '1 Jan 2026'}. Templates have no clock here.
  config.prepare.template_kwargs = ConfigDict()
  config.prepare.row_tokens = 512
  config.prepare.layout = 'tree'  # tree | flat
  config.prepare.overlong = 'error'  # error | drop: paths longer than a row
  # inline: the environment's turn after the action, as the policy sees it;
  # instructed: behind an instruction of its own (the authors' files are)
  config.prepare.world_model = 'inline'
  # Share of trajectories kept from training; of imported chats none is.
  config.prepare.held_out = 0.02
  # Rows by name: the datasets each holds, how many alternatives of a state the
  # world model sees (k = 0: the expert's own transitions alone), and whose: the
  # `proposers`, where not all (paper, B.1: uniform ones, while rationales weigh
  # the policy's). Imported chats have what they have.
  config.prepare.rows = ConfigDict()

  # Where the parameters come from; both empty: drawn from the seed.
  config.init = ConfigDict()
  # Folder of a Hugging Face checkpoint. Its config.json replaces what
  # config.model says of the architecture.
  config.init.hf = ''
  config.init.checkpoint = ''  # train/NAME of another run, or from `convert`

  config.model = model()

  # Sizes of the mesh axes; -1 for one of them: what is left.
  config.mesh = ConfigDict({'data': 1, 'fsdp': -1, 'tensor': 1})

  # What recipes make stages from; see recipes.py.
  config.budget = budget()

  config.train = ConfigDict()
  config.train.batch_rows = 16  # over all devices
  config.train.microbatches = 1  # gradient accumulation
  # Of AdamW's moments: float32 | bfloat16. An update is computed in float32 and
  # then rounded, so bfloat16 (8 bits) stands still below 1 part in 256: the
  # second moment where b2 is above 0.99; and parameters, where
  # model.param_dtype is bfloat16, at the small learning rates of fine-tuning.
  config.train.optimizer_dtype = 'float32'
  # In order. See `stage()` for what each holds.
  config.train.stages = [stage()]
  config.train.checkpoint_every_steps = 500
  config.train.keep_checkpoints = 2  # the newest
  config.train.keep_best_checkpoints = 0  # and those of the lowest loss
  config.train.log_every_steps = 10
  # A loss of more than so many times the mean of the stage's last 50 ends the
  # run.
  config.train.max_loss_ratio = 0.0  # 0 = only what is not finite does
  # First and last update of a profiler's trace; (0, 0) = none.
  config.train.profile_steps = (0, 0)

  config.evaluate = ConfigDict()
  config.evaluate.policy = 'trained'  # trained | untrained | random
  config.evaluate.splits = ('seen', 'unseen')
  config.evaluate.tasks = 128  # of each split; 0 = all
  config.evaluate.max_steps = 50
  config.evaluate.constrained = False  # decode admissible actions alone
  config.evaluate.temperature = 0.0  # 0 = greedy
  # Write a thought before each action. None: as most of the expert's decisions
  # in config.prepare.rows have one; imported chats do not say.
  config.evaluate.think = config_dict.placeholder(bool)
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

  config.lock()
  for free in (  # but to these
    config.env.kwargs,
    config.explore.openai.template_kwargs,
    config.summarise.openai.template_kwargs,
    config.reflect.openai.template_kwargs,
    config.prepare.template_kwargs,
    config.prepare.rows,
    config.benchmark.long_kwargs,
  ):
    free.unlock()
  return config


def model() -> ConfigDict:
  """The architecture, and how it is computed: a small Llama."""
  config = ConfigDict()
  config.vocab_size = 0  # rows of the embedding; 0 = ids of the tokenizer
  config.layers = 4
  config.embed = 128
  config.heads = 4
  config.kv_heads = 4
  config.head_dim = 32
  config.mlp = 384
  config.rope_theta = 10_000.0
  # none | linear | llama3: rates of RoPE are divided by rope_factor; llama3
  # spares those that turn often within rope_original_tokens
  config.rope_scaling = 'none'
  config.rope_factor = 1.0
  config.rope_low_freq_factor = 1.0
  config.rope_high_freq_factor = 4.0
  config.rope_original_tokens = 0
  # Gemma: all layers but each global_every-th see `window` tokens of the path
  # (0 = all), and have a RoPE base of their own that is never scaled.
  config.window = 0
  config.global_every = 1
  config.rope_theta_local = 10_000.0
  config.norm_eps = 1e-6
  config.norm_offset = False  # norms multiply by 1 + weight: Gemma
  config.post_norms = False  # norms at the end of each branch too: Gemma
  config.qk_norm = False  # Qwen3, Gemma 3
  config.qkv_bias = False  # Qwen2.5
  config.o_bias = False
  config.mlp_bias = False
  config.activation = 'silu'  # silu | gelu_tanh, of the MLP's gate
  config.tied = True  # the embedding is the output head too
  config.embed_scale = False  # embeddings times sqrt(embed): Gemma
  # Scores are divided by the square root of it; 0 = head_dim.
  config.query_scale = 0.0
  config.attention_softcap = 0.0  # cap * tanh(score / cap); 0 = none
  config.logit_softcap = 0.0
  # Adapters beside frozen parameters; 0 = all parameters are trained.
  config.lora_rank = 0
  config.lora_alpha = 32.0  # what the adapters add is times alpha / rank
  config.lora_targets = ('q', 'k', 'v', 'o', 'gate', 'up', 'down')
  config.max_tokens = 1024  # longest position a policy may reach
  config.dtype = 'float32'  # of activations: float32 | bfloat16
  config.param_dtype = 'float32'  # of parameters; adapters are float32
  # What the forward pass of a layer keeps for the backward pass, which computes
  # the rest again: none (of it again: all is kept) | dots (products of matrices
  # and attention) | attention (its outputs; its loops run once) | full (all of
  # it again: only the layer's input is kept)
  config.remat = 'none'
  config.attention_block = 128  # tokens; 0 = all scores at once
  config.loss_chunk = 256  # tokens at a time over the vocabulary
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
  config.lock()
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
