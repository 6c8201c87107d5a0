package dev.gregale.structured;

import dev.gregale.structured.Position.At;
import dev.gregale.structured.Position.Frame;
import dev.gregale.structured.Position.InString;
import dev.gregale.structured.Position.InWhitespace;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Collects the positions that the next byte may be read from. No position is added from which the
 * text could not be ended within {@link Limits#NESTING}.
 */
final class Positions {
  private final Grammar grammar;
  private final Set<Position> found = new LinkedHashSet<>();
  private final Set<At> entered = new HashSet<>();
  private final Deque<At> toEnter = new ArrayDeque<>();
  private boolean complete;

  Positions(Grammar grammar) {
    this.grammar = grammar;
  }

  List<Position> found() {
    return List.copyOf(found);
  }

  /** Whether the text may end here. */
  boolean complete() {
    return complete;
  }

  /** Adds a state and all that it leads to without reading. */
  void enter(int state, @Nullable Frame caller) {
    later(state, caller);
    while (!toEnter.isEmpty()) {
      At at = toEnter.pop();
      if (grammar.isEnd(at.state())) {
        leave(at.caller());
      } else {
        expand(at);
      }
    }
  }

  private void later(int state, @Nullable Frame caller) {
    At at = new At(state, caller);
    if (grammar.fits(state, Frame.depth(caller)) && entered.add(at)) {
      toEnter.push(at);
    }
  }

  private void leave(@Nullable Frame caller) {
    if (caller == null) {
      complete = true;
    } else {
      later(caller.returnTo(), caller.caller());
    }
  }

  private void expand(At at) {
    Frame caller = at.caller();
    List<Edge> edges = grammar.edges(at.state());
    for (int i = edges.size() - 1; i >= 0; i--) { // the stack turns them round
      switch (edges.get(i)) {
        case Edge.Bytes bytes -> add(at);
        case Edge.Skip(int target) -> later(target, caller);
        case Edge.Text(StringRule rule, int target) ->
            addIfFits(
                new InString(rule, StringBytes.TEXT, 0, Names.ROOT, target, caller),
                target,
                caller);
        case Edge.Whitespace(int target) -> {
          addIfFits(new InWhitespace(0, target, caller), target, caller);
          later(target, caller);
        }
        case Edge.Call(int rule, int target) -> call(rule, target, caller);
      }
    }
  }

  private void call(int rule, int target, @Nullable Frame caller) {
    if (grammar.isEnd(target)) {
      later(grammar.start(rule), caller); // an alternative: returns to where this one would
    } else if (grammar.fits(target, Frame.depth(caller))) {
      later(grammar.start(rule), Frame.of(target, caller));
    }
  }

  private void addIfFits(Position position, int target, @Nullable Frame caller) {
    if (grammar.fits(target, Frame.depth(caller))) {
      add(position);
    }
  }

  private void add(Position position) {
    if (found.size() < Limits.POSITIONS) {
      found.add(position);
    }
  }

  /** Adds where a byte leads to from a position. */
  void step(Position position, int b) {
    switch (position) {
      case At at -> {
        for (Edge edge : grammar.edges(at.state())) {
          if (edge instanceof Edge.Bytes(int low, int high, int target) && b >= low && b <= high) {
            enter(target, at.caller());
          }
        }
      }
      case InString string -> step(string, b);
      case InWhitespace space -> {
        if (b == ' ' || b == '\t' || b == '\n' && space.length() == 0) {
          if (space.length() + 1 < Limits.WHITESPACE) {
            add(new InWhitespace(space.length() + 1, space.target(), space.caller()));
          }
          enter(space.target(), space.caller());
        }
      }
    }
  }

  private void step(InString at, int b) {
    StringRule rule = at.rule();
    int next = StringBytes.next(at.bytes(), b, rule.plain());
    if (next == StringBytes.CLOSED) {
      if (rule.mayEnd(at.chars(), at.name())) {
        enter(at.target(), at.caller());
      }
    } else if (next != StringBytes.DEAD) {
      int chars = at.chars() + (at.bytes() == StringBytes.TEXT ? 1 : 0);
      if (chars <= rule.maxLength()) {
        int name = rule.otherThan().next(at.name(), b);
        add(new InString(rule, next, rule.counted(chars), name, at.target(), at.caller()));
      }
    }
  }
}
