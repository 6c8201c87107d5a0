package dev.gregale.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizerConfigTest {

  @TempDir private Path directory;

  @Test
  void readsTheDemoModel() {
    TokenizerConfig config = TokenizerConfig.read(TestTokenizers.DEMO_MODEL);
    assertThat(config.bosToken()).isEqualTo("<s>");
    assertThat(config.eosToken()).isEqualTo("</s>");
    assertThat(config.chatTemplate()).startsWith("{%- if messages[0]['role'] == 'system' %}");
  }

  @Test
  void isEmptyWithoutFiles() {
    assertThat(TokenizerConfig.read(directory)).isEqualTo(new TokenizerConfig(null, null, null));
  }

  @Test
  void takesTokensAsStringsOrObjectsFromEitherFile() throws IOException {
    write("tokenizer_config.json", "{\"bos_token\": {\"content\": \"<a>\"}, \"eos_token\": null}");
    write("special_tokens_map.json", "{\"bos_token\": \"<b>\", \"eos_token\": \"<c>\"}");
    assertThat(TokenizerConfig.read(directory)).isEqualTo(new TokenizerConfig("<a>", "<c>", null));
  }

  @Test
  void takesTheDefaultOfSeveralTemplates() throws IOException {
    write(
        "tokenizer_config.json",
        """
        {"chat_template": [{"name": "tool_use", "template": "T"},
                           {"name": "default", "template": "D"}]}""");
    assertThat(TokenizerConfig.read(directory).chatTemplate()).isEqualTo("D");
    write(
        "tokenizer_config.json", "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"R\"}]}");
    assertThat(TokenizerConfig.read(directory).chatTemplate()).isNull();
  }

  @Test
  void prefersTheTemplateFile() throws IOException {
    write("tokenizer_config.json", "{\"chat_template\": \"in config\"}");
    assertThat(TokenizerConfig.read(directory).chatTemplate()).isEqualTo("in config");
    write("chat_template.jinja", "in file 中\n");
    assertThat(TokenizerConfig.read(directory).chatTemplate()).isEqualTo("in file 中\n");
  }

  @Test
  void namesACorruptFile() throws IOException {
    write("tokenizer_config.json", "{\"bos_token\": ");
    assertThatThrownBy(() -> TokenizerConfig.read(directory))
        .isInstanceOf(TokenizerLoadException.class)
        .hasMessageContaining(directory.resolve("tokenizer_config.json").toString());
  }

  private void write(String name, String content) throws IOException {
    Files.writeString(directory.resolve(name), content);
  }
}
