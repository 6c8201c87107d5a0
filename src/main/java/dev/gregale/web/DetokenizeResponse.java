package dev.gregale.web;

/**
 * Tokens as text.
 *
 * @param prompt the text, with its special tokens
 */
record DetokenizeResponse(String prompt) {}
