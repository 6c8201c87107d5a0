package dev.gregale.tokenizer;

import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Finds out how a checkpoint chats, if it does. */
public final class CheckpointChat {
  private static final Logger LOG = LoggerFactory.getLogger(CheckpointChat.class);

  private CheckpointChat() {}

  /**
   * The checkpoint's chat template; one that refuses every conversation with the reason where there
   * is none, or none that can be used.
   *
   * <p>Error: {@link TokenizerLoadException} if a tokenizer file is there but unusable.
   *
   * @param directory of the checkpoint
   */
  public static ChatRenderer open(Path directory, ChatTemplate.Limits limits) {
    TokenizerConfig config = TokenizerConfig.read(directory);
    if (config.chatTemplate() == null) {
      return refusing(
          "This checkpoint has no chat template, so it cannot chat; use /v1/completions");
    }
    try {
      return new ChatTemplate(config.chatTemplate(), config, limits);
    } catch (ChatTemplateException e) {
      LOG.warn("{} cannot chat: {}", directory, e.getMessage());
      return refusing(
          "This checkpoint's chat template cannot be used (%s); use /v1/completions"
              .formatted(e.getMessage()));
    }
  }

  private static ChatRenderer refusing(String reason) {
    return (messages, addGenerationPrompt) -> {
      throw new ChatTemplateException(reason);
    };
  }
}
