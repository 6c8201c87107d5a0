package dev.gregale.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.http.StreamResponse;
import com.openai.errors.BadRequestException;
import com.openai.errors.NotFoundException;
import com.openai.models.chat.completions.ChatCompletion;
import com.openai.models.chat.completions.ChatCompletionChunk;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.chat.completions.ChatCompletionStreamOptions;
import com.openai.models.completions.Completion;
import com.openai.models.completions.CompletionCreateParams;
import java.time.Duration;
import java.util.List;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** OpenAI's own Java client, which validates the replies against its types. */
class OpenAiJavaTest extends RunningServer {
  private static final ChatCompletionStreamOptions WITH_USAGE =
      ChatCompletionStreamOptions.builder().includeUsage(true).build();
  private OpenAIClient openai;

  @BeforeEach
  void openClient() {
    openai =
        OpenAIOkHttpClient.builder()
            .baseUrl("http://127.0.0.1:" + port + "/v1")
            .apiKey("unused")
            .maxRetries(0)
            .responseValidation(true)
            .build();
  }

  @AfterEach
  void closeClient() {
    openai.close();
  }

  private static ChatCompletionCreateParams.Builder chat() {
    return ChatCompletionCreateParams.builder()
        .model(MODEL)
        .addSystemMessage("You tell fairy tales.")
        .addUserMessage("Begin.")
        .temperature(0)
        .maxCompletionTokens(16);
  }

  private static CompletionCreateParams.Builder completion() {
    return CompletionCreateParams.builder()
        .model(MODEL)
        .prompt("Once upon a time")
        .temperature(0)
        .maxTokens(16);
  }

  @Test
  void completesAndStreams() {
    Completion whole = openai.completions().create(completion().logprobs(1).build());
    assertEquals(16, whole.usage().orElseThrow().completionTokens());
    assertEquals(
        16, whole.choices().getFirst().logprobs().orElseThrow().tokens().orElseThrow().size());
    StringBuilder text = new StringBuilder();
    // In its types a chunk's finish_reason is never null, though OpenAI's own is until the end.
    try (StreamResponse<Completion> stream =
        openai
            .withOptions(options -> options.responseValidation(false))
            .completions()
            .createStreaming(completion().streamOptions(WITH_USAGE).build())) {
      List<Completion> chunks = stream.stream().toList();
      chunks.forEach(chunk -> chunk.choices().forEach(choice -> text.append(choice.text())));
      assertEquals(16, chunks.getLast().usage().orElseThrow().completionTokens());
    }
    assertEquals(whole.choices().getFirst().text(), text.toString());
  }

  /** What the client makes a schema of, and reads answers into. */
  static final class Hero {
    public String name;
    public int age;
    public List<Gift> gifts;

    enum Gift {
      RING,
      SWORD
    }
  }

  @Test
  void structuredOutputIsOfItsClass() {
    var params =
        ChatCompletionCreateParams.builder()
            .model(MODEL)
            .addUserMessage("Tell me of the king.")
            .temperature(0)
            .maxCompletionTokens(400)
            // The model ends no list and no text by itself: it was trained on no JSON.
            .logitBias(
                ChatCompletionCreateParams.LogitBias.builder()
                    .putAdditionalProperty(tokenId("\""), JsonValue.from(8))
                    .putAdditionalProperty(tokenId("]"), JsonValue.from(8))
                    .build())
            .responseFormat(Hero.class)
            .build();
    Hero hero =
        openai.chat().completions().create(params).choices().stream()
            .flatMap(choice -> choice.message().content().stream())
            .findFirst()
            .orElseThrow();
    assertFalse(hero.name.contains("\""));
    assertTrue(hero.gifts.stream().allMatch(gift -> List.of(Hero.Gift.values()).contains(gift)));
  }

  @Test
  void chatsAndStreams() {
    ChatCompletionCreateParams params = chat().logprobs(true).topLogprobs(3).build();
    ChatCompletion whole = openai.chat().completions().create(params);
    ChatCompletion.Choice choice = whole.choices().getFirst();
    assertEquals(ChatCompletion.Choice.FinishReason.LENGTH, choice.finishReason());
    var logprobs = choice.logprobs().orElseThrow().content().orElseThrow();
    assertEquals(16, logprobs.size());
    assertEquals(3, logprobs.getFirst().topLogprobs().size());
    StringBuilder text = new StringBuilder();
    try (StreamResponse<ChatCompletionChunk> stream =
        openai.chat().completions().createStreaming(chat().streamOptions(WITH_USAGE).build())) {
      List<ChatCompletionChunk> chunks = stream.stream().toList();
      chunks.forEach(
          chunk -> chunk.choices().forEach(c -> c.delta().content().ifPresent(text::append)));
      assertTrue(chunks.getFirst().choices().getFirst().delta().role().isPresent());
      assertFalse(chunks.getFirst().usage().isPresent());
      assertEquals(16, chunks.getLast().usage().orElseThrow().completionTokens());
    }
    assertEquals(choice.message().content().orElseThrow(), text.toString());
  }

  @Test
  void closingAStreamEndsTheGeneration() {
    ChatCompletionCreateParams endless =
        chat()
            .maxCompletionTokens(3000)
            .putAdditionalBodyProperty("ignore_eos", com.openai.core.JsonValue.from(true))
            .build();
    try (StreamResponse<ChatCompletionChunk> stream =
        openai.chat().completions().createStreaming(endless)) {
      assertEquals(4, stream.stream().limit(4).count());
      assertTrue(gauge("gregale.requests.running") > 0);
    }
    Awaitility.await()
        .atMost(Duration.ofSeconds(2))
        .until(() -> gauge("gregale.requests.running") == 0);
  }

  @Test
  void errorsAreItsExceptions() {
    NotFoundException unknown =
        assertThrows(
            NotFoundException.class,
            () -> openai.chat().completions().create(chat().model("gpt-9").build()));
    assertEquals("model_not_found", unknown.code().orElseThrow());
    BadRequestException bad =
        assertThrows(
            BadRequestException.class,
            () -> openai.completions().create(completion().temperature(3).build()));
    assertEquals("temperature", bad.param().orElseThrow());
    assertEquals(MODEL, openai.models().list().data().getFirst().id());
  }
}
