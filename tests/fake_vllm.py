"""A local HTTP server in vLLM's place, with transformers' model of an export.

It answers prompts of token ids, and takes adapters at runtime.
"""

import http.server
import json
import threading

import peft
import torch
import transformers


class FakeVllm:
  """Serves an export under the name `base`.

  Args:
    folder: of the export.
    forced: what is said to a prompt and a seed, by (ids, seed); anything else
      is sampled.
    tells: what its completions have: `logprobs`, `token_ids`, `ends`.
    shift: is added to the log-probabilities that it tells.
    loads: whether adapters may be loaded.
    reads: tokens of a context.

  Attributes:
    models: what is served, by name.
    requests: to complete a prompt, in order; a list to be emptied.
    broken: whether all of these fail.
  """

  def __init__(
    self,
    folder,
    forced=(),
    tells=('logprobs', 'token_ids', 'ends'),
    shift=0.0,
    loads=True,
    reads=512,
  ):
    self._folder, self._forced = folder, dict(forced)
    self._tells, self._shift, self._loads = tells, shift, loads
    self._reads, self._lock = reads, threading.Lock()
    self.requests, self.broken = [], False
    torch.set_num_threads(1)
    self.read()
    fake = self

    class Handler(http.server.BaseHTTPRequestHandler):
      def do_GET(self):
        self._answer(200, {'data': fake._list()})

      def do_POST(self):
        size = int(self.headers['content-length'])
        request = json.loads(self.rfile.read(size) or '{}')
        name = self.path.rpartition('/')[2]
        with fake._lock:
          self._answer(*getattr(fake, f'_{name}')(request))

      def _answer(self, status, body):
        data = json.dumps(body) if isinstance(body, dict) else body
        kind = 'application/json' if isinstance(body, dict) else 'text/plain'
        self.send_response(status)
        self.send_header('content-type', kind)
        self.end_headers()
        self.wfile.write(data.encode())

      def log_message(self, *_):
        pass

    class Server(http.server.ThreadingHTTPServer):
      request_queue_size = 128

    self._server = Server(('127.0.0.1', 0), Handler)
    self.url = f'http://127.0.0.1:{self._server.server_port}/v1'

  def read(self):
    """Reads the export, for the first time or anew."""
    self.models = {'base': self._load()}

  def _load(self):
    load = transformers.AutoModelForCausalLM.from_pretrained
    return load(self._folder, dtype=torch.float32).eval()

  def _list(self):
    return [{'id': name, 'max_model_len': self._reads} for name in self.models]

  def _load_lora_adapter(self, request):
    name = request['lora_name']
    if not self._loads:
      return 404, {'detail': 'Not Found'}
    if name in self.models:
      return 400, {'message': f'{name} has already been loaded'}
    model = peft.PeftModel.from_pretrained(self._load(), request['lora_path'])
    self.models[name] = model.merge_and_unload().eval()
    return 200, f"Success: LoRA adapter '{name}' added successfully."

  def _unload_lora_adapter(self, request):
    del self.models[request['lora_name']]
    return 200, 'Success'

  def _reload(self, request):
    del request
    self.read()
    return 200, {}

  def _completions(self, request):
    self.requests.append(request)
    if self.broken:
      return 500, {}
    if request['model'] not in self.models:
      return 404, {'message': 'no such model'}
    stops, prompt = request['stop_token_ids'], request['prompt']
    ids = self._forced.get((tuple(prompt), request['seed']))
    if ids is None:
      ids = self._sampled(request, stops)
    logps = self._logps(request, ids)
    ended = bool(ids) and ids[-1] in stops
    if ended and 'ends' not in self._tells:
      ids, logps = ids[:-1], logps[:-1]
    choice = {'text': '', 'finish_reason': 'stop' if ended else 'length'}
    if 'logprobs' in self._tells:
      tokens = [
        f'token_id:{i}' if 'strings' in self._tells else '' for i in ids
      ]
      choice['logprobs'] = {'tokens': tokens, 'token_logprobs': logps}
    if 'token_ids' in self._tells:
      choice['token_ids'] = ids
    return 200, {'choices': [choice]}

  @torch.no_grad()
  def _sampled(self, request, stops):
    chance = torch.Generator().manual_seed(request['seed'])
    ids, heat = [], request['temperature']
    while len(ids) < request['max_tokens'] and not (ids and ids[-1] in stops):
      read = torch.tensor([request['prompt'] + ids])
      logits = self.models[request['model']](read).logits[0, -1]
      if heat:
        shares = torch.softmax(logits / heat, -1)
        ids.append(int(torch.multinomial(shares, 1, generator=chance)))
      else:
        ids.append(int(logits.argmax()))
    return ids

  @torch.no_grad()
  def _logps(self, request, ids):
    prompt = request['prompt']
    read = torch.tensor([prompt + ids])
    logits = self.models[request['model']](read).logits[0, len(prompt) - 1 : -1]
    logps = torch.log_softmax(logits, -1)
    return [float(logps[i, one]) + self._shift for i, one in enumerate(ids)]

  def __enter__(self):
    serve = self._server.serve_forever
    threading.Thread(target=serve, args=(0.01,), daemon=True).start()
    return self

  def __exit__(self, *_):
    self._server.shutdown()
    self._server.server_close()
