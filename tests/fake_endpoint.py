"""A local HTTP server in place of an OpenAI-compatible endpoint."""

import collections
import http.server
import json
import threading


class FakeEndpoint:
  """Answers chat completions by a script.

  `answer(prompt, attempt)` gives (status, body), or (status, body, headers): a
  dict is sent as JSON, a string as it is; a bare string for the text of a good
  answer. The prompt is the text of all messages, and an attempt is a request
  with this prompt.
  """

  def __init__(self, answer):
    self.requests, self.attempts = [], collections.Counter()
    endpoint, lock = self, threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
      def do_POST(self):
        size = int(self.headers['content-length'])
        request = json.loads(self.rfile.read(size))
        prompt = '\n'.join(m['content'] for m in request['messages'])
        with lock:
          endpoint.requests.append((self.path, self.headers, request))
          endpoint.attempts[prompt] += 1
          attempt = endpoint.attempts[prompt]
        status, body = 200, answer(prompt, attempt)
        headers = [{'retry-after-ms': '1'}]
        if isinstance(body, tuple):
          status, body, *headers = (*body, *headers)[:3]
        else:
          message = {'role': 'assistant', 'content': body}
          body = {'choices': [{'index': 0, 'message': message}]}
        data = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header('content-type', 'application/json')
        for header in headers[0].items():
          self.send_header(*header)
        self.end_headers()
        self.wfile.write(data.encode())

      def log_message(self, *_):
        pass

    class Server(http.server.ThreadingHTTPServer):
      request_queue_size = 128  # connections that may wait; else 5

    self.server = Server(('127.0.0.1', 0), Handler)
    self.url = f'http://127.0.0.1:{self.server.server_port}/v1'

  def __enter__(self):
    serve = self.server.serve_forever
    threading.Thread(target=serve, args=(0.01,), daemon=True).start()
    return self

  def __exit__(self, *_):
    self.server.shutdown()
    self.server.server_close()
