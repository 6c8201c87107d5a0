/** Structured output: JSON schemas to sets of tokens that may come next. */
@NullMarked
package dev.gregale.structured;

import org.jspecify.annotations.NullMarked;
