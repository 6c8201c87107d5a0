package dev.gregale.sampling;

import java.util.List;

/**
 * Finds stop strings in text that arrives in pieces, and holds back what could be the beginning of
 * one. The result does not depend on how the text is cut into pieces: the match that ends first
 * counts, and of several ending at the same place the longest.
 */
public final class StopStringMatcher {
  private final List<String> stop;
  private final boolean includeStop;
  private final StringBuilder held = new StringBuilder();
  private boolean matched;

  /**
   * @param stop non-empty strings
   * @param includeStop let the matched string through instead of cutting the text before it
   */
  public StopStringMatcher(List<String> stop, boolean includeStop) {
    for (String s : stop) {
      if (s.isEmpty()) {
        throw new IllegalArgumentException("a stop string must not be empty");
      }
    }
    this.stop = List.copyOf(stop);
    this.includeStop = includeStop;
  }

  /** Takes more text and returns what can be shown by now; nothing more after a match. */
  public String append(String text) {
    if (matched) {
      return "";
    }
    if (stop.isEmpty()) {
      return text;
    }
    held.append(text);
    int cut = matchedCut();
    if (cut >= 0) {
      return match(cut);
    }
    cut = firstPossibleStart();
    String shown = held.substring(0, cut);
    held.delete(0, cut);
    return shown;
  }

  /**
   * Takes text that later tokens might still change, but only if it completes a stop string: the
   * sequence then ends here, and nothing will change it any more.
   */
  public String appendIfItStops(String uncertain) {
    if (matched || stop.isEmpty() || uncertain.isEmpty()) {
      return "";
    }
    int length = held.length();
    held.append(uncertain);
    int cut = matchedCut();
    if (cut >= 0) {
      return match(cut);
    }
    held.setLength(length);
    return "";
  }

  private String match(int cut) {
    matched = true;
    String shown = held.substring(0, cut);
    held.setLength(0);
    return shown;
  }

  /** The text is over: returns what was held back. */
  public String finish() {
    String rest = held.toString();
    held.setLength(0);
    return rest;
  }

  /** Whether a stop string was found. */
  public boolean matched() {
    return matched;
  }

  /** Where to cut the held text because of a stop string in it, or -1. */
  private int matchedCut() {
    int start = -1;
    int end = Integer.MAX_VALUE;
    for (String s : stop) {
      int at = held.indexOf(s);
      int atEnd = at + s.length();
      if (at >= 0 && (atEnd < end || (atEnd == end && at < start))) {
        start = at;
        end = atEnd;
      }
    }
    return start >= 0 && includeStop ? end : start;
  }

  /** First index of the held text from which on it is the beginning of a stop string. */
  private int firstPossibleStart() {
    for (int i = 0; i < held.length(); i++) {
      for (String s : stop) {
        if (held.length() - i < s.length() && beginsAt(s, i)) {
          return i;
        }
      }
    }
    return held.length();
  }

  private boolean beginsAt(String s, int from) {
    for (int i = from; i < held.length(); i++) {
      if (held.charAt(i) != s.charAt(i - from)) {
        return false;
      }
    }
    return true;
  }
}
