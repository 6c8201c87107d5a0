// The playground: sends what the form says, shows the answer as it comes.

import { oncePerFrame } from './frames.js';
import { events, headers, reason } from './stream.js';
import { tokenElement, tokensOf, walkTokens } from './tokens.js';
import { HeatMap } from './experts.js';
import { snippet } from './snippets.js';
import { watchServer } from './server.js';

const LIKELIEST = 5;
const element = (id) => document.getElementById(id);
const form = element('form');
const turns = []; // of the chat: {role, content}
let model = '';
let running = null; // AbortController of the request under way

const isChat = () => form.elements.mode.value === 'chat';
const key = () => form.elements.key.value.trim();
const path = () => (isChat() ? '/v1/chat/completions' : '/v1/completions');
const heat = new HeatMap(element('heat'), element('heat-summary'));

function showToken(token) {
  element('token').textContent = token.words;
  heat.choose(token.experts);
}

function parameters() {
  const value = (name) => form.elements[name].value;
  const body = {
    max_tokens: Number(value('max_tokens')),
    temperature: Number(value('temperature')),
    top_p: Number(value('top_p')),
  };
  for (const name of ['top_k', 'seed']) {
    if (value(name) !== '') {
      body[name] = Number(value(name));
    }
  }
  if (value('stop') !== '') {
    body.stop = value('stop');
  }
  return body;
}

/** The request as a user would write it. */
function request() {
  const prompt = element('prompt').value;
  const input = isChat()
    ? { messages: [...turns, { role: 'user', content: prompt }] }
    : { prompt };
  return { model, ...input, ...parameters(), stream: true };
}

/** What this page needs beside: probabilities, experts and counts. */
function instrumented(body) {
  const logprobs = isChat() ? { logprobs: true, top_logprobs: LIKELIEST } : { logprobs: LIKELIEST };
  return {
    ...body,
    ...logprobs,
    return_routed_experts: true,
    stream_options: { include_usage: true },
  };
}

function turnElement(who, given) {
  const turn = document.createElement('div');
  turn.className = 'turn';
  if (isChat()) {
    const label = document.createElement('span');
    label.className = 'who';
    label.textContent = who;
    turn.append(label);
  }
  const text = document.createElement('span');
  text.className = 'given';
  text.textContent = given;
  turn.append(text);
  element('conversation').append(turn);
  return turn;
}

async function run() {
  const body = request();
  const chat = isChat();
  running = new AbortController();
  setBusy(true);
  let turn;
  if (chat) {
    turnElement('You', element('prompt').value);
    turn = turnElement(model, '');
  } else {
    element('conversation').replaceChildren();
    turn = turnElement(model, body.prompt);
  }
  const answer = await receive(body, turn);
  if (chat && answer !== null) {
    turns.push({ role: 'user', content: element('prompt').value });
    turns.push({ role: 'assistant', content: answer });
    element('prompt').value = '';
    element('clear').hidden = false;
  }
  setBusy(false);
  running = null;
  showSnippet();
}

/** Shows the answer as it comes; its text, or null if there was none. */
async function receive(body, turn) {
  const figures = { start: performance.now(), first: null, last: null, tokens: 0, finish: null };
  const unseen = []; // [event, when it came]
  let text = '';
  let experts = null; // of the token that was fed last, which the next one is drawn from
  let stopped = false;
  const show = () => {
    if (unseen.length === 0) {
      return; // all was shown, and another answer may have begun
    }
    for (const [event, time] of unseen.splice(0)) {
      const choice = event.choices[0];
      const tokens = choice ? tokensOf(choice) : [];
      if (choice?.routed_experts) {
        experts = heat.add(choice.routed_experts);
      }
      for (const token of tokens) {
        text += token.text;
        turn.append(tokenElement({ ...token, experts }, showToken));
      }
      count(figures, time, event, choice, tokens.length);
    }
    showFigures(figures);
    element('conversation').scrollTop = element('conversation').scrollHeight;
  };
  const showSoon = oncePerFrame(show);
  heat.clear();
  try {
    for await (const event of events(path(), instrumented(body), key(), running.signal)) {
      unseen.push([event, performance.now()]);
      showSoon();
    }
  } catch (error) {
    stopped = error.name === 'AbortError';
    element('message').textContent = stopped ? '' : error.message;
  }
  show();
  if (stopped) {
    figures.finish = 'you';
    showFigures(figures);
  }
  heat.describe();
  element('spoken').textContent = `Answer: ${text}`; // once, for screen readers
  return text === '' && figures.finish === null ? null : text;
}

