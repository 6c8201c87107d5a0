package dev.gregale.server;

import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.http.StreamResponse;
import com.openai.errors.OpenAIServiceException;
import com.openai.models.chat.completions.ChatCompletionChunk;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.completions.Completion;
import com.openai.models.completions.CompletionCreateParams;
import java.util.List;
import java.util.stream.Stream;

/** OpenAI's own Java client. */
final class OpenAiJavaClient implements ApiClient {
  private final OpenAIClient openai;

  OpenAiJavaClient(String server) {
    openai =
        OpenAIOkHttpClient.builder().baseUrl(server + "/v1").apiKey("unused").maxRetries(0).build();
  }

  private static ChatCompletionCreateParams chat(Ask ask) {
    return ChatCompletionCreateParams.builder()
        .model(ask.model())
        .addUserMessage(Ask.TEXT)
        .temperature(ask.temperature())
        .maxCompletionTokens(ask.maxTokens())
        .putAdditionalBodyProperty("ignore_eos", JsonValue.from(ask.endless()))
        .build();
  }

  private static CompletionCreateParams completion(Ask ask) {
    return CompletionCreateParams.builder()
        .model(ask.model())
        .prompt(Ask.TEXT)
        .temperature(ask.temperature())
        .maxTokens(ask.maxTokens())
        .putAdditionalBodyProperty("ignore_eos", JsonValue.from(ask.endless()))
        .build();
  }

  @Override
  public String complete(Ask ask) {
    return ask.chat()
        ? openai
            .chat()
            .completions()
            .create(chat(ask))
            .choices()
            .getFirst()
            .message()
            .content()
            .orElseThrow()
        : openai.completions().create(completion(ask)).choices().getFirst().text();
  }

  @Override
  public List<String> stream(Ask ask) {
    return read(ask, Long.MAX_VALUE);
  }

  @Override
  public void leave(Ask ask) {
    var unused = read(ask, PIECES);
  }

  private List<String> read(Ask ask, long most) {
    if (ask.chat()) {
      try (StreamResponse<ChatCompletionChunk> stream =
          openai.chat().completions().createStreaming(chat(ask))) {
        return texts(stream).limit(most).toList();
      }
    }
    try (StreamResponse<Completion> stream =
        openai.completions().createStreaming(completion(ask))) {
      return stream.stream().map(chunk -> chunk.choices().getFirst().text()).limit(most).toList();
    }
  }

  private static Stream<String> texts(StreamResponse<ChatCompletionChunk> stream) {
    return stream.stream().map(chunk -> chunk.choices().getFirst().delta().content().orElse(""));
  }

  @Override
  public Refusal refuse(Ask ask) {
    try {
      throw new AssertionError("accepted: " + complete(ask));
    } catch (OpenAIServiceException e) {
      return new Refusal(e.statusCode(), e.getClass().getSimpleName(), e.getMessage());
    }
  }

  @Override
  public void close() {
    openai.close();
  }
}
