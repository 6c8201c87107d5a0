package dev.gregale.tokenizer;

import com.hubspot.jinjava.interpret.InterpretException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** Where Jinja2's expressions and jinjava's part ways. */
final class TemplateSyntax {

  private static final String NOT_ENDS_AT = "|and|or|if|else|,|:|";

  /**
   * The head of a for loop.
   *
   * @param variables one, or several that each item is unpacked into
   * @param iterable expression
   * @param condition expression that an item must meet, or null
   */
  record ForHead(List<String> variables, String iterable, @Nullable String condition) {}

  private TemplateSyntax() {}

  /**
   * Puts parentheses around what {@code not} negates: in Jinja2 it binds looser than comparisons,
   * in jinjava tighter.
   */
  static String parenthesizeNot(String code) {
    List<String> tokens = tokens(code);
    StringBuilder out = new StringBuilder();
    Deque<Integer> openNots = new ArrayDeque<>(); // the bracket depth at each
    int depth = 0;
    for (int i = 0; i < tokens.size(); i++) {
      String token = tokens.get(i);
      boolean closes = ")]}".contains(token);
      if (closes || NOT_ENDS_AT.contains("|" + token + "|")) {
        closeNots(openNots, depth, out);
      }
      depth += closes ? -1 : "([{".contains(token) ? 1 : 0;
      out.append(token);
      if (token.equals("not") && !isOf(tokens, i - 1, "is") && !isOf(tokens, i + 1, "in")) {
        out.append(" (");
        openNots.push(depth);
      }
    }
    closeNots(openNots, depth, out);
    return out.toString();
  }

  /**
   * Reads what follows the word {@code for}.
   *
   * <p>Error: {@link InterpretException} if there is no {@code in}.
   */
  static ForHead forHead(String code) {
    List<String> tokens = tokens(code);
    int in = tokens.indexOf("in");
    if (in < 0) {
      throw new InterpretException("a for loop without 'in': " + code.strip());
    }
    int depth = 0;
    int condition = -1;
    for (int i = in; i < tokens.size() && condition < 0; i++) {
      depth += "([{".contains(tokens.get(i)) ? 1 : ")]}".contains(tokens.get(i)) ? -1 : 0;
      condition = depth == 0 && tokens.get(i).equals("if") ? i : -1;
    }
    List<String> variables =
        tokens.subList(0, in).stream().filter(t -> !t.isBlank() && !",()".contains(t)).toList();
    int end = condition < 0 ? tokens.size() : condition;
    return new ForHead(
        variables,
        String.join("", tokens.subList(in + 1, end)),
        condition < 0 ? null : String.join("", tokens.subList(condition + 1, tokens.size())));
  }

  /** The names of the filters, {@code x | name}, in an expression. */
  static Set<String> filters(String code) {
    return wordsAfter(significantTokens(code), "|");
  }

  /** The names of the tests, {@code x is [not] name}, in an expression. */
  static Set<String> tests(String code) {
    List<String> tokens = significantTokens(code);
    tokens.removeIf("not"::equals);
    return wordsAfter(tokens, "is");
  }

  /**
   * Index behind a string literal.
   *
   * @param open index of its opening quote
   * @return -1 if it is not closed
   */
  static int endOfString(String code, int open) {
    for (int i = open + 1; i < code.length(); i++) {
      if (code.charAt(i) == '\\') {
        i++;
      } else if (code.charAt(i) == code.charAt(open)) {
        return i + 1;
      }
    }
    return -1;
  }

  /** Strings, words, runs of blanks, and every other character by itself. */
  private static List<String> tokens(String code) {
    List<String> tokens = new ArrayList<>();
    for (int start = 0, end; start < code.length(); start = end) {
      char c = code.charAt(start);
      end = c == '\'' || c == '"' ? endOfString(code, start) : start + 1;
      if (end < 0) {
        end = code.length();
      } else if (isWordPart(c)) {
        while (end < code.length() && isWordPart(code.charAt(end))) {
          end++;
        }
      } else if (PythonStrings.isSpace(c)) {
        while (end < code.length() && PythonStrings.isSpace(code.charAt(end))) {
          end++;
        }
      }
      tokens.add(code.substring(start, end));
    }
    return tokens;
  }

  private static List<String> significantTokens(String code) {
    List<String> tokens = tokens(code);
    tokens.removeIf(String::isBlank);
    return tokens;
  }

  private static Set<String> wordsAfter(List<String> tokens, String mark) {
    Set<String> words = new TreeSet<>();
    for (int i = 0; i + 1 < tokens.size(); i++) {
      String next = tokens.get(i + 1);
      if (tokens.get(i).equals(mark) && isWordPart(next.charAt(0))) {
        words.add(next);
      }
    }
    return words;
  }

  private static boolean isWordPart(char c) {
    return Character.isLetterOrDigit(c) || c == '_';
  }

  private static void closeNots(Deque<Integer> openNots, int depth, StringBuilder out) {
    while (!openNots.isEmpty() && openNots.peek() == depth) {
      out.append(") ");
      openNots.pop();
    }
  }

  /** The token at or, across blanks, next to an index is this word. */
  private static boolean isOf(List<String> tokens, int index, String word) {
    int step = word.equals("is") ? -1 : 1;
    int i = index;
    while (i >= 0 && i < tokens.size() && tokens.get(i).isBlank()) {
      i += step;
    }
    return i >= 0 && i < tokens.size() && tokens.get(i).equals(word);
  }
}
