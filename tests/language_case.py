"""Language models behind a fake endpoint, for several tests."""

from early_experience.config import endpoint
from early_experience.language.answer import Chat
from early_experience.language.model import LanguageModel
from tests.fake_endpoint import FakeEndpoint

KEY = 'sk-a+very/secret"key'


def settings(**changes):
  config = endpoint(temperature=0.0, max_tokens=20)
  config.update({'model': 'tiny', 'retries': 0, 'concurrency': 1, **changes})
  return config


def asks(folder, answer, chats, **changes):
  """Answers, and what the endpoint was sent."""
  with FakeEndpoint(answer) as server:
    config = settings(base_url=server.url, **changes)
    answers = LanguageModel(config, 'config.x', folder).ask(chats)
    return answers, [request for *_, request in server.requests]


def say(*texts, prompt='', sample=0):
  messages = [{'role': 'user', 'content': text} for text in texts]
  return Chat(messages, prompt, sample)


def completion(text, finish='stop', used=(0, 0)):
  return 200, {
    'choices': [{'message': {'content': text}, 'finish_reason': finish}],
    'usage': {'prompt_tokens': used[0], 'completion_tokens': used[1]},
  }


def echo(prompt, attempt):
  return f'{prompt} {attempt}'
