// Tokens on the page: shaded by probability, readable by pointer and keyboard.

/**
 * The tokens of a streamed choice: [{text, logprob, top: [[text, logprob], ...]}]. A chunk whose
 * tokens do not spell its text (a character that several of them make) is one piece.
 */
export function tokensOf(choice) {
  const text = choice.text ?? choice.delta?.content ?? '';
  const tokens = choice.logprobs?.content ? ofChat(choice.logprobs) : ofCompletion(choice.logprobs);
  if (tokens.length > 0 && tokens.map((token) => token.text).join('') === text) {
    return tokens;
  }
  return text === '' ? [] : [{ ...(tokens.at(-1) ?? { logprob: null, top: [] }), text }];
}

function ofChat(logprobs) {
  return logprobs.content.map((one) => ({
    text: one.token,
    logprob: one.logprob,
    top: one.top_logprobs.map((other) => [other.token, other.logprob]),
  }));
}

function ofCompletion(logprobs) {
  return (logprobs?.tokens ?? []).map((text, i) => ({
    text,
    logprob: logprobs.token_logprobs[i],
    top: Object.entries(logprobs.top_logprobs?.[i] ?? {}),
  }));
}

/** A token as an element; `show` gets the token, with words that describe it. */
export function tokenElement(token, show) {
  const span = document.createElement('span');
  span.className = `token ${shade(token.logprob)}`;
  span.textContent = token.text;
  span.token = { ...token, words: describe(token) };
  span.addEventListener('mouseenter', () => show(span.token));
  return span;
}

function shade(logprob) {
  if (logprob === null) {
    return '';
  }
  const probability = Math.exp(logprob);
  return ['p0', 'p1', 'p2', 'p3', ''][Math.min(4, Math.floor(probability * 5))];
}

function describe(token) {
  if (token.logprob === null) {
    return JSON.stringify(token.text);
  }
  const others = token.top.map(([text, logprob]) => `${JSON.stringify(text)} ${percent(logprob)}`);
  return `${JSON.stringify(token.text)} ${percent(token.logprob)} (log-probability ${token.logprob.toFixed(3)})`
    + (others.length > 0 ? `; likeliest: ${others.join(', ')}` : '');
}

function percent(logprob) {
  return `${(100 * Math.exp(logprob)).toFixed(1)}%`;
}

/** Lets the arrow keys walk over the tokens within an element. */
export function walkTokens(container, show) {
  container.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const all = [...container.querySelectorAll('.token')];
    if (!step || all.length === 0) {
      return;
    }
    event.preventDefault();
    const now = all.findIndex((span) => span.classList.contains('chosen'));
    const next = Math.min(all.length - 1, Math.max(0, now < 0 ? 0 : now + step));
    all[now]?.classList.remove('chosen');
    all[next].classList.add('chosen');
    all[next].scrollIntoView({ block: 'nearest' });
    show(all[next].token);
  });
}
