package dev.gregale.tokenizer;

import com.hubspot.jinjava.Jinjava;
import com.hubspot.jinjava.JinjavaConfig;
import com.hubspot.jinjava.LegacyOverrides;
import com.hubspot.jinjava.el.JinjavaProcessors;
import com.hubspot.jinjava.interpret.Context;
import com.hubspot.jinjava.interpret.Context.Library;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.interpret.RenderResult;
import com.hubspot.jinjava.lib.fn.ELFunctionDefinition;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * A checkpoint's chat template: messages to the prompt text that its model was trained on, as
 * Hugging Face's {@code apply_chat_template} renders it. The text holds its special tokens already:
 * encode it without adding any. Safe for use by several threads.
 *
 * <p>Templates come from checkpoints only, never from requests; what they render comes from
 * requests and is never taken for template code. Neither may exceed the {@link Limits}.
 *
 * <p>Known differences from Jinja2: booleans print as {@code true} and {@code false} and none
 * prints as nothing; there are no {@code tools}, {@code documents} or {@code strftime_now}; an
 * attribute of something undefined is undefined rather than an error.
 */
public final class ChatTemplate implements ChatRenderer {

  /**
   * Bounds of one render.
   *
   * @param maxOutputLength of the text, in UTF-16 code units; strings on the way obey it too
   * @param maxNodes template tags and expressions rendered, counted each time round a loop
   * @param maxTime checked before each node
   */
  public record Limits(int maxOutputLength, int maxNodes, Duration maxTime) {
    public static final Limits DEFAULT = new Limits(8 << 20, 1_000_000, Duration.ofSeconds(2));
  }

  /** Longest list or map a template may build, and longest range. */
  private static final int MAX_COLLECTION_SIZE = 100_000;

  /** What reads other templates, renders strings as such, logs, or makes text of a given width. */
  private static final Map<Library, Set<String>> DISABLED =
      Map.of(
          Library.TAG, Set.of("include", "import", "from", "extends", "block"),
          Library.FILTER,
              Set.of(
                  "render",
                  "center",
                  "format",
                  "indent",
                  "batch",
                  "slice",
                  "fromyaml",
                  "toyaml",
                  "log",
                  "pprint"),
          Library.FUNCTION, Set.of());

  private final String source;
  private final Map<String, Object> specialTokens;
  private final Limits limits;
  private final Jinjava jinjava;

  /**
   * Error: {@link ChatTemplateException} if the template cannot be parsed.
   *
   * @param template Jinja source
   * @param config gives the template its {@code bos_token} and {@code eos_token}
   */
  public ChatTemplate(String template, TokenizerConfig config, Limits limits) {
    TemplateSource parsed = new TemplateSource(template);
    this.source = parsed.text();
    this.limits = limits;
    this.specialTokens =
        Map.of(
            "bos_token", Objects.requireNonNullElse(config.bosToken(), ""),
            "eos_token", Objects.requireNonNullElse(config.eosToken(), ""));
    this.jinjava = new Jinjava(sandboxed(limits).build());
    jinjava.registerFunction(
        new ELFunctionDefinition(
            "", "raise_exception", ChatTemplate.class, "raiseException", Object.class));
    jinjava.registerTag(new TemplateForTag());
    PythonStrings strings = new PythonStrings(limits.maxOutputLength());
    jinjava.registerFilter(new StringMethodFilter("trim", "strip", strings));
    jinjava.registerFilter(new StringMethodFilter("replace", "replace", strings));
    checkNames(parsed);
    checkSyntax();
  }

  /**
   * {@inheritDoc}
   *
   * <p>Takes the calling thread up to {@link Limits#maxTime}. Error: {@link ChatTemplateException}
   * if the template raises one, fails, or passes a limit.
   */
  @Override
  public String render(List<ChatMessage> messages, boolean addGenerationPrompt) {
    Map<String, Object> variables = new HashMap<>(specialTokens);
    variables.put("messages", messages.stream().map(ChatTemplate::toMap).toList());
    variables.put("add_generation_prompt", addGenerationPrompt);
    TemplateGuard guard = new TemplateGuard(limits);
    JinjavaConfig guarded =
        sandboxed(limits)
            .withProcessors(
                JinjavaProcessors.newBuilder()
                    .withNodePreProcessor(guard::beforeNode)
                    .withNodePostProcessor(guard::afterNode)
                    .build())
            .build();
    try {
      RenderResult result = jinjava.renderForResult(source, variables, guarded);
      TemplateGuard.stopOnError(result.getErrors());
      return result.getOutput();
    } catch (TemplateGuard.Stopped e) {
      throw new ChatTemplateException(String.valueOf(e.getMessage()));
    } catch (StackOverflowError e) {
      throw new ChatTemplateException("chat template is nested too deeply");
    }
  }

  /** Jinjava renders what an unknown filter or test is applied to as nothing. */
  private void checkNames(TemplateSource parsed) {
    Context context = jinjava.getGlobalContext();
    for (String filter : parsed.filters()) {
      if (context.getFilter(filter) == null) {
        throw new ChatTemplateException("chat template: unknown filter '" + filter + "'");
      }
    }
    for (String test : parsed.tests()) {
      if (context.getExpTest(test) == null) {
        throw new ChatTemplateException("chat template: unknown test '" + test + "'");
      }
    }
  }

  private void checkSyntax() {
    JinjavaInterpreter interpreter = jinjava.newInterpreter();
    try {
      interpreter.parse(source);
      TemplateGuard.stopOnError(interpreter.getErrorsCopy());
    } catch (TemplateGuard.Stopped e) {
      throw new ChatTemplateException(String.valueOf(e.getMessage()));
    } catch (StackOverflowError e) {
      throw new ChatTemplateException("chat template is nested too deeply");
    }
  }

  private static Map<String, Object> toMap(ChatMessage message) {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("role", message.role());
    map.put("content", message.content());
    return map;
  }

  private static JinjavaConfig.Builder sandboxed(Limits limits) {
    return JinjavaConfig.newBuilder()
        .withNestedInterpretationEnabled(false) // else the content of messages is template code
        .withElResolver(new TemplateSandbox(new PythonStrings(limits.maxOutputLength())))
        .withDisabled(DISABLED)
        .withMaxOutputSize(limits.maxOutputLength())
        .withMaxStringLength(limits.maxOutputLength())
        .withMaxListSize(MAX_COLLECTION_SIZE)
        .withMaxMapSize(MAX_COLLECTION_SIZE)
        .withRangeLimit(MAX_COLLECTION_SIZE)
        .withKeepTrailingNewline(true) // TemplateSource has dropped the template's own
        .withLegacyOverrides(
            LegacyOverrides.newBuilder()
                .withEvaluateMapKeys(true)
                .withIterateOverMapKeys(true)
                .withUsePyishObjectMapper(true)
                .withKeepNullableLoopValues(true)
                .build());
  }

  /** The template's {@code raise_exception}. Called by jinjava, which finds it by name. */
  static String raiseException(Object message) {
    TemplateGuard.raise(String.valueOf(message));
    return "";
  }
}
