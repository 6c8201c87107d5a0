package dev.gregale.structured;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.StringNode;

/** The rules of JSON's values. */
final class JsonRules {
  private final GrammarBuilder grammar;

  /** A property of an object: its name, the rule of its value, and whether it must be there. */
  record Property(String name, int rule, boolean required) {}

  JsonRules(GrammarBuilder grammar) {
    this.grammar = grammar;
  }

  /** The rule may be what another is. */
  void alternative(int rule, int other) {
    grammar.add(grammar.start(rule), new Edge.Call(other, grammar.end(rule)));
  }

  /** The rule may be one of these texts. */
  void literals(int rule, List<String> texts) {
    Map<Integer, Map<Byte, Integer>> trie = new HashMap<>();
    for (String text : texts) {
      int at = grammar.start(rule);
      for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
        int from = at;
        at =
            trie.computeIfAbsent(from, state -> new HashMap<>())
                .computeIfAbsent(b, next -> grammar.bytes(from, next & 0xFF, next & 0xFF));
      }
      grammar.skip(at, grammar.end(rule));
    }
  }

  /** The rule may be a string. */
  void string(int rule, StringRule string) {
    int opened = grammar.bytes(grammar.start(rule), '"', '"');
    grammar.add(opened, new Edge.Text(string, grammar.end(rule)));
  }

  /** The rule may be an integer. */
  void integer(int rule) {
    grammar.skip(integerFrom(grammar.start(rule)), grammar.end(rule));
  }

  /** The rule may be a number. */
  void number(int rule) {
    int end = grammar.end(rule);
    int integer = integerFrom(grammar.start(rule));
    int fraction = digits(grammar.bytes(integer, '.', '.'), Limits.DIGITS);
    int signed = grammar.newStateBeside(end);
    for (int mantissa : new int[] {integer, fraction}) {
      grammar.skip(mantissa, end);
      for (char e : new char[] {'e', 'E'}) {
        int exponent = grammar.bytes(mantissa, e, e);
        grammar.skip(exponent, signed);
        grammar.bytes(exponent, '+', '+', signed);
        grammar.bytes(exponent, '-', '-', signed);
      }
    }
    grammar.skip(digits(signed, Limits.EXPONENT_DIGITS), end);
  }

  private int integerFrom(int start) {
    int unsigned = grammar.newStateBeside(start);
    grammar.skip(start, unsigned);
    grammar.bytes(start, '-', '-', unsigned);
    int done = grammar.newStateBeside(start);
    grammar.bytes(unsigned, '0', '0', done);
    int first = grammar.bytes(unsigned, '1', '9');
    grammar.skip(first, done);
    grammar.skip(digits(first, Limits.DIGITS - 1), done);
    return done;
  }

  /** One to so many digits; returns the state behind them. */
  private int digits(int from, int most) {
    int done = grammar.newStateBeside(from);
    int at = from;
    for (int i = 0; i < most; i++) {
      at = grammar.bytes(at, '0', '9');
      grammar.skip(at, done);
    }
    return done;
  }

  /**
   * The rule is an array.
   *
   * @param items rule of each item
   * @param most {@link Integer#MAX_VALUE} for any number
   */
  void array(int rule, int items, int least, int most) {
    int end = grammar.end(rule);
    int next = grammar.whitespace(grammar.bytes(grammar.start(rule), '[', '['));
    if (least == 0) {
      grammar.bytes(next, ']', ']', end);
    }
    boolean endless = most == Integer.MAX_VALUE;
    int unrolled = endless ? Math.max(1, least) : most;
    for (int i = 1; i <= unrolled; i++) {
      int item = grammar.newStateBeside(end);
      grammar.add(next, new Edge.Call(items, item));
      int behind = grammar.whitespace(item);
      if (i >= least) {
        grammar.bytes(behind, ']', ']', end);
      }
      if (i < unrolled || endless) {
        next = grammar.whitespace(grammar.bytes(behind, ',', ','));
      }
      if (i == unrolled && endless) {
        grammar.add(next, new Edge.Call(items, item));
      }
    }
  }

  /**
   * The rule is an object with these properties, in this order, then others.
   *
   * @param others rule of the values of other properties; null for none
   */
  void object(int rule, List<Property> properties, @Nullable Integer others) {
    int n = properties.size();
    int end = grammar.end(rule);
    int first = grammar.whitespace(grammar.bytes(grammar.start(rule), '{', '{'));
    int[] next = new int[n + 1]; // [i]: a property from i on comes next
    int[] written = new int[n + 1]; // [i]: one before i has been written
    for (int i = 0; i <= n; i++) {
      next[i] = grammar.newStateBeside(end);
      written[i] = grammar.newStateBeside(end);
    }
    grammar.skip(first, next[0]);
    boolean mayEnd = true;
    for (int i = n; i >= 0; i--) {
      if (i < n) {
        Property property = properties.get(i);
        mayEnd &= !property.required();
        member(grammar.literal(next[i], quoted(property.name())), property.rule(), written[i + 1]);
        if (!property.required()) {
          grammar.skip(next[i], next[i + 1]);
        }
      }
      if (mayEnd) {
        grammar.bytes(written[i], '}', '}', end);
      }
      grammar.skip(grammar.whitespace(grammar.bytes(written[i], ',', ',')), next[i]);
    }
    if (mayEnd) {
      grammar.bytes(first, '}', '}', end);
    }
    if (others != null) {
      member(nameOtherThan(properties, next[n]), others, written[n]);
    }
  }

  private int nameOtherThan(List<Property> properties, int from) {
    int opened = grammar.bytes(from, '"', '"');
    int named = grammar.newStateBeside(from);
    Names declared = new Names(properties.stream().map(p -> inside(quoted(p.name()))).toList());
    grammar.add(opened, new Edge.Text(StringRule.nameOtherThan(declared), named));
    return named;
  }

  /** What follows on a name: colon and value. */
  private void member(int named, int value, int behind) {
    int colon = grammar.bytes(grammar.whitespace(named), ':', ':');
    int written = grammar.newStateBeside(named);
    grammar.add(grammar.whitespace(colon), new Edge.Call(value, written));
    grammar.add(written, new Edge.Whitespace(behind));
  }

  private static byte[] quoted(String name) {
    return StringNode.valueOf(name).toString().getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] inside(byte[] quoted) {
    return Arrays.copyOfRange(quoted, 1, quoted.length - 1);
  }
}
