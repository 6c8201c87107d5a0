package dev.gregale.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointChatTest {
  private static final List<ChatMessage> HELLO = List.of(new ChatMessage("user", "Hello"));
  @TempDir Path directory;

  @Test
  void theCheckpointsTemplateRenders() throws Exception {
    Files.writeString(directory.resolve("chat_template.jinja"), "{{ messages[0].content }}!");
    assertThat(open().render(HELLO, true)).isEqualTo("Hello!");
  }

  @Test
  void aCheckpointWithoutOneRefusesWithTheReason() {
    assertThatThrownBy(() -> open().render(HELLO, true))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessage("This checkpoint has no chat template, so it cannot chat; use /v1/completions");
  }

  @Test
  void aCheckpointWithABrokenOneRefusesWithTheReason() throws Exception {
    Files.writeString(directory.resolve("chat_template.jinja"), "{{ x | no_such_filter }}");
    assertThatThrownBy(() -> open().render(HELLO, true))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessage(
            "This checkpoint's chat template cannot be used (chat template: unknown filter"
                + " 'no_such_filter'); use /v1/completions");
  }

  private ChatRenderer open() {
    return CheckpointChat.open(directory, ChatTemplate.Limits.DEFAULT);
  }
}
