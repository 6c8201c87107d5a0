package dev.gregale.structured;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;

/**
 * A recursive transition network over bytes: rules, each a network of states from its start to its
 * end, whose edges read bytes or call rules. Immutable; made with {@link GrammarBuilder}.
 *
 * <p>Every state knows how many levels of objects and arrays its rule takes at least from there to
 * its end. Whoever never enters a state that needs more levels than are left can always go on to
 * the end of the text.
 */
final class Grammar {
  private static final int ENDLESS = Integer.MAX_VALUE / 2;

  private final List<List<Edge>> edges;
  private final int[] ruleOf;
  private final int[] starts;
  private final int[] ends;
  private final boolean[] nests;
  private final int[] levels;

  /**
   * @param edges of each state
   * @param ruleOf rule of each state
   * @param starts start of each rule; rule 0 is the whole text
   * @param ends end of each rule; has no edges
   * @param nests whether the rule is an object or an array
   */
  Grammar(List<List<Edge>> edges, int[] ruleOf, int[] starts, int[] ends, boolean[] nests) {
    this.edges = edges.stream().map(List::copyOf).toList();
    this.ruleOf = ruleOf;
    this.starts = starts;
    this.ends = ends;
    this.nests = nests;
    this.levels = new int[ruleOf.length];
    Arrays.fill(levels, ENDLESS);
    for (int rule = 0; rule < ends.length; rule++) {
      levels[ends[rule]] = levelsOf(rule);
    }
    boolean changed = true;
    while (changed) {
      changed = false;
      for (int state = levels.length - 1; state >= 0; state--) { // callees come behind callers
        int needed = leastLevels(state);
        changed |= needed < levels[state];
        levels[state] = Math.min(needed, levels[state]);
      }
    }
  }

  private int leastLevels(int state) {
    int least = ENDLESS;
    for (Edge edge : edges.get(state)) {
      int needed = levels[edge.target()];
      if (edge instanceof Edge.Call(int rule, int target)) {
        needed = Math.max(needed, levelsOf(ruleOf[state]) + levels[starts[rule]]);
      }
      least = Math.min(least, needed);
    }
    return least;
  }

  /** Levels that a rule takes itself. */
  private int levelsOf(int rule) {
    return nests[rule] ? 1 : 0;
  }

  int start(int rule) {
    return starts[rule];
  }

  List<Edge> edges(int state) {
    return edges.get(state);
  }

  /** Whether a state is its rule's end. */
  boolean isEnd(int state) {
    return ends[ruleOf[state]] == state;
  }

  /** Whether a state can be entered inside of that many objects and arrays. */
  boolean fits(int state, int depth) {
    return depth + levels[state] <= Limits.NESTING;
  }

  /** Whether there is any text. */
  boolean hasText() {
    return fits(starts[0], 0);
  }

  /** Whether a rule calls itself before it has read anything, so that it says nothing. */
  boolean callsItselfAtOnce() {
    int[] callers = new int[starts.length];
    for (int rule = 0; rule < starts.length; rule++) {
      calledAtOnce(rule).forEach(callee -> callers[callee]++);
    }
    Deque<Integer> uncalled = new ArrayDeque<>();
    for (int rule = 0; rule < starts.length; rule++) {
      if (callers[rule] == 0) {
        uncalled.add(rule);
      }
    }
    int left = starts.length;
    while (!uncalled.isEmpty()) { // Kahn: what is never left uncalled is part of a circle
      left--;
      for (int callee : calledAtOnce(uncalled.remove())) {
        if (--callers[callee] == 0) {
          uncalled.add(callee);
        }
      }
    }
    return left > 0;
  }

  /** Only rules of alternatives begin with calls. */
  private List<Integer> calledAtOnce(int rule) {
    return edges.get(starts[rule]).stream()
        .filter(Edge.Call.class::isInstance)
        .map(edge -> ((Edge.Call) edge).rule())
        .toList();
  }
}
