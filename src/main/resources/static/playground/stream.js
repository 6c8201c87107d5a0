// Server-sent events read by fetch, which can send a key.

/** Yields the JSON of each event until `[DONE]`. Throws what the server says is wrong. */
export async function* events(path, body, key, signal) {
  const response = await fetch(path, {
    method: 'POST',
    headers: headers(key),
    body: JSON.stringify(body),
    signal,
  });
  for await (const data of serverSentData(response)) {
    if (data === '[DONE]') {
      return;
    }
    const event = JSON.parse(data);
    if (event.error) {
      throw new Error(event.error.message);
    }
    yield event;
  }
}

/** Yields the data of each server-sent event, without the fields around it. */
export async function* serverSentData(response) {
  if (!response.ok) {
    throw new Error(await reason(response));
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  while (true) {
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    text += value;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const data = dataOf(text.slice(0, end));
      text = text.slice(end + 2);
      if (data) {
        yield data;
      }
    }
  }
}

/** Headers of a request, with the key if there is one. */
export function headers(key) {
  const all = { 'Content-Type': 'application/json' };
  if (key) {
    all.Authorization = `Bearer ${key}`;
  }
  return all;
}

/** The server's own words for a refusal: of OpenAI's error object, or of a problem. */
export async function reason(response) {
  try {
    const body = await response.json();
    return body.error?.message ?? body.detail ?? `The server answered ${response.status}.`;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

function dataOf(event) {
  return event
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice(5).trimStart())
    .join('\n');
}
