package dev.gregale.web;

import java.util.List;
import tools.jackson.databind.annotation.JsonDeserialize;

/** The prompts of a request as they were given: all texts or all token ids, at least one. */
@JsonDeserialize(using = PromptDeserializer.class)
sealed interface PromptInput {

  /** How many prompts. */
  int size();

  record Texts(List<String> texts) implements PromptInput {
    @Override
    public int size() {
      return texts.size();
    }
  }

  record TokenIds(List<int[]> ids) implements PromptInput {
    @Override
    public int size() {
      return ids.size();
    }
  }
}