function count(figures, time, event, choice, tokens) {
  if (tokens > 0) {
    figures.first ??= time;
    figures.last = time;
    figures.tokens += tokens;
  }
  figures.tokens = event.usage?.completion_tokens ?? figures.tokens;
  figures.finish = choice?.finish_reason ?? figures.finish;
}

function showFigures({ start, first, last, tokens, finish }) {
  const seconds = (last - first) / 1e3;
  element('ttft').textContent = first === null ? '–' : `${(first - start).toFixed(0)} ms`;
  element('rate').textContent = seconds > 0 ? ((tokens - 1) / seconds).toFixed(1) : '–';
  element('count').textContent = tokens;
  element('finish').textContent = finish ?? '–';
}

function setBusy(busy) {
  element('run').disabled = busy || model === '';
  element('stop').disabled = !busy;
  element('conversation').setAttribute('aria-busy', String(busy));
  if (busy) {
    for (const id of ['message', 'token', 'spoken']) {
      element(id).textContent = '';
    }
    for (const id of ['ttft', 'rate', 'count', 'finish']) {
      element(id).textContent = '–';
    }
  }
}

function newChat() {
  turns.length = 0;
  element('conversation').replaceChildren();
  element('clear').hidden = true;
  heat.clear();
  showSnippet();
}

function showSnippet() {
  const tab = document.querySelector('[role="tab"][aria-selected="true"]');
  element('snippet').textContent = snippet(tab.id.slice('tab-'.length), path(), request());
}

function choose(tab) {
  for (const other of document.querySelectorAll('[role="tab"]')) {
    other.setAttribute('aria-selected', String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
  element('snippet').setAttribute('aria-labelledby', tab.id);
  showSnippet();
}

function listenToTabs() {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  tabs.forEach((tab, i) => {
    tab.addEventListener('click', () => choose(tab));
    tab.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) {
        const next = tabs[(i + step + tabs.length) % tabs.length];
        choose(next);
        next.focus();
      }
    });
  });
}

/** The model's name, once the server has one to serve. */
async function findModel() {
  try {
    const response = await fetch('/v1/models', { headers: headers(key()) });
    if (response.ok) {
      model = (await response.json()).data[0].id;
      element('model').textContent = `serves ${model}`;
      element('message').textContent = '';
      setBusy(running !== null);
      showSnippet();
      return;
    }
    element('message').textContent = await reason(response);
    element('model').textContent = response.status === 401 ? 'asks for an API key' : 'is not ready';
  } catch {
    element('model').textContent = 'cannot be reached';
  }
  setTimeout(findModel, 2000);
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  if (!element('run').disabled) {
    run();
  }
});
form.addEventListener('input', (event) => {
  if (event.target.name === 'mode') {
    newChat();
    element('prompt-label').textContent = isChat() ? 'Message' : 'Prompt';
  }
  showSnippet();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    form.requestSubmit();
  } else if (event.key === 'Escape') {
    running?.abort();
  }
});
element('stop').addEventListener('click', () => running?.abort());
element('clear').addEventListener('click', () => {
  newChat();
  element('prompt').focus();
});
element('copy').addEventListener('click', () => navigator.clipboard.writeText(element('snippet').textContent));
walkTokens(element('conversation'), showToken);
listenToTabs();
setBusy(false);
findModel();
watchServer(key, element);
