"""How a language model is reached, asked and paid."""

from ml_collections import ConfigDict


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
