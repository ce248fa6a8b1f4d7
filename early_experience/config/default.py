"""Every setting once, with its unit and its reason.

Config files start from `default()` and change what they need. The values here
are the paper's where it gives them (arXiv 2510.08558, appendix B), and suit a
pretrained model; `configs/quickstart.py` has those of a laptop.
"""

from ml_collections import ConfigDict, config_dict

from early_experience.config.parts import budget, endpoint, model, rl, stage


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

  # Who does the work of collect and explore; see work/.
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
  config.prepare.date = ''  # the day, as 2026-01-31, of those that want a clock
  config.prepare.row_tokens = 512
  config.prepare.layout = 'tree'  # tree | flat
  config.prepare.overlong = 'error'  # error | drop: decisions beyond a row
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
  # config.model says of the architecture. Beside a checkpoint of adapters:
  # where what they stand beside is now.
  config.init.hf = ''
  config.init.round = False  # its weights to config.model.param_dtype
  config.init.checkpoint = ''  # train/NAME of another run, or from `convert`

  config.model = model()

  # Sizes of the mesh axes; -1 for one of them: what is left.
  config.mesh = ConfigDict({'data': 1, 'fsdp': -1, 'tensor': 1})

  # What recipes make stages from; see recipes.py.
  config.budget = budget()

  config.train = ConfigDict()
  config.train.batch_rows = 16  # over all devices
  config.train.microbatches = 1  # gradient accumulation
  # Of AdamW's moments: float32 | bfloat16, or float64 for proofs. An update is
  # computed in float32 and then rounded, so bfloat16 (8 bits) stands still
  # below 1 part in 256: the second moment where b2 is above 0.99; and
  # parameters, where model.param_dtype is bfloat16, at the small learning rates
  # of fine-tuning.
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
  config.evaluate.policy = 'trained'  # trained | rl | untrained | random
  config.evaluate.splits = ('seen', 'unseen')
  config.evaluate.tasks = 128  # of each split; 0 = all
  # all | dev | test: the last two are halves of a split without a common task,
  # drawn by the ids. Choose settings on dev, and report test once, with the
  # final ones: it goes beside, to evaluate/NAME-test.
  config.evaluate.panel = 'all'
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

  config.rl = rl()

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
    config.rl.rows,
    config.rl.weights,
    config.benchmark.long_kwargs,
  ):
    free.unlock()
  return config
