// The request as code to take along.

export function snippet(language, path, body) {
  return { curl, java, javascript }[language](path, body, location.origin);
}

function curl(path, body, origin) {
  const json = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return `curl -N ${origin}${path} \\
  -H "Authorization: Bearer $GREGALE_API_KEY" \\
  -H 'Content-Type: application/json' \\
  -d '${json}'`;
}

function javascript(path, body, origin) {
  const call = path.endsWith('chat/completions') ? 'chat.completions' : 'completions';
  const text = call === 'completions' ? 'choices[0]?.text' : 'choices[0]?.delta?.content';
  return `// npm install openai
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: process.env.GREGALE_API_KEY ?? 'none' });
const stream = await client.${call}.create(${JSON.stringify(body, null, 2)});
for await (const chunk of stream) {
  process.stdout.write(chunk.${text} ?? '');
}`;
}

function java(path, body, origin) {
  return `// Java 21 or later, nothing else
String body = """
${indent(JSON.stringify(body, null, 2).replaceAll('\\', '\\\\').replaceAll('"""', '\\"""'))}
    """;
HttpRequest request = HttpRequest.newBuilder(URI.create("${origin}${path}"))
    .header("Authorization", "Bearer " + System.getenv("GREGALE_API_KEY"))
    .header("Content-Type", "application/json")
    .POST(HttpRequest.BodyPublishers.ofString(body))
    .build();
try (HttpClient client = HttpClient.newHttpClient()) {
  client.send(request, HttpResponse.BodyHandlers.ofLines()).body()
      .filter(line -> line.startsWith("data: {"))
      .forEach(System.out::println);
}`;
}

function indent(text) {
  return text.replaceAll(/^/gm, '    ');
}
