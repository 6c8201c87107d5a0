/** Text to ids and back, and the chat template. */
@NullMarked
package dev.gregale.tokenizer;

import org.jspecify.annotations.NullMarked;
