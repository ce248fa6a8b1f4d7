"""Every setting once, with its unit, its range and its reason.

Config files start from `default()` and change what they need. The values here
are the paper's where it gives them (arXiv 2510.08558, appendix B), and suit a
pretrained model; `configs/quickstart.py` has those of a laptop.
"""

from ml_collections import ConfigDict, config_dict

from early_experience.config.parts import (
  DTYPES,
  PEERS,
  SEED,
  define_budget,
  define_endpoint,
  define_model,
  define_stage,
  row_set,
  stage,
)
from early_experience.config.reinforcement import define_rl
from early_experience.config.rules import (
  choice,
  choices,
  entries,
  folder,
  number,
  numbers,
  path,
  values,
)


def default() -> ConfigDict:
  """The default configuration, to which a config file may add no keys.

  But to the dictionaries that `entries` makes.
  """
  return values(define())


def define() -> ConfigDict:
  """Every setting, and what it may be."""
  config = ConfigDict()
  # Of the policy: folder of its training, evaluation.
  config.name = folder('unnamed')
  config.seed = number(0, SEED)

  config.env = ConfigDict()
  config.env.name = 'alfworld'
  # Arguments of the environment's constructor. The engine's own defaults hold
  # for what is absent.
  config.env.kwargs = entries({})
  # A longer one is a fault.
  config.env.max_observation_chars = number(100_000, '[1, inf)')

  # Who does the work of collect and explore, and plays for evaluate; see work/.
  config.cluster = ConfigDict()
  # Of a Ray cluster; '' = processes of this machine, as always in rl.
  config.cluster.address = ''
  # Of this machine; 0 = one for each core.
  config.cluster.workers = number(0, '[0, inf)')
  # Of a task or trajectory, all its branches included, and of making the
  # environment before a process's first one: a hang is ended then. In evaluate
  # it is the environment's time in an episode.
  config.cluster.unit_timeout_seconds = number(1800.0, '(0, inf)')
  # Of a unit; then it is set aside. If its process died, as many alone first.
  config.cluster.tries = number(3, '[1, inf)')

  config.collect = ConfigDict()
  config.collect.split = 'train'
  # Successful ones; paper, table 1.
  config.collect.trajectories = number(3553, '[1, inf)')
  # Which tasks are demonstrated: the first ones of the environment, or, drawn
  # by config.seed, others for each seed.
  config.collect.shuffle = False
  # An expert that needs more has failed.
  config.collect.max_steps = number(50, '[1, inf)')

  config.explore = ConfigDict()
  # Alternatives a state; paper, appendix B.1.
  config.explore.k = number(8, '[0, inf)')
  # Who proposes, with the share of k each may fill. `exhaustive` ignores k.
  config.explore.proposers = ConfigDict()
  config.explore.proposers.uniform = number(1.0, '[0, inf)')
  # Of what other states of the episode list, and this one does not: what an
  # agent would try in vain.
  config.explore.proposers.recalled = number(0.0, '[0, inf)')
  config.explore.proposers.policy = number(0.0, '[0, inf)')
  config.explore.proposers.openai = number(0.0, '[0, inf)')
  config.explore.proposers.exhaustive = number(0.0, '[0, inf)')
  # Also do, behind each alternative that changed the state, what the expert did
  # from there on, to see whether it still ends as it ended. Row sets with
  # `recovery` need it.
  config.explore.rejoin = False
  # train/NAME here, or another run's train folder.
  config.explore.policy = path()
  # Of the policy; below 1e-6 scores divided by it are no numbers.
  config.explore.temperature = number(1.0, '{0} or [1e-6, inf)')
  # Reads the prompts that a policy reads, as config.prepare.answer_format says.
  config.explore.openai = define_endpoint(temperature=1.0, max_tokens=128)
  # Open each of its chats, '' = nothing does: a text, or a prompt of
  # language/prompts, such as proposer-1. A model that was not trained on these
  # tasks has to be told to answer with one action.
  config.explore.openai.system = ''
  config.explore.openai.prompt = ''

  # Outcomes that are long (pages, documents) in a few sentences, by a language
  # model: what the world model learns to predict, and what rationales weigh.
  config.summarise = ConfigDict()
  config.summarise.enabled = False  # reflect and prepare read what it writes
  config.summarise.openai = define_endpoint(temperature=0.0, max_tokens=160)

  config.reflect = ConfigDict()
  # star: what config.reflect.openai thinks where it acts as the expert did,
  # without any outcome (paper, 6.4); k is of no account then.
  config.reflect.writer = choice('grounded', 'openai', 'star')
  # Ways in which `grounded` says a thing, 0 = all that it has. A small model
  # spends itself on learning which one it will be (docs/LOG.md).
  config.reflect.wordings = number(0, '[0, inf)')
  # Alternatives a rationale weighs; paper, B.1.
  config.reflect.k = number(3, '[0, inf)')
  # Longer episodes are left out; 0 = none (B.2).
  config.reflect.max_steps = number(0, '[0, inf)')
  config.reflect.per_alternative = False  # one rationale for each instead
  # Alternatives that cannot be done: replace (weighed only where there are too
  # few others; paper, B.1) | keep (B.2)
  config.reflect.invalid = choice('replace', 'keep')
  config.reflect.openai = define_endpoint(
    temperature=0.9,  # paper, B.7
    max_tokens=512,
  )

  config.prepare = ConfigDict()
  # trajectories | import: what `python -m early_experience.chats import` read.
  config.prepare.source = choice('trajectories', 'import')
  # Of the sentencepiece model to train.
  config.prepare.vocab_size = number(512, '[1, inf)')
  # A given tokenizer instead of training one: a sentencepiece .model with our
  # symbols, or a folder with a tokenizer.json and its chat template. Where this
  # is empty, that of config.init.hf.
  config.prepare.tokenizer = path(hub=True)
  # What is written around a thought and its action for a chat model: plain (a
  # blank line between them) | tags (<think>, <action>) | labels (Thought:,
  # Action:)
  config.prepare.answer_format = choice('plain', 'tags', 'labels')
  # What else its template takes: {'enable_thinking': False}, {'date_string':
  # '1 Jan 2026'}. Templates have no clock here.
  config.prepare.template_kwargs = entries({})
  config.prepare.date = ''  # the day, as 2026-01-31, of those that want a clock
  config.prepare.row_tokens = number(512, '[1, inf)')
  config.prepare.layout = choice('tree', 'flat')
  config.prepare.overlong = choice('error', 'drop')  # decisions beyond a row
  # inline: the environment's turn after the action, as the policy sees it;
  # instructed: behind an instruction of its own (the authors' files are)
  config.prepare.world_model = choice('inline', 'instructed')
  # Share of trajectories kept from training; of imported chats none is.
  config.prepare.held_out = number(0.02, '[0, 1)')
  # Rows by name: the datasets each holds, how many alternatives of a state the
  # world model sees (k = 0: the expert's own transitions alone), and whose: the
  # `proposers`, where not all (paper, B.1: uniform ones, while rationales weigh
  # the policy's). Imported chats have what they have.
  config.prepare.rows = entries({}, of=row_set(), key=folder(''))

  # Where the parameters come from; both empty: drawn from the seed.
  config.init = ConfigDict()
  # Folder of a Hugging Face checkpoint. Its config.json replaces what
  # config.model says of the architecture. Beside a checkpoint of adapters:
  # where what they stand beside is now.
  config.init.hf = path(hub=True)
  config.init.round = False  # its weights to config.model.param_dtype
  # train/NAME of another run, or from `convert`.
  config.init.checkpoint = path()

  config.model = define_model()

  # Sizes of the mesh axes; -1 for one of them: what is left.
  config.mesh = ConfigDict()
  config.mesh.data = number(1, '{-1} or [1, inf)')
  config.mesh.fsdp = number(-1, '{-1} or [1, inf)')
  config.mesh.tensor = number(1, '{-1} or [1, inf)')

  # What recipes make stages from; see recipes.py.
  config.budget = define_budget()

  config.train = ConfigDict()
  config.train.batch_rows = number(16, '[1, inf)')  # over all devices
  config.train.microbatches = number(1, '[1, inf)')  # gradient accumulation
  # Of AdamW's moments; float64 is for proofs. An update is computed in float32
  # and then rounded, so bfloat16 (8 bits) stands still below 1 part in 256: the
  # second moment where b2 is above 0.99; and parameters, where
  # model.param_dtype is bfloat16, at the small learning rates of fine-tuning.
  config.train.optimizer_dtype = choice(*DTYPES)
  # In order. See `stage()` for what each holds.
  config.train.stages = entries([stage()], of=define_stage())
  config.train.checkpoint_every_steps = number(500, '[1, inf)')
  config.train.keep_checkpoints = number(2, '[1, inf)')  # the newest
  # And those of the lowest loss, for use by hand: commands take the newest.
  config.train.keep_best_checkpoints = number(0, '[0, inf)')
  config.train.log_every_steps = number(10, '[1, inf)')
  # A loss of more than so many times the mean of the stage's last 50 ends the
  # run.
  # 0 = only what is not finite does.
  config.train.max_loss_ratio = number(0.0, '[0, inf)')
  # First and last update of a profiler's trace; (0, 0) = none.
  config.train.profile_steps = numbers((0, 0), '[0, inf)', int)

  config.evaluate = ConfigDict()
  # served: a model that config.evaluate.openai names, asked for each action.
  config.evaluate.policy = choice(
    'trained', 'untrained', 'random', 'rl', 'served'
  )
  config.evaluate.splits = ('seen', 'unseen')
  config.evaluate.tasks = number(128, '[0, inf)')  # of each split; 0 = all
  # The last two are halves of a split without a common task, drawn by the ids.
  # Choose settings on dev, and report test once, with the final ones: it goes
  # beside, to evaluate/NAME-test.
  config.evaluate.panel = choice('all', 'dev', 'test')
  config.evaluate.max_steps = number(50, '[1, inf)')
  config.evaluate.constrained = False  # decode admissible actions alone
  config.evaluate.temperature = number(0.0, '{0} or [1e-6, inf)')  # 0 = greedy
  # Write a thought before each action. None: as most of the expert's decisions
  # in config.prepare.rows have one; imported chats do not say.
  config.evaluate.think = config_dict.placeholder(bool)
  config.evaluate.max_action_tokens = number(32, '[1, inf)')
  config.evaluate.max_thought_tokens = number(128, '[1, inf)')
  # Episodes side by side, or samples of them.
  config.evaluate.batch_tasks = number(64, '[1, inf)')
  # Of each decision, thought and action; most of them decide, and it goes to
  # evaluate/NAME-voteN. With a temperature above 0; not in `rl` or `visit`.
  config.evaluate.samples = number(1, '[1, inf)')
  # The policy foretells what each would lead to, and those that come to nothing
  # do not vote; to evaluate/NAME-lookN. See evaluation/look_ahead.py.
  config.evaluate.look_ahead = False
  config.evaluate.max_outcome_tokens = number(64, '[1, inf)')
  # Held-out states; 0 = none.
  config.evaluate.world_model_states = number(256, '[0, inf)')
  # Of each, the first so many alternatives; 0 = all.
  config.evaluate.world_model_k = number(0, '[0, inf)')
  # Of `served`. It reads and writes as a policy trained here does
  # (config.prepare.answer_format); its temperature is this one, and it thinks
  # where it was trained or is told to.
  config.evaluate.openai = define_endpoint(temperature=0.0, max_tokens=512)
  # As in explore.openai: what tells another model how to act, such as act-1, or
  # react-1, which has it think first. And what lists the admissible actions
  # behind each observation: '' = nothing does, or options-1.
  config.evaluate.openai.system = ''
  config.evaluate.openai.prompt = ''
  config.evaluate.openai.options = ''

  config.rl = define_rl()

  # `python -m early_experience.benchmark tree`, and `peers`
  config.benchmark = ConfigDict()
  config.benchmark.trajectories = number(32, '[1, inf)')
  config.benchmark.k = number(8, '[0, inf)')
  # Flat rows are cheapest when short.
  config.benchmark.flat_row_tokens = number(512, '[1, inf)')
  config.benchmark.long_trajectories = number(3, '[0, inf)')  # 0 = none
  # What the long episodes have at least.
  config.benchmark.long_steps = number(30, '[1, inf)')
  config.benchmark.long_kwargs = entries({})  # config.env.kwargs of those
  config.benchmark.long_row_tokens = number(4096, '[1, inf)')
  config.benchmark.long_flat_row_tokens = number(1536, '[1, inf)')
  # Of `peers` alone: who takes part; the virtual environments that
  # launch/peers.sh made; the most updates of each (0 = all of an epoch; else
  # its time is told from so many, spread over it); and its cores (0 = all).
  config.benchmark.peers = choices(PEERS, PEERS)
  config.benchmark.peer_folder = path('peers_venvs')
  config.benchmark.peer_updates = number(0, '[0, inf)')
  config.benchmark.peer_threads = number(0, '[0, inf)')

  # Of `python -m early_experience.rounds`: each policy proposes in the next
  # one, beside others by its share in config.explore.proposers; where that is
  # 0, alone. config.explore.k, and k of rows, are a round's.
  config.rounds = number(3, '[1, inf)')
  config.visit = ConfigDict()
  # Of each policy, played for the next round as config.evaluate says, in
  # training tasks that have no trajectory yet: the expert is asked in every
  # state. Where the environment's expert cannot be, there are none.
  config.visit.episodes = number(100, '[0, inf)')

  config.quickstart = ConfigDict()
  config.quickstart.recipes = ('untrained', 'imitation', 'joint')
  # Of them, those that go on by rl; each is evaluated before and after.
  config.quickstart.rl = ()
  # What `chats import` reads, with prepare.source=import: then nothing is
  # collected. '' = what it has read already.
  config.quickstart.chats = path('')
  # What comes first: PATH[:RECIPE] of another config, whose loop is run in
  # WORKDIR/first. All that is trained here goes on from its policy.
  config.quickstart.first = ''

  return config
