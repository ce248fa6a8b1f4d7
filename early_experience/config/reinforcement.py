"""The settings of reinforcement learning."""

from ml_collections import ConfigDict

from early_experience.config.rules import (
  choice,
  entries,
  number,
  numbers,
  path,
)


def define_rl() -> ConfigDict:
  """GRPO; a policy acts as config.evaluate says.

  But for its temperature, which is 1: what is learnt from is the policy's own.
  """
  config = ConfigDict()
  # What it starts from: '' = train/NAME of config.name; another NAME; or
  # `init`: what config.init says.
  config.start = ''
  # What is sampled: episodes; or answers to questions that are made from
  # records, of one turn each and without an environment. `outcomes`: what does
  # an action lead to (RWML, arXiv 2602.05842)? `choices`: which of some actions
  # is the expert's (ACT, arXiv 2603.08706)? In place of tasks there are those
  # of training records, and the panel is of those that were held out.
  config.source = choice('environment', 'outcomes', 'choices')
  # Of an outcome's score, the share of its words that were foretold: what is
  # success, 1 = word for word. RWML cuts the similarity of a language model's
  # embeddings instead. max_outcome_tokens of config.evaluate bounds an answer.
  config.match = number(1.0, '(0, 1]')
  # That a choice shows beside the expert's action; ACT has 1.
  config.alternatives = number(1, '[1, inf)')
  config.iterations = number(100, '[1, inf)')  # each: sample, then update
  # Of an iteration; each is played by a group.
  config.tasks = number(16, '[1, inf)')
  # Episodes a task; TRL 1.16 (num_generations), GiGPO.
  config.group = number(8, '[2, inf)')
  config.split = 'train'  # of the environment, whose tasks are played

  # Who samples: `here`, our own decoder; or `served`, a vLLM that is named
  # below, and gets the parameters after each update.
  config.sampler = choice('here', 'served')
  config.served = ConfigDict()
  config.served.base_url = ''  # such as http://localhost:8000/v1
  # As the server calls it. Where adapters are trained, what they stand beside.
  config.served.model = ''
  # Through which the parameters go: the server must see it. Adapters are each
  # time in a new folder below; '' = WORKDIR/rl/NAME/served. All parameters take
  # the place of those there: it is the export that the server was started with.
  config.served.folder = path()
  # Not for adapters: a command after which the server has read its folder anew.
  config.served.reload = ''
  config.served.concurrency = number(64, '[1, inf)')  # requests under way
  config.served.retries = number(5, '[0, inf)')  # with exponential backoff
  config.served.timeout_seconds = number(600.0, '(0, inf)')  # of one request

  # The advantage of an episode is its reward less the mean of its group's.
  # Groups whose rewards are all alike teach nothing: they are dropped.
  config.reward = choice('success', 'score')
  # Off the reward of each decision whose action was rejected, and of no other;
  # the mean of the group's is what it is measured against. verl-agent (GiGPO)
  # has 0.1.
  config.invalid_penalty = number(0.0, '[0, inf)')
  # Divides by the standard deviation of the group's rewards, as GRPO did at
  # first; it weighs easy and hard tasks up (Dr. GRPO, arXiv 2503.20783).
  config.divide_by_std = False
  # GiGPO's weight (1.0 there; arXiv 2505.10978) of a second advantage: of a
  # decision, among all of its group that saw the same observation, by what they
  # came to, discounted a step.
  config.step_weight = number(0.0, '[0, inf)')
  config.step_discount = number(0.95, '[0, 1]')

  # What a ratio is of: a token; or of all that was sampled in an episode, the
  # mean of its tokens' log-ratios: GSPO, arXiv 2507.18071. Such a mean is close
  # to 0, so clips are others by orders of magnitude: 3e-4 and 4e-4 there. It
  # takes a forward pass more where an update's rows are beyond batch_rows.
  config.ratio = choice('token', 'sequence')
  # Ratios are clipped to [1 - clip_low, 1 + clip_high]; DAPO, arXiv 2503.14476.
  config.clip_low = number(0.2, '[0, 1)')
  config.clip_high = number(0.28, '[0, inf)')
  # Most of a ratio where the advantage is negative; 0 = any (verl has 3).
  config.dual_clip = number(0.0, '{0} or (1, inf)')
  # Of KL to the start (k3), a sampled token; 0 in TRL, verl and DAPO.
  config.kl_weight = number(0.0, '[0, inf)')
  # Truncated importance weights of the trainer against the sampler, whose
  # numbers differ by rounding; 2 in verl and tunix; 0 = none.
  config.importance_cap = number(2.0, '{0} or (1, inf)')
  # Keeps the start's parameters in memory, to report KL to it, which
  # kl_weight needs too.
  config.keep_start = True

  # What else is in every update: so many rows of config.prepare.rows, drawn by
  # these shares, each objective with its lambda (a number; or a pair over all
  # updates, where a config file gives all of `weights` anew). `observations`
  # scores those of all the policy's own episodes for
  # `world_model`: with a lambda of 0.05 that is ECHO (arXiv 2605.24517).
  config.mixed_rows = number(0, '[0, inf)')
  config.rows = entries({}, of=number(1.0, '[0, inf)'))
  config.weights = ConfigDict()
  config.weights.imitation = numbers(0.0, '[0, inf)')
  config.weights.world_model = numbers(0.0, '[0, inf)')
  config.weights.reflection = numbers(0.0, '[0, inf)')
  config.observations = False

  # Parts of the groups, an update each.
  config.minibatches = number(1, '[1, inf)')
  config.epochs = number(1, '[1, inf)')  # times that each group is learnt from
  # Rows of a part whose gradients are added, over all devices.
  config.batch_rows = number(8, '[1, inf)')
  # Of a row; 0 = config.model.max_tokens.
  config.row_tokens = number(0, '[0, inf)')
  # Of AdamW, as in a stage of training.
  # TRL 1.16; the public script behind paper 5.4.
  config.lr_peak = number(1e-6, '[0, inf)')
  config.warmup_steps = number(0, '[0, inf)')
  # Over as many updates as there may be: what drops groups ends before its end.
  config.decay = choice('constant', 'cosine', 'linear')
  config.b2 = number(0.95, '[0, 1)')
  config.weight_decay = number(0.0, '[0, inf)')
  config.clip_norm = number(1.0, '(0, inf]')

  # Played after every so many iterations, as config.evaluate says: tasks of the
  # split's dev panel, which are chosen by their ids alone and not learnt from.
  config.panel_every = number(10, '[0, inf)')  # 0 = never
  config.panel_tasks = number(64, '[1, inf)')
  config.panel_split = 'train'
  config.checkpoint_every = number(10, '[1, inf)')  # iterations
  config.keep_checkpoints = number(2, '[1, inf)')
  return config
