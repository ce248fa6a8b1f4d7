"""Groups of settings that occur more than once, or are read alone."""

from ml_collections import ConfigDict

from early_experience.config.rules import (
  choice,
  choices,
  entries,
  number,
  numbers,
  path,
  values,
)

OBJECTIVES = ('imitation', 'world_model', 'reflection')
DATASETS = (*OBJECTIVES, 'recovery')  # of which the last one is to imitate, too
PROPOSERS = ('policy', 'openai', 'recalled', 'uniform', 'exhaustive')
# Of `python -m early_experience.benchmark peers`; the first two are ours.
PEERS = ('trees', 'flat', 'transformers', 'trl', 'tunix')
DTYPES = ('float32', 'bfloat16', 'float64')  # the first is the default
SEED = '[0, 4294967296)'  # what all generators take


def model() -> ConfigDict:
  """The architecture, and how it is computed: a small Llama."""
  return values(define_model())


def define_model() -> ConfigDict:
  """What `model` may be."""
  config = ConfigDict()
  # Rows of the embedding; 0 = ids of the tokenizer.
  config.vocab_size = number(0, '[0, inf)')
  config.layers = number(4, '[1, inf)')
  config.embed = number(128, '[1, inf)')
  config.heads = number(4, '[1, inf)')
  config.kv_heads = number(4, '[1, inf)')
  config.head_dim = number(32, '[1, inf)')
  config.mlp = number(384, '[1, inf)')
  config.rope_theta = number(10_000.0, '(0, inf)')
  # linear, llama3: rates of RoPE are divided by rope_factor; llama3
  # spares those that turn often within rope_original_tokens
  config.rope_scaling = choice('none', 'linear', 'llama3')
  config.rope_factor = number(1.0, '(0, inf)')
  config.rope_low_freq_factor = number(1.0, '(0, inf)')
  config.rope_high_freq_factor = number(4.0, '(0, inf)')
  config.rope_original_tokens = number(0, '[0, inf)')
  # Gemma: all layers but each global_every-th see `window` tokens of the path
  # (0 = all), and have a RoPE base of their own that is never scaled.
  config.window = number(0, '[0, inf)')
  config.global_every = number(1, '[1, inf)')
  config.rope_theta_local = number(10_000.0, '(0, inf)')
  config.norm_eps = number(1e-6, '(0, inf)')
  config.norm_offset = False  # norms multiply by 1 + weight: Gemma
  config.post_norms = False  # norms at the end of each branch too: Gemma
  config.qk_norm = False  # Qwen3, Gemma 3
  config.qkv_bias = False  # Qwen2.5
  config.o_bias = False
  config.mlp_bias = False
  config.activation = choice('silu', 'gelu_tanh')  # of the MLP's gate
  config.tied = True  # the embedding is the output head too
  config.embed_scale = False  # embeddings times sqrt(embed): Gemma
  # Scores are divided by the square root of it; 0 = head_dim.
  config.query_scale = number(0.0, '[0, inf)')
  # Cap * tanh(score / cap); 0 = none.
  config.attention_softcap = number(0.0, '[0, inf)')
  config.logit_softcap = number(0.0, '[0, inf)')
  # Adapters beside frozen parameters; 0 = all parameters are trained.
  config.lora_rank = number(0, '[0, inf)')
  # What the adapters add is times alpha / rank.
  config.lora_alpha = number(32.0, '(0, inf)')
  config.lora_targets = ('q', 'k', 'v', 'o', 'gate', 'up', 'down')
  # Longest position a policy may reach.
  config.max_tokens = number(1024, '[1, inf)')
  # Of activations; float64 is for proofs, and needs JAX_ENABLE_X64=1.
  config.dtype = choice(*DTYPES)
  # Of parameters; adapters are float32 or wider.
  config.param_dtype = choice(*DTYPES)
  # What the forward pass of a layer keeps for the backward pass, which computes
  # the rest again: none (of it again: all is kept) | dots (products of matrices
  # and attention) | attention (its outputs; its loops run once) | full (all of
  # it again: only the layer's input is kept)
  config.remat = choice('none', 'dots', 'attention', 'full')
  # How pairs of blocks that see something of each other are visited: loops (one
  # after the other: CPUs) | batched (many at a time: GPUs) | tpu (kernels for
  # TPUs) | hopper (kernels for GPUs of that name, in bfloat16) | auto (by the
  # devices: tpu, batched or loops)
  config.attention = choice('auto', 'loops', 'batched', 'tpu', 'hopper')
  # Tokens of a block; 0 = all scores at once.
  config.attention_block = number(128, '[0, inf)')
  # Tokens at a time over the vocabulary.
  config.loss_chunk = number(256, '[1, inf)')
  return config


def budget() -> ConfigDict:
  """What recipes share, so that they are compared at equal cost."""
  return values(define_budget())


