package dev.gregale.tokenizer;

import static dev.gregale.tokenizer.TestTokenizers.ints;
import static dev.gregale.tokenizer.TestTokenizers.resource;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

class ChatTemplateTest {

  private static final TokenizerConfig TOKENS = new TokenizerConfig("<s>", "</s>", null);
  private static final ChatTemplate.Limits TIGHT =
      new ChatTemplate.Limits(100_000, 200_000, Duration.ofMillis(500));
  private static final List<ChatMessage> HELLO = List.of(new ChatMessage("user", "Hello"));

  private static ChatTemplate demoTemplate() {
    TokenizerConfig config = TokenizerConfig.read(TestTokenizers.DEMO_MODEL);
    return new ChatTemplate(
        Objects.requireNonNull(config.chatTemplate()), config, ChatTemplate.Limits.DEFAULT);
  }

  private static String render(String template, List<ChatMessage> messages) {
    return new ChatTemplate(template, TOKENS, TIGHT).render(messages, false);
  }

  private static List<ChatMessage> messages(JsonNode array) {
    List<ChatMessage> messages = new ArrayList<>();
    for (JsonNode m : array) {
      messages.add(new ChatMessage(m.path("role").stringValue(), m.path("content").stringValue()));
    }
    return messages;
  }

  @Test
  void rendersTheDemoTemplateAsHuggingFace() throws IOException {
    JsonNode golden = resource("/golden/chat/cases.json");
    ChatTemplate template = demoTemplate();
    assertThat(golden.path("cases").size()).isPositive();
    try (DjlTokenizer tokenizer = TestTokenizers.demo()) {
      for (JsonNode c : golden.path("cases")) {
        String rendered = template.render(messages(c.path("messages")), true);
        assertThat(rendered).isEqualTo(c.path("rendered").stringValue());
        assertThat(tokenizer.encode(rendered, false)).isEqualTo(ints(c.path("ids")));
      }
    }
  }

  @Test
  void failsWithTheTemplatesOwnMessage() throws IOException {
    ChatTemplate template = demoTemplate();
    int errors = 0;
    for (JsonNode c : resource("/golden/chat/cases.json").path("errors")) {
      List<ChatMessage> messages = messages(c.path("messages"));
      if (c.has("rendered")) {
        assertThat(template.render(messages, true)).isEqualTo(c.path("rendered").stringValue());
        continue;
      }
      errors++;
      assertThatThrownBy(() -> template.render(messages, true))
          .isInstanceOf(ChatTemplateException.class)
          .hasMessage(c.path("error").stringValue());
    }
    assertThat(errors).isPositive();
  }

