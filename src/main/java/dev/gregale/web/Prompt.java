package dev.gregale.web;

/**
 * One prompt, ready for the engine.
 *
 * @param tokenIds at least one
 * @param text what {@code echo} returns; empty if the checkpoint has no tokenizer
 */
record Prompt(int[] tokenIds, String text) {}
