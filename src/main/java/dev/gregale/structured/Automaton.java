package dev.gregale.structured;

import dev.gregale.sampling.TokenConstraint;
import dev.gregale.sampling.TokenMatcher;
import dev.gregale.structured.Position.InString;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A grammar as a deterministic automaton over bytes, made state by state as texts need them; and
 * the masks of tokens of its states. A bounded number of states is kept: when there are more, all
 * are forgotten and made anew (as RE2 does).
 */
final class Automaton implements TokenConstraint {

  /** Positions that the same bytes lead to. */
  private static final class State {
    final List<Position> positions;
    final boolean complete;
    @Nullable State @Nullable [] next;
    @Nullable TokenMask mask;

    State(List<Position> positions, boolean complete) {
      this.positions = positions;
      this.complete = complete;
    }

    boolean isDead() {
      return positions.isEmpty() && !complete;
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof State state
          && complete == state.complete
          && positions.equals(state.positions);
    }

    @Override
    public int hashCode() {
      return Objects.hash(positions, complete);
    }
  }

  private final Grammar grammar;
  private final TokenTable tokens;
  private final TokenTrie trie;
  private final Map<State, State> states = new HashMap<>();
  private final State start;
  private long work;

  /** Computes what every text begins with, so that the first step of a sequence need not. */
  Automaton(Grammar grammar, TokenTable tokens) {
    this.grammar = grammar;
    this.tokens = tokens;
    this.trie = tokens.trie();
    Positions first = new Positions(grammar);
    first.enter(grammar.start(0), null);
    start = state(first);
    mask(start);
  }

  @Override
  public TokenMatcher newMatcher() {
    return new Matcher(start);
  }

  @Override
  public int vocabSize() {
    return trie.vocabSize();
  }

  private final class Matcher implements TokenMatcher {
    private State state;

    Matcher(State state) {
      this.state = state;
    }

    @Override
    public int maskWords() {
      synchronized (Automaton.this) {
        return mask(state).words.length;
      }
    }

    @Override
    public void writeMask(int[] masks, int offset) {
      synchronized (Automaton.this) {
        int[] words = mask(state).words;
        System.arraycopy(words, 0, masks, offset, words.length);
      }
    }

    @Override
    public boolean allows(int token) {
      synchronized (Automaton.this) {
        return mask(state).allows(token);
      }
    }

    @Override
    public void accept(int token) {
      if (!tokens.isEos(token)) {
        synchronized (Automaton.this) {
          state = behind(state, token);
        }
      }
    }
  }

  private State behind(State from, int token) {
    State state = from;
    for (byte b : trie.bytes(token)) {
      state = step(state, b & 0xFF);
    }
    if (state.isDead()) {
      throw new IllegalArgumentException("token " + token + " is not allowed here");
    }
    return state;
  }

  private State step(State from, int b) {
    work++;
    @Nullable State[] next = from.next;
    if (next == null) {
      next = new State[256];
      from.next = next;
    }
    State found = next[b];
    if (found == null) {
      Positions behind = new Positions(grammar);
      for (Position position : from.positions) {
        behind.step(position, b);
      }
      found = state(behind);
      next[b] = found;
      work += from.positions.size() + behind.found().size();
    }
    return found;
  }

  private State state(Positions positions) {
    return state(new State(positions.found(), positions.complete()));
  }

  private State state(State made) {
    State known = states.get(made);
    if (known != null) {
      return known;
    }
    if (states.size() >= Limits.AUTOMATON_STATES) {
      for (State state : states.keySet()) {
        state.next = null;
        state.mask = null;
      }
      states.clear();
    }
    states.put(made, made);
    return made;
  }

  private TokenMask mask(State state) {
    TokenMask mask = state.mask;
    if (mask == null) {
      mask = newMask(state);
      state.mask = mask;
    }
    return mask;
  }

  private TokenMask newMask(State state) {
    work = 0;
    TokenMask mask = new TokenMask(trie.vocabSize());
    if (state.complete) {
      for (int eos : tokens.eosTokenIds()) {
        mask.allow(eos);
      }
    }
    List<Position> others = new ArrayList<>();
    for (Position position : state.positions) {
      if (position instanceof InString string) {
        addString(string, mask);
      } else {
        others.add(position);
      }
    }
    walk(TokenTrie.ROOT, state(new State(List.copyOf(others), false)), mask);
    if (work > Limits.MASK_WORK) {
      addSingleBytes(state, mask);
    }
    return mask;
  }

  /** What leaves no text without a way on, where there is no time for longer tokens. */
  private void addSingleBytes(State state, TokenMask mask) {
    for (int child = TokenTrie.ROOT + 1;
        child < trie.end(TokenTrie.ROOT);
        child = trie.end(child)) {
      if (!step(state, trie.label(child)).isDead()) {
        trie.forEachToken(child, mask::allow);
      }
    }
  }

  private void addString(InString at, TokenMask mask) {
    StringRule rule = at.rule();
    StringTokens inside = tokens.strings(at.bytes(), rule.plain());
    int left = rule.maxLength() - at.chars();
    mask.allowAll(inside.inside(left));
    Positions behind = new Positions(grammar);
    behind.enter(at.target(), at.caller());
    State closed = state(behind);
    for (StringTokens.Closing closing : inside.closings()) {
      int name = at.name();
      for (byte b : closing.text()) {
        name = rule.otherThan().next(name, b & 0xFF);
      }
      if (closing.chars() <= left && rule.mayEnd(at.chars() + closing.chars(), name)) {
        trie.forEachToken(closing.node(), mask::allow);
        walk(closing.node(), closed, mask);
      }
    }
  }

  private void walk(int node, State state, TokenMask mask) {
    for (int child = node + 1; child < trie.end(node); child = trie.end(child)) {
      if (work > Limits.MASK_WORK) {
        return;
      }
      State next = step(state, trie.label(child));
      if (!next.isDead()) {
        trie.forEachToken(child, mask::allow);
        walk(child, next, mask);
      }
    }
  }
}
