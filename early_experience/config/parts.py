"""Groups of settings that occur more than once, or are read alone."""

from ml_collections import ConfigDict


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
  # Of activations: float32 | bfloat16, or, for proofs, float64: it needs
  # JAX_ENABLE_X64=1.
  config.dtype = 'float32'
  config.param_dtype = 'float32'  # of parameters; adapters: float32 or wider
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


def rl() -> ConfigDict:
  """Reinforcement learning by GRPO; a policy acts as config.evaluate says.

  But for its temperature, which is 1: what is learnt from is the policy's own.
  """
  config = ConfigDict()
  # What it starts from: '' = train/NAME of config.name; another NAME; or
  # `init`: what config.init says.
  config.start = ''
  config.iterations = 100  # each: sample, then update
  config.tasks = 16  # of an iteration; each is played by a group
  config.group = 8  # episodes a task; TRL 1.16 (num_generations), GiGPO
  config.split = 'train'  # whose tasks are played

  # The advantage of an episode is its reward less the mean of its group's.
  # Groups whose rewards are all alike teach nothing: they are dropped.
  config.reward = 'success'  # success | score
  # Off the reward for each rejected action; verl-agent (GiGPO) has 0.1.
  config.invalid_penalty = 0.0
  # Divides by the standard deviation of the group's rewards, as GRPO did at
  # first; it weighs easy and hard tasks up (Dr. GRPO, arXiv 2503.20783).
  config.divide_by_std = False
  # GiGPO's weight (1.0 there; arXiv 2505.10978) of a second advantage: of a
  # decision, among all of its group that saw the same observation, by what they
  # came to, discounted a step.
  config.step_weight = 0.0
  config.step_discount = 0.95

  # Ratios are clipped to [1 - clip_low, 1 + clip_high]; DAPO, arXiv 2503.14476.
  config.clip_low = 0.2
  config.clip_high = 0.28
  # Most of a ratio where the advantage is negative; 0 = any (verl has 3).
  config.dual_clip = 0.0
  # Of KL to the start (k3), a sampled token; 0 in TRL, verl and DAPO.
  config.kl_weight = 0.0
  # Truncated importance weights of the trainer against the sampler, whose
  # numbers differ by rounding; 2 in verl and tunix; 0 = none.
  config.importance_cap = 2.0
  # Keeps the start's parameters in memory, to report KL to it, which
  # kl_weight needs too.
  config.keep_start = True

  # What else is in every update: so many rows of config.prepare.rows, drawn by
  # these shares, each objective with its lambda (a number, or a pair over all
  # updates). `observations` scores those of all the policy's own episodes for
  # `world_model`: with a lambda of 0.05 that is ECHO (arXiv 2605.24517).
  config.mixed_rows = 0
  config.rows = ConfigDict()
  config.weights = ConfigDict({'world_model': 0.0})
  config.observations = False

  config.minibatches = 1  # parts of the groups, an update each
  config.epochs = 1  # times that each group is learnt from
  config.batch_rows = 8  # rows of a part whose gradients are added, all devices
  config.row_tokens = 0  # of a row; 0 = config.model.max_tokens
  # Of AdamW, as in a stage of training.
  config.lr_peak = 1e-6  # TRL 1.16; the public script behind paper 5.4
  config.warmup_steps = 0
  config.decay = 'constant'
  config.b2 = 0.95
  config.weight_decay = 0.0
  config.clip_norm = 1.0

  # Played after every so many iterations, as config.evaluate says: tasks of the
  # split's dev panel, which are chosen by their ids alone and not learnt from.
  config.panel_every = 10  # 0 = never
  config.panel_tasks = 64
  config.panel_split = 'train'
  config.checkpoint_every = 10  # iterations
  config.keep_checkpoints = 2
  return config


def endpoint(temperature: float, max_tokens: int) -> ConfigDict:
  """A language model: behind an OpenAI-compatible endpoint, or our own.

  Args:
    temperature: of its samples.
    max_tokens: of an answer, a reasoning model's thoughts included.
  """
  config = ConfigDict()
  config.base_url = ''  # '' = the library's default
  config.model = ''
  # In place of both: train/NAME of a workdir, or what `convert from_hf` wrote.
  config.checkpoint = ''
  config.temperature = temperature
  # In place of it, where several samples are drawn: taken in turn.
  config.temperatures = ()
  config.max_tokens = max_tokens
  config.seed = 0  # of a checkpoint's samples
  config.context_tokens = 4096  # of a checkpoint: a chat with its answer
  config.concurrency = 16  # requests under way; rows of a checkpoint's batch
  config.retries = 5  # with exponential backoff
  config.timeout_seconds = 120.0  # of one request; a retry has its own
  # For the chat template, by a server that takes `chat_template_kwargs` (vLLM,
  # transformers). The template of a policy that `convert to_hf` wrote has those
  # of config.prepare already.
  config.template_kwargs = ConfigDict()
  config.cache = ''  # file of its answers; '' = WORKDIR/answers.sqlite
  # Of a million tokens, in your currency, and above what a stage needs --yes:
  # what it may cost, and how many tokens it may take both ways; 0 = anything.
  config.input_price, config.output_price = 0.0, 0.0
  config.max_cost, config.max_total_tokens = 0.0, 0
  return config
