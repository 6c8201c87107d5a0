package dev.gregale.tokenizer;

import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Applies Jinja2's whitespace control to a template's source, as Hugging Face sets it: {@code
 * trim_blocks}, {@code lstrip_blocks}, no {@code keep_trailing_newline}. What comes out has no
 * whitespace left to control, and no comments: jinjava's own handling differs from Jinja2's (it
 * strips blanks before a tag in the middle of a line, and the newline that ends the output rather
 * than the template).
 *
 * <p>Source of the rules: Jinja2 3.1, {@code lexer.py}.
 */
final class TemplateSource {

  private static final Pattern RAW_BEGIN = Pattern.compile("\\{%[-+]?\\s*raw\\s*(-?)%}");
  private static final Pattern RAW_END = Pattern.compile("\\{%([-+]?)\\s*endraw\\s*([-+]?)%}");

  /** Braces which, as data, jinjava would take for the start of a tag. */
  private static final Pattern TAG_LIKE = Pattern.compile("\\{(?=[{%#]|$)");

  private static final int MAX_LENGTH = 1 << 20;

  /** The expression parser's time grows steeply with both; templates in use stay far below. */
  private static final int MAX_CODE_LENGTH = 16_384;

  private static final int MAX_BRACKET_DEPTH = 32;

  private final String source;
  private final StringBuilder out = new StringBuilder();

  /** Text between tags that is not yet written, as the next tag may strip its end. */
  private final StringBuilder data = new StringBuilder();

  private int position;

  /** The last tag, with the whitespace that it took, ended with a newline. */
  private boolean lineStarting = true;

  private final Set<String> filters = new TreeSet<>();
  private final Set<String> tests = new TreeSet<>();

  /** Error: {@link ChatTemplateException} for a tag that is not closed, or too much template. */
  TemplateSource(String template) {
    if (template.length() > MAX_LENGTH) {
      throw new ChatTemplateException(
          "chat template of %d characters, more than %d".formatted(template.length(), MAX_LENGTH));
    }
    String lines = template.replace("\r\n", "\n").replace('\r', '\n');
    this.source = lines.endsWith("\n") ? lines.substring(0, lines.length() - 1) : lines;
    run();
  }

  /** The template without whitespace control and comments. */
  String text() {
    return out.toString();
  }

  /** Names of the filters that it uses. */
  Set<String> filters() {
    return filters;
  }

  /** Names of the tests that it uses. */
  Set<String> tests() {
    return tests;
  }

  private void run() {
    Matcher raw = RAW_BEGIN.matcher(source);
    while (position < source.length()) {
      int tag = nextTag();
      if (tag < 0) {
        data.append(source, position, source.length());
        break;
      }
      char kind = source.charAt(tag + 1);
      stripBefore(source.substring(position, tag), kind, sign(tag + 2));
      if (raw.region(tag, source.length()).lookingAt()) {
        raw(raw);
      } else if (kind == '#') {
        int end = source.indexOf("#}", tag + 2);
        if (end < 0) {
          throw unclosed(tag, "comment");
        }
        stripAfter(end, true);
      } else {
        tag(tag, kind);
      }
    }
    writeData();
  }

  /** Index of the next <code>{{</code>, <code>{%</code> or <code>{#</code>, or -1. */
  private int nextTag() {
    for (int i = source.indexOf('{', position); i >= 0; i = source.indexOf('{', i + 1)) {
      if (i + 1 < source.length() && "{%#".indexOf(source.charAt(i + 1)) >= 0) {
        return i;
      }
    }
    return -1;
  }

  private char sign(int index) {
    char c = index < source.length() ? source.charAt(index) : ' ';
    return c == '-' || c == '+' ? c : ' ';
  }

