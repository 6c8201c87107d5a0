package dev.gregale.engine;

/** Turns the generated tokens of one sequence into text, piece by piece. For one thread. */
public interface TextStream {

  /** What a token adds to the text; empty while a character is incomplete. */
  String push(int token);

  /** What {@link #finish} would return now; takes nothing away. */
  String peek();

  /** What is left at the end: incomplete characters. */
  String finish();
}
