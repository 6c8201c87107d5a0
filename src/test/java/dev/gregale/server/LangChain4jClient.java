package dev.gregale.server;

import dev.langchain4j.exception.HttpException;
import dev.langchain4j.exception.LangChain4jException;
import dev.langchain4j.model.StreamingResponseHandler;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.PartialResponse;
import dev.langchain4j.model.chat.response.PartialResponseContext;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.model.openai.OpenAiLanguageModel;
import dev.langchain4j.model.openai.OpenAiStreamingChatModel;
import dev.langchain4j.model.openai.OpenAiStreamingLanguageModel;
import dev.langchain4j.model.output.Response;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * LangChain4j, over the JDK's HttpClient. Its language models take no limit of tokens, which leaves
 * OpenAI's default of 16, and cannot be cancelled.
 */
final class LangChain4jClient implements ApiClient {
  private static final String KEY = "unused";

  private final String baseUrl;

  LangChain4jClient(String server) {
    baseUrl = server + "/v1";
  }

  @Override
  public String complete(Ask ask) {
    return ask.chat() ? chat(ask).chat(Ask.TEXT) : language(ask).generate(Ask.TEXT).content();
  }

  private OpenAiChatModel chat(Ask ask) {
    return OpenAiChatModel.builder()
        .baseUrl(baseUrl)
        .apiKey(KEY)
        .modelName(ask.model())
        .temperature(ask.temperature())
        .maxCompletionTokens(ask.maxTokens())
        .maxRetries(0)
        .build();
  }

  private OpenAiLanguageModel language(Ask ask) {
    return OpenAiLanguageModel.builder()
        .baseUrl(baseUrl)
        .apiKey(KEY)
        .modelName(ask.model())
        .temperature(ask.temperature())
        .maxRetries(0)
        .build();
  }

  @Override
  public List<String> stream(Ask ask) throws Exception {
    Pieces pieces = new Pieces(Integer.MAX_VALUE);
    if (ask.chat()) {
      streamingChat(ask).chat(Ask.TEXT, pieces);
    } else {
      OpenAiStreamingLanguageModel.builder()
          .baseUrl(baseUrl)
          .apiKey(KEY)
          .modelName(ask.model())
          .temperature(ask.temperature())
          .build()
          .generate(Ask.TEXT, pieces);
    }
    return pieces.ended.get(20, TimeUnit.SECONDS);
  }

  private OpenAiStreamingChatModel streamingChat(Ask ask) {
    return OpenAiStreamingChatModel.builder()
        .baseUrl(baseUrl)
        .apiKey(KEY)
        .modelName(ask.model())
        .temperature(ask.temperature())
        .maxCompletionTokens(ask.maxTokens())
        .customParameters(Map.of("ignore_eos", ask.endless()))
        .build();
  }

  @Override
  public void leave(Ask ask) throws Exception {
    Pieces pieces = new Pieces(PIECES);
    streamingChat(ask).chat(Ask.TEXT, pieces);
    var unused = pieces.ended.get(20, TimeUnit.SECONDS);
  }

  @Override
  public Refusal refuse(Ask ask) {
    try {
      throw new AssertionError("accepted: " + complete(ask));
    } catch (LangChain4jException e) {
      HttpException http = (HttpException) e.getCause();
      return new Refusal(
          http.statusCode(), e.getClass().getSimpleName(), ApiClient.message(http.getMessage()));
    }
  }

  /** Collects a stream's texts, and cancels it after so many. */
  private static final class Pieces
      implements StreamingChatResponseHandler, StreamingResponseHandler<String> {
    final CompletableFuture<List<String>> ended = new CompletableFuture<>();
    private final List<String> texts = Collections.synchronizedList(new ArrayList<>());
    private final int most;

    Pieces(int most) {
      this.most = most;
    }

    @Override
    public void onPartialResponse(PartialResponse response, PartialResponseContext context) {
      texts.add(response.text());
      if (texts.size() == most) {
        context.streamingHandle().cancel();
        ended.complete(texts);
      }
    }

    @Override
    public void onNext(String text) {
      texts.add(text);
    }

    @Override
    public void onCompleteResponse(ChatResponse response) {
      ended.complete(texts);
    }

    @Override
    public void onComplete(Response<String> response) {
      ended.complete(texts);
    }

    @Override
    public void onError(Throwable error) {
      ended.completeExceptionally(error);
    }
  }
}
