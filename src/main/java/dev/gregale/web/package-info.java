/** HTTP in, SSE out: OpenAI's contract. */
@NullMarked
package dev.gregale.web;

import org.jspecify.annotations.NullMarked;
