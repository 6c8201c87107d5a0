package dev.gregale.structured;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A trie of names, in the bytes between their quotes; to tell that a string is none of them. */
final class Names {
  static final int ROOT = 0;
  static final int OTHER = -1;

  private final List<Map<Integer, Integer>> children = new ArrayList<>();
  private final List<Boolean> ends = new ArrayList<>();

  /**
   * @param names as JSON strings, without their quotes
   */
  Names(List<byte[]> names) {
    addNode();
    for (byte[] name : names) {
      int node = ROOT;
      for (byte b : name) {
        Integer child = children.get(node).get(b & 0xFF);
        if (child == null) {
          child = addNode();
          children.get(node).put(b & 0xFF, child);
        }
        node = child;
      }
      ends.set(node, true);
    }
  }

  private int addNode() {
    children.add(new HashMap<>());
    ends.add(false);
    return children.size() - 1;
  }

  /** The node behind a byte; {@link #OTHER} where no name goes on like that. */
  int next(int node, int b) {
    return node == OTHER ? OTHER : children.get(node).getOrDefault(b, OTHER);
  }

  /** Whether what has been read is a name. */
  boolean isName(int node) {
    return node != OTHER && ends.get(node);
  }
}
