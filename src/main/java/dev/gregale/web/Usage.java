package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;

/** Tokens read and written. Every prompt counts once, every sequence generated counts. */
@JsonPropertyOrder({"prompt_tokens", "completion_tokens", "total_tokens"})
@Schema(name = "CompletionUsage")
record Usage(
    @JsonProperty("prompt_tokens") int promptTokens,
    @JsonProperty("completion_tokens") int completionTokens,
    @JsonProperty("total_tokens") int totalTokens) {

  Usage(int promptTokens, int completionTokens) {
    this(promptTokens, completionTokens, promptTokens + completionTokens);
  }

  static Usage of(Completion completion, List<? extends SequenceOutput<?>> outputs) {
    return new Usage(
        completion.prompts().stream().mapToInt(p -> p.tokenIds().length).sum(),
        outputs.stream().mapToInt(SequenceOutput::completionTokens).sum());
  }
}
