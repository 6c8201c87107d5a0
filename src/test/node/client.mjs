// One call of the npm "openai" package, as a test of the server asks for it:
//   node client.mjs BASE_URL complete|stream|leave|refuse REQUEST
// REQUEST is the body's JSON; one with messages is a chat. What came is one line of JSON. After
// "leave" the process stays, with its connections, until its standard input ends.
import OpenAI from "openai";

const [baseURL, action, json] = process.argv.slice(2);
const request = JSON.parse(json);
const openai = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
const isChat = "messages" in request;
const route = isChat ? openai.chat.completions : openai.completions;
const tell = (value) => console.log(JSON.stringify(value));

function textOf(chunk) {
  const choice = chunk.choices[0];
  return (isChat ? (choice?.message ?? choice?.delta)?.content : choice?.text) ?? "";
}

async function pieces(most) {
  const stream = await route.create({ ...request, stream: true });
  const texts = [];
  for await (const chunk of stream) {
    texts.push(textOf(chunk));
    if (texts.length === most) {
      stream.controller.abort();
      break;
    }
  }
  return texts;
}

switch (action) {
  case "complete":
    tell(textOf(await route.create(request)));
    break;
  case "stream":
    tell(await pieces(Infinity));
    break;
  case "leave":
    tell(await pieces(3));
    for await (const ignored of process.stdin);
    break;
  case "refuse":
    try {
      tell(await route.create(request));
    } catch (error) {
      const { status, message } = error;
      tell({ status, kind: error.constructor.name, message });
    }
}
