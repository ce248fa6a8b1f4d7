"""Chat templates that do what each family's does, in words of our own."""

_LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
  {%- if strftime_now is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
  {%- else %}
    {%- set date_string = "1 Jan 2024" %}
  {%- endif %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
  {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not tools is defined %}
  {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
  {%- set opening = messages[0]['content'] | trim %}
  {%- set messages = messages[1:] %}
{%- else %}
  {%- set opening = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
  {{- "Environment: shell\\n" }}
{%- endif %}
{{- "What it knows ends: 2023\\nThe day: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
  {{- "These can be called, by JSON:\\n\\n" }}
  {%- for t in tools %}
    {{- t | tojson(indent=4) }}
    {{- "\\n\\n" }}
  {%- endfor %}
{%- endif %}
{{- opening }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
  {%- if messages | length == 0 %}
    {{- raise_exception("tools need a first user message") }}
  {%- endif %}
  {%- set first = messages[0]['content'] | trim %}
  {%- set messages = messages[1:] %}
  {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
  {{- "One of these may be called, by JSON:\\n\\n" }}
  {%- for t in tools %}
    {{- t | tojson(indent=4) }}
    {{- "\\n\\n" }}
  {%- endfor %}
  {{- first + "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
  {%- if not (message.role == 'ipython' or message.role == 'tool'
      or 'tool_calls' in message) %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'
        + message['content'] | trim + '<|eot_id|>' }}
  {%- elif 'tool_calls' in message %}
    {%- if not message.tool_calls | length == 1 %}
      {{- raise_exception("one tool call at a time") }}
    {%- endif %}
    {%- set call = message.tool_calls[0].function %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
    {{- '{"name": "' + call.name + '", "parameters": ' }}
    {{- call.arguments | tojson }}
    {{- "}<|eot_id|>" }}
  {%- else %}
    {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
    {%- if message.content is mapping or message.content is iterable %}
      {{- message.content | tojson }}
    {%- else %}
      {{- message.content }}
    {%- endif %}
    {{- "<|eot_id|>" }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

_QWEN_TOOLS = """{%- if tools %}
  {{- '<|im_start|>system\\n' }}
  {%- if messages[0].role == 'system' %}
    {{- messages[0].content + '\\n\\n' }}
  {%- else %}
    {{- DEFAULT }}
  {%- endif %}
  {{- "# Functions\\n\\nWhat may be called:\\n<tools>" }}
  {%- for tool in tools %}
    {{- "\\n" }}
    {{- tool | tojson }}
  {%- endfor %}
  {{- "\\n</tools>\\n\\nA call:\\n<tool_call>\\n{}\\n</tool_call>" }}
  {{- "<|im_end|>\\n" }}
{%- else %}
  {%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
  {%- elif DEFAULT %}
    {{- '<|im_start|>system\\n' + DEFAULT + '<|im_end|>\\n' }}
  {%- endif %}
{%- endif %}
"""

_QWEN_CALLS = """{%- for call in message.tool_calls %}
  {%- if call.function %}
    {%- set call = call.function %}
  {%- endif %}
  {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
  {{- call.arguments | tojson }}
  {{- '}\\n</tool_call>' }}
{%- endfor %}
"""

_QWEN_TOOL_TURN = """{%- set i = loop.index0 %}
{%- if loop.first or messages[i - 1].role != 'tool' %}
  {{- '<|im_start|>user' }}
{%- endif %}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{%- if loop.last or messages[i + 1].role != 'tool' %}
  {{- '<|im_end|>\\n' }}
{%- endif %}
"""

_QWEN2 = (
  "{%- set DEFAULT = 'You help, and your name is Tiny.' %}\n"
  + _QWEN_TOOLS
  + """{%- for message in messages %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first)
      or (message.role == 'assistant' and not message.tool_calls) %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content }}
    {{- '<|im_end|>\\n' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant' }}
    {%- if message.content %}
      {{- '\\n' + message.content }}
    {%- endif %}
"""
  + _QWEN_CALLS
  + """    {{- '<|im_end|>\\n' }}
  {%- elif message.role == 'tool' %}
"""
  + _QWEN_TOOL_TURN
  + """  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
)

# The thoughts of earlier answers are dropped; the last answer has a block of
# thoughts in any case.
_QWEN3 = (
  "{%- set DEFAULT = '' %}\n"
  + _QWEN_TOOLS
  + """{%- set ns = namespace(looking=true, asked=messages|length - 1) %}
{%- for message in messages[::-1] %}
  {%- set index = (messages|length - 1) - loop.index0 %}
  {%- if ns.looking and message.role == 'user' and message.content is string
      and not (message.content.startswith('<tool_response>')
               and message.content.endswith('</tool_response>')) %}
    {%- set ns.looking = false %}
    {%- set ns.asked = index %}
  {%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- set content = message.content if message.content is string else '' %}
  {%- if message.role == 'user'
      or (message.role == 'system' and not loop.first) %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
  {%- elif message.role == 'assistant' %}
    {%- set thoughts = '' %}
    {%- if message.reasoning_content is string %}
      {%- set thoughts = message.reasoning_content %}
    {%- elif '</think>' in content %}
      {%- set thoughts = content.split('</think>')[0].rstrip('\\n')
          .split('<think>')[-1].lstrip('\\n') %}
      {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if loop.index0 > ns.asked and (loop.last or thoughts) %}
      {{- '<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n'
          + content.lstrip('\\n') }}
    {%- else %}
      {{- content }}
    {%- endif %}
    {%- if message.tool_calls %}
"""
  + _QWEN_CALLS
  + """    {%- endif %}
    {{- '<|im_end|>\\n' }}
  {%- elif message.role == 'tool' %}
"""
  + _QWEN_TOOL_TURN
  + """  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}
    {{- '<think>\\n\\n</think>\\n\\n' }}
  {%- endif %}
{%- endif %}
"""
)

_GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
  {%- if messages[0]['content'] is string -%}
    {%- set opening = messages[0]['content'] + '\\n\\n' -%}
  {%- else -%}
    {%- set opening = messages[0]['content'][0]['text'] + '\\n\\n' -%}
  {%- endif -%}
  {%- set turns = messages[1:] -%}
{%- else -%}
  {%- set opening = "" -%}
  {%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
  {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
    {{ raise_exception("user and assistant must take turns") }}
  {%- endif -%}
  {%- set role = message['role'] -%}
  {%- set role = 'model' if role == 'assistant' else role -%}
  {{ '<start_of_turn>' + role + '\\n' + (opening if loop.first else "") }}
  {%- if message['content'] is string -%}
    {{ message['content'] | trim }}
  {%- elif message['content'] is iterable -%}
    {%- for item in message['content'] -%}
      {%- if item['type'] == 'text' -%}
        {{ item['text'] | trim }}
      {%- endif -%}
    {%- endfor -%}
  {%- else -%}
    {{ raise_exception("content must be text") }}
  {%- endif -%}
  {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""

_LLAMA2 = """{% if messages[0]['role'] == 'system' %}
  {% set turns = messages[1:] %}
  {% set opening = messages[0]['content'] %}
{% else %}
  {% set turns = messages %}
  {% set opening = false %}
{% endif %}
{% for message in turns %}
  {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('user and assistant must take turns') }}
  {% endif %}
  {% set content = message['content'] %}
  {% if loop.index0 == 0 and opening != false %}
    {% set content = '<<SYS>>\\n' + opening + '\\n<</SYS>>\\n\\n' + content %}
  {% endif %}
  {% if message['role'] == 'user' %}
    {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' -}}
  {% elif message['role'] == 'assistant' %}
    {{- ' ' + content.strip() + ' ' + eos_token -}}
  {% endif %}
{% endfor %}
"""

TEMPLATES = {
  'llama3': _LLAMA3,
  'qwen2': _QWEN2,
  'qwen3': _QWEN3,
  'gemma3': _GEMMA3,
  'llama2': _LLAMA2,
}