  /** Adds the text before a tag to the data, with what the tag's start strips taken off. */
  private void stripBefore(String text, char kind, char sign) {
    if (sign == '-') {
      data.append(PythonStrings.strip(text, null, false, true));
      return;
    }
    int line = text.lastIndexOf('\n') + 1;
    boolean startsLine = line > 0 || lineStarting;
    boolean blank = PythonStrings.strip(text.substring(line), null, true, true).isEmpty();
    boolean strips = kind != '{' && sign != '+' && startsLine && blank;
    data.append(strips ? text.substring(0, line) : text);
  }

  /** Goes behind a tag's two closing characters at {@code end} and what they strip. */
  private void stripAfter(int end, boolean trimNewline) {
    char sign = sign(end - 1);
    position = end + 2;
    if (sign == '-') {
      while (position < source.length() && PythonStrings.isSpace(source.charAt(position))) {
        position++;
      }
    } else if (trimNewline && sign != '+' && source.startsWith("\n", position)) {
      position++;
    }
    lineStarting = source.charAt(position - 1) == '\n';
  }

  /** Raw text is data: its tags are escaped as it is written. */
  private void raw(Matcher begin) {
    stripAfter(begin.end() - 2, false);
    Matcher end = RAW_END.matcher(source);
    if (!end.find(position)) {
      throw unclosed(begin.start(), "raw block");
    }
    char sign = end.group(1).isEmpty() ? ' ' : end.group(1).charAt(0);
    stripBefore(source.substring(position, end.start()), '%', sign);
    stripAfter(end.end() - 2, true);
  }

  private void tag(int start, char kind) {
    writeData();
    boolean isBlock = kind == '%';
    int from = start + (sign(start + 2) == ' ' ? 2 : 3);
    StringBuilder code = new StringBuilder();
    int end = copyCode(start, from, isBlock ? "%}" : "}}", code);
    boolean signed = sign(end - 1) == '-' || (isBlock && sign(end - 1) == '+');
    if (signed && end > from) {
      code.setLength(code.length() - 1);
    }
    String expression = code.toString().strip();
    filters.addAll(TemplateSyntax.filters(expression));
    tests.addAll(TemplateSyntax.tests(expression));
    out.append('{').append(kind).append(' ');
    out.append(TemplateSyntax.parenthesizeNot(expression)).append(' ');
    out.append(isBlock ? "%}" : "}}");
    stripAfter(end, isBlock);
  }

  /** Copies a tag's code to its end, which is not inside a string or brackets; returns the end. */
  private int copyCode(int start, int from, String close, StringBuilder code) {
    int depth = 0;
    for (int i = from; i < source.length(); i++) {
      char c = source.charAt(i);
      if (depth == 0 && source.startsWith(close, i)) {
        return i;
      }
      if (c == '\'' || c == '"') {
        int quoteEnd = TemplateSyntax.endOfString(source, i);
        if (quoteEnd < 0) {
          throw unclosed(start, "string");
        }
        code.append(source, i, quoteEnd);
        i = quoteEnd - 1;
        continue;
      }
      depth += "([{".indexOf(c) >= 0 ? 1 : ")]}".indexOf(c) >= 0 ? -1 : 0;
      if (depth > MAX_BRACKET_DEPTH || code.length() > MAX_CODE_LENGTH) {
        throw failure(start, "tag is too long or its brackets nest too deeply");
      }
      code.append(c);
      if (c == '}') {
        code.append(' '); // jinjava ends an expression at two braces, whatever they close
      }
    }
    throw unclosed(start, "tag");
  }

  private void writeData() {
    out.append(TAG_LIKE.matcher(data).replaceAll("{{ '{' }}"));
    data.setLength(0);
  }

  private ChatTemplateException unclosed(int index, String what) {
    return failure(index, what + " is not closed");
  }

  private ChatTemplateException failure(int index, String what) {
    long line = source.substring(0, index).chars().filter(c -> c == '\n').count() + 1;
    return new ChatTemplateException("chat template, line " + line + ": " + what);
  }
}