def define_budget() -> ConfigDict:
  """What `budget` may be."""
  config = ConfigDict()
  config.steps = number(1000, '[0, inf)')  # optimizer updates of every recipe
  # Of them, or before them, on outcomes alone.
  config.world_model_steps = number(500, '[0, inf)')
  config.world_model_weight = number(1.0, '[0, inf)')  # lambda in mixtures
  config.reflection_weight = number(1.0, '[0, inf)')
  # Share of a mixture's rows with branches and rationales; the others are
  # expert episodes alone.
  config.joint_share = number(1.0, '[0, 1]')
  config.lr_peak = number(1e-5, '[0, inf)')  # paper, appendix B
  config.warmup_steps = number(0, '[0, inf)')
  config.decay = choice('cosine', 'linear', 'constant')
  config.b2 = number(0.95, '[0, 1)')
  config.weight_decay = number(0.0, '[0, inf)')
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
  config = values(define_stage())
  for key, value in changes.items():
    config[key] = ConfigDict(value) if isinstance(value, dict) else value
  return config


def define_stage() -> ConfigDict:
  """What `stage` may be."""
  config = ConfigDict()
  config.rows = entries({'expert': 1.0}, of=number(1.0, '[0, inf)'))
  config.weights = ConfigDict()
  config.weights.imitation = numbers(1.0, '[0, inf)')
  config.weights.world_model = numbers(0.0, '[0, inf)')
  config.weights.reflection = numbers(0.0, '[0, inf)')
  config.steps = number(1000, '[0, inf)')
  config.lr_peak = number(1e-5, '[0, inf)')
  config.warmup_steps = number(0, '[0, inf)')
  config.decay = choice('cosine', 'linear', 'constant')
  config.lr_end_share = number(0.0, '[0, inf)')
  config.reset_optimizer = True
  config.b1 = number(0.9, '[0, 1)')
  config.b2 = number(0.95, '[0, 1)')
  config.weight_decay = number(0.0, '[0, inf)')
  config.clip_norm = number(1.0, '(0, inf]')
  return config


def row_set() -> ConfigDict:
  """One of `config.prepare.rows`.

  Keys:
    datasets: that it holds.
    k: alternatives of a state that the world model sees; 0: the expert's own
      transitions alone.
    proposers: whose alternatives; () = all.
  """
  config = ConfigDict()
  config.datasets = choices((), DATASETS)
  config.k = number(0, '[0, inf)')
  config.proposers = choices((), PROPOSERS)
  return config


def endpoint(temperature: float, max_tokens: int) -> ConfigDict:
  """A language model: behind an OpenAI-compatible endpoint, or our own.

  Args:
    temperature: of its samples.
    max_tokens: of an answer, a reasoning model's thoughts included.
  """
  return values(define_endpoint(temperature, max_tokens))


def define_endpoint(temperature: float, max_tokens: int) -> ConfigDict:
  """What `endpoint` may be."""
  config = ConfigDict()
  config.base_url = ''  # '' = the library's default
  # Answers are known by this name: give each export that is served its own.
  config.model = ''
  # In place of both: train/NAME of a workdir, or what `convert from_hf` wrote.
  config.checkpoint = path()
  config.temperature = number(temperature, '[0, inf)')
  # In place of it, where several samples are drawn: taken in turn.
  config.temperatures = numbers((), '[0, inf)')
  # False: that of the server, where it takes none.
  config.sends_temperature = True
  config.max_tokens = number(max_tokens, '[1, inf)')
  # What a server calls max_tokens.
  config.token_limit = choice('max_tokens', 'max_completion_tokens')
  config.seed = number(0, SEED)  # of a checkpoint's samples
  # Of a checkpoint: a chat with its answer.
  config.context_tokens = number(4096, '[1, inf)')
  # Requests under way; rows of a checkpoint's batch.
  config.concurrency = number(16, '[1, inf)')
  config.retries = number(5, '[0, inf)')  # with exponential backoff
  # Of one request; a retry has its own.
  config.timeout_seconds = number(120.0, '(0, inf)')
  # For the chat template, by a server that takes `chat_template_kwargs` (vLLM,
  # transformers). The template of a policy that `convert to_hf` wrote has those
  # of config.prepare already.
  config.template_kwargs = entries({})
  # File of its answers; '' = WORKDIR/answers.sqlite.
  config.cache = path()
  # Of a million tokens, in your currency, and above what a stage needs --yes:
  # what it may cost, and how many tokens it may take both ways; 0 = anything.
  config.input_price = number(0.0, '[0, inf)')
  config.output_price = number(0.0, '[0, inf)')
  config.max_cost = number(0.0, '[0, inf)')
  config.max_total_tokens = number(0, '[0, inf)')
  return config
