package dev.gregale.structured;

import java.util.ArrayList;
import java.util.List;

/** Builds a {@link Grammar} state by state. */
final class GrammarBuilder {
  private final List<List<Edge>> edges = new ArrayList<>();
  private final List<Integer> ruleOf = new ArrayList<>();
  private final List<Integer> starts = new ArrayList<>();
  private final List<Integer> ends = new ArrayList<>();
  private final List<Boolean> nests = new ArrayList<>();

  /**
   * A rule without a way from its start to its end yet; the first is that of the whole text.
   *
   * @param nests whether it is an object or an array; if not, its calls must lead to its end
   */
  int newRule(boolean nests) {
    int rule = starts.size();
    this.nests.add(nests);
    starts.add(newState(rule));
    ends.add(newState(rule));
    return rule;
  }

  int start(int rule) {
    return starts.get(rule);
  }

  int end(int rule) {
    return ends.get(rule);
  }

  /** A state of the rule that another state is of. */
  int newStateBeside(int state) {
    return newState(ruleOf.get(state));
  }

  private int newState(int rule) {
    if (edges.size() == Limits.GRAMMAR_STATES) {
      throw new SchemaException(
          "the schema is too large: compiled, it has more than %d states; shorten its lists, names and item counts"
              .formatted(Limits.GRAMMAR_STATES));
    }
    edges.add(new ArrayList<>());
    ruleOf.add(rule);
    return edges.size() - 1;
  }

  void add(int from, Edge edge) {
    edges.get(from).add(edge);
  }

  void skip(int from, int target) {
    add(from, new Edge.Skip(target));
  }

  void bytes(int from, int low, int high, int target) {
    add(from, new Edge.Bytes(low, high, target));
  }

  /** A new state behind one byte of a range. */
  int bytes(int from, int low, int high) {
    int target = newStateBeside(from);
    bytes(from, low, high, target);
    return target;
  }

  /** A new state behind these bytes. */
  int literal(int from, byte[] text) {
    int at = from;
    for (byte b : text) {
      at = bytes(at, b & 0xFF, b & 0xFF);
    }
    return at;
  }

  /** A new state behind optional whitespace. */
  int whitespace(int from) {
    int target = newStateBeside(from);
    add(from, new Edge.Whitespace(target));
    return target;
  }

  Grammar build() {
    boolean[] nest = new boolean[nests.size()];
    for (int rule = 0; rule < nest.length; rule++) {
      nest[rule] = nests.get(rule);
    }
    return new Grammar(edges, ints(ruleOf), ints(starts), ints(ends), nest);
  }

  private static int[] ints(List<Integer> values) {
    return values.stream().mapToInt(Integer::intValue).toArray();
  }
}