  /** Templates of the published families and single features, rendered by Jinja2 itself. */
  @Test
  void rendersAsJinja2() throws IOException {
    JsonNode cases = resource("jinja2.json").path("cases");
    assertThat(cases.size()).isGreaterThan(250);
    for (JsonNode c : cases) {
      String name = c.path("name").stringValue() + " " + c.path("messages");
      var template =
          new ChatTemplate(c.path("template").stringValue(), TOKENS, ChatTemplate.Limits.DEFAULT);
      List<ChatMessage> messages = messages(c.path("messages"));
      boolean prompt = c.path("add_generation_prompt").booleanValue();
      if (c.has("error")) {
        assertThatThrownBy(() -> template.render(messages, prompt))
            .as(name)
            .hasMessage(c.path("error").stringValue());
      } else {
        assertThat(template.render(messages, prompt))
            .as(name)
            .isEqualTo(c.path("rendered").stringValue());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ m.content }}",
        "{{ m['content'] }}",
        "{{ m.content | trim }}",
        "{{ m.content.strip() }}",
        "{{ '' + m.content }}",
        "{{ m.content | safe }}",
        "{% set c = m.content %}{{ c }}",
        "{% set c %}{{ m.content }}{% endset %}{{ c }}",
        "{% macro show(x) %}{{ x }}{% endmacro %}{{ show(m.content) }}",
      })
  void neverTakesContentForTemplateCode(String use) {
    String content =
        "{{ 7*7 }} {% for x in y %} {# c #} {%- raw -%} {{ bos_token }} ${1+1} #{2} \\n <b>&amp;";
    String template = "{% set m = messages[0] %}" + use;
    assertThat(render(template, List.of(new ChatMessage("user", content)))).isEqualTo(content);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        // endless, for practical purposes
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
        "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
        "{% for i in range(90000) if range(90000)|sort|list|length == 1 %}{% endfor %}",
        "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        // huge
        "{% for i in range(90000) %}0123456789{% endfor %}",
        "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}",
        "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}"
            + "{{ n.l }}",
        "{% set n = namespace(s='a') %}{% for i in range(60) %}"
            + "{% set n.s = n.s|replace('a', 'aaaaaaaa') %}{% endfor %}",
        "{% set n = namespace(s='a') %}{% for i in range(60) %}"
            + "{% set n.s = n.s.replace('a', 'aaaaaaaa') %}{% endfor %}",
        "{% set n = namespace(s='a') %}{% for i in range(60) %}"
            + "{% set n.s = [n.s, n.s]|join(n.s) %}{% endfor %}",
        "{{ 'a'|center(2000000000) }}",
        "{{ '%2000000000d'|format(1) }}",
        "{{ 'a'.repeat(2000000000) }}",
      })
  @Timeout(10)
  void stopsWhatIsEndlessOrHuge(String template) {
    assertThatThrownBy(() -> render(template, HELLO)).isInstanceOf(ChatTemplateException.class);
  }

  @Test
  @Timeout(10)
  void stopsWhatIsNestedTooDeeply() {
    for (String[] brackets : new String[][] {{"(", ")"}, {"[", "]"}, {"not ", ""}}) {
      String nested = brackets[0].repeat(30_000) + "1" + brackets[1].repeat(30_000);
      assertThatThrownBy(() -> render("{{ " + nested + " }}", HELLO))
          .isInstanceOf(ChatTemplateException.class);
    }
    String ifs = "{% if true %}".repeat(10_000) + "x" + "{% endif %}".repeat(10_000);
    assertThatThrownBy(() -> render(ifs, HELLO)).isInstanceOf(ChatTemplateException.class);
    assertThatThrownBy(() -> render("x".repeat(2_000_000), HELLO))
        .isInstanceOf(ChatTemplateException.class);
  }

  @Test
  void namesTheLimitPassed() {
    var limits = new ChatTemplate.Limits(1000, 1000, Duration.ofSeconds(60));
    var template =
        new ChatTemplate("{% for i in range(5000) %}{{ '' }}{% endfor %}", TOKENS, limits);
    assertThatThrownBy(() -> template.render(HELLO, false)).hasMessageContaining("1000 steps");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ ''.getClass() }}",
        "{{ ''.class }}",
        "{{ messages.class }}",
        "{{ messages.getClass() }}",
        "{{ messages[0].getClass() }}",
        "{{ ____int3rpr3t3r____.config }}",
        "{{ ____int3rpr3t3r____.getConfig() }}",
        "{{ ____int3rpr3t3r____.context }}",
        "{% for m in messages %}{{ loop.getClass() }}{{ loop.class }}{% endfor %}",
        "{% for m in messages %}{{ loop.doBreak() }}{% endfor %}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{% include 'application.yaml' %}",
        "{% import 'application.yaml' as x %}",
        "{% from 'application.yaml' import x %}",
        "{% extends 'application.yaml' %}",
        "{{ '{{ 7*7 }}'|render }}",
      })
  void reachesNothingBeyondItsVariables(String template) {
    try {
      assertThat(render(template, HELLO)).isEmpty();
    } catch (ChatTemplateException refused) {
      assertThat(refused).message().doesNotContain("49");
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{% if true %}",
        "{% endif %}",
        "{{ 1",
        "{# no end",
        "{{ 'no end }}",
        "{% raw %} no end",
        "{% nope %}",
        "{{ 'x'|nope }}",
        "{{ 1 is nope }}",
        "{{ 1 is not nope }}",
      })
  void refusesABrokenTemplateAtOnce(String template) {
    assertThatThrownBy(() -> new ChatTemplate(template, TOKENS, TIGHT))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("chat template");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ 1 + }}",
        "{{ nope() }}",
        "{% for x of y %}{% endfor %}",
        "{% if %}{% endif %}"
      })
  void failsOnAnErrorThatShowsWhenRendering(String template) {
    assertThatThrownBy(() -> render(template, HELLO)).isInstanceOf(ChatTemplateException.class);
  }

  @Test
  void printsTokensThatTheCheckpointLacksAsNothing() {
    var template =
        new ChatTemplate(
            "{{ bos_token + 'x' + eos_token }}",
            new TokenizerConfig(null, null, null),
            ChatTemplate.Limits.DEFAULT);
    assertThat(template.render(HELLO, true)).isEqualTo("x");
  }

  @Test
  void rendersThousandsOfMessages() {
    List<ChatMessage> many = new ArrayList<>();
    for (int i = 0; i < 4000; i++) {
      many.add(new ChatMessage(i % 2 == 0 ? "user" : "assistant", "m" + i));
    }
    String rendered = demoTemplate().render(many, true);
    assertThat(rendered).startsWith("<s> [INST] m0 [/INST] m1</s>").endsWith(" m3999</s>");
  }
}
